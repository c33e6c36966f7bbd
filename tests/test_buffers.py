"""Pickles with their large buffers beside them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from scaler.buffers import ALIGNMENT, LARGE_BYTES, dump, load, size_of

SMALL, LARGE = LARGE_BYTES - 8, LARGE_BYTES


def pickled(obj: Any, callback: Any, start_again: Any) -> bytes:
    return pickle.dumps(obj, 5, buffer_callback=callback)


def joined(obj: Any) -> bytes:
    return b"".join(dump(obj, pickled))


@pytest.mark.parametrize("obj", [None, [1, "a"], b"", b"x" * SMALL, np.arange(SMALL // 8)], ids=repr)
def test_without_large_buffers_it_is_a_pickle(obj: Any) -> None:
    assert pickle.loads(joined(obj)) is None or np.array_equal(pickle.loads(joined(obj)), obj)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_come_back_as_what_they_were(kind: type) -> None:
    for size in (LARGE - 1, LARGE, LARGE + 1, 1_000_000):
        obj = kind(range(256)) * (size // 256) + kind(size % 256)
        found = load(joined(obj))
        assert found == obj and type(found) is kind


def test_large_buffers_are_views_from_whole_pages() -> None:
    arrays = [np.arange(n) for n in (LARGE // 8, 3, 100_001)]
    content = joined({"a": arrays, "again": arrays[0]})
    found = load(content)
    assert all(map(np.array_equal, found["a"], arrays)) and found["again"] is found["a"][0]
    base = np.frombuffer(content, "u1").ctypes.data
    for array in (found["a"][0], found["a"][2]):
        assert (array.ctypes.data - base) % ALIGNMENT == 0 and not array.flags.writeable
    assert found["a"][1].flags.writeable


def test_nothing_large_is_copied_to_write() -> None:
    array = np.zeros(1 << 20)
    parts = dump([array, np.asfortranarray(np.ones((300, 400)))], pickled)
    assert any(np.shares_memory(np.frombuffer(part, "u1"), array) for part in parts if len(memoryview(part)))
    assert size_of(parts) == len(b"".join(parts))


def test_buffers_that_are_not_contiguous_and_empty_ones() -> None:
    grid = np.arange(1 << 20).reshape(1024, 1024)
    for obj in (grid[:, ::2], grid.T, np.empty((0, 5))):
        assert np.array_equal(load(joined(obj)), obj)


def test_only_the_buffers_of_the_last_attempt_count() -> None:
    first, second = np.zeros(LARGE // 8), np.ones(LARGE // 8)

    def twice(obj: Any, callback: Any, start_again: Any) -> bytes:
        pickle.dumps(obj[:1], 5, buffer_callback=callback)
        start_again()
        return pickle.dumps(obj, 5, buffer_callback=callback)

    content = b"".join(dump([first, second], twice))
    assert np.array_equal(load(content), [first, second]) and len(content) < 2 * LARGE + 3 * ALIGNMENT
