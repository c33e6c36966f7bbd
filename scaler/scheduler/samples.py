"""A sample of the tasks that ended, for monitors: bounded however many there are, and gathered only while somebody looks."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import repeat
from typing import Any

from scaler.ids import u32, u64
from scaler.messages import EndedTasks, Results
from scaler.scheduler.clock import Clock

A_WINDOW = 500
"""How many entries are kept of a window of time."""
WINDOW_SECONDS = 1.0
KEPT = 2000
UNKNOWN_SLOT = 0xFFFFFFFF


class Samples:
    """All entries of a second up to a bound; of more every second one, every fourth one, and so on.

    An entry is a task, or a run of items that ended together. It costs a few slices for each message of results, nothing for
    each task.
    """

    def __init__(self, clock: Clock) -> None:
        self.on = False
        """Whether anybody looks."""
        self.total = 0
        """How many tasks and items ended, as long as somebody looked."""
        self._clock = clock
        self._entries = 0
        self._stride = 1
        self._window = 0
        """Where the present window begins in the columns, and how many entries there were before."""
        self._window_entries = 0
        self._window_ends = 0.0
        self._numbers = array("Q")
        """Of each entry kept: how many there were up to it."""
        self._workers: list[bytes] = []
        self._tasks, self._wall, self._cpu, self._peak = array("Q"), array("Q"), array("Q"), array("Q")
        self._ended = array("Q")
        self._functions, self._slots, self._counts = array("I"), array("I"), array("I")
        self._statuses = bytearray()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def entries(self) -> int:
        """How many there were, kept or not."""
        return self._entries

    def add(self, worker: bytes, functions: Sequence[int], message: Results) -> None:
        """These ended; ``functions`` has the place of each one's name."""
        if self._clock.now >= self._window_ends:
            self._window_ends = self._clock.now + WINDOW_SECONDS
            self._window, self._window_entries, self._stride = len(self), self._entries, 1
            if len(self) > KEPT:
                self._cut(0, len(self) - KEPT)
        count = len(message.statuses)
        first = (self._window_entries - self._entries) % self._stride
        counts = u32(message.counts)
        self.total += sum(counts) if counts else count
        chosen = slice(first, None, self._stride)
        kept = len(range(first, count, self._stride))
        self._numbers.extend(range(self._entries + first + 1, self._entries + count + 1, self._stride))
        self._entries += count
        if kept:
            self._keep(worker, functions[chosen], message, chosen, kept)
        while len(self) - self._window > A_WINDOW:
            self._thin()

    def _keep(self, worker: bytes, functions: Sequence[int], message: Results, chosen: slice, kept: int) -> None:
        self._workers.extend(repeat(worker, kept))
        self._functions.extend(functions)
        self._tasks.extend(u64(message.tasks)[chosen])
        self._wall.extend(u64(message.wall_microseconds)[chosen])
        self._cpu.extend(u64(message.cpu_microseconds)[chosen])
        self._peak.extend(u64(message.peak_memory_bytes)[chosen])
        self._statuses.extend(message.statuses[chosen])
        self._counts.extend(u32(message.counts)[chosen] if len(message.counts) else repeat(1, kept))
        self._slots.extend(u32(message.slots)[chosen] if len(message.slots) else repeat(UNKNOWN_SLOT, kept))
        self._ended.extend(repeat(self._clock.unix_milliseconds, kept))

    def _thin(self) -> None:
        """Keep every second one of this window."""
        begin = self._window
        for column in self._columns():
            column[begin:] = column[begin::2]
        self._stride *= 2

    def _cut(self, begin: int, end: int) -> None:
        for column in self._columns():
            del column[begin:end]
        self._window -= end - begin

    def _columns(self) -> tuple[Any, ...]:
        ints = (self._numbers, self._tasks, self._wall, self._cpu, self._peak, self._ended)
        return (*ints, self._functions, self._slots, self._counts, self._statuses, self._workers)

    def since(self, entries: int, names: Sequence[str]) -> EndedTasks:
        """What is kept of those after so many; ``names`` by their places. Its ``total`` is for the caller to say."""
        begin = bisect_right(self._numbers, entries)
        functions, workers = self._functions[begin:], self._workers[begin:]
        places = {function: place for place, function in enumerate(dict.fromkeys(functions))}
        identities = {worker: place for place, worker in enumerate(dict.fromkeys(workers))}
        return EndedTasks(
            self._tasks[begin:],
            array("I", [places[function] for function in functions]),
            [names[function] for function in places],
            array("I", [identities[worker] for worker in workers]),
            list(identities),
            self._slots[begin:],
            bytes(self._statuses[begin:]),
            self._ended[begin:],
            self._wall[begin:],
            self._cpu[begin:],
            self._peak[begin:],
            self._counts[begin:],
        )

    def clear(self) -> None:
        """Nobody looks any more."""
        self.on = False
        self._window = len(self)
        self._cut(0, len(self))
        self._window_ends = 0.0
