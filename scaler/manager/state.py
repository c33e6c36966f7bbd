"""The worker manager's decisions: which workers to start, when to start one again, when to end.

It has as many slots running or starting as are wanted: of a fixed manager always all, in one worker; of a dynamic one what the
scheduler asked for last. A worker is started with all slots that are missing then, since one of eight slots is there sooner than
eight of one. None is ever ended because fewer are wanted: the scheduler asks workers to leave, which end by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaler.machine import UNFIT, Outbox, Output, Peer, Stop
from scaler.messages import (
    Desired,
    ManagerLeaving,
    ManagerReport,
    Message,
    RegisterManager,
    Role,
    ShutdownManager,
)

BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
LIVED_SECONDS = 10.0
"""A worker that lived for so long was all right: the next one is started after the shortest pause."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """What a manager is told at its start. Times in seconds."""

    name: str
    kind: str
    slots: int
    capabilities: tuple[str, ...] = ()
    heartbeat_seconds: float = 2.0
    death_timeout_seconds: float = 300.0
    fixed: bool = True


@dataclass(slots=True)
class StartWorker:
    """Start a worker; it is told of by worker_started() or, if that fails, by worker_exited()."""

    number: int
    slots: int


@dataclass(slots=True)
class StopWorker:
    """End a worker; worker_exited() follows."""

    number: int


@dataclass(slots=True)
class _Worker:
    number: int
    slots: int
    began: float
    running: bool = False
    stopping: bool = False


class ManagerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, options: ManagerOptions) -> None:
        self.options = options
        self._out = Outbox()
        self._scheduler: int | None = None
        self._wanted = options.slots if options.fixed else 0
        self._workers: dict[int, _Worker] = {}
        self._numbers = 0
        self._start_at: float | None = None
        """When workers are started again, after one ended early."""
        self._ended_early = 0
        """How many workers in a row ended before their time."""
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
        self._start_workers(now)

    def worker_started(self, number: int, now: float) -> None:
        """A worker's process runs; it connects to the scheduler by itself."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.running, worker.began = True, now

    def worker_exited(self, number: int, story: str, now: float, exit_code: int = 1) -> None:
        """A worker is gone, or could not be started. ``story`` tells how.

        One that was UNFIT has found that no worker can do its work here: there will not be another one. One of a dynamic
        manager that ended in order was asked to leave.
        """
        worker = self._workers.pop(number, None)
        if worker is None or worker.stopping or self._ending:
            return
        if not exit_code and not self.options.fixed:
            self._out.log(20, f"{story}; it had {worker.slots} slots")
            self._start_workers(now)
            return
        self._failures += 1
        self._last_failure = story
        if exit_code == UNFIT:
            self.end(f"{story}: it is not fit to run tasks, as it said above; this manager ends", 1)
            return
        if worker.running and now - worker.began >= LIVED_SECONDS:
            self._ended_early = 0
        pause = BACK_OFF_SECONDS[min(self._ended_early, len(BACK_OFF_SECONDS) - 1)]
        self._ended_early += 1
        self._start_at = now + pause
        self._out.log(30, f"{story}; another one starts in {pause:g} s")

    def end(self, reason: str, exit_code: int = 0) -> None:
        """Stop the workers, take leave of the scheduler, end. Also called by the service when it is told to end."""
        if self._ending:
            return
        self._ending = True
        self._start_at = None
        for worker in self._workers.values():
            worker.stopping = True
            self._out.add(StopWorker(worker.number))
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
        self._out.send(
            peer,
            RegisterManager(options.name, options.kind, options.slots, list(options.capabilities), options.fixed),
        )
        self._out.log(20, f"connected to the scheduler as {options.name}")

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        if peer != self._scheduler:
            return
        if isinstance(message, ShutdownManager):
            self.end(f"the scheduler ended it: {message.text}")
        elif isinstance(message, Desired):
            self._desire(message.slots, now)
        else:
            reason = f"{type(message).__name__} is not a message for a manager"
            self._out.close(peer, reason)
            self.peer_lost(peer, reason, now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """The workers stay."""
        if peer == self._scheduler:
            self._scheduler, self._lost_at, self._lost_reason = None, now, reason
            self._heartbeat_at = None

    def tick(self, now: float) -> None:
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._start_workers(now)
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat_at = now + self.options.heartbeat_seconds
            self._reported = None
        if self._lost_at is not None and now - self._lost_at >= self.options.death_timeout_seconds and not self._ending:
            self._ending = True
            text = (
                f"no scheduler for {now - self._lost_at:.0f} s ({self._lost_reason}); this manager and its workers end"
            )
            self._out.add(Stop(text, 1))

    def drain(self, now: float) -> list[Output]:
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
        return min((time for time in (self._start_at, self._heartbeat_at, end) if time is not None), default=None)

    # ---- deciding

    def _desire(self, slots: int, now: float) -> None:
        """What the scheduler wants. A fixed manager has what it has."""
        if not self.options.fixed and not self._ending:
            self._wanted = min(slots, self.options.slots)
            self._start_workers(now)

    def _start_workers(self, now: float) -> None:
        """As many slots as are missing, unless there is a pause."""
        missing = self._wanted - sum(worker.slots for worker in self._workers.values())
        if missing > 0 and self._start_at is None and not self._ending:
            self._workers[self._numbers] = _Worker(self._numbers, missing, now)
            self._out.add(StartWorker(self._numbers, missing))
            self._numbers += 1

    def _report(self) -> ManagerReport:
        running = sum(worker.slots for worker in self._workers.values() if worker.running)
        starting = max(self._wanted - running, 0)
        return ManagerReport(starting, running, self._failures, self._last_failure)

    # ---- for people and tests

    def snapshot(self) -> dict[str, Any]:
        """The state in numbers and short texts."""
        report = self._report()
        return {
            "name": self.options.name,
            "connected": self._scheduler is not None,
            "starting_slots": report.starting_slots,
            "running_slots": report.running_slots,
            "failures": report.failures,
            "last_failure": report.last_failure,
            "ending": self._ending,
        }

    def check(self) -> None:
        """Raises AssertionError where the parts do not fit each other."""
        assert (self._scheduler is None) == (self._heartbeat_at is None)
        slots = sum(worker.slots for worker in self._workers.values())
        assert self._ending or not self._numbers or self._start_at is not None or slots >= self._wanted
        assert slots <= self.options.slots or not self.options.fixed
        assert all(number == worker.number < self._numbers for number, worker in self._workers.items())
        assert self._failures <= self._numbers
