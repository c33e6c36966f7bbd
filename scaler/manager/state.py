"""The worker manager's decisions: which workers to start, when to try again, when to end.

A fixed manager has one worker with all slots, whatever the scheduler has to do. A dynamic one reconciles: what the
scheduler wants, with what there is, be it at work or starting. It starts what is missing. It takes back only what does
not run yet; workers that run end by themselves when the scheduler drains them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scaler.machine import Outbox, Output, Peer, Stop
from scaler.manager.backend import Phase, Sighting, WorkerOrder
from scaler.messages import (
    Desired,
    ManagerFacts,
    ManagerLeaving,
    ManagerReport,
    Message,
    RegisterManager,
    Role,
    ShutdownManager,
)

_ANY = 1 << 31
BACK_OFF_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
LIVED_SECONDS = 10.0
"""A worker that lived for so long was all right: the next one is started after the shortest pause."""
LIVED_HERE_SECONDS = 2.0
"""The same for a fixed manager, whose worker is a process of this machine and costs nothing to try."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """What a manager is told at its start. Times in seconds."""

    name: str
    kind: str
    slots: int
    """All of a fixed manager, the most of a dynamic one; 0: as many as the backend has, which the service finds out."""
    capabilities: tuple[str, ...] = ()
    heartbeat_seconds: float = 2.0
    death_timeout_seconds: float = 300.0
    """How long manager and scheduler, and workers without a manager, go on without each other."""
    fixed: bool = True
    instance: str = ""
    """Part of the names of workers: different for each process that is a manager of this name."""
    worker_slots: int = 0
    """Of each worker of a dynamic manager; 0: one worker has all."""
    max_workers: int = 0
    """Never more workers than these at a time; 0: no limit."""
    max_hours: float = 0.0
    """No worker is started when all together have lived for so long, in hours of workers; 0: no limit."""
    start_timeout_seconds: float = 300.0
    """A worker that has run for so long without being connected to the scheduler is stopped."""
    cost_tier: int = 0


@dataclass(slots=True)
class StartWorkers:
    """Start these; what became of each is told by sighted()."""

    orders: list[WorkerOrder]


@dataclass(slots=True)
class StopWorkers:
    """End these; sighted() tells when they have."""

    names: list[str]


@dataclass(slots=True)
class _Worker:
    name: str
    slots: int
    began: float
    phase: Phase = Phase.PENDING
    label: str = ""
    asked: bool = True
    """Whether the backend has not answered yet whether it could be started."""
    connected: bool = False
    """Whether the scheduler has it."""
    waits_since: float = 0.0
    """Since when it runs without being connected."""
    draining: bool = False
    leaving: bool = False
    """Its machine will be taken away."""
    stopping: bool = False

    @property
    def leaves(self) -> bool:
        return self.draining or self.leaving or self.stopping


class ManagerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, options: ManagerOptions) -> None:
        self.options = options
        self.offered = _ANY
        """The most that the backend can have now, told by the service."""
        self._out = Outbox()
        self._scheduler: int | None = None
        self._workers: dict[str, _Worker] = {}
        self._numbers = 0
        self._desired: int | None = None
        """None: it is not known yet what is wanted, and nothing is started."""
        self._start_at = 0.0
        """Nothing is started before."""
        self._early_ends = 0
        """How often in a row workers ended before their time."""
        self._past_seconds = 0.0
        """How long all workers lived that are gone."""
        self._exhausted = False
        self._failures = 0
        self._last_failure = ""
        self._reported: ManagerReport | None = None
        self._heartbeat_at: float | None = None
        self._lost_at: float | None = None
        self._lost_reason = "never connected"
        self._ending = False

    # ---- told by the service

    def start(self, now: float) -> None:
        """Once, at the beginning."""
        self._lost_at = now
        if self.options.fixed:
            self._desired = self.options.slots

    def sighted(self, sightings: Iterable[Sighting], now: float, complete: bool) -> None:
        """What the backend sees. ``complete``: what is not named, and was started, is gone."""
        named, ended_early = set(), False
        for sighting in sightings:
            named.add(sighting.name)
            worker = self._workers.get(sighting.name)
            if sighting.phase == Phase.ENDED:
                ended_early |= worker is not None and self._ended(worker, sighting, now)
            elif worker is None:
                self._adopt(sighting, now)
            else:
                self._advance(worker, sighting, now)
        for worker in list(self._workers.values()) if complete else ():
            # The scheduler's word counts for more than the backend's.
            if worker.name not in named and not worker.asked and not worker.connected:
                story = f"{worker.label or worker.name} is gone"
                ended_early |= self._ended(worker, Sighting(worker.name, Phase.ENDED, story=story), now)
        if ended_early:
            self._back_off(now)

    def _advance(self, worker: _Worker, sighting: Sighting, now: float) -> None:
        begins = sighting.phase == Phase.RUNNING and (worker.asked or worker.phase == Phase.PENDING)
        worker.asked = False
        worker.label = sighting.label or worker.label
        if sighting.leaving and not worker.leaving:
            worker.leaving = True
            self._out.log(30, f"the machine of {worker.label or worker.name} will be taken away")
        if begins:
            worker.phase, worker.began, worker.waits_since = Phase.RUNNING, now, now
            self._out.log(20, f"started {worker.label or worker.name} with {worker.slots} slots")
        if self._ending and not worker.stopping:
            self._stop([worker])

    def _adopt(self, sighting: Sighting, now: float) -> None:
        """An earlier manager of this name started it."""
        slots = sighting.slots or self.options.worker_slots
        worker = self._workers[sighting.name] = _Worker(sighting.name, slots, now, sighting.phase, sighting.label)
        worker.asked, worker.waits_since, worker.leaving = False, now, sighting.leaving
        self._out.log(20, f"found {worker.label or worker.name} again, with {slots} slots")

    def _ended(self, worker: _Worker, sighting: Sighting, now: float) -> bool:
        """A worker is gone, or could not be started; returns whether it ended before its time."""
        del self._workers[worker.name]
        if worker.phase == Phase.RUNNING:
            self._past_seconds += now - worker.began
        if worker.stopping:
            return False
        orderly = sighting.orderly and not self.options.fixed and (worker.connected or worker.draining)
        if worker.draining or worker.leaving or orderly:
            self._out.log(20, f"{sighting.story}; it had {worker.slots} slots")
            return False
        self._failures += 1
        self._last_failure = sighting.story
        if sighting.unfit:
            self.end(f"{sighting.story}: it is not fit to run tasks, as it said above; this manager ends", 1)
            return False
        enough = LIVED_HERE_SECONDS if self.options.fixed else LIVED_SECONDS
        if worker.phase == Phase.RUNNING and now - worker.began >= enough:
            self._early_ends = 0
        elif sighting.killed:
            # That is no reason to wait as for one that cannot start.
            self._early_ends = min(self._early_ends, 1)
        return True

    def _back_off(self, now: float) -> None:
        pause = BACK_OFF_SECONDS[min(self._early_ends, len(BACK_OFF_SECONDS) - 1)]
        self._early_ends += 1
        self._start_at = now + pause
        self._out.log(30, f"{self._last_failure}; another one starts in {pause:g} s")

    def end(self, reason: str, exit_code: int = 0) -> None:
        """Stop the workers, take leave of the scheduler, end. Also called by the service when it is told to end."""
        if self._ending:
            return
        self._ending = True
        self._stop([worker for worker in self._workers.values() if not worker.stopping])
        if self._scheduler is not None:
            self._out.send(self._scheduler, ManagerLeaving())
        self._out.add(Stop(reason, exit_code))

    # ---- told by the driver

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        if who.role != Role.manager:
            return
        options = self.options
        self._scheduler, self._lost_at = peer, None
        self._reported = None
        self._heartbeat_at = now + options.heartbeat_seconds
        outlived = 0 if options.fixed else int(options.death_timeout_seconds * 1000)
        self._out.send(
            peer,
            RegisterManager(
                options.name,
                options.kind,
                options.slots,
                list(options.capabilities),
                options.fixed,
                options.cost_tier,
                outlived,
            ),
        )
        self._out.log(20, f"connected to the scheduler as {options.name}")

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        if peer != self._scheduler:
            return
        if isinstance(message, ShutdownManager):
            self.end(f"the scheduler ended it: {message.text}")
        elif isinstance(message, Desired):
            if not self.options.fixed:
                self._take_desired(message, now)
        else:
            reason = f"{type(message).__name__} is not a message for a manager"
            self._out.close(peer, reason)
            self.peer_lost(peer, reason, now)

    def _take_desired(self, message: Desired, now: float) -> None:
        if message.slots != self._desired:
            self._out.log(20, f"the scheduler wants {message.slots} slots")
        self._desired = message.slots
        connected = {worker.worker_name: worker for worker in message.connected}
        for name, seen in connected.items():
            worker = self._workers.get(name)
            if worker is None:
                worker = self._workers[name] = _Worker(name, seen.slots, now, Phase.RUNNING, asked=False)
                self._out.log(20, f"the scheduler has {name}, with {seen.slots} slots")
            worker.connected, worker.draining = True, seen.draining
            worker.phase = Phase.RUNNING
        for worker in self._workers.values():
            if worker.connected and worker.name not in connected:
                worker.connected, worker.waits_since = False, now

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """The workers stay."""
        if peer == self._scheduler:
            self._scheduler, self._lost_at, self._lost_reason = None, now, reason
            self._heartbeat_at = None
            if not self.options.fixed:
                self._desired = None

    def tick(self, now: float) -> None:
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat_at = now + self.options.heartbeat_seconds
            self._reported = None
            self._stop_those_that_never_came(now)
        if self._lost_at is not None and now - self._lost_at >= self.options.death_timeout_seconds and not self._ending:
            self._ending = True
            text = (
                f"no scheduler for {now - self._lost_at:.0f} s ({self._lost_reason}); this manager and its workers end"
            )
            self._out.add(Stop(text, 1))

    def drain(self, now: float) -> list[Output]:
        self._judge_hours(now)
        if not self._ending and self._desired is not None:
            self._reconcile(self._desired, now)
        if self._scheduler is not None and not self._ending:
            report = self._report()
            if report != self._reported:
                self._out.send(self._scheduler, report)
                self._reported = report
        return self._out.take()

    def next_deadline(self) -> float | None:
        if self._ending:
            return None
        end = None if self._lost_at is None else self._lost_at + self.options.death_timeout_seconds
        start = self._start_at if self._desired is not None and self._desired > self._staying else None
        if start is not None and self._start_at == 0.0:
            start = None  # Nothing failed: what keeps it from starting is a limit.
        return min((time for time in (start, self._heartbeat_at, end) if time is not None), default=None)

    # ---- deciding

    @property
    def _staying(self) -> int:
        """Slots of workers that are not about to end."""
        return sum(worker.slots for worker in self._workers.values() if not worker.leaves)

    @property
    def _limit(self) -> int:
        """The most slots at present."""
        options = self.options
        limit = min(options.slots, self.offered)
        if options.max_workers:
            limit = min(limit, options.max_workers * self._slots_of_one)
        return 0 if self._exhausted else limit

    @property
    def _slots_of_one(self) -> int:
        return self.options.worker_slots or self.options.slots

    def _reconcile(self, desired: int, now: float) -> None:
        missing = min(desired, self._limit) - self._staying
        if missing > 0 and now >= self._start_at:
            self._start_at = 0.0
            self._start(missing, now)
        elif missing < 0:
            self._take_back(-missing)

    def _start(self, missing: int, now: float) -> None:
        """Those that are about to end count for the limit as long as they are there."""
        room = self._limit - sum(worker.slots for worker in self._workers.values())
        places = self.options.max_workers - len(self._workers) if self.options.max_workers else missing
        orders: list[WorkerOrder] = []
        while missing > 0 and room > 0 and len(orders) < places:
            slots = min(self._slots_of_one, room)
            name = "-".join(filter(None, (self.options.name, self.options.instance, str(self._numbers))))
            self._numbers += 1
            self._workers[name] = _Worker(name, slots, now)
            orders.append(WorkerOrder(name, slots))
            missing -= slots
            room -= slots
        if orders:
            self._out.add(StartWorkers(orders))

    def _take_back(self, excess: int) -> None:
        """What does not run yet can be had back without harm, the newest first."""
        chosen: list[_Worker] = []
        for worker in reversed(self._workers.values()):
            pending = worker.phase == Phase.PENDING and not worker.asked and not worker.leaves
            if pending and worker.slots <= excess:
                excess -= worker.slots
                chosen.append(worker)
        self._stop(chosen)

    def _stop(self, workers: list[_Worker]) -> None:
        for worker in workers:
            worker.stopping = True
        if workers:
            self._out.add(StopWorkers([worker.name for worker in workers]))

    def _stop_those_that_never_came(self, now: float) -> None:
        """They run, and the scheduler has not had them for a long time: they do not reach it, or do not end."""
        late = [
            worker
            for worker in self._workers.values()
            if worker.phase == Phase.RUNNING and not worker.connected and not worker.stopping
            if now - worker.waits_since >= self.options.start_timeout_seconds
        ]
        if late and not self.options.fixed:
            self._stop(late)
            self._failures += len(late)
            self._last_failure = f"{late[0].label or late[0].name} runs and is not connected to the scheduler"
            self._back_off(now)

    def _judge_hours(self, now: float) -> None:
        if not self.options.max_hours or self._exhausted:
            return
        alive = sum(now - worker.began for worker in self._workers.values() if worker.phase == Phase.RUNNING)
        if self._past_seconds + alive >= self.options.max_hours * 3600:
            self._exhausted = True
            self._out.log(30, f"the workers have had their {self.options.max_hours:g} hours; no more are started")

    def _report(self) -> ManagerReport:
        options = self.options
        if options.fixed:
            running = sum(worker.slots for worker in self._workers.values() if worker.phase == Phase.RUNNING)
            return ManagerReport(options.slots - running, running, self._failures, self._last_failure)
        running = sum(worker.slots for worker in self._workers.values() if worker.connected)
        starting = sum(worker.slots for worker in self._workers.values() if not worker.connected and not worker.leaves)
        withheld = options.slots - self._limit
        taken = [worker.name for worker in self._workers.values() if worker.leaving]
        return ManagerReport(starting, running, self._failures, self._last_failure, withheld, taken)

    # ---- for people and tests

    @property
    def names(self) -> list[str]:
        """All workers that there are."""
        return list(self._workers)

    def facts(self) -> ManagerFacts:
        """What monitors are told of it."""
        options, report = self.options, self._report()
        return ManagerFacts(
            options.name,
            options.kind,
            options.slots,
            report.starting_slots,
            report.running_slots,
            report.failures,
            report.last_failure,
            self._desired or 0,
            options.fixed,
            report.withheld_slots,
            list(options.capabilities),
        )

    def snapshot(self) -> dict[str, Any]:
        """The state in numbers and short texts."""
        report = self._report()
        return {
            "name": self.options.name,
            "connected": self._scheduler is not None,
            "desired": self._desired,
            "workers": len(self._workers),
            "starting_slots": report.starting_slots,
            "running_slots": report.running_slots,
            "failures": report.failures,
            "last_failure": report.last_failure,
            "ending": self._ending,
        }

    def check(self) -> None:
        """Raises AssertionError where the parts do not fit each other."""
        assert (self._scheduler is None) == (self._heartbeat_at is None)
        assert all(worker.name == name and worker.slots > 0 for name, worker in self._workers.items())
        own = sum(worker.slots for worker in self._workers.values() if not worker.connected)
        assert own <= self.options.slots or not self.options.fixed
        assert not (self.options.fixed and len(self._workers) > 1)
