"""How long a cluster takes for skewed work, next to the ideal: the real states of scheduler and workers on simulated time.

Messages go through the real codec but no socket, and take a fixed time; deciding takes none. Executors take tasks from
real claims pages, as processes do. So what is measured is what was decided: who got which task when.

The bound is max(all work / slots, longest task): no schedule is shorter. Next to it stands what one queue gives, from
which every free slot takes the next task without any delay: it does not know how long tasks are either.
"""

from __future__ import annotations

import heapq
import itertools
import random
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
from scaler.worker.state import StartExecutor, Tell, WorkerOptions, WorkerState

LINK_SECONDS = 100e-6
"""From the scheduler to a worker, and back."""
PIPE_SECONDS = 30e-6
"""From a worker to its executor, and back."""
FLUSH_SECONDS = 300e-6
"""An executor that has more to run hands over its results when they are older than this."""
CLIENT = 1
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
        self.state.peer_connected(1, Peer(Role.worker, b"s" * 16), self.clock.now)
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
            self.clock.after(LINK_SECONDS, lambda: worker.told(1, message))


@dataclass(slots=True)
class Work:
    """What is to be done, and when the last of it was."""

    seconds: list[float]
    left: int = 0
    ended_at: float = 0.0

    def done(self, now: float) -> None:
        self.left -= 1
        self.ended_at = now


def simulate(seconds: list[float], joins: Sequence[tuple[float, int]]) -> float:
    """The time at which the last task ends. ``joins``: (time, slots) of each worker."""
    clock = Clock()
    scheduler = SchedulerNode(clock)
    work = Work(seconds, len(seconds))
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


def one_queue(seconds: Sequence[float], joins: Sequence[tuple[float, int]]) -> float:
    """The makespan when every free slot takes the next task at once."""
    free = [time for time, slots in joins for _ in range(slots)]
    heapq.heapify(free)
    last = 0.0
    for duration in seconds:
        end = free[0] + duration
        heapq.heapreplace(free, end)
        last = max(last, end)
    return last


def bound(seconds: Sequence[float], joins: Sequence[tuple[float, int]]) -> float:
    """No schedule ends before: all slots busy from when they join, and the longest task from the start."""
    work, slots = sum(seconds), 0
    ends = 0.0
    for time, more in sorted(joins):
        if slots and ends <= time:
            break  # all work is done before these come
        work += time * more
        slots += more
        ends = work / slots
    return max(ends, min(time for time, _ in joins) + max(seconds))


def skewed(count: int, short: float, seed: int) -> list[float]:
    """1 % of the tasks take 100 times as long as the others, at places drawn by lot."""
    lot = random.Random(seed)
    seconds = [short] * count
    for place in lot.sample(range(count), count // 100):
        seconds[place] = short * 100
    return seconds


HOSTS, SLOTS_A_HOST = 25, 8
SKEWED = {milliseconds: f"{milliseconds} ms tasks, 1 % of them 100x longer" for milliseconds in (1, 10, 100)}
LATE = "the 10 ms ones, half of the workers join late"
TASKS = 200_000


def scenarios(tasks: int = TASKS, seed: int = 1) -> dict[str, tuple[list[float], list[tuple[float, int]]]]:
    """Work and workers, by name. 200 slots on 25 workers."""
    now = [(0.0, SLOTS_A_HOST)] * HOSTS
    found: dict[str, tuple[list[float], list[tuple[float, int]]]] = {}
    for milliseconds, name in SKEWED.items():
        found[name] = skewed(tasks, milliseconds / 1000, seed), now
    work = skewed(tasks, 0.010, seed)
    quarter = bound(work, now) / 4
    late = [(0.0 if host % 2 else quarter, SLOTS_A_HOST) for host in range(HOSTS)]
    found[LATE] = work, late
    found["all tasks of 10 ms"] = [0.010] * tasks, now
    found["200 tasks of 10 s"] = [10.0] * (HOSTS * SLOTS_A_HOST), now
    return found


def measure(tasks: int = TASKS) -> dict[str, dict[str, float]]:
    """For each scenario, in seconds: makespan, bound, one queue."""
    return {
        name: {
            "makespan": simulate(seconds, joins),
            "bound": bound(seconds, joins),
            "one queue": one_queue(seconds, joins),
        }
        for name, (seconds, joins) in scenarios(tasks).items()
    }


if __name__ == "__main__":
    for name, found in measure().items():
        ratios = "  ".join(f"{key} {value:8.3f} s" for key, value in found.items())
        print(f"{name:50} {ratios}  {found['makespan'] / found['bound']:.3f}")
