"""How long a cluster takes for skewed work, next to the ideal. The cluster is simulated: see ``benchmarks.simulation``.

The bound is max(all work / slots, longest task): no schedule is shorter. Next to it stands what one queue gives, from
which every free slot takes the next task without any delay: it does not know how long tasks are either.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

from benchmarks.simulation import Joins, simulate


def one_queue(seconds: Sequence[float], joins: Joins) -> float:
    """The makespan when every free slot takes the next task at once."""
    free = [time for time, slots in joins for _ in range(slots)]
    heapq.heapify(free)
    last = 0.0
    for duration in seconds:
        end = free[0] + duration
        heapq.heapreplace(free, end)
        last = max(last, end)
    return last


def bound(seconds: Sequence[float], joins: Joins) -> float:
    """No schedule ends before: all slots busy from when they join, and the longest task from the start."""
    work, slots = sum(seconds), 0
    ends = 0.0
    for time, more in sorted(joins):
        if slots and ends <= time:
            break  # all work is done before these come
        work += time * more
        slots += more
        ends = work / slots
    return max(ends, min(time for time, _ in joins) + max(seconds))


def skewed(count: int, short: float, seed: int) -> list[float]:
    """1 % of the tasks take 100 times as long as the others, at places drawn by lot."""
    lot = random.Random(seed)
    seconds = [short] * count
    for place in lot.sample(range(count), count // 100):
        seconds[place] = short * 100
    return seconds


HOSTS, SLOTS_A_HOST = 25, 8
SKEWED = {milliseconds: f"{milliseconds} ms tasks, 1 % of them 100x longer" for milliseconds in (1, 10, 100)}
LATE = "the 10 ms ones, half of the workers join late"
TASKS = 200_000


def scenarios(tasks: int = TASKS, seed: int = 1) -> dict[str, tuple[list[float], Joins]]:
    """Work and workers, by name. 200 slots on 25 workers."""
    now = [(0.0, SLOTS_A_HOST)] * HOSTS
    found: dict[str, tuple[list[float], Joins]] = {}
    for milliseconds, name in SKEWED.items():
        found[name] = skewed(tasks, milliseconds / 1000, seed), now
    work = skewed(tasks, 0.010, seed)
    quarter = bound(work, now) / 4
    late = [(0.0 if host % 2 else quarter, SLOTS_A_HOST) for host in range(HOSTS)]
    found[LATE] = work, late
    found["all tasks of 10 ms"] = [0.010] * tasks, now
    found["200 tasks of 10 s"] = [10.0] * (HOSTS * SLOTS_A_HOST), now
    return found


def measure(tasks: int = TASKS) -> dict[str, dict[str, float]]:
    """For each scenario, in seconds: makespan, bound, one queue."""
    return {
        name: {
            "makespan": simulate(seconds, joins),
            "bound": bound(seconds, joins),
            "one queue": one_queue(seconds, joins),
        }
        for name, (seconds, joins) in scenarios(tasks).items()
    }


if __name__ == "__main__":
    for name, found in measure().items():
        ratios = "  ".join(f"{key} {value:8.3f} s" for key, value in found.items())
        print(f"{name:50} {ratios}  {found['makespan'] / found['bound']:.3f}")
