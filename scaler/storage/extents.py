"""Which parts of a file are in use: space is given out where it fits first, and can be given out again once it is free."""

from __future__ import annotations

from bisect import bisect_left, insort

BLOCK_BYTES = 4096
"""Extents begin and end at multiples of this, so that a file system can give their blocks back."""


class Extents:
    """The free extents of a file, none next to another, and its end. All offsets and sizes are bytes."""

    def __init__(self) -> None:
        self.end = 0
        """Nothing is in use from here on."""
        self.used_bytes = 0
        """In whole blocks."""
        self._free: list[tuple[int, int]] = []
        """Offset and end of each free extent before ``end``, by offset."""

    def take(self, size: int) -> int:
        """The offset of an extent for so many bytes (1 or more): the first that is large enough, else one at the end."""
        blocks = whole_blocks(size)
        self.used_bytes += blocks
        for index, (offset, end) in enumerate(self._free):
            if end - offset >= blocks:
                self._free[index : index + 1] = [(offset + blocks, end)] if end - offset > blocks else []
                return offset
        self.end += blocks
        return self.end - blocks

    def give_back(self, offset: int, size: int) -> None:
        """Free what ``take(size)`` returned as this offset."""
        end = offset + whole_blocks(size)
        self.used_bytes -= end - offset
        index = bisect_left(self._free, (offset, end))
        if index < len(self._free) and self._free[index][0] == end:
            end = self._free.pop(index)[1]
        if index and self._free[index - 1][1] == offset:
            offset = self._free.pop(index - 1)[0]
        if end == self.end:
            self.end = offset
        else:
            insort(self._free, (offset, end))

    def check(self) -> None:
        """Raises AssertionError where free extents overlap or touch, or the counts do not agree."""
        edges = [edge for extent in self._free for edge in extent]
        assert edges == sorted(set(edges)) and all(edge % BLOCK_BYTES == 0 for edge in (*edges, self.end))
        assert not edges or edges[-1] < self.end
        assert self.used_bytes == self.end - sum(end - offset for offset, end in self._free)


def whole_blocks(size: int) -> int:
    """Rounded up to blocks."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES
