"""The scheduler alone, over real TCP: a sender that only sends, a zero worker that answers at once, a scheduler between them.

The sender has all its frames built before the clock starts. Tasks are single ones, a thousand in a Submit, each with the
payload of noop(i). Measured is from the first byte sent to the last result received, and the processor time of the three
processes meanwhile.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.connection import Connection
from scaler.messages import ClientSettings, DefineFunctions, Function, Results, Role, Submit

TASKS = 1_000_000
TASKS_A_FRAME = 1000
WARM_UP_TASKS = 20_000
ZERO_SLOTS = 1000
LISTENS = r"listen to (?:scheduler|object storage) address (tcp://\S+)"


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A child process of this interpreter that ends with the block."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """What the first group of the pattern (or all of it) matches in the first line of its output that has it."""
    assert process.stdout is not None
    for line in process.stdout:
        match = re.search(pattern, line)
        if match:
            return match[1] if match.re.groups else match[0]
    raise RuntimeError(f"{process.args} ended before it said {pattern}")


def frames(connection: Connection, first: int, count: int) -> list[bytes]:
    """Submit messages for so many calls of function 0."""
    built = []
    for start in range(first, first + count, TASKS_A_FRAME):
        numbers = range(start, min(start + TASKS_A_FRAME, first + count))
        payloads = [b"\0" + pickle.dumps(((i,), {}), 5) for i in numbers]
        built.append(connection.frame(Submit(array("Q", numbers), array("I", [0]), payloads)))
    return built


def run_through(connection: Connection, turns: Iterator[list[Any]], built: list[bytes], count: int) -> float:
    """Seconds from the first byte to the last result."""

    def send() -> None:
        for data in built:
            connection.send(data)

    sender = threading.Thread(target=send)
    began = time.perf_counter()
    sender.start()
    missing = count
    for messages in turns:
        missing -= sum(len(message.payloads) for message in messages if isinstance(message, Results))
        if missing <= 0:
            break
    took = time.perf_counter() - began
    sender.join()
    if missing:
        raise RuntimeError(f"{missing} results of {count} are missing")
    return took


def measure(tasks: int = TASKS) -> dict[str, float]:
    """tasks/s, and microseconds of processor time a task: of the scheduler, the zero worker, the sender."""
    anywhere = "tcp://127.0.0.1:0"
    with child("scaler.cli.object_storage_server", anywhere) as storage:
        where = wait_for(storage, LISTENS)
        with child("scaler.cli.scheduler", anywhere, "-osa", where, "--monitor-address", anywhere) as scheduler:
            address = wait_for(scheduler, LISTENS)
            with child("benchmarks.zero_worker", address, str(ZERO_SLOTS)) as worker:
                wait_for(worker, "ready")
                return _measure(address, tasks, {"scheduler": scheduler.pid, "zero worker": worker.pid})


def _measure(address: str, tasks: int, pids: dict[str, int]) -> dict[str, float]:
    connection = Connection(address, Role.client, "sender")
    turns = connection.turns()
    while not any(isinstance(message, ClientSettings) for message in next(turns)):
        pass
    connection.send(connection.frame(DefineFunctions([Function(0, "cloudpickle", b"noop", b"", "noop", b"")])))
    run_through(connection, turns, frames(connection, 0, WARM_UP_TASKS), WARM_UP_TASKS)
    built = frames(connection, WARM_UP_TASKS, tasks)
    processes = {"sender": psutil.Process(), **{name: psutil.Process(pid) for name, pid in pids.items()}}
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    took = run_through(connection, turns, built, tasks)
    found = {"tasks/s": tasks / took}
    for name, process in processes.items():
        found[f"{name}, us"] = (sum(process.cpu_times()[:2]) - before[name]) / tasks * 1e6
    connection.socket.close()
    return found


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:20} {value:12,.2f}")
