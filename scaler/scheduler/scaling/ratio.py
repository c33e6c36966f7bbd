"""Scaling by tasks per slot: ``vanilla`` over all, ``capability`` for each capability set by itself.

Above one ratio a slot is asked for each task, in one step; below another slots that no task needs are given up; between
the two all stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaler.scheduler.scaling.allotment import allot
from scaler.scheduler.scaling.snapshot import Snapshot, Wanted


@dataclass(frozen=True, slots=True)
class Ratios:
    """Tasks per slot."""

    grow_above: float
    shrink_below: float

    def grow(self, tasks: int, slots: int) -> bool:
        """Whether so many tasks are too many."""
        return tasks > self.grow_above * slots

    def shrink(self, tasks: int, slots: int) -> bool:
        """Whether there are more slots than tasks need."""
        return tasks < self.shrink_below * slots


VANILLA = Ratios(10, 1)
CAPABILITY = Ratios(5, 0.5)


def vanilla(snapshot: Snapshot) -> Wanted:
    """All tasks that a manager could do something for, over all slots."""
    demand = _demand(snapshot)
    total = sum(demand) + sum(snapshot.worker_busy)
    slots = sum(snapshot.worker_slots) + sum(snapshot.manager_starting)
    classes, managers = len(demand), len(snapshot.manager_names)
    load = total, slots
    return _by_ratio(snapshot, VANILLA, demand, _fitting(snapshot), [load] * classes, [load] * managers)


def capability(snapshot: Snapshot) -> Wanted:
    """For each class its tasks, and what else runs where they can run, over the slots there; the same for each manager."""
    demand = _demand(snapshot)
    fitting = _fitting(snapshot)
    of_classes = [(count + busy, slots) for count, (slots, busy) in zip(demand, fitting, strict=True)]
    of_managers = []
    capacity, busy_there = snapshot.slots_of_managers(), snapshot.busy_of_managers()
    for manager, offers in enumerate(snapshot.manager_offers):
        tasks = sum(count for count, needs in zip(demand, snapshot.needs, strict=True) if needs <= offers)
        of_managers.append((tasks + busy_there[manager], capacity[manager]))
    return _by_ratio(snapshot, CAPABILITY, demand, fitting, of_classes, of_managers)


def _by_ratio(
    snapshot: Snapshot,
    ratios: Ratios,
    demand: list[int],
    fitting: list[tuple[int, int]],
    of_classes: list[tuple[int, int]],
    of_managers: list[tuple[int, int]],
) -> Wanted:
    """``of_classes`` and ``of_managers``: (tasks, slots) by which each is judged."""
    wanted = [
        count if slots == 0 or ratios.grow(*load) or ratios.shrink(*load) else 0
        for count, (slots, _), load in zip(demand, fitting, of_classes, strict=True)
    ]
    most = snapshot.manager_most
    allotted = allot(snapshot, wanted, snapshot.busy_of_managers(), snapshot.cheapest_first(), most)
    slots = [
        share if ratios.shrink(*load) else max(share, min(desired, limit))
        for share, desired, limit, load in zip(allotted.slots, snapshot.manager_desired, most, of_managers, strict=True)
    ]
    return Wanted(tuple(slots), allotted.sets)


def _demand(snapshot: Snapshot) -> list[int]:
    """Tasks that have not begun, of classes that some manager's workers can run."""
    return [count if snapshot.serving(c) else 0 for c, count in enumerate(snapshot.demand())]


def _fitting(snapshot: Snapshot) -> list[tuple[int, int]]:
    """Of each class: slots that can run it, connected or starting, and how many of them are in use."""
    slots = snapshot.slots_by_offers()
    fitting = []
    for needs in snapshot.needs:
        there = [count for offers, count in slots.items() if needs <= offers]
        fitting.append((sum(count for count, _ in there), sum(busy for _, busy in there)))
    return fitting
