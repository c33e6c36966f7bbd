"""Mapping: read-only memory made of pieces of open files, one after the other."""

from collections.abc import Sequence
from typing import Final, final

PAGE: Final[int]
"""The page size in bytes."""

@final
class Mapping:
    """A read-only buffer. It stays valid whatever happens to the descriptors, which may be closed at once.

    Pages are shared with the files: nothing is copied. What is behind the end of a file must not be read.
    """

    def __new__(cls, pieces: Sequence[tuple[int, int, int]]) -> Mapping:
        """``pieces`` are (descriptor, offset, bytes); offsets, and all lengths but the last, are multiples of PAGE.

        Raises ValueError for other numbers or for no bytes, and OSError where the system refuses to map them.
        """
    def __len__(self) -> int:
        """In bytes."""
    @property
    def view(self) -> memoryview:
        """The bytes; it keeps the mapping."""
    @property
    def address(self) -> int:
        """Where it begins in the memory of this process."""

def same(left: object, right: object, /) -> bool:
    """Whether two contiguous buffers hold the same bytes. Other threads go on meanwhile."""

def address_of(buffer: object, /) -> int:
    """Where a contiguous buffer begins in the memory of this process."""
