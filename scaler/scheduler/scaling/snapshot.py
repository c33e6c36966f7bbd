"""What a scaling policy sees, and what it answers. Both are columns, small and without behaviour of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

UNMANAGED = -1
"""In ``worker_manager``: no dynamic manager's. In ``worker_class``: it holds nothing."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Tasks by requirement class, workers that are not draining, dynamic managers.

    Tasks that wait for others are not counted: they can use no slot.
    """

    needs: tuple[frozenset[str], ...] = ()
    """Of each class: what its tasks ask for."""
    waiting: tuple[int, ...] = ()
    """Of each class: tasks that are ready, and with no worker."""
    seconds: tuple[float, ...] = ()
    """Of each class: how long one task takes, as measured; where nothing is, how long the first one has run so far."""

    worker_slots: tuple[int, ...] = ()
    worker_busy: tuple[int, ...] = ()
    """Slots in use, at most as many as there are."""
    worker_queued: tuple[int, ...] = ()
    """Tasks that are there ahead of time, beyond its slots."""
    worker_class: tuple[int, ...] = ()
    """The class, by its place above, of the newest task there. Taken for that of all that the worker has."""
    worker_offers: tuple[frozenset[str], ...] = ()
    worker_manager: tuple[int, ...] = ()
    """The place of its dynamic manager below, or UNMANAGED."""

    manager_names: tuple[str, ...] = ()
    manager_offers: tuple[frozenset[str], ...] = ()
    manager_most: tuple[int, ...] = ()
    """The most slots that it can offer now."""
    manager_starting: tuple[int, ...] = ()
    """Slots that it was asked for, and whose workers have not connected yet."""
    manager_desired: tuple[int, ...] = ()
    """What it was asked for last, in all."""
    manager_tiers: tuple[int, ...] = ()
    """What a slot costs, compared with others."""

    def demand(self) -> list[int]:
        """Of each class: tasks that have not begun, wherever they wait."""
        demand = list(self.waiting)
        for queued, of_class in zip(self.worker_queued, self.worker_class, strict=True):
            if queued and of_class != UNMANAGED:
                demand[of_class] += queued
        return demand

    def busy_of_managers(self) -> list[int]:
        """Of each manager: slots in use."""
        busy = [0] * len(self.manager_names)
        for used, manager in zip(self.worker_busy, self.worker_manager, strict=True):
            if manager != UNMANAGED:
                busy[manager] += used
        return busy

    def slots_of_managers(self) -> list[int]:
        """Of each manager: slots that are connected or starting."""
        slots = list(self.manager_starting)
        for count, manager in zip(self.worker_slots, self.worker_manager, strict=True):
            if manager != UNMANAGED:
                slots[manager] += count
        return slots

    def slots_by_offers(self) -> dict[frozenset[str], tuple[int, int]]:
        """What workers offer, to their slots and how many of these are in use. Starting workers count as idle."""
        slots: defaultdict[frozenset[str], list[int]] = defaultdict(lambda: [0, 0])
        for offers, count, busy in zip(self.worker_offers, self.worker_slots, self.worker_busy, strict=True):
            there = slots[offers]
            there[0] += count
            there[1] += busy
        for offers, count in zip(self.manager_offers, self.manager_starting, strict=True):
            slots[offers][0] += count
        return {offers: (count, busy) for offers, (count, busy) in slots.items()}

    def serving(self, of_class: int) -> list[int]:
        """The managers whose workers can run tasks of a class."""
        needs = self.needs[of_class]
        return [manager for manager, offers in enumerate(self.manager_offers) if needs <= offers]

    def cheapest_first(self) -> list[int]:
        """The managers by cost tier; of equal ones those that offer least else, so that the special ones stay free."""
        return sorted(
            range(len(self.manager_names)),
            key=lambda m: (self.manager_tiers[m], len(self.manager_offers[m]), self.manager_names[m]),
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a policy would have, as totals."""

    slots: tuple[int, ...]
    """Of each manager: from 0 to the most that it can offer."""
    sets: tuple[Mapping[int, int], ...]
    """Of each manager: class to slots that tasks of this class wait for. Not more in all than ``slots``."""
