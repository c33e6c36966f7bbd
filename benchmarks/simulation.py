"""A cluster on simulated time: the real states of a scheduler and its workers, with executors that only seem to run.

Messages go through the real codec but no socket, and take a fixed time; deciding takes none. Executors take tasks from
real claims pages, as processes do. So what shows is what was decided: who got which task when.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from scaler._core.claims import PAGE_BYTES, Claims
from scaler.machine import Close, Peer, Send
from scaler.messages import (
    DefineFunctions,
    Function,
    Results,
    ResultStatus,
    Role,
    RunTasks,
    Submit,
)
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.wire.codec import codec
from scaler.worker.executors import StartExecutor, Tell
from scaler.worker.state import WorkerOptions, WorkerState

LINK_SECONDS = 100e-6
"""From the scheduler to a worker, and back."""
PIPE_SECONDS = 30e-6
"""From a worker to its executor, and back."""
FLUSH_SECONDS = 300e-6
"""An executor that has more to run hands over its results when they are older than this."""
CLIENT = 1
SCHEDULER = 1
Joins = Sequence[tuple[float, int]]
"""When each worker joins, and with how many slots."""
TO_SCHEDULER, TO_WORKER = codec("worker", "WorkerToScheduler"), codec("worker", "SchedulerToWorker")
DURATION = struct.Struct("<d")


class Clock:
    """What happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], object]]] = []

    def after(self, delay: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), what))

    def step(self) -> None:
        self.now, _, what = heapq.heappop(self._queue)
        what()


class Node:
    """One state: told what arrives at one moment, then asked once; woken at its deadlines."""

    def __init__(self, clock: Clock, state: Any) -> None:
        self.clock = clock
        self.state = state
        self._woken = False
        self._timer = float("inf")

    def told(self, peer: int, message: Any) -> None:
        self.state.receive(peer, message, self.clock.now)
        self.wake()

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            self.clock.after(0.0, self._turn)

    def _turn(self) -> None:
        self._woken = False
        now = self.clock.now
        deadline = self.state.next_deadline()
        if deadline is not None and deadline <= now:
            self.state.tick(now)
        for output in self.state.drain(now):
            if isinstance(output, Close):
                raise RuntimeError(f"a connection would be closed: {output.reason}")
            self.carry_out(output)
        deadline = self.state.next_deadline()
        if deadline is not None and not now < self._timer <= deadline:
            self._timer = max(deadline, now + 1e-6)
            self.clock.after(self._timer - now, self.wake)

    def carry_out(self, output: Any) -> None:
        raise NotImplementedError


class Executor:
    """Runs tasks that last as long as their payload says."""

    def __init__(self, worker: WorkerNode, number: int) -> None:
        self.worker = worker
        self.number = number
        self.clock = worker.clock
        page = bytearray(PAGE_BYTES)
        self._claims = Claims(page)
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._ended: list[tuple[int, int]] = []
        self._flushed_at = 0.0
        self._busy = False
        worker.state.executor_started(number, Claims(page))

    def told(self, message: Any) -> None:
        if isinstance(message, RunTasks):
            self._inbox.extend(enumerate(message.payloads, message.first_position))
            if not self._busy:
                self._next()

    def _next(self) -> None:
        while self._inbox:
            position, payload = self._inbox.popleft()
            if self._claims.take(position, int(self.clock.now * 1e6)):
                if self.clock.now - self._flushed_at > FLUSH_SECONDS:
                    self._flush()
                self._busy = True
                (seconds,) = DURATION.unpack(payload)
                self.clock.after(seconds, partial(self._end, position, seconds))
                return
        self._flush()

    def _end(self, position: int, seconds: float) -> None:
        self._ended.append((position, int(seconds * 1e6)))
        self._claims.rest()
        self._busy = False
        self.worker.work.done(self.clock.now)
        self._next()

    def _flush(self) -> None:
        self._flushed_at = self.clock.now
        if self._ended:
            positions, wall = zip(*self._ended, strict=True)
            self._ended = []
            count, nothing = len(positions), bytes(8 * len(positions))
            statuses = bytes([ResultStatus.succeeded]) * count
            ran = array("Q", wall).tobytes()
            message = Results(array("Q", positions).tobytes(), b"", statuses, [b""] * count, ran, nothing, nothing)
            self.clock.after(PIPE_SECONDS, lambda: self.worker.executor_said(self.number, message))


class WorkerNode(Node):
    """A worker with its executors, connected to the scheduler."""

    def __init__(self, scheduler: SchedulerNode, work: Work, peer: int, slots: int) -> None:
        super().__init__(scheduler.clock, WorkerState(WorkerOptions(slots, 1000 * slots)))
        self.scheduler = scheduler
        self.work = work
        self.peer = peer
        self.executors: dict[int, Executor] = {}
        scheduler.workers[peer] = self
        scheduler.state.peer_connected(peer, Peer(Role.worker, peer.to_bytes(16, "little")), self.clock.now)
        self.state.start(self.clock.now)
        self.state.peer_connected(SCHEDULER, Peer(Role.worker, b"s" * 16), self.clock.now)
        self.wake()

    def executor_said(self, number: int, message: Results) -> None:
        self.state.executor_said(number, message, self.clock.now)
        self.wake()

    def carry_out(self, output: Any) -> None:
        if isinstance(output, StartExecutor):
            self.executors[output.executor] = Executor(self, output.executor)
            self.wake()
        elif isinstance(output, Tell):
            executor, message = self.executors[output.executor], output.message
            self.clock.after(PIPE_SECONDS, lambda: executor.told(message))
        elif isinstance(output, Send):
            message = TO_SCHEDULER.decode(TO_SCHEDULER.encode(output.message))
            self.clock.after(LINK_SECONDS, lambda: self.scheduler.told(self.peer, message))


class SchedulerNode(Node):
    """The scheduler. What it tells the client is not needed here."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, SchedulerState(SchedulerSettings("tcp://127.0.0.1:1", client_timeout_seconds=1e9)))
        self.workers: dict[int, WorkerNode] = {}

    def carry_out(self, output: Any) -> None:
        if isinstance(output, Send) and output.peer in self.workers:
            worker, message = self.workers[output.peer], TO_WORKER.decode(TO_WORKER.encode(output.message))
            self.clock.after(LINK_SECONDS, lambda: worker.told(SCHEDULER, message))


@dataclass(slots=True)
class Work:
    """How many tasks are to be run, and when the last of them ended."""

    left: int
    ended_at: float = 0.0

    def done(self, now: float) -> None:
        self.left -= 1
        self.ended_at = now


def simulate(seconds: list[float], joins: Joins) -> float:
    """The time at which the last task ends; ``seconds`` is how long each task takes."""
    clock = Clock()
    scheduler = SchedulerNode(clock)
    work = Work(len(seconds))
    scheduler.state.peer_connected(CLIENT, Peer(Role.client, b"c" * 16), 0.0)
    scheduler.told(CLIENT, DefineFunctions([Function(0, "cloudpickle", b"f", b"", "f", b"")]))
    for start in range(0, len(seconds), 1000):
        payloads = [DURATION.pack(s) for s in seconds[start : start + 1000]]
        numbers = array("Q", range(start, start + len(payloads)))
        scheduler.told(CLIENT, Submit(numbers, array("I", [0]), payloads))
    for peer, (time, slots) in enumerate(joins, CLIENT + 1):
        clock.after(time, partial(WorkerNode, scheduler, work, peer, slots))
    while work.left:
        clock.step()
    return work.ended_at
