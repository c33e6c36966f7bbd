"""Results that a client with a name has not collected, with a journal: they are kept until it says that it has."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import repeat

from scaler.errors import ProtocolError
from scaler.ids import Column, u32, u64
from scaler.messages import Results
from scaler.scheduler.columns import select_results


class Uncollected:
    """By sequence; of items that ended together by that of the first. Messages are kept as they were told."""

    def __init__(self) -> None:
        self._singles: dict[int, Results] = {}
        self._items: dict[int, tuple[Results, int, int]] = {}
        """(message, place in it, how many items)."""

    def __len__(self) -> int:
        return len(self._singles) + len(self._items)

    def add(self, results: Results) -> None:
        """These have ended."""
        sequences, counts = u64(results.tasks), u32(results.counts)
        if not counts:
            self._singles.update(zip(sequences, repeat(results)))
            return
        for place, (sequence, count) in enumerate(zip(sequences, counts, strict=True)):
            if count == 1:
                self._singles[sequence] = results
            else:
                self._items[sequence] = results, place, count

    def collect(self, sequences: Column, counts: Column = b"") -> None:
        """They are not kept any more. What was ended together goes when all of it is named at once.

        Raises ProtocolError for columns of different lengths.
        """
        firsts, lengths = u64(sequences), u32(counts)
        if lengths and len(lengths) != len(firsts):
            raise ProtocolError("columns of different lengths")
        pop = self._singles.pop
        if not lengths:
            for sequence in firsts:
                pop(sequence, None)
            return
        for first, count in zip(firsts, lengths, strict=True):
            if count > 1:
                self._collect_between(first, first + count)
            else:
                pop(first, None)

    def _collect_between(self, begin: int, end: int) -> None:
        for first, count in self.between(begin, end):
            if begin <= first and first + count <= end:
                (self._items if first in self._items else self._singles).pop(first)

    def between(self, begin: int, end: int) -> list[tuple[int, int]]:
        """(sequence, count) of what has an item from ``begin`` up to ``end``."""
        if end - begin < len(self._singles):
            found = [(sequence, 1) for sequence in range(begin, end) if sequence in self._singles]
        else:
            found = [(sequence, 1) for sequence in self._singles if begin <= sequence < end]
        return found + self.together(begin, end)

    def together(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Of these, those of several items."""
        return [(first, n) for first, (_, _, n) in self._items.items() if first < end and begin < first + n]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(sequence, count) of all."""
        yield from zip(self._singles, repeat(1))
        yield from ((first, count) for first, (_, _, count) in self._items.items())

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._singles or sequence in self._items

    def told(self, sequences: Iterable[int]) -> Iterator[Results]:
        """What is to be told of these, each of which is here."""
        together: dict[int, tuple[Results, list[int]]] = {}
        for sequence in sequences:
            if sequence in self._items:
                message, place, _ = self._items[sequence]
                yield select_results(message, [place])
            else:
                message = self._singles[sequence]
                together.setdefault(id(message), (message, []))[1].append(sequence)
        for message, wanted in together.values():
            tasks = u64(message.tasks)
            places = dict(zip(tasks, range(len(tasks)), strict=True))
            yield select_results(message, [places[sequence] for sequence in wanted])


def in_columns(told: Iterable[tuple[int, int]]) -> tuple[array[int], array[int]]:
    """(sequences, counts) of pairs, by sequence; the counts are empty where all are 1."""
    pairs = sorted(told)
    counts = array("I", [count for _, count in pairs])
    return array("Q", [sequence for sequence, _ in pairs]), counts if any(n > 1 for n in counts) else array("I")
