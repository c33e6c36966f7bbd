"""Scaling by measured task time: just as many slots as finish what waits within a target time.

A slot is worth what it can do in that time: ten tasks of six seconds in a minute. Slots that are in use take more tasks
when they have finished the present ones; only what they leave undone asks for more. So a burst of short tasks asks for few
slots, long tasks for one each, and nothing for none.
"""

from __future__ import annotations

from math import ceil

from scaler.scheduler.scaling.allotment import allot
from scaler.scheduler.scaling.snapshot import Snapshot, Wanted

SHORTEST_SECONDS = 0.000_1
"""What a task costs at least, be it empty."""


def target_time(snapshot: Snapshot, target: float) -> Wanted:
    """``target``: seconds within which all that waits now should have ended."""
    seconds = [max(SHORTEST_SECONDS, taken) for taken in snapshot.seconds]
    left = _undone(snapshot, seconds, target)
    wanted = [ceil(tasks / _in_time(target, taken)) for tasks, taken in zip(left, seconds, strict=True)]
    kept = snapshot.busy_of_managers()
    return allot(snapshot, wanted, kept, snapshot.cheapest_first(), snapshot.manager_most)


def _in_time(target: float, seconds: float) -> int:
    """How many tasks an idle slot ends in time, at least one."""
    return max(1, int(target / seconds))


def _undone(snapshot: Snapshot, seconds: list[float], target: float) -> list[int]:
    """Of each class: tasks that the slots in use leave over, when they go on until the target."""
    busy = {offers: used for offers, (_, used) in snapshot.slots_by_offers().items()}
    spare = {offers: used * target for offers, used in busy.items()}
    left = snapshot.demand()
    for of_class in sorted(range(len(left)), key=lambda c: -len(snapshot.needs[c])):
        taken = seconds[of_class]
        for offers in sorted((o for o in spare if snapshot.needs[of_class] <= o), key=len):
            # What runs there now is taken to be as long.
            done = min(left[of_class], int(max(0.0, spare[offers] - busy[offers] * taken) / taken))
            spare[offers] -= done * taken
            left[of_class] -= done
    return left
