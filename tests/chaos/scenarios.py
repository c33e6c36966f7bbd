"""Scenarios: each makes a cluster, lets things befall it while tasks run, and tells what became of them.

``seconds`` is how long tasks should keep coming. Where a figure is against calm times, the same tasks run without faults first.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from scaler import Client, SchedulerClusterCombo, TaskCrashedError, TaskMemoryError, TaskTimeoutError
from scaler.errors import ObjectStorageFullError

from . import faults
from .cluster import CLIENT_TIMEOUT_SECONDS, Cluster, cluster
from .faults import Fault, every
from .hosts import hosts_one_way, hosts_partitioned, packets_lost
from .load import AHEAD, Load, Tally
from .partitions import one_way, partitioned, ragged
from .strangers import nonsense, strangers

TASK_SECONDS = 0.02
WORKERS = 4
MEGABYTE = bytes(range(256)) * 4096

Scenario = Callable[[Path, float], Tally]


def _connected(made: Cluster) -> Client:
    return Client(made.address, timeout_seconds=60, heartbeat_interval_seconds=1)


def _under(
    name: str, fault: Fault, pause: float, directory: Path, seconds: float, content: bytes = b"", calm: bool = True
) -> Tally:
    """Tasks for so many seconds in calm times, then as many while faults happen."""
    count = max(20, int(seconds * WORKERS / (TASK_SECONDS + 0.001)))
    if content:
        count = max(20, int(seconds * 80))
    # A client keeps the last 256 MiB of its arguments, to put them again.
    ahead = 100 if content else AHEAD
    calm_tally, tally = Tally("calm"), Tally(name)
    with cluster(directory, WORKERS) as made, _connected(made) as client:
        client.gather([client.submit(time.sleep, 0.1) for _ in range(2 * WORKERS)])
        if calm:
            (directory / "calm").mkdir()
            Load(client, directory / "calm", TASK_SECONDS, content, ahead).run(count, calm_tally)
        with every(pause, fault, made, tally):
            Load(client, directory, TASK_SECONDS, content, ahead).run(count, tally)
        if calm:
            tally.notes = f"{tally.seconds / calm_tally.seconds:.2f} x the calm time"
        tally.notes += f"; at most {tally.longest_pause:.1f} s without a result"
    return tally


def workers_killed(directory: Path, seconds: float) -> Tally:
    return _under("a worker killed each second", faults.kill_worker, 1.0, directory, seconds)


def executors_killed(directory: Path, seconds: float) -> Tally:
    return _under("an executor killed each 0.3 s", faults.kill_executor, 0.3, directory, seconds)


def scheduler_killed(directory: Path, seconds: float) -> Tally:
    pause = min(30.0, seconds / 4)
    return _under(f"the scheduler killed each {pause:.3g} s", faults.kill_scheduler, pause, directory, seconds)


def storage_killed(directory: Path, seconds: float) -> Tally:
    pause = min(30.0, seconds / 4)
    name = f"scheduler or storage killed each {pause:.3g} s, 1 MiB there and back"
    return _under(name, faults.kill_scheduler_or_storage, pause, directory, seconds, MEGABYTE, calm=False)


def workers_stopped(directory: Path, seconds: float) -> Tally:
    name = "a worker stopped (SIGSTOP) for longer than it may be silent"
    return _under(name, faults.stop_worker, 1.0, directory, seconds, calm=False)


def executors_stopped(directory: Path, seconds: float) -> Tally:
    return _under("an executor stopped for 1 s", faults.stop_executor, 0.5, directory, seconds, calm=False)


def scheduler_stopped(directory: Path, seconds: float) -> Tally:
    return _under("the scheduler stopped for 2 s", faults.stop_scheduler, 2.0, directory, seconds, calm=False)


def rolling_restart(directory: Path, seconds: float) -> Tally:
    return _under("every daemon restarted, one after the other", faults.restart_all, 1.0, directory, max(seconds, 8.0))


def _segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _spin() -> None:
    sum(range(10**12))  # one call in C, which no signal handler of Python ends


def _devour() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)) * 16)


POISON = (
    ("SIGSEGV", _segfault, (), None, TaskCrashedError),
    ("os._exit", os._exit, (3,), None, TaskCrashedError),
    ("an endless call in C", _spin, (), 1.0, TaskTimeoutError),
    ("all memory", _devour, (), None, TaskMemoryError),
)
"""What it is, function, arguments, timeout in seconds, and how it ends."""


def poison(directory: Path, seconds: float) -> Tally:
    """Tasks that kill their executors among good ones; these end as crashed, timed out or out of memory, and only these."""
    tally = Tally(f"{', '.join(name for name, *_ in POISON)} among good tasks")
    count = max(200, int(seconds * 100))
    with cluster(directory, 2, 2, "--memory-limit-bytes", str(1 << 29)) as made, _connected(made) as client:
        bad = [
            client.submit_verbose(function, arguments, {}, timeout=timeout)
            for _, function, arguments, timeout, _ in POISON
        ]
        Load(client, directory, 0.005).run(count, tally)
        for (name, *_, expected), future in zip(POISON, bad, strict=True):
            error = future.exception(60)
            tally.faults += 1
            if type(error) is not expected:
                tally.failed[f"{name} ended as {type(error).__name__}"] += 1
        tally.notes = "they end as " + ", ".join(type(future.exception()).__name__ for future in bad)
    return tally


_DOOMED = """
import sys
from scaler import Client
from tests.chaos.load import work
client = Client(sys.argv[1], timeout_seconds=30)
futures = [client.submit(work, n, 0.05, sys.argv[2]) for n in range(100_000)]
print("submitted", flush=True)
futures[-1].result()
"""


def clients_killed(directory: Path, seconds: float) -> Tally:
    """Clients that die with 100,000 tasks each: another client's tasks go on, and nothing of the dead is left."""
    tally = Tally("clients killed with 100,000 tasks waiting")
    with cluster(directory, WORKERS) as made, _connected(made) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end or not tally.faults:
            command = [sys.executable, "-c", _DOOMED, made.address, str(directory / "doomed")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as doomed:
                assert doomed.stdout is not None
                doomed.stdout.readline()
                doomed.kill()
            tally.faults += 1
            Load(client, directory, 0.001).run(100, part := Tally(""))
            (directory / "runs").unlink()
            tally.submitted += part.submitted
            tally.right, tally.wrong, tally.lost = (
                tally.right + part.right,
                tally.wrong + part.wrong,
                tally.lost + part.lost,
            )
            tally.failed += part.failed
        tally.seconds = seconds
        left = _wait_until_forgotten(made)
        tally.notes = f"{left} tasks left after the client timeout"
        tally.lost += left
    return tally


_FORKING = """
import os, sys, time
from scaler import Client
from scaler.errors import ClientClosedError
from tests.chaos.load import work
client = Client(sys.argv[1], timeout_seconds=30, name="forking")
before = [client.submit(work, n, 0.01, sys.argv[2]) for n in range(100)]
child = os.fork()
if not child:
    try:
        client.submit(abs, -1)
    except ClientClosedError:
        with Client(sys.argv[1], timeout_seconds=30) as own:
            os._exit(own.submit(abs, -3).result(60))
    os._exit(1)
print("right", flush=True) if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3 else None
after = [client.submit(work, n, 0.01, sys.argv[2]) for n in range(100)]
results = client.gather(before + after)
print("right" if results == [n * n + 1 for n in range(100)] * 2 else "wrong", flush=True)
time.sleep(600)
"""


def clients_forked(directory: Path, seconds: float) -> Tally:
    """A client forks with tasks under way, and its child is told to make its own; then it is killed, and started again."""
    tally = Tally("a client with 100 tasks forks, is killed and starts again under its name")
    with cluster(directory, WORKERS) as made:
        end = time.monotonic() + seconds
        while time.monotonic() < end or not tally.faults:
            command = [sys.executable, "-c", _FORKING, made.address, str(directory / "runs")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forking:
                assert forking.stdout is not None
                told = [forking.stdout.readline(), forking.stdout.readline()]
                forking.kill()
            tally.faults += 1
            tally.submitted += 201
            if told == ["right\n", "right\n"]:
                tally.right += 201
            else:
                tally.wrong += 201
    return tally


def _wait_until_forgotten(made: Cluster) -> int:
    """How many tasks the scheduler has when the dead clients' time is over."""
    counts = -1
    for _ in range(CLIENT_TIMEOUT_SECONDS + 10):
        counts = _tasks_of(made)
        if not counts:
            break
        time.sleep(1)
    return counts


def _tasks_of(made: Cluster) -> int:
    host, port = made.address.removeprefix("tcp://").split(":")
    program = str(Path(sys.executable).with_name("scaler_top"))
    told = subprocess.run(
        [program, f"tcp://{host}:{int(port) + 2}", "--once", "--json"], capture_output=True, text=True, check=True
    )
    tasks = json.loads(told.stdout)["tasks"]
    return int(sum(tasks[state] for state in ("waiting", "ready", "assigned", "running")))


def descriptors_exhausted(directory: Path, seconds: float) -> Tally:
    """Connections until the scheduler has no descriptors left; who is connected goes on, and later others come in again."""
    tally = Tally("the scheduler out of file descriptors")
    with cluster(directory, WORKERS) as made, _connected(made) as client:
        client.submit(abs, -1).result(30)
        psutil.Process(made.scheduler.pid).rlimit(psutil.RLIMIT_NOFILE, (64, 64))
        host, port = made.address.removeprefix("tcp://").split(":")
        held = []
        for _ in range(200):
            with suppress(OSError):
                held.append(socket.create_connection((host, int(port)), 1))
        tally.faults = len(held)
        Load(client, directory, TASK_SECONDS).run(max(100, int(seconds * 50)), tally)
        for one in held:
            one.close()
        with _connected(made) as another:
            assert another.submit(abs, -2).result(30) == 2
    return tally


def disk_full(directory: Path, seconds: float) -> Tally:
    """An object storage with little memory spills to a file system that is too small: typed errors, then all is well again."""
    tally = Tally("the disk for spilled objects full")
    small = directory / "small"
    small.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        tally.notes = "not run: this machine lets nobody mount"
        return tally
    try:
        with (
            SchedulerClusterCombo(
                n_workers=2,
                object_storage_memory_limit_bytes=16 << 20,
                object_storage_spill_directory=str(small),
                logging_level="CRITICAL",
            ) as combo,
            Client(combo.get_address(), timeout_seconds=30) as client,
        ):
            kept = []
            chance = random.Random(1)
            try:
                kept.extend(client.send_object(chance.randbytes(1 << 20)) for _ in range(64))
            except ObjectStorageFullError:
                tally.faults += 1
            tally.notes = f"{len(kept)} MiB stored, then ObjectStorageFullError; when they are freed all is as before"
            for reference in kept:
                client.free_object(reference)
            kept = [client.send_object(chance.randbytes(1 << 20)) for _ in range(8)]
            Load(client, directory, 0.001).run(max(20, int(seconds * 100)), tally)
            tally.wrong += sum(len(client.fetch_object(reference)) != 1 << 20 for reference in kept)
            if not tally.faults:
                tally.failed["the full disk was not told of"] += 1
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    return tally


SCENARIOS: dict[str, Scenario] = {
    "workers-killed": workers_killed,
    "executors-killed": executors_killed,
    "scheduler-killed": scheduler_killed,
    "storage-killed": storage_killed,
    "workers-stopped": workers_stopped,
    "executors-stopped": executors_stopped,
    "scheduler-stopped": scheduler_stopped,
    "rolling-restart": rolling_restart,
    "poison": poison,
    "clients-killed": clients_killed,
    "clients-forked": clients_forked,
    "descriptors-exhausted": descriptors_exhausted,
    "strangers": strangers,
    "nonsense": nonsense,
    "disk-full": disk_full,
    "partitioned": partitioned,
    "one-way": one_way,
    "ragged-network": ragged,
    "hosts-partitioned": hosts_partitioned,
    "hosts-one-way": hosts_one_way,
    "packets-lost": packets_lost,
}
