"""Snapshots in short words, and what a faithful manager makes of what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot, Wanted


@dataclass
class Tasks:
    waiting: int
    needs: str = ""
    seconds: float = 1.0


@dataclass
class Worker:
    slots: int
    busy: int = 0
    queued: int = 0
    manager: str = ""
    offers: str = ""
    holds: int = 0
    """The class that it holds, by its place."""


@dataclass
class Manager:
    name: str
    most: int
    starting: int = 0
    desired: int = 0
    offers: str = ""
    tier: int = 0


def snapshot(*parts: Tasks | Worker | Manager) -> Snapshot:
    """Capabilities are words with blanks between them. A worker offers what its manager does."""
    tasks = [p for p in parts if isinstance(p, Tasks)]
    workers = [p for p in parts if isinstance(p, Worker)]
    managers = [p for p in parts if isinstance(p, Manager)]
    names = [m.name for m in managers]
    offers = {m.name: m.offers for m in managers}
    return Snapshot(
        tuple(frozenset(t.needs.split()) for t in tasks),
        tuple(t.waiting for t in tasks),
        tuple(t.seconds for t in tasks),
        tuple(w.slots for w in workers),
        tuple(w.busy for w in workers),
        tuple(w.queued for w in workers),
        tuple(w.holds if w.busy or w.queued else UNMANAGED for w in workers),
        tuple(frozenset(offers.get(w.manager, w.offers).split()) for w in workers),
        tuple(names.index(w.manager) if w.manager else UNMANAGED for w in workers),
        tuple(names),
        tuple(frozenset(m.offers.split()) for m in managers),
        tuple(m.most for m in managers),
        tuple(m.starting for m in managers),
        tuple(m.desired for m in managers),
        tuple(m.tier for m in managers),
    )


def asked(before: Snapshot, wanted: Wanted) -> Snapshot:
    """The moment after: managers were asked, and what is missing is starting."""
    connected = [
        sum(slots for slots, manager in zip(before.worker_slots, before.worker_manager, strict=True) if manager == m)
        for m in range(len(before.manager_names))
    ]
    starting = tuple(
        max(starting, slots - there)
        for starting, slots, there in zip(before.manager_starting, wanted.slots, connected, strict=True)
    )
    return replace(before, manager_desired=wanted.slots, manager_starting=starting)
