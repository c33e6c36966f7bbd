"""Millions of tasks through one cluster: whether memory and descriptors of any process grow."""

from __future__ import annotations

import ctypes
import gc
import operator
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import psutil

from scaler import Client
from scaler.ids import Address, new_identity
from scaler.storage.client import StorageClient
from scaler.storage.state import REMEMBERED_FREED

from .cluster import cluster
from .load import Tally

ROUND = 100_000
GRAPH = 10_000
LARGE = 50
LARGE_BYTES = 1 << 20
AT_ONCE = 1024
"""How many objects are released in one message."""
WARM = 0.3
"""The first part of the time, in which memory may still grow, is left out of the slopes."""

Sample = tuple[float, int, int]
"""Seconds, bytes, descriptors."""


class _Malloc(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def soak(directory: Path, tasks: int) -> Tally:
    """One row; its notes tell how all processes grow. Samples are taken when all of a round has ended, so all at the same phase.

    Of daemons the memory is what is their own (USS). Of the client, which holds results by the hundred thousand, it is what is in
    use: what it frees stays with it in pieces, now 50 and now 80 MB.
    """
    tally = Tally(f"{tasks:,} tasks")
    began = time.monotonic()
    with cluster(directory, 2) as made, Client(made.address, timeout_seconds=60) as client:
        # What grows up to a limit is brought there first: the scheduler's columns are as long as the most tasks at a time.
        slow = [client.submit(time.sleep, 4.0) for _ in range(4)]
        _lone(client, tally)
        client.gather(slow)
        _fill_memory(Address.parse(made.storage_address))
        processes = {**made.daemons(), "client": psutil.Process()}
        processes |= {f"executor{number}": executor for number, executor in enumerate(made.executors())}
        samples: dict[str, list[Sample]] = {name: [] for name in processes}
        while tally.submitted < tasks:
            for part in (_lone, _mapped, _graph, _large):
                part(client, tally)
            gc.collect()
            for name, process in processes.items():
                taken = in_use() if name == "client" else process.memory_full_info().uss
                samples[name].append((time.monotonic() - began, taken, process.num_fds()))
    tally.seconds = time.monotonic() - began
    tally.wrong = tally.submitted - tally.right
    tally.notes = f"{tally.seconds:.0f} s; " + told(samples)
    return tally


def _fill_memory(storage: Address) -> None:
    """Have the storage remember as many freed objects as it ever will."""
    user, owner = StorageClient(storage, new_identity(), "soak"), new_identity()
    for _ in range(0, REMEMBERED_FREED, AT_ONCE):
        names = [new_identity() for _ in range(AT_ONCE)]
        for name in names:
            user.put(name, b"", owner)
        user.release(names, owner)
    user.close()


def _lone(client: Client, tally: Tally) -> None:
    results = client.gather([client.submit(abs, number) for number in range(-ROUND, 0)])
    _judge(tally, ROUND, sum(map(operator.eq, results, range(ROUND, 0, -1))))


def _mapped(client: Client, tally: Tally) -> None:
    results = client.map(abs, range(-ROUND, 0))
    _judge(tally, ROUND, sum(map(operator.eq, results, range(ROUND, 0, -1))))


def _graph(client: Client, tally: Tally) -> None:
    """A chain with a neighbour to each link."""
    graph: dict[str, object] = {"0": 0}
    for number in range(1, GRAPH // 2):
        graph[f"{number}"] = (operator.add, f"{number - 1}", 1)
        graph[f"{number}'"] = (operator.neg, f"{number}")
    last = GRAPH // 2 - 1
    results = client.get(graph, [f"{last}", f"{last}'"])
    _judge(tally, len(graph) - 1, (len(graph) - 1) * (results == {f"{last}": last, f"{last}'": -last}))


def _large(client: Client, tally: Tally) -> None:
    contents = [bytes([number]) * LARGE_BYTES for number in range(LARGE)]
    futures = [client.submit(bytes.upper, content) for content in contents]
    _judge(
        tally, LARGE, sum(future.result() == content.upper() for future, content in zip(futures, contents, strict=True))
    )


def _judge(tally: Tally, submitted: int, right: int) -> None:
    tally.submitted += submitted
    tally.right += right


def in_use() -> int:
    """Bytes that this process has allocated and not freed, from the system and in the interpreter's own blocks."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Malloc
    found = mallinfo()
    with tempfile.TemporaryFile() as file:
        errors = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(errors, 2)
            os.close(errors)
        file.seek(0)
        blocks = re.search(rb"# bytes in allocated blocks += +([0-9,]+)", file.read())
    assert blocks is not None
    return int(found.uordblks + found.hblkhd) + int(blocks[1].replace(b",", b""))


def told(samples: dict[str, list[Sample]]) -> str:
    """How memory and descriptors grow, for people."""
    warm = {name: entries[int(len(entries) * WARM) :] for name, entries in samples.items()}
    if any(len(entries) < 3 for entries in warm.values()):
        return "too short for slopes"
    memory = _slopes(warm, lambda entry: entry[1] / 1e6)
    descriptors = _slopes(warm, lambda entry: entry[2])
    return f"MB an hour: {memory}; descriptors an hour: {descriptors}"


def _slopes(samples: dict[str, list[Sample]], value: Callable[[Sample], float]) -> str:
    slopes = {name: slope([(entry[0] / 3600, value(entry)) for entry in entries]) for name, entries in samples.items()}
    return ", ".join(f"{name} {slopes[name]:+.1f}" for name in sorted(slopes, key=slopes.__getitem__, reverse=True))


def slope(points: list[tuple[float, float]]) -> float:
    """The median of the slopes between any two: some that lie far off do not tilt it (Theil and Sen)."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))
