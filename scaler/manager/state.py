"""A worker manager's decisions: how many workers there should be, and when a new one is started for one that ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaler.machine import Outbox, Output, Peer, Stop
from scaler.messages import ManagerReport, Message, RegisterManager, Role, ShutdownManager

BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""How long to wait before a worker that ended unasked is started again, from failure to failure."""
SETTLED_SECONDS = 10.0
"""A worker that lived this long did not fail at its start: the next wait is the shortest again."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """What a manager is told at its start. A fixed manager keeps ``workers`` workers of ``slots`` slots each."""

    name: str
    kind: str
    slots: int
    workers: int = 1
    capabilities: tuple[str, ...] = ()
    heartbeat_seconds: float = 2.0


@dataclass(slots=True)
class StartWorker:
    """Start a worker; told of by worker_started(), and by worker_exited() when it ends."""

    worker: int


@dataclass(slots=True)
class StopWorker:
    """Have a worker end; worker_exited() follows."""

    worker: int


class ManagerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, options: ManagerOptions) -> None:
        self.options = options
        self._out = Outbox()
        self._scheduler: int | None = None
        self._numbers = 0
        self._starting: set[int] = set()
        self._running: dict[int, float] = {}
        """Worker to when it was started."""
        self._failures = 0
        self._failures_in_a_row = 0
        self._last_failure = ""
        self._start_at: list[float] = []
        """When workers that ended are to be replaced."""
        self._report_at: float | None = None
        self._changed = False
        self._stopping = ""

    # ---- told by the service

    def start(self, now: float) -> None:
        """Once, at the beginning."""
        for _ in range(self.options.workers):
            self._start_worker()

    def worker_started(self, worker: int, now: float) -> None:
        if worker in self._starting:
            self._starting.discard(worker)
            self._running[worker] = now
            self._changed = True

    def worker_exited(self, worker: int, story: str, now: float) -> None:
        """A worker is gone. ``story`` tells how."""
        started = self._running.pop(worker, None)
        if started is None and worker not in self._starting:
            return
        self._starting.discard(worker)
        self._changed = True
        if self._stopping:
            return
        self._failures += 1
        self._last_failure = story
        self._failures_in_a_row = 1 if started is not None and now - started >= SETTLED_SECONDS else self._failures_in_a_row + 1
        wait = BACK_OFF_SECONDS[min(self._failures_in_a_row, len(BACK_OFF_SECONDS)) - 1]
        self._start_at.append(now + wait)
        self._out.log(30, f"worker {worker} ended: {story}; another one is started in {wait:g} s")

    def stop(self, reason: str) -> None:
        """End all workers, then the manager."""
        if not self._stopping:
            self._stopping = reason
            self._start_at.clear()
            for worker in [*self._running, *self._starting]:
                self._out.add(StopWorker(worker))

    # ---- told by the driver

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        if who.role != Role.manager:
            return
        options = self.options
        self._scheduler, self._report_at = peer, now
        slots = options.slots * options.workers
        self._out.send(peer, RegisterManager(options.name, options.kind, slots, list(options.capabilities), True))

    def receive(self, peer: int, message: Message, now: float, attachment: bytes = b"") -> None:
        if peer == self._scheduler and isinstance(message, ShutdownManager):
            self.stop(f"the scheduler ends: {message.text}")

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        if peer == self._scheduler:
            self._scheduler = self._report_at = None

    def tick(self, now: float) -> None:
        due = [time for time in self._start_at if now >= time]
        self._start_at = [time for time in self._start_at if now < time]
        for _ in due:
            self._start_worker()

    def drain(self, now: float) -> list[Output]:
        if self._scheduler is not None and self._report_at is not None and (self._changed or now >= self._report_at):
            self._changed = False
            self._report_at = now + self.options.heartbeat_seconds
            slots = self.options.slots
            self._out.send(
                self._scheduler,
                ManagerReport(
                    len(self._starting) * slots, len(self._running) * slots, self._failures, self._last_failure
                ),
            )
        if self._stopping and not self._running and not self._starting:
            self._out.add(Stop(self._stopping))
        return self._out.take()

    def next_deadline(self) -> float | None:
        return min([*self._start_at, *([self._report_at] if self._report_at is not None else [])], default=None)

    # ---- inside

    def _start_worker(self) -> None:
        worker = self._numbers
        self._numbers += 1
        self._starting.add(worker)
        self._changed = True
        self._out.add(StartWorker(worker))

    def snapshot(self) -> dict[str, Any]:
        return {
            "starting": len(self._starting),
            "running": len(self._running),
            "waiting": len(self._start_at),
            "failures": self._failures,
        }

    def check(self) -> None:
        assert not self._starting & self._running.keys()
        present = len(self._starting) + len(self._running) + len(self._start_at)
        assert self._stopping or not self._numbers or present == self.options.workers
