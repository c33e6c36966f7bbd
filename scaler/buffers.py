"""Pickles whose large buffers lie beside them, so that writing and reading do not copy them.

Where no buffer is large it is a pickle like any other. Otherwise, with all numbers little-endian:

    byte 0        0x42, by which no pickle begins
    byte 1        1 where the object is bytes, those of the only buffer; else 0
    offset 4      u32 how many buffers
    offset 8      u64 size of the pickle
    offset 16     for each buffer u64 offset, u64 size
    then          the pickle, of protocol 5, with the buffers out of band
    then          the buffers, each from a multiple of 4,096, zeros between
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import Buffer

LARGE_BYTES = 64 << 10
"""Smaller buffers stay inside of the pickle."""
ALIGNMENT = 4096
"""A page, so that a buffer in shared memory can become part of another object where it is."""
_MARK = 0x42
_HEAD = struct.Struct("<BB2xIQ")
_PLACE = struct.Struct("<QQ")


def dump(
    obj: Any, pickled: Callable[[Any, Callable[[pickle.PickleBuffer], bool], Callable[[], None]], bytes]
) -> list[Buffer]:
    """The object as bytes, in parts that follow each other; ``pickled(obj, buffer_callback, start_again)`` makes the pickle.

    It calls ``start_again`` before it pickles another time: the buffers of the time before are no part of it.
    """
    large: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < LARGE_BYTES:
            return True
        large.append(view)
        return False

    kind = type(obj)
    if kind in (bytes, bytearray) and len(obj) >= LARGE_BYTES:
        obj = _Bytes(obj)
    content = pickled(obj, beside, large.clear)
    return [content] if not large else _laid_out(content, large, kind is bytes)


class LargeBufferError(Exception):
    """What is pickled has a large buffer."""


def refuse_large(buffer: pickle.PickleBuffer) -> bool:
    """A buffer_callback for what should become a small pickle. Raises LargeBufferError for a large buffer."""
    if buffer.raw().nbytes >= LARGE_BYTES:
        raise LargeBufferError
    return True


def load(data: bytes | memoryview) -> Any:
    """What dump() wrote, from one contiguous buffer; large buffers are views of it."""
    if not data or data[0] != _MARK:
        return pickle.loads(data)
    view = memoryview(data)
    _, is_bytes, count, size = _HEAD.unpack_from(view)
    begin = _HEAD.size + count * _PLACE.size
    if is_bytes:
        place, length = _PLACE.unpack_from(view, _HEAD.size)
        return _copy(view[place : place + length])
    places = _PLACE.iter_unpack(view[_HEAD.size : begin])
    return pickle.loads(view[begin : begin + size], buffers=[view[place : place + length] for place, length in places])


_copy: Callable[[memoryview], bytes] = bytes


def set_copy(copy: Callable[[memoryview], bytes]) -> None:
    """Say what makes large bytes objects in this process, out of a view of their content."""
    global _copy
    _copy = copy


def size_of(parts: Sequence[Buffer]) -> int:
    """In bytes, of all together."""
    return sum(memoryview(part).nbytes for part in parts)


class _Bytes:
    """Bytes or a bytearray, as a buffer."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self._content), (pickle.PickleBuffer(self._content),)


def _laid_out(content: bytes, large: Sequence[memoryview], is_bytes: bool) -> list[Buffer]:
    end = _HEAD.size + len(large) * _PLACE.size + len(content)
    places: list[bytes] = []
    parts: list[Buffer] = []
    for view in large:
        padding = -end % ALIGNMENT
        places.append(_PLACE.pack(end + padding, view.nbytes))
        parts += [bytes(padding), view]
        end += padding + view.nbytes
    return [_HEAD.pack(_MARK, is_bytes, len(large), len(content)) + b"".join(places) + content, *parts]
