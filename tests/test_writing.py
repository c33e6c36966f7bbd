from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scaler.writing import MOST_BUFFERS, write_all, write_at


@given(st.lists(st.binary(max_size=20), max_size=20), st.data())
def test_all_is_written_however_little_is_taken_at_a_time(parts: list[bytes], data: st.DataObject) -> None:
    taken = bytearray()

    def take(some: list[memoryview]) -> int:
        together = b"".join(some)
        count = data.draw(st.integers(min(1, len(together)), len(together)))
        taken.extend(together[:count])
        return count

    write_all(map(memoryview, parts), take)
    assert bytes(taken) == b"".join(parts)


def test_more_buffers_than_one_call_takes_from_an_offset_on(tmp_path: Path) -> None:
    parts = [bytes([number % 251]) * (number % 7) for number in range(3 * MOST_BUFFERS)]
    content = b"".join(parts)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(file, b"before", 0)
        assert write_at(file, map(memoryview, parts), 6) == 6 + len(content)
    finally:
        os.close(file)
    assert (tmp_path / "file").read_bytes() == b"before" + content
