"""Memory for large objects: files in shared memory, so that it is given back at once and others on this host can map it."""

from __future__ import annotations

import mmap
import os

from scaler.storage.content import SHARED_BYTES, Content, Plain, Room, plain
from scaler.storage.mapping import PAGE
from scaler.storage.segments import Segment, SharedObject


class SharedRoom:
    """Room in a file in shared memory, of which only what is written to takes memory.

    Where such files turn out to be too small, it moves to ordinary memory. Raises OSError.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._segment: Segment | None = Segment.make(size)
        self._plain: Plain | None = None

    def write(self, offset: int, part: bytes | bytearray | memoryview) -> None:
        if self._segment is not None:
            try:
                self._segment.write([memoryview(part)], offset)
                return
            except OSError:
                memory = _ordinary(self._size)
                os.preadv(self._segment.descriptor, [memory[:offset]], 0)
                self._segment, self._plain = None, Plain(memory)
        assert self._plain is not None
        self._plain.write(offset, part)

    def content(self) -> Content:
        if self._segment is None:
            assert self._plain is not None
            return self._plain.content()
        return shared_content(SharedObject([self._segment.piece(0, self._size)], [self._segment]))


def allocate(size: int) -> Room:
    """Room for an object of so many bytes. Raises OSError."""
    if size < SHARED_BYTES:
        return plain(size)
    try:
        return SharedRoom(size)
    except (OSError, AttributeError):  # No descriptor is left, or this system has no such files.
        return Plain(_ordinary(size))


def _ordinary(size: int) -> memoryview:
    """Straight from the system, to which it goes back at once."""
    return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def shared_content(shared: SharedObject) -> Content:
    """An object in shared memory, mapped. Raises OSError."""
    files = tuple((segment.name, segment.size + PAGE) for segment in shared.segments)
    return Content(shared.map().view, shared, files)


def raise_descriptor_limit() -> None:
    """Let this process have as many files open as it may: each large object is one."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
