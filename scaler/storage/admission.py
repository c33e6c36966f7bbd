"""Who gets room in memory: puts and restores, in the order in which they asked.

Room is set aside for the whole of an object before it comes, so that whatever was admitted can be completed. Where there is
none, objects are written to disk until there is. When nothing is on its way that would make room, the next in line is
admitted all the same, so that an object larger than the limit finds its place, and nobody waits for ever. Small objects do not
wait for large ones: a little more than the limit is for them. Only puts are refused, while the disk takes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

from scaler.storage.residency import Held, Residency
from scaler.storage.uploads import Upload
from scaler.stuck import Finding

BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""After which times a disk that takes nothing is tried again."""
REASSURE_SECONDS = 2.0
"""How often those that wait are told that they are not forgotten."""
SMALL = 1 << 14
"""An object of one part in so many of the limit is not worth waiting for, and does not wait for larger ones."""
SMALL_RESERVE = 64
"""So that there is room for small ones, they may have one part in so many beyond the limit."""
STALL_SECONDS = 30.0
"""A put that others wait for has to go on within this time."""


@dataclass(slots=True)
class Verdict:
    """What became of the one next in line. ``refusal`` is empty when it was admitted."""

    who: Upload | Held
    refusal: str = ""


class Admission:
    """Decides for one ``Residency``."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency
        self._queue: OrderedDict[Upload | Held, None] = OrderedDict()
        self._active: dict[Upload, None] = {}
        """Admitted, and not complete."""
        self._waiting: dict[int, int] = {}
        """How many puts of a peer are in the queue."""
        self._failures = 0
        self._failure = ""
        self._retry_at = float("inf")
        self._reassured_at = 0.0

    @property
    def short(self) -> bool:
        """Whether somebody waits for room, or there is more in memory than there should be."""
        return bool(self._queue) or self._residency.used_bytes > self._residency.limit

    @property
    def idle(self) -> bool:
        """Whether nobody waits, nothing has to be written, and no failing disk to be tried."""
        return not self._queue and self._retry_at == float("inf") and self._residency.has_plenty

    @property
    def waiting_puts(self) -> int:
        """How many puts wait for room."""
        return sum(self._waiting.values())

    def has_in_line(self, upload: Upload) -> bool:
        """Whether this put waits for room."""
        return upload in self._queue

    def waits(self, peer: int) -> bool:
        """Whether a put of this peer waits for room."""
        return peer in self._waiting

    # ---- asking

    def fits(self, size: int) -> bool:
        """Whether there is room for what is here already, without asking."""
        if not self._queue and self._residency.used_bytes + size <= self._residency.limit:
            return True
        return self._is_small(size)

    def _is_small(self, size: int) -> bool:
        """Whether it need not wait for room, also where others do."""
        limit = self._residency.limit
        return size * SMALL <= limit and self._residency.used_bytes + size <= limit + limit // SMALL_RESERVE

    def ask(self, who: Upload | Held, now: float) -> bool:
        """Room for all of it: at once (True), or in its turn."""
        size = _size(who)
        admitted = not self._queue and self._residency.claim(size)
        if not admitted and self._is_small(size):
            self._residency.overdraw(size)
            admitted = True
        if admitted:
            self._admit(who, now)
            return True
        if not self._queue:
            self._reassured_at = now
        self._queue[who] = None
        if isinstance(who, Upload):
            self._waiting[who.peer] = self._waiting.get(who.peer, 0) + 1
        return False

    def end(self, upload: Upload) -> None:
        """A put is complete or over: whatever room it had is free again, and its place in the queue."""
        if upload.admitted:
            upload.admitted = False
            del self._active[upload]
            self._residency.unclaim(upload.total_bytes)
        elif upload in self._queue:
            self._leave_queue(upload)

    def withdraw(self, held: Held) -> bool:
        """Nobody waits for this object any more. Returns whether it was still in the queue."""
        if held not in self._queue:
            return False
        self._leave_queue(held)
        return True

    def _admit(self, who: Upload | Held, now: float) -> None:
        if isinstance(who, Held):
            self._residency.read(who)
        else:
            who.admitted, who.touched = True, now
            self._active[who] = None

    def _leave_queue(self, who: Upload | Held) -> None:
        del self._queue[who]
        if isinstance(who, Upload):
            self._waiting[who.peer] -= 1
            if not self._waiting[who.peer]:
                del self._waiting[who.peer]

    # ---- deciding

    def next(self, now: float) -> Verdict | None:
        """Decide about the one next in line; None when it has to wait, or there is none."""
        if not self._queue:
            self._residency.shrink()
            return None
        who = next(iter(self._queue))
        size = _size(who)
        if not self._residency.claim(size):
            if self._residency.writing:
                return None
            if self._residency.failing and isinstance(who, Upload):
                self._leave_queue(who)
                return Verdict(who, self._refusal())
            if self._something_moves():
                return None
            self._residency.overdraw(size)
        self._leave_queue(who)
        self._admit(who, now)
        return Verdict(who)

    def _something_moves(self) -> bool:
        """Whether something will end without us, after which there is more room or more to write."""
        residency = self._residency
        return bool(residency.reading or residency.pinned) or any(
            upload.peer not in self._waiting for upload in self._active
        )

    def _refusal(self) -> str:
        used, limit = self._residency.used_bytes, self._residency.limit
        return (
            f"the object storage has {used} of {limit} bytes in memory and cannot spill more: {self._failure};"
            " free objects or disk space, or start it with another spill directory or a larger memory limit"
        )

    def to_write(self, now: float) -> list[Held]:
        """What should be written to disk now."""
        if self._retry_at <= now:
            self._retry_at = float("inf")
            held = self._residency.probe()
            if held is not None:
                return [held]
        need = _size(next(iter(self._queue))) if self._queue else 0
        # What is in files that others hold too makes less room than it seems: that shows when it is dropped.
        self._residency.shrink(need)
        return self._residency.to_write(need)

    def written(self, held: Held) -> None:
        """The disk took it."""
        self._residency.written(held)
        if not self._residency.failing:
            self._failures, self._retry_at = 0, float("inf")

    def write_failed(self, held: Held, text: str, now: float) -> bool:
        """The disk did not take it; tried again later. Returns whether it took everything before."""
        first = not self._residency.failing
        self._residency.write_failed(held)
        self._failure = text
        if self._retry_at == float("inf"):
            self._retry_at = now + BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
            self._failures += 1
        return first

    # ---- time

    def next_deadline(self) -> float | None:
        """When something has to be done even if nothing happens."""
        times = [self._retry_at] if self._retry_at < float("inf") else []
        if self._queue:
            times.append(self._reassured_at + REASSURE_SECONDS)
        return min(times, default=None)

    def suspects(self) -> list[Finding]:
        """Who waits for room next."""
        found: list[Finding] = []
        for who in islice(self._queue, 1):
            name, what = (who.object, "a put") if isinstance(who, Upload) else (who.name, "a get of what is on disk")
            used, limit = self._residency.used_bytes, self._residency.limit
            text = (
                f"{what}, of object {name.hex()}, waits for {_size(who)} bytes of memory ({used} of {limit} are in use)"
            )
            found.append((("room", id(who)), None, text))
        return found

    def to_reassure(self, now: float) -> list[Upload]:
        """The puts to be told that they wait, if it is time for that."""
        if not self._queue or now < self._reassured_at + REASSURE_SECONDS:
            return []
        self._reassured_at = now
        return [who for who in self._queue if isinstance(who, Upload)]

    def stalled(self, now: float) -> list[Upload]:
        """Puts that bring nothing, and have room that others wait for."""
        if not self._queue:
            return []
        return [
            upload
            for upload in self._active
            if now - upload.touched >= STALL_SECONDS and upload.peer not in self._waiting
        ]

    # ---- doubted

    def check(self, uploads: list[Upload], objects: list[Held]) -> None:
        """Recompute every derived fact from all puts under way and all objects. Raises AssertionError."""
        queued = [who for who in self._queue if isinstance(who, Upload)]
        assert set(uploads) == set(queued) | set(self._active) and len(uploads) == len(queued) + len(self._active)
        assert all(upload.admitted == (upload in self._active) for upload in uploads)
        assert self._waiting == {
            peer: sum(upload.peer == peer for upload in queued) for peer in {upload.peer for upload in queued}
        }
        for held in objects:
            reading = held.busy and held.content is None
            assert (held in self._queue) == (bool(held.waiters) and not reading)
        claimed = sum(upload.total_bytes for upload in self._active)
        claimed += sum(held.size for held in objects if held.busy and held.content is None)
        assert self._residency.claimed_bytes == claimed
        self._residency.check(objects)


def _size(who: Upload | Held) -> int:
    return who.size if isinstance(who, Held) else who.total_bytes
