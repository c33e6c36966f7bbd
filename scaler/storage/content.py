"""The bytes of an object in memory, and memory for bytes that are still to come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

SHARED_BYTES = 256 << 10
"""Objects of so many bytes and more are in files in shared memory, where the system has them. Smaller ones are kept as they came,
and travel over the connection, where that is quicker than a file."""


@dataclass(slots=True)
class Content:
    """The bytes of an object; where they are is the service's business."""

    view: memoryview
    shared: Any = field(default=None, compare=False)
    """What holds them in shared memory, if they are there."""
    files: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    """The files in shared memory that are held with it: their names, and how many bytes of memory each takes."""


class Room(Protocol):
    """Memory for an object that comes in parts."""

    def write(self, offset: int, part: bytes | bytearray | memoryview) -> None:
        """Raises OSError where the system has no more memory."""

    def content(self) -> Content:
        """All of it, read-only; nothing may be written any more."""


class Plain:
    """Room in memory that is not shared: a writable buffer of bytes."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def write(self, offset: int, part: bytes | bytearray | memoryview) -> None:
        self._memory[offset : offset + len(part)] = part

    def content(self) -> Content:
        return Content(self._memory.toreadonly())


def plain(size: int) -> Room:
    """Room for so many bytes in ordinary memory."""
    return Plain(memoryview(bytearray(size)))
