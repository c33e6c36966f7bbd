"""Memory for the content of objects."""

from __future__ import annotations

import mmap

LARGE_BYTES = 256 << 10
"""So much or more comes from the system and goes back to it as soon as nobody uses it. What malloc has for blocks of this size
it keeps, in pieces: a storage that is always full would have twice the memory that it counts."""
_PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0) | getattr(mmap, "MAP_NORESERVE", 0)


def allocate(size: int) -> memoryview:
    """A buffer of zeros, of which only what is written to takes memory. Raises MemoryError."""
    if size < LARGE_BYTES:
        return memoryview(bytearray(size))
    try:
        pages = mmap.mmap(-1, size, flags=_PRIVATE)
    except OSError:  # A process may have so many mappings only.
        return memoryview(bytearray(size))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(pages)
