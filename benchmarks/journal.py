"""What a journal costs: bursts of empty tasks and lone round trips, without a journal, with one, and with one under a name.

The clusters run side by side and take turns, so what disturbs one round disturbs all of them.

python -m benchmarks.journal [--rounds 40] [--tasks 4000]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.security import free_ports
from scaler import Client


@dataclass(slots=True)
class Kind:
    """A cluster, and a client of it."""

    name: str
    client: Client
    scheduler: psutil.Process
    others: list[psutil.Process]

    def burst(self, tasks: int) -> dict[str, float]:
        """Tasks a second, from the first submit to the last result, and what they cost the scheduler."""
        before, all_before = cpu(self.scheduler), self._cpu_of_all()
        began = time.perf_counter()
        for future in [self.client.submit(abs, n) for n in range(tasks)]:
            future.result()
        rate = tasks / (time.perf_counter() - began)
        return {
            "burst, tasks/s": rate,
            "burst, us of the scheduler a task": (cpu(self.scheduler) - before) / tasks * 1e6,
            "burst, us of all processes a task": (self._cpu_of_all() - all_before) / tasks * 1e6,
        }

    def mapped(self, items: int) -> dict[str, float]:
        """The same as items of an array."""
        began = time.perf_counter()
        self.client.map(abs, range(items))
        return {"map, items/s": items / (time.perf_counter() - began)}

    def lone(self, count: int) -> dict[str, float]:
        """Round trips a second, one at a time."""
        began = time.perf_counter()
        for n in range(count):
            self.client.submit(abs, n).result()
        return {"lone round trips/s": count / (time.perf_counter() - began)}

    def _cpu_of_all(self) -> float:
        """Processor time of client, scheduler, storage, worker and executors."""
        below = [child for process in self.others for child in process.children(recursive=True)]
        return sum(map(cpu, [psutil.Process(), self.scheduler, *self.others, *below]))


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time."""
    times = process.cpu_times()
    return times.user + times.system


@contextlib.contextmanager
def cluster(name: str, client_name: str, journal: Path | None) -> Iterator[Kind]:
    """Storage, scheduler and two slots, each a command."""
    scheduler, storage, monitor = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
    journaled = () if journal is None else ("--journal", str(journal))
    commands = (
        ("object_storage_server", storage),
        ("scheduler", scheduler, "-osa", storage, "-ma", monitor, *journaled),
        ("cluster", "-n", "2", scheduler),
    )
    running = [
        subprocess.Popen([sys.executable, "-m", f"scaler.cli.{command}", *told, "-ll", "ERROR"])
        for command, *told in commands
    ]
    try:
        with Client(scheduler, name=client_name) as client:
            storage_process, scheduler_process, workers = (psutil.Process(process.pid) for process in running)
            yield Kind(name, client, scheduler_process, [storage_process, workers])
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def race(kinds: list[Kind], rounds: int, measure: Callable[[Kind], dict[str, float]]) -> None:
    """Prints the medians of the figures, and of what each is to the first kind's in the same round. The first round warms up."""
    figures: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds + 1):
        shift = turn % len(kinds)
        for kind in kinds[shift:] + kinds[:shift]:
            for title, figure in measure(kind).items():
                if turn:
                    figures.setdefault(title, {}).setdefault(kind.name, []).append(figure)
    for title, found in figures.items():
        line = f"{title:<36}"
        for kind in kinds:
            ratio = statistics.median(a / b for a, b in zip(found[kind.name], found[kinds[0].name], strict=True))
            line += f"{statistics.median(found[kind.name]):>15,.1f} {ratio:>7.1%}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=4000)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = [
            stack.enter_context(cluster("without", "", None)),
            stack.enter_context(cluster("journal", "", where / "one")),
            stack.enter_context(cluster("journal, name", "nightly", where / "two")),
        ]
        print(f"{'':<36}" + "".join(f"{kind.name:>23}" for kind in kinds))
        race(kinds, asked.rounds, lambda kind: kind.burst(asked.tasks))
        race(kinds, asked.rounds, lambda kind: kind.mapped(10 * asked.tasks))
        race(kinds, asked.rounds, lambda kind: kind.lone(300))


if __name__ == "__main__":
    main()
