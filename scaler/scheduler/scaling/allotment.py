"""Which manager is to bring the slots that tasks of each class want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot, Wanted


def allot(
    snapshot: Snapshot, wanted: Sequence[int], kept: Sequence[int], order: Sequence[int], most: Sequence[int]
) -> Wanted:
    """Idle slots that no manager is asked for come first, then managers in order, each up to its limit.

    Args:
        wanted: of each class, how many more slots than the kept ones.
        kept: of each manager, slots that are not to be given up.
        order: managers, the first filled first; others get nothing but what they keep.
        most: of each manager, its limit.
    """
    slots = [min(keep, limit) for keep, limit in zip(kept, most, strict=True)]
    sets: list[dict[int, int]] = [{} for _ in slots]
    idle = _idle_elsewhere(snapshot)
    # What asks for most can go to fewest places: it chooses first.
    for of_class in sorted(range(len(wanted)), key=lambda c: -len(snapshot.needs[c])):
        left = wanted[of_class] - _take(idle, snapshot.needs[of_class], wanted[of_class])
        for manager in order:
            if left <= 0:
                break
            if snapshot.needs[of_class] <= snapshot.manager_offers[manager]:
                share = min(left, most[manager] - slots[manager])
                if share > 0:
                    slots[manager] += share
                    sets[manager][of_class] = share
                    left -= share
    return Wanted(tuple(slots), tuple(sets))


def _idle_elsewhere(snapshot: Snapshot) -> Counter[frozenset[str]]:
    """Idle slots of workers without a dynamic manager, by what they offer."""
    idle: Counter[frozenset[str]] = Counter()
    for worker, manager in enumerate(snapshot.worker_manager):
        if manager == UNMANAGED:
            idle[snapshot.worker_offers[worker]] += snapshot.worker_slots[worker] - snapshot.worker_busy[worker]
    return idle


def _take(idle: Counter[frozenset[str]], needs: frozenset[str], wanted: int) -> int:
    """Use idle slots for a class, those that offer least first; returns how many there were."""
    taken = 0
    for offers in sorted((offers for offers in idle if needs <= offers), key=len):
        share = min(wanted - taken, idle[offers])
        idle[offers] -= share
        taken += share
    return taken
