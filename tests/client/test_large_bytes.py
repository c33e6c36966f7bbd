"""The memory of large results is held for a while."""

from __future__ import annotations

import pickle

from scaler import buffers
from scaler.client.large_bytes import LargeBytes

SIZE = 1 << 20


def test_memory_is_held_until_it_is_not_used_for_a_while() -> None:
    made = LargeBytes()
    first = id(made.copy(memoryview(b"a" * SIZE)))
    assert id(made.copy(memoryview(b"b" * SIZE))) == first
    assert not made.drop_unused(3600) and len(made.held) == 1
    assert made.drop_unused(0) and len(made.held) == 0
    kept = made.copy(memoryview(b"c" * SIZE))
    assert made.drop_unused(0) and kept == b"c" * SIZE, "what somebody has stays"


def test_bytes_that_are_read_are_made_as_it_was_said() -> None:
    content = b"".join(
        map(bytes, buffers.dump(b"x" * SIZE, lambda obj, beside, _: pickle.dumps(obj, 5, buffer_callback=beside)))
    )
    asked: list[int] = []
    try:
        buffers.set_copy(lambda view: asked.append(view.nbytes) or bytes(view))
        assert buffers.load(content) == b"x" * SIZE and asked == [SIZE]
    finally:
        buffers.set_copy(bytes)
    marked = bytearray(content)
    marked[1] = 0
    assert buffers.load(bytes(marked)) == b"x" * SIZE, "the pickle says the same to who does not know the mark"
