"""imap and imap_unordered: results as they come, of calls that are asked for as they are needed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client.arrays import ArrayTask, ItemsEnded
from scaler.client.batch import Packer, failure_of, read_items
from scaler.client.future import Outcome
from scaler.errors import SerializationError
from scaler.messages import ResultStatus

if TYPE_CHECKING:
    from scaler.client.service import ClientService

AHEAD_SECONDS = 0.25
"""The calls under way are as many as end in this time,"""
LEAST_AHEAD, MOST_AHEAD, MOST_AHEAD_BYTES = 64, 100_000, 64 << 20
"""within these limits, unless the user names a number."""
_GOOD = (ResultStatus.succeeded, ResultStatus.stored)


class StreamTimeoutError(TimeoutError):
    """No result came in time: of the stream itself, not of a call that raised a TimeoutError of its own."""


class ItemStream(Iterator[Any]):
    """What imap() returns. A call that failed raises when its turn comes; the next one can be asked for then."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed

    def __next__(self) -> Any:
        return self._feed.next(None)

    def next(self, timeout: float | None = None) -> Any:
        """As the builtin next(). Raises StreamTimeoutError when nothing came for ``timeout`` seconds."""
        return self._feed.next(timeout)

    def close(self) -> None:
        """Cancel what is under way. Nothing more comes."""
        self._feed.close()

    def __del__(self) -> None:
        self._feed.close()


def stream(
    service: ClientService, packer: Packer, calls: Iterable[Sequence[Any]], ordered: bool, buffersize: int | None
) -> ItemStream:
    """Begin to take calls from the iterable, in a thread of its own."""
    feed = _Feed(service, packer, ordered, buffersize)
    threading.Thread(target=feed.run, args=(iter(calls),), name="scaler-imap", daemon=True).start()
    return ItemStream(feed)


class _Feed:
    """Between the thread that takes calls, the client's thread that tells how they ended, and the user's."""

    def __init__(self, service: ClientService, packer: Packer, ordered: bool, buffersize: int | None) -> None:
        self._service = service
        self._packer = packer
        self._ordered = ordered
        self._buffersize = buffersize
        self._changed = threading.Condition()
        self._packed: list[tuple[bytes, bytes]] = []
        """Calls that are not sent yet, the first of which has the place ``_sent``."""
        self._sent = 0
        self._taken = self._given = self._ended = 0
        """Calls taken from the iterable, results given to the user, results that arrived."""
        self._bytes = 0
        self._began = time.monotonic()
        self._places: dict[int, int] = {}
        self._arrays: dict[int, ArrayTask] = {}
        self._waiting: list[tuple[int, int, ItemsEnded | BaseException]] = []
        """A heap by place of what cannot be given yet; the third entry is never compared."""
        self._arrivals: deque[ItemsEnded | BaseException] = deque()
        """What can be given now."""
        self._ready: deque[Any] = deque()
        """Results that have been read; only the user's thread looks at them."""
        self._exhausted = self._closed = self._full = False
        self._end: BaseException | None = None
        """What the iterable raised, or why no more will come."""

    # ---- the thread that takes calls

    def run(self, calls: Iterator[Sequence[Any]]) -> None:
        error: BaseException | None = None
        try:
            with self._service.making_tasks:
                while self._wait_for_room():
                    self._take(tuple(next(calls)))
        except StopIteration:
            pass
        except BaseException as raised:
            error = raised
        with self._changed:
            self._exhausted = True
            self._end = self._end or error
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        if self._taken - self._given >= self._limit():
            with self._changed:
                self._full = True
                self._changed.wait_for(lambda: self._closed or self._taken - self._given <= self._limit() // 2)
                self._full = False
        return not self._closed

    def _limit(self) -> int:
        if self._buffersize is not None:
            return self._buffersize
        least = max(LEAST_AHEAD, 4 * self._service.slots)
        rate = self._ended / (time.monotonic() - self._began + 1e-3)
        most = MOST_AHEAD_BYTES * max(1, self._taken) // max(1, self._bytes)
        return max(2 * self._service.slots, min(most, max(least, min(MOST_AHEAD, int(rate * AHEAD_SECONDS)))))

    def _take(self, args: tuple[Any, ...]) -> None:
        try:
            packed = self._packer.pack(args)
        except SerializationError as error:
            with self._changed:
                place = self._taken
                self._taken += 1
                self._flush_locked()
                self._sent = self._taken
                self._arrived(place, error)
            return
        with self._changed:
            self._taken += 1
            self._bytes += len(packed[0])
            self._packed.append(packed)
            first = len(self._packed) == 1
        if first:
            self._service.soon(self._flush)

    def _flush(self) -> None:
        """Send what was taken, all in one. Called by the client's thread, so that nothing waits for more to come."""
        with self._changed:
            self._flush_locked()

    def _flush_locked(self) -> None:
        packed, self._packed = self._packed, []
        for whole in self._packer.arrays(packed, self) if packed and not self._closed else ():
            self._places[whole.first] = self._sent
            self._arrays[whole.first] = whole
            self._sent += len(whole)
            self._service.submit_array(whole)

    # ---- the client's thread

    def finish_items(self, ended: ItemsEnded) -> None:
        with self._changed:
            whole = ended.whole
            place = self._places[whole.first] + ended.begin
            count = ended.end - ended.begin
            self._ended += count
            self._bytes += len(ended.payload)
            if not whole.untold:
                self._places.pop(whole.first)
                self._arrays.pop(whole.first)
            if self._closed:
                _free(self._service, ended)
            elif ended.status in _GOOD:
                self._arrived(place, ended)
            else:
                self._service.collections.add(whole.first + ended.begin, count)
                for offset in range(count):
                    self._arrived(place + offset, failure_of(self._service, Outcome(ended.status, ended.payload)))

    def give_up(self, outcome: Outcome | BaseException) -> None:
        with self._changed:
            self._closed = True
            self._end = self._end or failure_of(self._service, outcome)
            self._changed.notify_all()

    def _arrived(self, place: int, what: ItemsEnded | BaseException) -> None:
        if self._ordered:
            heappush(self._waiting, (place, id(what), what))
        else:
            self._arrivals.append(what)
        self._changed.notify_all()

    # ---- the user's thread

    def next(self, timeout: float | None) -> Any:
        while not self._ready:
            what = self._next_arrival(timeout)
            if isinstance(what, BaseException):
                self._gave()
                raise what
            try:
                self._ready.extend(read_items(self._service, what, self._packer.serializer))
            except Exception as error:
                with self._changed:
                    self._arrivals.extendleft([error] * (what.end - what.begin))
        self._gave()
        return self._ready.popleft()

    def _next_arrival(self, timeout: float | None) -> ItemsEnded | BaseException:
        """Waits for it. Raises StopIteration, or what the iterable raised, at the end."""
        with self._changed:
            if not self._changed.wait_for(self._something_is_there, timeout):
                raise StreamTimeoutError(f"no result came for {timeout} s")
            if not self._arrivals and self._next_is_there():
                self._arrivals.append(heappop(self._waiting)[2])
            if self._arrivals:
                return self._arrivals.popleft()
            error, self._end = self._end, None
            self._closed = True
            self._changed.notify_all()
        raise error if error is not None else StopIteration

    def _something_is_there(self) -> bool:
        return bool(self._arrivals) or self._next_is_there() or self._closed or self._over()

    def _next_is_there(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] == self._given

    def _over(self) -> bool:
        return self._exhausted and self._given == self._taken

    def _gave(self) -> None:
        self._given += 1
        # The other thread says that it waits before it looks: one of the two sees the other.
        if self._full and self._taken - self._given <= self._limit() // 2:
            with self._changed:
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            arrays = list(self._arrays.values())
            left = [*self._arrivals, *(entry[2] for entry in self._waiting)]
            self._arrivals.clear()
            self._waiting.clear()
            self._ready.clear()
        self._service.cancel_arrays(arrays)
        for what in left:
            if isinstance(what, ItemsEnded):
                _free(self._service, what)


def _free(service: ClientService, ended: ItemsEnded) -> None:
    """A result that nobody will read."""
    service.collections.add(ended.whole.first + ended.begin, ended.end - ended.begin)
    if ended.status == ResultStatus.stored:
        service.objects.release(serialization.stored_id(ended.payload))
