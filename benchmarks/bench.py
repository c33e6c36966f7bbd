"""The figures of docs/benchmarks.md: Scaler and the standard library's pools on the same work, alternating, in one run.

    python benchmarks/bench.py [--repetitions 5] [--json FILE] [--write docs/benchmarks.md]

Machines are noisy: the ratios count. Medians of the repetitions, with the smallest and largest.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from scaler import Client
from scaler.machine import Peer
from scaler.messages import Assign, DefineFunctions, Function, RegisterWorker, Results, Role, Submit
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

TASKS = 20_000
ROUND_TRIPS = 500
SLOTS = 2
MARK = "<!-- measured -->"


def noop(x: int) -> int:
    return x


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ---- what is measured of each system: name -> value


def scaler_submit(client: Client) -> float:
    return TASKS / timed(lambda: [f.result() for f in [client.submit(noop, i) for i in range(TASKS)]])


def scaler_map(client: Client) -> float:
    return TASKS * 5 / timed(lambda: client.map(noop, range(TASKS * 5)))


def scaler_round_trip(client: Client) -> float:
    return statistics.median(timed(lambda: client.submit(noop, 1).result()) for _ in range(ROUND_TRIPS)) * 1e6


def scaler_graph(client: Client) -> float:
    graph: dict[str, Any] = {f"n{i}": (noop, i) for i in range(5000)}
    level = list(graph)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = []
        for pair in pairs:
            key = f"r{len(graph)}"
            graph[key] = (max, *pair) if len(pair) > 1 else (noop, *pair)
            level.append(key)
    return len(graph) / timed(lambda: client.get(graph, level))


def pool_submit(pool: ProcessPoolExecutor) -> float:
    return TASKS / timed(lambda: [f.result() for f in [pool.submit(noop, i) for i in range(TASKS)]])


def pool_round_trip(pool: ProcessPoolExecutor) -> float:
    return statistics.median(timed(lambda: pool.submit(noop, 1).result()) for _ in range(ROUND_TRIPS)) * 1e6


def apply_async(pool: Any) -> float:
    return TASKS / timed(lambda: [r.get() for r in [pool.apply_async(noop, (i,)) for i in range(TASKS)]])


# ---- figures without a peer


def start_seconds() -> float:
    """From an interpreter that has imported nothing to the first result of Client()."""
    program = (
        "import time; t = time.perf_counter()\n"
        "from scaler import Client\n"
        "c = Client(n_workers=2); c.submit(abs, -1).result(); print(time.perf_counter() - t); c.disconnect()"
    )
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def processes(client: Client) -> list[psutil.Process]:
    assert client.cluster is not None
    launcher = psutil.Process(client.cluster.pid)
    return [launcher, *launcher.children(recursive=True)]


def idle(client: Client) -> dict[str, float]:
    """Memory and processor use of all processes of the cluster, the client's own included, when nothing happens."""
    family = [psutil.Process(), *processes(client)]
    before = sum(sum(p.cpu_times()[:2]) for p in family)
    time.sleep(10)
    used = sum(sum(p.cpu_times()[:2]) for p in family) - before
    cluster_bytes = sum(p.memory_full_info().pss for p in family[1:])
    return {
        "idle, PSS of the cluster's processes, MB": cluster_bytes / 1e6,
        "idle, PSS with the client's process, MB": cluster_bytes / 1e6 + psutil.Process().memory_full_info().pss / 1e6,
        "idle, CPU of all, %": used * 10,
    }


def backlog(client: Client, count: int) -> dict[str, float]:
    """So many tasks queued at once, behind tasks that hold all slots: what the scheduler's memory grows by, and the rate."""
    scheduler = processes(client)[2]
    before = scheduler.memory_info().rss
    gates = [client.submit(time.sleep, 3600) for _ in range(SLOTS)]
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
    return {
        f"submit, {count:,} queued at once, tasks/s": count / took,
        f"scheduler memory, {count:,} queued, bytes/task": grown / count,
    }


def settled_bytes(process: psutil.Process) -> int:
    """The resident size once the process has nothing more to do."""
    used = -1.0
    while sum(process.cpu_times()[:2]) - used > 0.02:
        used = sum(process.cpu_times()[:2])
        time.sleep(0.5)
    return int(process.memory_info().rss)


def state_alone(workers: int = 10_000, tasks: int = 1_000_000) -> dict[str, float]:
    """The scheduler's state without sockets: all submitted in columns of 1,000, then placed and finished, round by round."""
    state = SchedulerState(SchedulerSettings("tcp://127.0.0.1:1"))
    state.peer_connected(1, Peer(Role.client, b"c" * 16), 0.0)
    for number in range(workers):
        peer = number + 2
        state.peer_connected(peer, Peer(Role.worker, number.to_bytes(16, "little")), 0.0)
        state.receive(peer, RegisterWorker(1, 1000), 0.0)
    state.receive(1, DefineFunctions([Function(0, "cloudpickle", b"f", b"", "f")]), 0.0)
    state.drain(0.0)
    placed = 0
    began = time.perf_counter()
    for start in range(0, tasks, 1000):
        state.receive(1, Submit(array("Q", range(start, start + 1000)), array("I", [0]), [b"payload"] * 1000), 0.0)
    while placed < tasks:
        for output in state.drain(0.0):
            message = getattr(output, "message", None)
            if isinstance(message, Assign):
                count = len(message.tasks)
                placed += count
                nothing = bytes(8 * count)
                ended = Results(
                    message.tasks.tobytes(), message.attempts.tobytes(), b"\1" * count, [b"r"] * count, *[nothing] * 3
                )
                state.receive(output.peer, ended, 0.0)
    took = time.perf_counter() - began
    return {f"state alone, {workers:,} workers, placements/s": placed / took}


# ---- the run


@contextmanager
def systems() -> Iterator[tuple[Client, ProcessPoolExecutor, Any]]:
    context = multiprocessing.get_context("spawn")
    with (
        Client(n_workers=SLOTS) as client,
        ProcessPoolExecutor(SLOTS, mp_context=context) as executor,
        context.Pool(SLOTS) as pool,
    ):
        client.map(noop, range(1000))
        list(executor.map(noop, range(200)))
        pool.map(noop, range(200))
        yield client, executor, pool


def measure(repetitions: int, large: bool) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)
        print(f"{name:55} {value:14,.1f}", flush=True)

    for _ in range(repetitions):
        note("start to first result, s", start_seconds())
    with systems() as (client, executor, pool):
        for name, value in idle(client).items():
            note(name, value)
        for _ in range(repetitions):
            note("scaler: submit, tasks/s", scaler_submit(client))
            note("ProcessPoolExecutor: submit, tasks/s", pool_submit(executor))
            note("multiprocessing.Pool: apply_async, tasks/s", apply_async(pool))
            note("scaler: map, tasks/s", scaler_map(client))
            note("scaler: tree graph, nodes/s", scaler_graph(client))
            note("scaler: round trip p50, us", scaler_round_trip(client))
            note("ProcessPoolExecutor: round trip p50, us", pool_round_trip(executor))
        for count in (10_000, 1_000_000) if large else (10_000,):
            for _ in range(repetitions if count < 100_000 else 2):
                for name, value in backlog(client, count).items():
                    note(name, value)
    for _ in range(repetitions):
        for name, value in state_alone().items():
            note(name, value)
    return found


def table(found: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(values) for name, values in found.items()}
    lines = [
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"{SLOTS} slots, no-op tasks; median (smallest to largest).",
        "",
        "| | |",
        "|---|---:|",
    ]
    for name, values in found.items():
        spread = f" ({min(values):,.4g} to {max(values):,.4g})" if len(values) > 1 else ""
        lines.append(f"| {name} | {medians[name]:,.4g}{spread} |")
    ratios = {
        "submit, Scaler / ProcessPoolExecutor": ("scaler: submit, tasks/s", "ProcessPoolExecutor: submit, tasks/s"),
        "submit, Scaler / Pool.apply_async": ("scaler: submit, tasks/s", "multiprocessing.Pool: apply_async, tasks/s"),
        "round trip, Scaler / ProcessPoolExecutor": (
            "scaler: round trip p50, us",
            "ProcessPoolExecutor: round trip p50, us",
        ),
        "rate at 1,000,000 queued / at 10,000": (
            "submit, 1,000,000 queued at once, tasks/s",
            "submit, 10,000 queued at once, tasks/s",
        ),
    }
    lines += ["", "| ratio | |", "|---|---:|"]
    for name, (above, below) in ratios.items():
        if above in medians and below in medians:
            lines.append(f"| {name} | {medians[above] / medians[below]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="leave out the run with 1,000,000 tasks")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--write", type=Path, help="put the table into this document, below its mark")
    given = parser.parse_args()
    found = measure(given.repetitions, not given.small)
    text = table(found)
    print("\n" + text)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if given.write:
        above = given.write.read_text().split(MARK)[0]
        given.write.write_text(f"{above}{MARK}\n\n{text}\n")


if __name__ == "__main__":
    main()
