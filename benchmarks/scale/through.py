"""Bytes that ride in messages through a real scheduler: tasks of growing payloads, answered at once by a zero worker."""

from __future__ import annotations

from array import array

import psutil

from benchmarks.connection import Connection
from benchmarks.scale.connections import scheduler, spent
from benchmarks.scheduler_alone import child, run_through, wait_for
from scaler.messages import ClientSettings, DefineFunctions, Function, Role, Submit

SIZES = (16, 1 << 10, 8 << 10, 64 << 10)
"""The last is the largest payload that travels in a message."""
BYTES = 200_000_000
MOST_TASKS = 200_000
FRAME_BYTES = 1 << 20
SLOTS = 64


def frames(connection: Connection, size: int, count: int, first: int) -> list[bytes]:
    """Submit messages of about FRAME_BYTES for so many tasks with payloads of this size."""
    at_once = max(1, min(1000, FRAME_BYTES // size))
    built = []
    for start in range(first, first + count, at_once):
        numbers = array("Q", range(start, min(start + at_once, first + count)))
        built.append(connection.frame(Submit(numbers, array("I", [0]), [bytes(size)] * len(numbers))))
    return built


def measure(size: int, total: int = BYTES, most: int = MOST_TASKS) -> dict[str, float]:
    """tasks/s, MB/s from the client through the scheduler to the worker, and its processor time for a task and a MB."""
    count = max(10, min(most, total // size))
    with scheduler() as (address, process), child("benchmarks.zero_worker", address, str(SLOTS)) as worker:
        wait_for(worker, "ready")
        connection = Connection(address, Role.client, "sender")
        turns = connection.turns()
        while not any(isinstance(message, ClientSettings) for message in next(turns)):
            pass
        connection.send(connection.frame(DefineFunctions([Function(0, "cloudpickle", b"noop", b"", "noop", b"")])))
        run_through(connection, turns, frames(connection, size, min(count, 1000), 0), min(count, 1000))
        built = frames(connection, size, count, 1000)
        before = spent(process)
        took = run_through(connection, turns, built, count)
        used = spent(psutil.Process(process.pid)) - before
        connection.socket.close()
    return {
        "tasks/s": count / took,
        "MB/s": count * size / took / 1e6,
        "us a task": used / count * 1e6,
        "ms a MB": used / (count * size / 1e6) * 1e3,
    }
