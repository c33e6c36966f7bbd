"""Memory for objects is given back at once, and is there however large it is."""

from __future__ import annotations

import mmap

import psutil
import pytest

from scaler.storage import buffers
from scaler.storage.buffers import LARGE_BYTES, allocate

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, 3 * MIB + 1])
def test_buffer_holds_what_is_written(size: int) -> None:
    buffer = allocate(size)
    assert bytes(buffer) == bytes(size)
    buffer[:] = b"x" * size
    assert bytes(buffer.toreadonly()) == b"x" * size and buffer.format == "B"


def test_untouched_buffer_takes_no_memory_and_a_freed_one_none_any_more() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    buffer = allocate(512 * MIB)
    assert process.memory_info().rss - before < 16 * MIB
    buffer[: 64 * MIB] = bytes(64 * MIB)
    assert process.memory_info().rss - before > 60 * MIB
    del buffer
    assert process.memory_info().rss - before < 16 * MIB


def test_without_a_mapping_there_is_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("too many mappings")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert bytes(buffers.allocate(LARGE_BYTES)) == bytes(LARGE_BYTES)
