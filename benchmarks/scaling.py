"""How far scaling policies are from ideal: what slots cost, and how long tasks wait, under loads of different shape.

``python -m benchmarks.scaling`` prints a table, ``python -m benchmarks.scaling FILE...`` one for recorded loads of your own. The
states are the real ones, the time is simulated (tests/sim). Ideal would be to pay for no more slot-seconds than tasks run (cost
1.0), and to let no task wait.

A recorded load is a CSV file with a line for each task: when it was ``submitted``, in seconds from the first one, and how many
``seconds`` it ran. Those in ``loads/`` are the tests of this project, each a task of its own, all at once; and a search for
the best parameters of a classifier (scikit-learn's HalvingGridSearchCV, digits, random forests): five rounds of fewer and
longer tasks, each submitted when the one before had ended on 16 slots.
"""

from __future__ import annotations

import csv
import math
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scaler.scheduler.policy import Policy
from scaler.scheduler.scaling.waterfall import UNLIMITED, Rule
from tests.sim.checkers import Job, Kind
from tests.sim.cluster import Cluster
from tests.sim.network import Quality

SLOTS = 20
START_SECONDS = 2.0
IDLE_SECONDS = 5.0
STEP_SECONDS = 0.1
POLICIES = {
    "vanilla": Policy(idle_seconds=IDLE_SECONDS),
    "capability": Policy(scaling="capability", idle_seconds=IDLE_SECONDS),
    "target_time, 10 s": Policy(scaling="target_time", target_seconds=10.0, idle_seconds=IDLE_SECONDS),
    "target_time, 60 s": Policy(scaling="target_time", target_seconds=60.0, idle_seconds=IDLE_SECONDS),
    "waterfall_v1": Policy(scaling="waterfall", rules=(Rule(1, "site", UNLIMITED),), idle_seconds=IDLE_SECONDS),
}
Load = list[tuple[float, float]]
"""When each task is submitted, and how long it runs, in seconds."""


def bursts(count: int = 5, tasks: int = 60) -> Load:
    """Every minute many tasks of a second."""
    return [(60.0 * burst, 1.0) for burst in range(count) for _ in range(tasks)]


def diurnal(seconds: float = 300.0, most: float = 12.0) -> Load:
    """Tasks of a second, at a rate that rises and falls twice."""
    chance = random.Random(1)
    times = (step / 10 for step in range(int(seconds * 10)))
    return [(t, 1.0) for t in times if chance.random() < most / 10 * math.sin(2 * math.pi * t / seconds) ** 2]


def skewed(tasks: int = 200) -> Load:
    """All at once, most of them short and some a hundred times as long."""
    chance = random.Random(2)
    return [(0.0, min(60.0, chance.lognormvariate(-0.5, 1.5))) for _ in range(tasks)]


def recorded(path: Path) -> Load:
    """What a file tells. Raises ValueError that says where it is no recorded load."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        try:
            return [(float(row["submitted"]), float(row["seconds"])) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {rows.line_num}: not of the form submitted,seconds: {error}") from None


RECORDED = Path(__file__).with_name("loads")
LOADS = {
    "bursts": bursts,
    "diurnal": diurnal,
    "skewed": skewed,
    "bursts, workers lost": bursts,
    "recorded: tests": lambda: recorded(RECORDED / "tests.csv"),
    "recorded: search": lambda: recorded(RECORDED / "search.csv"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of a load."""

    cost: float
    """Slot-seconds of workers for each second that tasks run."""
    mean_wait: float
    """From submission to the last begin, in seconds."""
    worst_wait: float


def measure(policy: Policy, load: Load, loss_every: float = 0.0) -> Outcome:
    """Run a load; every so many seconds a worker is lost, if that is not 0."""
    cluster = Cluster(1, Quality(0.001, 0.0), check_every=1_000_000, policy=policy)
    site = cluster.add_manager("site", SLOTS).site
    site.start_seconds = START_SECONDS
    user = cluster.add_user()
    clock = cluster.clock
    clock.run(1.0)
    submitted: list[tuple[float, Job]] = []

    def submit(seconds: float) -> None:
        job = user.job(Kind.PLAIN, seconds)
        submitted.append((clock.now, job))
        user.submit(job)

    for when, seconds in load:
        clock.after(when, lambda seconds=seconds: submit(seconds))  # type: ignore[misc]
    for when in _losses(loss_every, load[-1][0]):
        clock.after(when, cluster.kill_worker)
    paid = 0.0
    while len(submitted) < len(load) or cluster.books.missing or site.workers:
        clock.run(clock.now + STEP_SECONDS)
        site.look()
        paid += STEP_SECONDS * sum(worker.state.options.slots for worker in site.workers.values())
    waits = [cluster.books.runs[job.key][-1].began - when for when, job in submitted]
    work = sum(seconds for _, seconds in load)
    return Outcome(paid / work, statistics.fmean(waits), max(waits))


def _losses(every: float, until: float) -> Iterator[float]:
    when = every
    while every and when < until:
        yield when
        when += every


def main() -> None:
    """Print the table."""
    given = {path: lambda path=path: recorded(Path(path)) for path in sys.argv[1:]}
    print("| load | policy | cost | mean wait, s | worst wait, s |\n|---|---|---|---|---|")
    for load_name, make in (given or LOADS).items():
        load = make()
        for name, policy in POLICIES.items():
            found = measure(policy, load, 7.0 if "lost" in load_name else 0.0)
            print(f"| {load_name} | {name} | {found.cost:.2f} | {found.mean_wait:.1f} | {found.worst_wait:.1f} |")


if __name__ == "__main__":
    main()
