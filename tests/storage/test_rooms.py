"""Memory for objects that come in parts: it is given back at once, and is there however large it is."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil
import pytest

from scaler.storage import rooms
from scaler.storage.content import SHARED_BYTES
from scaler.storage.rooms import allocate
from scaler.storage.segments import Segment, open_object

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, SHARED_BYTES - 1, SHARED_BYTES, 3 * MIB + 1])
def test_room_holds_what_is_written(size: int) -> None:
    room = allocate(size)
    for offset in range(0, size, MIB):
        room.write(offset, bytearray(b"x" * min(MIB, size - offset)))
    content = room.content()
    assert content.view == b"x" * size and content.view.readonly
    assert (content.shared is not None) == (size >= SHARED_BYTES)


def test_what_is_in_a_large_room_can_be_opened_by_others() -> None:
    room = allocate(MIB)
    room.write(MIB - 3, b"end")
    content = room.content()
    assert open_object(content.shared.pieces, MIB).map().view == bytes(MIB - 3) + b"end"
    assert [size for _, size in content.files] == [MIB + resource.getpagesize()]


def shared_files() -> dict[int, int]:
    """What this process holds in files in shared memory: bytes by inode."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.exists() or path.is_symlink()]
    found = [path.stat() for path in links if "memfd:scaler" in str(path.readlink())]
    return {each.st_ino: each.st_blocks * 512 for each in found}


def test_room_that_is_not_written_takes_no_memory_and_a_freed_one_none_any_more() -> None:
    before = shared_files()

    def taken() -> int:
        return sum(size for inode, size in shared_files().items() if inode not in before)

    room = allocate(512 * MIB)
    assert taken() < MIB
    room.write(0, bytes(64 * MIB))
    content = room.content()
    del room
    assert 64 * MIB <= taken() < 65 * MIB
    del content
    assert not taken()


def test_without_such_files_there_is_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> Segment:
        raise OSError("too many open files")

    monkeypatch.setattr(rooms.Segment, "make", refuse)
    rss = psutil.Process().memory_info().rss
    room = allocate(512 * MIB)
    assert psutil.Process().memory_info().rss - rss < 16 * MIB
    room.write(MIB, b"some")
    content = room.content()
    assert content.view[MIB - 1 : MIB + 5] == b"\0some\0" and content.shared is None and content.files == ()


def test_files_that_become_full_are_left_for_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    room = allocate(3 * MIB)
    room.write(0, b"a" * MIB)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rooms.Segment, "write", full)
    room.write(MIB, b"b" * MIB)
    room.write(2 * MIB, b"c" * MIB)
    content = room.content()
    assert content.view == b"a" * MIB + b"b" * MIB + b"c" * MIB and content.shared is None


def test_as_many_files_as_may_be_open() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[0], 200), limits[1]))
        rooms.raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
