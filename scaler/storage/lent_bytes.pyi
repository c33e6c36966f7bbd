from typing import final

@final
class LentBytes:
    """Bytes objects that are made of memory in a Mapping where it is: without a copy, in the time that it takes to map it.

    A bytes object is a head, of 32 bytes mostly, and its bytes behind it, with a zero at the end. The head is written into what
    lies before the bytes in the mapping, which is of this process alone: one page of it is copied for that. As CPython would free
    the memory with the last reference, one is held here, and ``sweep`` lets go what nobody else refers to. What somebody refers
    to as the process ends stays mapped until then.

    For CPython with its interpreter lock; elsewhere all is copied. Not safe without that lock.
    """

    def __new__(cls, least: int, most: int) -> LentBytes:
        """Bytes objects of ``least`` bytes and more are made so, ``most`` of them at once; others are copied."""
    def __len__(self) -> int:
        """How many are not let go yet."""
    def copy(self, view: memoryview, /) -> bytes:
        """As bytes(view). It is copied, too, where the memory is no Mapping's, where something else than zeros lies within 32
        bytes before it, or it ends before the mapping does with another byte than zero behind it. Raises MemoryError.
        """
    def sweep(self) -> None:
        """Let go what nobody refers to; its mappings end with that, unless others have them."""
