"""What a connection costs a real scheduler: memory, time and processor time to come, processor time to stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.scale.flock import Flock
from benchmarks.scheduler_alone import LISTENS, child, wait_for
from scaler.messages import Role

COUNTS = (1_000, 5_000, 10_000, 19_000)
LIVE_SECONDS = 10.0
HEARTBEAT_SECONDS = 2.0
"""As workers and clients have it unless told otherwise."""


@contextmanager
def scheduler(*more: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a scheduler whose log is read by nobody."""
    anywhere = "tcp://127.0.0.1:0"
    with child("scaler.cli.object_storage_server", anywhere) as storage:
        where = wait_for(storage, LISTENS)
        with child("scaler.cli.scheduler", anywhere, "-osa", where, "--monitor-address", anywhere, *more) as process:
            address = wait_for(process, LISTENS)
            log = process.stdout
            assert log is not None
            reader = threading.Thread(target=lambda: all(True for _ in log))
            reader.start()
            yield address, psutil.Process(process.pid)
            process.terminate()
            reader.join()


def spent(process: psutil.Process) -> float:
    """Seconds of processor time."""
    return sum(process.cpu_times()[:2])


def measure(count: int, role: Role, seconds: float = LIVE_SECONDS) -> dict[str, float]:
    """What so many connections of one role cost a scheduler that has nothing else to do."""
    with scheduler() as (address, process):
        first = Flock(address, role)
        first.grow(1)
        memory, before = process.memory_info().rss, spent(process)
        flock = Flock(address, role)
        took = flock.grow(count)
        came = spent(process) - before
        before = spent(process)
        beats = flock.live(seconds, HEARTBEAT_SECONDS)
        beating = spent(process) - before
        grown = process.memory_info().rss - memory
        flock.close()
        first.close()
    return {
        "KB a connection": grown / count / 1e3,
        "seconds to connect": took,
        "us to connect": came / count * 1e6,
        "us a heartbeat": beating / beats * 1e6,
        "% of a core": beating / seconds * 100,
    }
