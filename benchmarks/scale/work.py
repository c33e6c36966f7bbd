"""What simulated clients say: messages of single tasks, arrays and graphs, without end or so many."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

from scaler.messages import Submit, SubmitArray

FRAME = 1000
"""Tasks in a Submit."""
ARRAY = 1_000_000
"""Items in a SubmitArray."""
PAYLOAD = bytes(16)
ITEM_BYTES = 4
LEAVES, PAIRS, SUMS = 600, 300, 100
"""Of one graph, which is one frame: each pair takes two leaves, each sum three pairs."""
_ITEMS = bytes(ITEM_BYTES * ARRAY)
_ENDS = array("I", range(ITEM_BYTES, ITEM_BYTES * ARRAY + 1, ITEM_BYTES))

Said = tuple[int, int, Any]
"""(tasks, bytes, message)"""


class Words:
    """The messages of one client, which numbers its tasks."""

    def __init__(self) -> None:
        self._sequence = 0

    def _next(self, count: int) -> range:
        numbers = range(self._sequence, self._sequence + count)
        self._sequence += count
        return numbers

    def singles(self, function: int, count: int | None = None) -> Iterator[Said]:
        """Single tasks of one function."""
        for size in _parts(count, FRAME):
            numbers = array("Q", self._next(size))
            yield size, size * 24, Submit(numbers, array("I", [function]), [PAYLOAD] * size)

    def arrays(self, function: int, count: int | None = None) -> Iterator[Said]:
        """Arrays of items. They share their bytes: what they hold in memory is not told by this."""
        for size in _parts(count, ARRAY):
            whole = size == ARRAY
            items, ends = (_ITEMS, _ENDS) if whole else (_ITEMS[: size * ITEM_BYTES], _ENDS[:size])
            yield size, 2 * ITEM_BYTES * size, SubmitArray(self._next(size)[0], function, items, ends)

    def graphs(self, function: int, count: int) -> Iterator[Said]:
        """Graphs, so many tasks in all rounded up; of each the client wants the sums."""
        for _ in range(-(-count // FRAME)):
            numbers = self._next(FRAME)
            first = numbers[0]
            needed = array("Q", range(first, first + LEAVES + PAIRS))
            ends = [*repeat(0, LEAVES), *range(2, 2 * PAIRS + 1, 2), *range(2 * PAIRS + 3, len(needed) + 1, 3)]
            message = Submit(array("Q", numbers), array("I", [function]), [PAYLOAD] * FRAME)
            message.dependency_ends, message.dependencies = array("I", ends), needed
            message.wanted = bytes(LEAVES + PAIRS) + bytes([1]) * SUMS
            yield SUMS, FRAME * 40, message


def in_turns(*sources: Iterator[Said]) -> Iterator[Said]:
    """One message of each as long as they have any."""
    left = list(sources)
    while left:
        for source in list(left):
            said = next(source, None)
            if said is None:
                left.remove(source)
            else:
                yield said


def _parts(count: int | None, size: int) -> Iterator[int]:
    if count is None:
        return repeat(size)
    return chain(repeat(size, count // size), [count % size] if count % size else [])
