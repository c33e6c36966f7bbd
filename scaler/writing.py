"""Writing buffers that lie apart, without joining them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

MOST_BUFFERS = 512
"""In one call; the system takes 1,024."""


def write_all(parts: Iterable[memoryview], write: Callable[[list[memoryview]], int]) -> None:
    """Have all bytes of these buffers written; ``write`` is given some and returns how many bytes it has taken."""
    rest, first = list(parts), 0
    while first < len(rest):
        done = write(rest[first : first + MOST_BUFFERS])
        while first < len(rest) and done >= rest[first].nbytes:
            done -= rest[first].nbytes
            first += 1
        if done:
            rest[first] = rest[first][done:]


def write_at(descriptor: int, parts: Iterable[memoryview], offset: int) -> int:
    """Write these, one after the other, from this offset of a file on; returns where they end. Raises OSError."""

    def write(some: list[memoryview]) -> int:
        nonlocal offset
        done = os.pwritev(descriptor, some, offset)
        offset += done
        return done

    write_all(parts, write)
    return offset
