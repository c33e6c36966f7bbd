from typing import Self

from typing_extensions import Buffer, disjoint_base

@disjoint_base
class Recycled:
    """Bytes objects that were made here, and whose memory is used again when nobody else refers to them any more.

    Memory that a process gets anew from the system costs several times as much as writing to it. At most ``limit`` bytes are
    held; what was made longest ago is let go first. Not safe without the interpreter's lock.
    """

    size: int
    """How many bytes are held."""

    def __new__(cls, limit: int) -> Self: ...
    def copy(self, data: Buffer, /) -> bytes:
        """As bytes(data); less than a page is not held. Raises MemoryError."""

    def clear(self) -> None:
        """Hold nothing."""

    def __len__(self) -> int:
        """How many objects are held."""
