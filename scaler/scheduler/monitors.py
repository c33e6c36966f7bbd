"""What monitors are told, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scaler._core.loads import Loads
from scaler.machine import Outbox
from scaler.messages import ClientFacts, ManagerFacts, Statistics, TaskCounts, Update, WorkerFacts
from scaler.scheduler.sessions import ClientSession, ManagerSession, WorkerSession

SHORTEST_INTERVAL_SECONDS = 0.1


@dataclass(slots=True)
class _Subscription:
    interval: float
    next: float
    told: dict[bytes, WorkerFacts] = field(default_factory=dict)
    full: bool = True
    paused: bool = False


class Monitors:
    """The monitors that subscribed, and what each has been told of the workers."""

    def __init__(self) -> None:
        self.cpu_percent = 0.0
        self.resident_bytes = 0
        """The scheduler's own, told by its service."""
        self.objects = Statistics()
        """Of the object storage, as it said last."""
        self._subscriptions: dict[int, _Subscription] = {}

    def subscribe(self, peer: int, interval_milliseconds: int, now: float) -> None:
        interval = max(SHORTEST_INTERVAL_SECONDS, (interval_milliseconds or 1000) / 1000)
        self._subscriptions[peer] = _Subscription(interval, now)

    def unsubscribe(self, peer: int) -> None:
        self._subscriptions.pop(peer, None)

    def pause(self, peer: int, paused: bool) -> None:
        """A monitor that does not read misses updates; when it reads again it gets a full one."""
        subscription = self._subscriptions.get(peer)
        if subscription is not None:
            subscription.paused = paused
            subscription.full = subscription.full or paused

    def next_deadline(self) -> float | None:
        if not self._subscriptions:
            return None
        return min((s.next for s in self._subscriptions.values() if not s.paused), default=None)

    def publish(
        self,
        out: Outbox,
        now: float,
        unix_seconds: float,
        tasks: TaskCounts,
        clients: Iterable[ClientSession],
        workers: Iterable[WorkerSession],
        managers: Iterable[ManagerSession],
        loads: Loads,
    ) -> bool:
        """Tell those whose time has come. Returns whether there were any."""
        due = {p: s for p, s in self._subscriptions.items() if not s.paused and now >= s.next}
        if not due:
            return False
        facts = {worker.identity: _worker_facts(worker, loads) for worker in workers}
        client_facts = [ClientFacts(c.identity, c.name, c.peer is not None, c.unfinished) for c in clients]
        manager_facts = [_manager_facts(manager) for manager in managers]
        for peer, subscription in due.items():
            told = {} if subscription.full else subscription.told
            update = Update(
                subscription.full,
                int(unix_seconds * 1000),
                tasks,
                [fact for identity, fact in facts.items() if told.get(identity) != fact],
                [identity for identity in told if identity not in facts],
                client_facts,
                manager_facts,
                self.cpu_percent,
                self.resident_bytes,
                self.objects,
            )
            subscription.told, subscription.full = facts, False
            subscription.next = now + subscription.interval
            out.send(peer, update)
        return True


def _worker_facts(worker: WorkerSession, loads: Loads) -> WorkerFacts:
    vitals = worker.vitals
    return WorkerFacts(
        worker.identity,
        worker.name,
        worker.facts.host,
        worker.facts.pid,
        worker.facts.manager_name,
        worker.facts.slots,
        loads.held(worker.number),
        round(vitals.cpu_percent, 1),
        vitals.resident_bytes,
        vitals.round_trip_microseconds,
        worker.draining,
        sorted(worker.facts.capabilities),
    )


def _manager_facts(manager: ManagerSession) -> ManagerFacts:
    facts, report = manager.facts, manager.report
    return ManagerFacts(
        facts.manager_name,
        facts.kind,
        facts.max_slots,
        report.starting_slots,
        report.running_slots,
        report.failures,
        report.last_failure,
    )
