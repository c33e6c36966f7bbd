"""Copies on a real disk, the threads that make them, and how much memory there is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scaler.errors import ConfigurationError
from scaler.storage.content import plain
from scaler.storage.disk import Disk
from scaler.storage.memory import usable_bytes
from scaler.storage.mover import Moved, Mover
from scaler.storage.outputs import Forget, Restore, Spill
from scaler.storage.settings import StorageSettings

MIB = 1 << 20


def read(disk: Disk, key: int, size: int) -> bytes:
    room = plain(size)
    disk.read(Restore(key, size), room)
    return bytes(room.content().view)


@pytest.mark.parametrize("size", [0, 1, 4096, 5 * MIB + 1, 33 * MIB])
def test_copy_is_the_same(tmp_path: Path, size: int) -> None:
    disk = Disk(tmp_path)
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    disk.write(Spill(1, memoryview(b"before")))
    disk.write(Spill(2, memoryview(content)))
    disk.write(Spill(3, memoryview(b"after")))
    assert read(disk, 2, size) == content and read(disk, 1, 6) == b"before" and read(disk, 3, 5) == b"after"
    assert list(tmp_path.iterdir()) == []
    disk.close()


def test_space_is_given_back_and_used_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for key in range(4):
        disk.write(Spill(key, memoryview(bytes([key + 1]) * MIB)))
    blocks = disk.allocated_bytes()
    assert blocks >= 4 * MIB
    disk.delete(1)
    assert disk.allocated_bytes() <= blocks - MIB
    disk.write(Spill(4, memoryview(b"e" * MIB)))
    assert disk.allocated_bytes() <= blocks and read(disk, 4, MIB) == b"e" * MIB and read(disk, 2, 1) == bytes([3])
    for key in (0, 2, 3, 4):
        disk.delete(key)
    assert disk.allocated_bytes() == 0
    disk.close()


def test_many_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    disk = Disk(tmp_path)

    def work(thread: int) -> None:
        for turn in range(50):
            key, content = thread * 1000 + turn, bytes([thread + 1]) * (1 + 977 * turn)
            disk.write(Spill(key, memoryview(content)))
            assert read(disk, key, len(content)) == content
            if turn % 3:
                disk.delete(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    disk.close()


def test_full_disk_leaves_nothing_of_what_did_not_fit(tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk."""
    code = f"""
import errno, resource
from pathlib import Path
from scaler.storage.content import plain
from scaler.storage.disk import Disk
from scaler.storage.outputs import Restore, Spill
resource.setrlimit(resource.RLIMIT_FSIZE, ({4 * MIB}, {4 * MIB}))
disk = Disk(Path({str(tmp_path)!r}))
disk.write(Spill(1, memoryview(b"a" * {MIB})))
try:
    disk.write(Spill(2, memoryview(b"b" * {8 * MIB})))
except OSError as error:
    assert error.errno == errno.EFBIG and {str(tmp_path)!r} + ": File too large" == disk.explain(error)
else:
    raise AssertionError("it fits")
assert disk.allocated_bytes() < {2 * MIB}
disk.write(Spill(3, memoryview(b"c" * {3 * MIB})))
room = plain({MIB})
disk.read(Restore(1, {MIB}), room)
assert room.content().view == b"a" * {MIB}
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_directory_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ConfigurationError, match="/nowhere"):
        StorageSettings(spill_directory="/nowhere").copies()


def test_memory_limit() -> None:
    assert StorageSettings(memory_limit_bytes=5).limit() == 5
    assert StorageSettings().limit() == usable_bytes() // 2


@pytest.mark.parametrize(
    ("line", "file", "text", "limit"),
    [
        ("0::/a/b", "a/b/memory.max", "1048576", 1 << 20),
        ("0::/a/b", "a/memory.max", "1048576", 1 << 20),
        ("0::/", "memory.max", "1048576", 1 << 20),
        ("0::/a/b", "a/b/memory.max", "max", None),
        ("7:memory:/a", "memory/a/memory.limit_in_bytes", "1048576", 1 << 20),
        ("7:memory:/a", "memory/memory.limit_in_bytes", "1048576", 1 << 20),
        ("7:cpu,cpuacct:/a", "memory/a/memory.limit_in_bytes", "1048576", None),
    ],
)
def test_limits_of_control_groups_count(tmp_path: Path, line: str, file: str, text: str, limit: int | None) -> None:
    path = tmp_path / "groups" / file
    path.parent.mkdir(parents=True)
    path.write_text(text + "\n")
    membership = tmp_path / "membership"
    membership.write_text(line + "\n")
    everything = usable_bytes(tmp_path / "none", tmp_path / "none")
    assert usable_bytes(tmp_path / "groups", membership) == (limit or everything)


def test_mover_carries_out_orders_and_says_what_became_of_them(tmp_path: Path) -> None:
    async def run() -> list[Moved]:
        told: asyncio.Queue[list[Moved]] = asyncio.Queue()
        mover = Mover(Disk(tmp_path), told.put_nowait)
        seen = []

        async def do(*orders: Spill | Restore | Forget, count: int) -> None:
            for order in orders:
                mover.do(order)
            while count:
                moved = await asyncio.wait_for(told.get(), 5)
                count -= len(moved)
                seen.extend(moved)

        await do(*(Spill(key, memoryview(bytes([key]) * key)) for key in range(1, 30)), count=29)
        await do(*(Restore(key, key) for key in range(1, 30)), Restore(99, 1), count=30)
        mover.do(Forget(1))
        mover.close()
        return seen

    moved = asyncio.run(run())
    assert sorted(one.order.key for one in moved[:29]) == list(range(1, 30))
    read_back = {one.order.key: one for one in moved[29:]}
    assert "99" in read_back.pop(99).error
    assert all(
        one.content is not None and bytes(one.content.view) == bytes([key]) * key for key, one in read_back.items()
    )
    assert all(one.content is not None and one.content.view.readonly and not one.error for one in read_back.values())
