"""What monitors cost: throughput with none and with ten of them, round by round on one cluster.

    python -m benchmarks.monitors [--monitors 10] [--rounds 15]

The monitors are one process, of which the figures contain the share that it takes of the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Event

import psutil

from scaler import Client, SchedulerClusterCombo
from scaler.cli.main import free_ports
from scaler.ids import Address
from scaler.monitor.feed import Feed
from scaler.monitor.model import Model

TASKS = 20_000
ITEMS = 200_000


def nothing(x: int) -> int:
    return x


def submits(client: Client) -> float:
    """Tasks a second, each submitted by itself."""
    begin = time.perf_counter()
    for future in [client.submit(nothing, i) for i in range(TASKS)]:
        future.result()
    return TASKS / (time.perf_counter() - begin)


def maps(client: Client) -> float:
    """Items a second."""
    begin = time.perf_counter()
    client.map(nothing, range(ITEMS))
    return ITEMS / (time.perf_counter() - begin)


def watch(address: str, monitors: int, ready: Event, done: Event) -> None:
    """Be so many monitors, each with its own connection and model."""

    async def run() -> None:
        models = [Model() for _ in range(monitors)]
        feeds = [asyncio.ensure_future(Feed(Address.parse(address), model.apply).run()) for model in models]
        while not all(model.updates for model in models):
            await asyncio.sleep(0.01)
        ready.set()
        while not done.is_set():
            await asyncio.sleep(0.05)
        for feed in feeds:
            feed.cancel()

    asyncio.run(run())


def watched(address: str, monitors: int, work: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The figure while so many look."""
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    process = spawn.Process(target=watch, args=(address, monitors, ready, done))
    process.start()
    ready.wait()
    try:
        return work()
    finally:
        done.set()
        process.join()


def scheduler_pid(address: str) -> int:
    """The process that tells."""
    model = Model()
    asyncio.run(Feed(Address.parse(address), model.apply).first(10))
    return model.scheduler.pid


def measure(work: Callable[[], float], pid: int) -> tuple[float, float]:
    """The median of five throughputs, and processor seconds of the scheduler for all five."""
    before = psutil.Process(pid).cpu_times()
    figure = statistics.median(work() for _ in range(5))
    after = psutil.Process(pid).cpu_times()
    return figure, after.user + after.system - before.user - before.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monitors", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    first = free_ports(19_000, 3)
    scheduler, monitor = f"tcp://127.0.0.1:{first}", f"tcp://127.0.0.1:{first + 2}"
    with (
        SchedulerClusterCombo(2, address=scheduler, monitor_address=monitor, logging_level="ERROR"),
        Client(scheduler) as client,
    ):
        pid = scheduler_pid(monitor)
        for name, work in (("submit, tasks/s", partial(submits, client)), ("map, items/s", partial(maps, client))):
            measure(work, pid)
            alone, seen = [], []
            for _ in range(asked.rounds):
                alone.append(measure(work, pid))
                seen.append(watched(monitor, asked.monitors, partial(measure, work, pid)))
            for what, place in ((name, 0), ("processor seconds of the scheduler", 1)):
                a, b = (statistics.median(round[place] for round in rounds) for rounds in (alone, seen))
                print(f"{what}: {a:,.4g} alone, {b:,.4g} with {asked.monitors} monitors ({100 * (b / a - 1):+.1f} %)")


if __name__ == "__main__":
    main()
