"""Peers that mean no good, beside a client whose calls are measured before and meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import psutil

from scaler import Client

from .cluster import Cluster, cluster
from .load import Load, Tally

TASK_SECONDS = 0.02
FRAMES = 1_000_000
TALKERS = 2
"""Processes that talk nonsense."""


def _connected(made: Cluster) -> Client:
    return Client(made.address, timeout_seconds=60, heartbeat_interval_seconds=1)


class Calls:
    """Single calls, one after the other, as long as they are wanted."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def below(self, seconds: float, least: int = 1000) -> float:
        """Milliseconds that 99 of 100 stay below, of those made in that time."""
        times: list[float] = []
        until = time.perf_counter() + seconds
        while len(times) < least or time.perf_counter() < until:
            began = time.perf_counter()
            self._client.submit(abs, -1).result(60)
            times.append(time.perf_counter() - began)
        return sorted(times)[len(times) * 99 // 100] * 1000


def strangers(directory: Path, seconds: float) -> Tally:
    """1,000 connections that say nothing, 1,000 that say a byte now and then, and a storm of 10,000 short ones."""
    tally = Tally("1,000 idle connections, 1,000 that say a byte each 0.5 s, and a storm of 10,000")
    with cluster(directory, 2) as made, _connected(made) as client:
        calls = Calls(client)
        calls.below(1)  # Everything is warm.
        calm = calls.below(seconds / 2)
        host, port = made.address.removeprefix("tcp://").split(":")
        crowd = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.crowd", host, port], stdin=PIPE, stdout=PIPE, text=True
        )
        assert crowd.stdin is not None and crowd.stdout is not None
        crowd.stdout.readline()  # All that are to stay are there; now the storm begins.
        pestered = calls.below(seconds / 2)
        stormed = int(crowd.stdout.readline())
        kept = calls.below(seconds / 2)
        Load(client, directory, TASK_SECONDS).run(max(60, int(seconds * 90)), tally)
        crowd.stdin.close()
        tally.faults = stormed + int(crowd.stdout.read())
        crowd.wait()
        tally.notes = (
            f"99 of 100 calls below {calm:.2f} ms before, {pestered:.2f} ms in the storm of {stormed:,}, {kept:.2f} ms beside"
            " those that stay"
        )
    return tally


def nonsense(directory: Path, seconds: float) -> Tally:
    """Malformed frames, before a handshake and after it, each on a connection of its own; the scheduler's memory is watched."""
    tally = Tally("malformed frames from strangers and from peers that were let in")
    with cluster(directory, 2) as made, _connected(made) as client:
        scheduler = psutil.Process(made.scheduler.pid)
        calls = Calls(client)
        calls.below(1)
        calm = calls.below(min(60, seconds / 4))
        host, port = made.address.removeprefix("tcp://").split(":")
        command = [sys.executable, "-m", "tests.chaos.nonsense", host, port, str(seconds), str(FRAMES // TALKERS)]
        talkers = [subprocess.Popen(command, stdout=PIPE, text=True) for _ in range(TALKERS)]
        # Who is let in is remembered for a while after he is gone: a slope begins when the first ones are forgotten.
        memory, pestered = [], []
        while any(talker.poll() is None for talker in talkers):
            pestered.append(calls.below(1, 100))
            memory.append(scheduler.memory_info().rss / (1 << 20))
        tally.faults = sum(int(talker.communicate()[0]) for talker in talkers)
        Load(client, directory, TASK_SECONDS).run(60, tally)
        if made.scheduler.process.poll() is not None or made.scheduler.starts != 1:
            tally.failed["the scheduler died"] += 1
        half = memory[len(memory) // 2]
        tally.notes = (
            f"99 of 100 calls below {calm:.2f} ms before, {sorted(pestered)[len(pestered) // 2]:.2f} ms meanwhile;"
            f" the scheduler's memory {memory[0]:.0f} MiB at first, {half:.0f} in the middle, {memory[-1]:.0f} at last"
        )
    return tally
