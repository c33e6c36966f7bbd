"""What a client's calls took, by function: numbers only, however many calls there are."""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from scaler._core.tally import BUCKETS, CANCELLED, FAILED, GOOD, WIDTH, add_calls, bucket_bounds
from scaler.ids import Column, u32, u64
from scaler.messages import Results, ResultStatus

MOST_NAMES = 1000
OTHERS = "(other functions)"
"""What more names there are is counted as one."""
SLOWEST = 10
"""How many of the slowest calls are kept."""
MOST_OWED, A_MESSAGE = 2000, 20
"""So many tasks may be counted later, each message as if it had some more."""
LONE_BYTES = 4096
"""Larger results are not held for that."""
NONE = 0xFFFFFFFF
RETRIED = 3
"""Where a row has the retries; scaler._core.tally has the others."""
_HEAD = WIDTH - 2 * BUCKETS
_KINDS = bytearray([FAILED] * 256)
_KINDS[ResultStatus.succeeded] = _KINDS[ResultStatus.stored] = GOOD
_KINDS[ResultStatus.cancelled] = CANCELLED


_Times = tuple[Column, Column, Column]
"""Wall and CPU microseconds, peak bytes."""


class Called(Protocol):
    """A task, of which it matters what it called."""

    @property
    def function(self) -> int: ...


class Distribution:
    """Of times in microseconds, by buckets."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = list(counts)

    def quantile(self, share: float, most: float = float("inf")) -> float:
        """The time that this share of the calls did not exceed, wrong by 6 % at most, never above ``most``; 0 without any."""
        rank, passed = share * sum(self.counts), 0
        for bucket, count in enumerate(self.counts):
            passed += count
            if count and passed >= rank:
                low, high = bucket_bounds(bucket)
                return min((low + high - 1) / 2, most)
        return 0.0

    def octaves(self) -> list[tuple[int, int, int]]:
        """(from, to, calls) by powers of two, without what is empty at both ends."""
        found: dict[tuple[int, int], int] = {}
        for bucket, count in enumerate(self.counts):
            low = bucket_bounds(bucket)[0]
            power = 1 << low.bit_length() - 1 if low else 0
            found[power, max(1, 2 * power)] = found.get((power, max(1, 2 * power)), 0) + count
        rows = [(*bounds, count) for bounds, count in found.items()]
        filled = [place for place, row in enumerate(rows) if row[2]]
        return rows[filled[0] : filled[-1] + 1] if filled else []


class Tally:
    """Told of functions and results by the client's state, read by reports."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """By place."""
        self.arguments_bytes = 0
        self.results_bytes = 0
        """Inside messages; what is in the object storage is not in there."""
        self.busy_seconds = 0.0
        """How long anything was unfinished, up to the last time that nothing was."""
        self.busy_since: float | None = None
        """Since when something is unfinished; None: nothing is."""
        self.slowest: list[tuple[int, int, int, bool]] = []
        """(wall microseconds, sequence, place, whether it ended well), a heap."""
        self._places: dict[str, int] = {}
        self._of_function = array("I")
        """By function number: its place."""
        self._table = array("Q")
        self._noted: deque[tuple[array[int], bytes, _Times, Column, Column]] = deque()
        self._lone: list[tuple[Results, int]] = []
        """Messages of one task, and what it called."""
        self._owed = 0

    def define(self, number: int, name: str) -> None:
        """A function is called so."""
        if name not in self._places:
            if len(self.names) >= MOST_NAMES:
                name = OTHERS
            if name not in self._places:
                self._places[name] = len(self.names)
                self.names.append(name)
                self._table.frombytes(bytes(8 * WIDTH))
        if number >= len(self._of_function):
            self._of_function.extend([NONE] * (number + 1 - len(self._of_function)))
        self._of_function[number] = self._places[name]

    def note(self, message: Results, tasks: Sequence[Called | None]) -> None:
        """These ended; None is not to be counted. It counts with the next fold(): whoever waits for a result is told before."""
        if len(tasks) == 1 and tasks[0] is not None and not message.retried and len(message.payloads[0]) <= LONE_BYTES:
            self._lone.append((message, tasks[0].function))
            self._owed += A_MESSAGE
            return
        places = self._of_function
        chosen = array("I", [NONE if task is None else places[task.function] for task in tasks])
        times = message.wall_microseconds, message.cpu_microseconds, message.peak_memory_bytes
        self._noted.append((chosen, message.statuses, times, message.tasks, message.retried))
        self._owed += A_MESSAGE + len(tasks)
        self.results_bytes += sum(map(len, message.payloads))

    @property
    def owes_much(self) -> bool:
        """Whether it is time for a fold()."""
        return self._owed >= MOST_OWED

    def fold(self) -> None:
        """Count what was noted."""
        self._owed = 0
        if self._lone:
            self._fold_lone()
        while self._noted:
            places, statuses, times, tasks, again = self._noted.popleft()
            self._add(places, statuses, b"", times, tasks)
            for place, retried in zip(places, u32(again), strict=False):
                if place != NONE:
                    self._table[place * WIDTH + RETRIED] += retried

    def _fold_lone(self) -> None:
        """Messages of a task each, as if they had been one."""
        lone, self._lone = self._lone, []
        messages = [message for message, _ in lone]
        times = (
            b"".join([message.wall_microseconds for message in messages]),
            b"".join([message.cpu_microseconds for message in messages]),
            b"".join([message.peak_memory_bytes for message in messages]),
        )
        places = array("I", [self._of_function[function] for _, function in lone])
        statuses, tasks = b"".join([m.statuses for m in messages]), b"".join([m.tasks for m in messages])
        self._add(places, statuses, b"", times, tasks)
        self.results_bytes += sum(len(message.payloads[0]) for message in messages)

    def items_ended(self, function: int, sequence: int, count: int, message: Results, entry: int) -> None:
        """So many items, from this one on, ended: all or a part of what an entry of a message tells."""
        all_of_them = (u32(message.counts) or [1] * (entry + 1))[entry] or 1
        wall, cpu = (
            u64(column)[entry] * count // all_of_them
            for column in (message.wall_microseconds, message.cpu_microseconds)
        )
        place, peak = self._of_function[function], u64(message.peak_memory_bytes)[entry]
        times = (array("Q", [wall]), array("Q", [cpu]), array("Q", [peak]))
        self._add(
            array("I", [place]), message.statuses[entry : entry + 1], array("I", [count]), times, array("Q", [sequence])
        )
        if message.retried:
            self._table[place * WIDTH + RETRIED] += u32(message.retried)[entry]

    def _add(self, places: array[int], statuses: bytes, counts: Column, times: _Times, tasks: Column) -> None:
        kinds = bytes(statuses).translate(_KINDS)
        least = self.slowest[0][0] + 1 if len(self.slowest) == SLOWEST else 1
        for entry in add_calls(self._table, places, kinds, counts, *times, least):
            mean = u64(times[0])[entry] // (counts[entry] if len(counts) else 1)
            one = mean, u64(tasks)[entry], places[entry], kinds[entry] == GOOD
            (heapq.heappush if len(self.slowest) < SLOWEST else heapq.heappushpop)(self.slowest, one)

    def rows(self) -> dict[str, tuple[list[int], Distribution, Distribution]]:
        """By name: calls, failed, cancelled, retries, wall microseconds, longest, CPU microseconds, peak bytes; and how wall
        and CPU times are distributed. Safe in any thread."""
        table, found = self._table[:], {}
        for place, name in list(enumerate(self.names)):
            row = table[place * WIDTH : (place + 1) * WIDTH]
            if row and row[0]:
                wall, cpu = row[_HEAD : _HEAD + BUCKETS], row[_HEAD + BUCKETS :]
                found[name] = row[:_HEAD].tolist(), Distribution(wall), Distribution(cpu)
        return found

    # ---- when something is unfinished

    def began(self, now: float) -> None:
        """Something is unfinished."""
        if self.busy_since is None:
            self.busy_since = now

    def finished(self, now: float) -> None:
        """Nothing is."""
        if self.busy_since is not None:
            self.busy_seconds += now - self.busy_since
            self.busy_since = None
