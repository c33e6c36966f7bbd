"""Many tasks queued at once: how much the scheduler's memory grows with each, and how fast they all go through."""

from __future__ import annotations

import time

import psutil

from benchmarks.systems.work import noop
from scaler import Client, SchedulerClusterCombo

QUIET_SECONDS = 0.02


def listener(address: str) -> psutil.Process:
    """The process, of all our descendants, that listens at an address."""
    port = int(address.rpartition(":")[2])
    for process in psutil.Process().children(recursive=True):
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections()):
            return process
    raise RuntimeError(f"no child of this process listens at {address}")


def settled_bytes(process: psutil.Process) -> int:
    """The resident size once the process has nothing more to do."""
    used = -1.0
    while sum(process.cpu_times()[:2]) - used > QUIET_SECONDS:
        used = sum(process.cpu_times()[:2])
        time.sleep(0.5)
    return int(process.memory_info().rss)


def measure(count: int, slots: int = 2) -> dict[str, float]:
    """bytes of the scheduler a queued task, and tasks/s, of so many single tasks behind tasks that hold all slots.

    A new cluster each time: memory that an earlier run left free would hide what this one needs.
    """
    with SchedulerClusterCombo(n_workers=slots, logging_level="ERROR") as cluster:
        client = Client(address=cluster.get_address())
        client.map(noop, range(1000))
        scheduler = listener(cluster.get_address())
        before = settled_bytes(scheduler)
        gates = [client.submit(time.sleep, 3600) for _ in range(slots)]
        began = time.perf_counter()
        futures = [client.submit(noop, i) for i in range(count)]
        took = time.perf_counter() - began
        grown = settled_bytes(scheduler) - before
        for gate in gates:
            gate.cancel()
        began = time.perf_counter()
        for future in futures:
            future.result()
        took += time.perf_counter() - began
        client.disconnect()
    return {"tasks/s": count / took, "bytes/task": grown / count}
