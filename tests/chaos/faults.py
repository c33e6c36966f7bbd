"""What may befall the processes of a cluster, again and again."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from .cluster import WORKER_TIMEOUT_SECONDS, Cluster
from .load import Tally

Fault = Callable[[Cluster, random.Random], None]


def kill_worker(cluster: Cluster, chance: random.Random) -> None:
    """SIGKILL; its manager starts another one."""
    _kill(cluster.workers(), chance)


def kill_executor(cluster: Cluster, chance: random.Random) -> None:
    """SIGKILL."""
    _kill(cluster.executors(), chance)


def kill_scheduler(cluster: Cluster, chance: random.Random) -> None:
    """SIGKILL; another one starts at once. Pauses count from when it listens, however long a busy machine takes for that."""
    cluster.scheduler.kill()
    _listens(cluster.address)


def kill_storage(cluster: Cluster, chance: random.Random) -> None:
    """SIGKILL; another one starts at once, empty."""
    cluster.storage.kill()
    _listens(cluster.storage_address)


def kill_scheduler_or_storage(cluster: Cluster, chance: random.Random) -> None:
    """One of both."""
    chance.choice((kill_scheduler, kill_storage))(cluster, chance)


def stop_worker(cluster: Cluster, chance: random.Random) -> None:
    """SIGSTOP, for longer than the scheduler waits, and SIGCONT: it finds that others have its tasks."""
    _freeze(cluster.workers(), chance, WORKER_TIMEOUT_SECONDS + 3.0)


def stop_executor(cluster: Cluster, chance: random.Random) -> None:
    """SIGSTOP and SIGCONT."""
    _freeze(cluster.executors(), chance, 1.0)


def stop_scheduler(cluster: Cluster, chance: random.Random) -> None:
    """SIGSTOP, for less than peers wait, and SIGCONT."""
    _freeze([psutil.Process(cluster.scheduler.pid)], chance, 2.0)


def restart_all(cluster: Cluster, chance: random.Random) -> None:
    """In order, one daemon after the other."""
    for daemon in (cluster.storage, cluster.scheduler, *cluster.managers):
        daemon.restart()
        time.sleep(1.0)


def _listens(address: str) -> None:
    """Wait until somebody does there."""
    host, port = address.removeprefix("tcp://").split(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.02)


def _kill(processes: list[psutil.Process], chance: random.Random) -> None:
    if processes:
        with suppress(psutil.NoSuchProcess):
            chance.choice(processes).kill()


def _freeze(processes: list[psutil.Process], chance: random.Random, seconds: float) -> None:
    if not processes:
        return
    chosen = chance.choice(processes)
    with suppress(psutil.NoSuchProcess):
        chosen.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        chosen.send_signal(signal.SIGCONT)


@contextmanager
def every(seconds: float, fault: Fault, cluster: Cluster, tally: Tally, seed: int = 1) -> Iterator[None]:
    """Have a fault happen again and again during the block."""
    over, chance = threading.Event(), random.Random(seed)

    def go_on() -> None:
        while not over.wait(seconds):
            fault(cluster, chance)
            tally.faults += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
