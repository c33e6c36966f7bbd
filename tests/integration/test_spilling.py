"""Object storage servers as real processes, with less memory than is put into them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.storage_limit import memory_of
from scaler import Client, SchedulerClusterCombo
from scaler.client import releases
from scaler.errors import ObjectStorageFullError
from scaler.ids import Address, new_identity
from scaler.storage.client import StorageClient

from .conftest import wait_until

pytestmark = pytest.mark.integration

MIB = 1 << 20
ANN = b"A" * 16


@pytest.fixture
def serve(start, free_addresses, tmp_path: Path):
    """Starts a storage with options; returns the command and a way to make clients, which are closed after the test."""
    clients: list[StorageClient] = []

    def run(*options: str, program: str = "scaler_object_storage_server"):
        address = free_addresses[1]
        command = start(program, address, "--spill-directory", str(tmp_path), *options)
        command.wait_for_line("listen to")

        def connect() -> StorageClient:
            clients.append(StorageClient(Address.parse(address), new_identity(), timeout_seconds=20))
            return clients[-1]

        return command, connect

    yield run
    for client in clients:
        client.close()


def put_many(client: StorageClient, first: int, count: int, size: int) -> dict[bytes, bytes]:
    """Put objects that differ in all places; returns a digest-like sample of each by name."""
    samples = {}
    for number in range(first, first + count):
        name = number.to_bytes(16, "big")
        content = os.urandom(4096) * (size // 4096)
        client.put(name, content, ANN)
        samples[name] = content[:4096]
    return samples


def same(content: bytearray, sample: bytes, size: int) -> bool:
    return len(content) == size and content == sample * (size // len(sample))


@pytest.mark.parametrize("shared", [True, False])
def test_sixteen_times_the_limit_comes_back(serve, tmp_path: Path, shared: bool) -> None:
    command, connect = serve("--memory-limit-bytes", "16M")
    size = 2 * MIB
    peaks = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peaks.append(memory_of(command.pid))

    before = memory_of(command.pid)
    watcher = threading.Thread(target=watch)
    watcher.start()
    users = connect(), connect()
    for user in users:
        assert user.shares()
        user._links.share = shared
    with ThreadPoolExecutor(2) as pool:
        samples = list(pool.map(lambda i: put_many(users[i], i * 1000, 64, size), range(2)))
        for user, mine in zip(users, samples[::-1], strict=True):  # each gets what the other has put
            assert all(pool.map(lambda name: same(user.get(name), mine[name], size), mine))  # noqa: B023
    numbers = users[0].statistics()
    assert numbers.bytes == 256 * MIB and numbers.memory_bytes <= numbers.memory_limit_bytes == 16 * MIB
    assert numbers.spills >= 112 and numbers.gets_restored >= 112 and numbers.spilled_bytes >= 240 * MIB
    over.set()
    watcher.join()
    assert max(peaks) - before < 16 * MIB + 24 * MIB
    assert list(tmp_path.iterdir()) == []
    for mine in samples:
        users[0].release(list(mine), ANN)
    assert users[0].statistics().bytes == users[0].statistics().spilled_bytes == 0
    wait_until(lambda: users[0].statistics().memory_bytes == 0, "that all is freed")
    wait_until(lambda: memory_of(command.pid) - before < 8 * MIB, "that its memory is given back")


def test_object_larger_than_the_limit(serve) -> None:
    _, connect = serve("--memory-limit-bytes", str(4 * MIB))
    user = connect()
    samples = put_many(user, 0, 3, 16 * MIB) | put_many(user, 10, 20, MIB)
    assert all(same(user.get(name), sample, 16 * MIB if name[-1] < 10 else MIB) for name, sample in samples.items())


def test_full_disk_fails_puts_beyond_the_limit_and_nothing_else(serve) -> None:
    """A limit on the size of files stands for the end of the disk."""
    command, connect = serve("--memory-limit-bytes", str(16 * MIB))
    resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (32 * MIB, 32 * MIB))
    user, other = connect(), connect()
    samples: dict[bytes, bytes] = {}
    with pytest.raises(ObjectStorageFullError, match=r"File too large.*free"):
        for number in range(200):
            samples |= put_many(user, number, 1, MIB)
    assert 30 < len(samples) < 60
    assert all(same(other.get(name), sample, MIB) for name, sample in samples.items())
    other.release(list(samples)[:40], ANN)
    numbers = other.statistics()
    assert numbers.spill_failures > 0 and numbers.objects == len(samples) - 40
    assert same(user.get(list(samples)[-1]), samples[list(samples)[-1]], MIB)
    put_many(user, 1000, 5, MIB)
    command.wait_for_line("cannot spill objects")


def test_what_a_program_has_just_freed_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes nothing, since the directory is gone."""
    monkeypatch.setattr(releases, "GATHER_SECONDS", 60)
    spill = tmp_path / "spill"
    spill.mkdir()
    with (
        SchedulerClusterCombo(
            n_workers=1,
            object_storage_memory_limit_bytes=16 * MIB,
            object_storage_spill_directory=str(spill),
            logging_level="CRITICAL",
        ) as combo,
        Client(combo.get_address()) as client,
    ):
        spill.rmdir()
        kept = []
        with pytest.raises(ObjectStorageFullError):
            kept.extend(client.send_object(bytes([number]) * MIB) for number in range(64))
        for reference in kept:
            client.free_object(reference)
        again = client.send_object(b"again" * MIB)
        assert client.fetch_object(again) == b"again" * MIB


def test_nothing_is_left_by_a_killed_server(serve, tmp_path: Path) -> None:
    command, connect = serve("--memory-limit-bytes", str(4 * MIB))
    user = connect()
    put_many(user, 0, 32, MIB)
    files = [descriptor.readlink() for descriptor in Path(f"/proc/{command.pid}/fd").iterdir()]
    assert any(tmp_path in file.parents for file in files), "it has a file there"
    command.kill()
    command.wait()
    assert list(tmp_path.iterdir()) == []


def test_tasks_over_a_storage_with_little_memory(tmp_path: Path) -> None:
    with (
        SchedulerClusterCombo(
            2, object_storage_memory_limit_bytes=8 * MIB, object_storage_spill_directory=str(tmp_path)
        ) as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        futures = [client.submit(bytes, 2 * MIB + number) for number in range(32)]
        assert [len(future.result(60)) for future in futures] == [2 * MIB + number for number in range(32)]
        data = [bytes([number]) * (MIB + number) for number in range(32)]
        assert client.map(len, data) == [MIB + number for number in range(32)]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of moto's server, which boto3 finds here and in the commands."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    server.stop()


def test_spill_to_s3(start, free_addresses, bucket) -> None:
    address = free_addresses[1]
    command = start(
        "scaler_object_storage_server", address, "--memory-limit-bytes", str(4 * MIB), "--spill-url", "s3://bucket/x"
    )
    command.wait_for_line("listen to")
    user = StorageClient(Address.parse(address), new_identity(), timeout_seconds=20)
    samples = put_many(user, 0, 12, MIB)
    assert bucket.list_objects_v2(Bucket="bucket")["KeyCount"] >= 8
    assert all(same(user.get(name), sample, MIB) for name, sample in samples.items())
    user.close()
    command.interrupt()
    assert command.wait() == 0
    assert bucket.list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_durable_objects_outlive_a_killed_server(start, free_addresses, bucket) -> None:
    address = free_addresses[1]
    arguments = ("scaler_object_storage_server", address, "--spill-url", "s3://bucket/x", "--durable")
    command = start(*arguments)
    command.wait_for_line("listen to")
    user = StorageClient(Address.parse(address), new_identity(), timeout_seconds=20)
    samples = put_many(user, 0, 8, MIB)
    command.kill()
    command.wait()
    again = start(*arguments)
    again.wait_for_line("found 8 objects")
    assert all(same(user.get(name), sample, MIB) for name, sample in samples.items())
    assert user.instances == 1, "nothing is lost, so nobody need make anything again"
    user.release(list(samples), ANN)
    assert user.statistics().objects == 0
    user.close()
    again.interrupt()
    assert again.wait() == 0
    assert bucket.list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_directory_that_cannot_be_used_is_named_at_once() -> None:
    path = Path(sys.executable).with_name("scaler_object_storage_server")
    arguments = [str(path), "tcp://127.0.0.1:0", "--spill-directory", "/nowhere", "--memory-limit-bytes"]
    done = subprocess.run([*arguments, "1"], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1 and "cannot spill to /nowhere" in done.stdout and not done.stderr
    done = subprocess.run([*arguments, "-1"], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2 and "--memory-limit-bytes: '-1' is no size" in done.stderr
