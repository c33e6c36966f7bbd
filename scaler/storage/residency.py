"""Which objects are in memory and which are on disk, and what moves next. It moves nothing itself.

The bytes that count are those of objects in memory and those claimed for what is on its way here: puts and restores. A file in
shared memory counts once, however many objects have parts of it (``Files``). What was used last stands at the end of ``warm``;
from its front objects are written to disk ahead of need, as long as less than an eighth of the limit is free or could be freed
at once. A written object stays in memory, ``cold``, until its room is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from scaler.storage.content import Content
from scaler.storage.files import Files

AHEAD = 8
"""One part in so many of the limit is kept free, or on disk too."""


@dataclass(slots=True, eq=False)
class Held:
    """The bytes of one object: in memory (``content``), on disk (``copied``), or both."""

    key: int
    """Names it to the disk; never used again, unlike the object's id."""
    name: bytes
    size: int
    """Of the object, and of its copy on disk."""
    content: Content | None
    copied: bool = False
    busy: bool = False
    """Its copy is being written or read."""
    charge: int = 0
    """So much of what is in memory counts for it. Another object of the same file takes that over when this one leaves memory."""
    pins: int = 0
    """How many transmissions of its content are under way."""
    gone: bool = False
    """The object was freed."""
    waiters: dict[tuple[int, int], None] | None = None
    """The gets, as peer and request, that wait until it is in memory. None: there were never any."""


_Order = OrderedDict[int, Held]


class Residency:
    """Objects in memory in the order of their last use, with their number of bytes.

    ``limit_bytes`` is what may be in memory, 0 for no limit.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit = limit_bytes or 1 << 62
        self.held_bytes = 0
        """Of objects in memory."""
        self.claimed_bytes = 0
        """For puts and restores under way."""
        self.cold_bytes = 0
        """In memory, on disk and not in use."""
        self.writing_bytes = self.reading = self.pinned = 0
        self.spilled = self.spilled_bytes = 0
        """Objects that are only on disk."""
        self.failing = False
        """The disk took nothing when it was last tried."""
        self._files: Files[Held] = Files()
        self._warm: _Order = OrderedDict()
        self._cold: _Order = OrderedDict()
        self._stuck: _Order = OrderedDict()
        """Should be on disk, which takes nothing. The least recently used first."""
        self._writing: _Order = OrderedDict()
        self._probe: Held | None = None
        """The one write that tells whether a failing disk works again."""

    @property
    def used_bytes(self) -> int:
        """All that counts."""
        return self.held_bytes + self.claimed_bytes

    @property
    def has_plenty(self) -> bool:
        """Whether so much is free that nothing has to be written ahead of need."""
        return self.limit - self.used_bytes >= self.limit // AHEAD

    @property
    def writing(self) -> bool:
        """Whether something is being written."""
        return bool(self._writing)

    # ---- room

    def claim(self, size: int) -> bool:
        """Set room aside if there is some, or can be at once by dropping what is on disk too."""
        self.shrink(size)
        if self.used_bytes + size > self.limit:
            return False
        self.claimed_bytes += size
        return True

    def overdraw(self, size: int) -> None:
        """Set room aside that is not there."""
        self.shrink(size)
        self.claimed_bytes += size

    def unclaim(self, size: int) -> None:
        """Give room back that was set aside."""
        self.claimed_bytes -= size

    def shrink(self, size: int = 0) -> None:
        """Drop what is on disk too, as far as so many bytes need its room."""
        while self._cold and self.used_bytes + size > self.limit:
            _, held = self._cold.popitem(last=False)
            self.cold_bytes -= held.charge
            self._leave_memory(held)
            self.spilled += 1
            self.spilled_bytes += held.size

    # ---- objects

    def enter(self, held: Held) -> None:
        """Its content is in memory now."""
        assert held.content is not None
        files = held.content.files
        held.charge = self._files.enter(held, files) if files else held.size
        self.held_bytes += held.charge
        self._warm[held.key] = held

    def use(self, held: Held) -> None:
        """It was used: of all objects it is the one used last."""
        if held.key in self._warm:
            self._warm.move_to_end(held.key)
        elif not held.pins:
            self._take_out(held)
            self._warm[held.key] = held

    def enter_on_disk(self, held: Held) -> None:
        """It is only there."""
        self.spilled += 1
        self.spilled_bytes += held.size

    def pin(self, held: Held) -> None:
        """It is in use, and stays in memory until it is unpinned as often."""
        if not held.pins:
            self.pinned += 1
            self._take_out(held)
        held.pins += 1

    def unpin(self, held: Held) -> None:
        """A use of it is over: of all objects it is the one used last."""
        held.pins -= 1
        if not held.pins:
            self.pinned -= 1
            self._warm[held.key] = held

    def remove(self, held: Held) -> None:
        """Forget an object that is neither pinned nor busy."""
        self._take_out(held)
        if held.content is not None:
            self._leave_memory(held)
        elif held.copied:
            self.spilled -= 1
            self.spilled_bytes -= held.size

    def _take_out(self, held: Held) -> None:
        if self._warm.pop(held.key, None) is not None or self._stuck.pop(held.key, None) is not None:
            return
        if self._cold.pop(held.key, None) is not None:
            self.cold_bytes -= held.charge

    def _leave_memory(self, held: Held) -> None:
        assert held.content is not None
        files, held.content = held.content.files, None
        self._add_charge(held, -held.charge)
        for heir, size in self._files.leave(held, files):
            self._add_charge(heir, size)

    def _add_charge(self, held: Held, size: int) -> None:
        held.charge += size
        self.held_bytes += size
        if held.key in self._cold:
            self.cold_bytes += size
        if held.key in self._writing:
            self.writing_bytes += size

    # ---- to disk

    def to_write(self, need: int = 0) -> list[Held]:
        """What should be written now, the least recently used first, so that soon ``need`` bytes can be had."""
        chosen = []
        goal = need + self.limit // AHEAD
        while self._warm and self.limit - self.used_bytes + self.cold_bytes + self.writing_bytes < goal:
            _, held = self._warm.popitem(last=False)
            if held.busy:
                continue  # it was used while it is written, and is cold after that
            if held.copied:
                self._cool(held)
            elif self.failing:
                self._stuck[held.key] = held
            else:
                chosen.append(self._write(held))
        return chosen

    def write_at_once(self, held: Held) -> Held:
        """Write what has just entered, whether there is need or not."""
        self._take_out(held)
        return self._write(held)

    def probe(self) -> Held | None:
        """What to write to a failing disk, to see whether it works again; None when nothing has to be written."""
        if not self._stuck:
            self.failing = False
            return None
        self._probe = self._write(self._stuck.popitem(last=False)[1])
        return self._probe

    def _write(self, held: Held) -> Held:
        held.busy = True
        self._writing[held.key] = held
        self.writing_bytes += held.charge
        return held

    def written(self, held: Held) -> None:
        """It is on disk now, too."""
        self._write_ended(held)
        held.copied = True
        if held is self._probe:
            self._probe = None
            self._recover()
        if not held.pins and held.key not in self._warm:
            self._cool(held)

    def write_failed(self, held: Held) -> None:
        """The disk did not take it. It stays in memory, and nothing but a probe is written from now on."""
        self._write_ended(held)
        self.failing = True
        if held is self._probe:
            self._probe = None
        if not held.pins and held.key not in self._warm:
            self._stuck[held.key] = held
            self._stuck.move_to_end(held.key, last=False)

    def not_written(self, held: Held) -> None:
        """It was chosen to be written, and is dropped instead; remove() has to be called."""
        self._write_ended(held)
        self._cool(held)

    def _write_ended(self, held: Held) -> None:
        held.busy = False
        del self._writing[held.key]
        self.writing_bytes -= held.charge

    def _cool(self, held: Held) -> None:
        self._cold[held.key] = held
        self.cold_bytes += held.charge

    def _recover(self) -> None:
        self.failing = False
        self._stuck.update(self._warm)
        self._warm, self._stuck = self._stuck, OrderedDict()

    # ---- from disk

    def read(self, held: Held) -> None:
        """It is being read, into room that was claimed."""
        held.busy = True
        self.reading += 1

    def was_read(self, held: Held, content: Content) -> None:
        """It is in memory again, in the room that was claimed."""
        self._read_ended(held)
        self.spilled -= 1
        self.spilled_bytes -= held.size
        held.content = content
        self.enter(held)

    def read_failed(self, held: Held) -> None:
        """It stays where it is; its room is free again."""
        self._read_ended(held)

    def _read_ended(self, held: Held) -> None:
        held.busy = False
        self.reading -= 1
        self.unclaim(held.size)

    # ---- doubted

    def check(self, objects: list[Held]) -> None:
        """Recompute every derived fact from all objects there are. Raises AssertionError where it differs."""
        resident = [held for held in objects if held.content is not None]
        writing = [held for held in resident if held.busy]
        spilled = [held for held in objects if held.content is None]
        files = {file for held in resident for file in (held.content.files if held.content else ())}
        plain = sum(held.size for held in resident if held.content and not held.content.files)
        assert self.held_bytes == plain + sum(size for _, size in files) and self.claimed_bytes >= 0
        assert self.held_bytes == sum(held.charge for held in objects)
        assert self.cold_bytes == sum(held.charge for held in self._cold.values())
        assert set(self._writing) == {held.key for held in writing}
        assert self.writing_bytes == sum(held.charge for held in writing)
        assert self.reading == sum(held.busy for held in spilled)
        assert self.pinned == sum(bool(held.pins) for held in objects)
        assert (self.spilled, self.spilled_bytes) == (len(spilled), sum(held.size for held in spilled))
        assert all(held.copied and not held.pins for held in spilled)
        for held in objects:
            places = [held.key in order for order in (self._warm, self._cold, self._stuck)]
            assert sum(places) == (held.content is not None and not held.pins and (not held.busy or places[0]))
            assert not places[1] or held.copied
            assert not places[2] or not held.copied
        assert all(
            held.key in {known.key for known in objects} for held in (*self._warm.values(), *self._cold.values())
        )
        assert self.failing or not self._stuck
