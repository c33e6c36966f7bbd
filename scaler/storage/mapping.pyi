"""Open files as memory: pieces of them one after the other to be read, or the begin of one to be written."""

from collections.abc import Sequence
from typing import Final, final

PAGE: Final[int]
"""The page size in bytes."""

@final
class Mapping:
    """A read-only buffer. It stays valid whatever happens to the descriptors, which may be closed at once.

    Pages are shared with the files: nothing is copied, but pages that LentBytes writes a head or an end to. One byte behind the
    last one can be read; what is behind the end of a file must not be.
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

@final
class WritableMapping:
    """The begin of an open file in memory, to be written to often: that costs half of a system call that writes the same bytes.

    All its pages should be there already: nobody is told where the system has no memory left for one.
    """

    def __new__(cls, descriptor: int, size: int) -> WritableMapping:
        """Of so many bytes. Raises ValueError for none, and OSError where the system refuses to map them."""
    def write(self, part: object, offset: int, /) -> None:
        """Copy a contiguous buffer to this offset. Other threads go on where it is long. Raises ValueError beyond the end."""

def same(left: object, right: object, /) -> bool:
    """Whether two contiguous buffers hold the same bytes. Other threads go on meanwhile."""

def address_of(buffer: object, /) -> int:
    """Where a contiguous buffer begins in the memory of this process."""
