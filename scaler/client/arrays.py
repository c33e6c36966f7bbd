"""Task arrays as the client's state knows them: what was submitted as one, and which of its items have ended."""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from scaler.messages import Awaiting, Cancel, SubmitArray, TaskOptions


@dataclass(slots=True, eq=False)
class ArrayTask:
    """Many calls of one function, as the scheduler is told of them."""

    first: int
    """The sequence of its first item."""
    function: int
    items: bytes
    """The arguments of all, one after the other."""
    ends: array[int]
    """Where each ends."""
    options: TaskOptions | None = None
    objects: dict[int, bytes] = field(default_factory=dict)
    """By item: where its arguments are, when they are in the object storage: ids, one after the other."""
    owner: Any = None
    """Whoever is to hear of its items; not looked at here."""
    cancelled: bool = False
    done: bytearray = field(init=False)
    left: int = field(init=False)
    """Items that have not ended."""
    untold: int = field(init=False)
    """Items of which the owner does not know how they ended."""

    def __post_init__(self) -> None:
        self.done = bytearray(len(self.ends))
        self.left = self.untold = len(self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    def end(self, begin: int, end: int) -> list[tuple[int, int]]:
        """These items ended; returns the runs of them that had not ended before."""
        fresh = list(self._open_runs(begin, end))
        for first, last in fresh:
            self.done[first:last] = b"\1" * (last - first)
            self.left -= last - first
        return fresh

    def _open_runs(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        while (begin := self.done.find(0, begin, end)) >= 0:
            stop = self.done.find(1, begin, end)
            last = end if stop < 0 else stop
            yield begin, last
            begin = last

    def offers(self) -> Iterator[SubmitArray]:
        """What has not ended, in messages."""
        for begin, end in self._open_runs(0, len(self)):
            before = self.ends[begin - 1] if begin else 0
            ends = self.ends[begin:end]
            if before:
                ends = array("I", [end - before for end in ends])
            items = self.items[before : self.ends[end - 1]]
            yield SubmitArray(self.first + begin, self.function, items, ends, self.options or TaskOptions())

    def offers_again(self) -> Iterator[SubmitArray | Awaiting]:
        """To a scheduler that may not know it."""
        return self.offers()

    def cancellation(self) -> Cancel:
        return Cancel(array("Q", [self.first]), array("I", [len(self)]))


class AwaitedArray(ArrayTask):
    """One that another client has submitted: of its items nothing is known but their sequences."""

    def offers_again(self) -> Iterator[SubmitArray | Awaiting]:
        for begin, end in self._open_runs(0, len(self)):
            yield Awaiting(array("Q", range(self.first + begin, self.first + end)))


@dataclass(slots=True)
class ItemsEnded:
    """Items of an array that follow each other ended alike."""

    whole: ArrayTask
    begin: int
    end: int
    status: int
    payload: bytes
    """The results, one after the other."""
    ends: array[int]
    """Where each ends; empty for a single one, and for none."""


class OpenArrays:
    """Those that have not ended, by the sequences of their items."""

    def __init__(self) -> None:
        self._by_first: dict[int, ArrayTask] = {}
        self._firsts: list[int] = []

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[ArrayTask]:
        return (self._by_first[first] for first in self._firsts)

    def add(self, task: ArrayTask) -> None:
        self._by_first[task.first] = task
        insort(self._firsts, task.first)

    def find(self, sequence: int) -> ArrayTask | None:
        """The array with the item of this sequence."""
        place = bisect_right(self._firsts, sequence) - 1
        task = self._by_first[self._firsts[place]] if place >= 0 else None
        return task if task is not None and sequence < task.first + len(task) else None

    def remove(self, task: ArrayTask) -> None:
        if self._by_first.pop(task.first, None) is not None:
            del self._firsts[bisect_right(self._firsts, task.first) - 1]
