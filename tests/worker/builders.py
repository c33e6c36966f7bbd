"""A worker's state with executors that are played by the test, checked after each event."""

from __future__ import annotations

from array import array
from typing import Any, TypeVar

from scaler._core.claims import PAGE_BYTES, Claims
from scaler.ids import u32, u64
from scaler.machine import Output, Peer, Send
from scaler.messages import (
    Assign,
    DefineForWorker,
    Function,
    Inputs,
    Message,
    Results,
    ResultStatus,
    Role,
    RunTasks,
    WorkerSettings,
)
from scaler.worker.executors import StartExecutor, Tell
from scaler.worker.state import WorkerOptions, WorkerState

M = TypeVar("M")
SETTINGS = WorkerSettings("tcp://storage:1", 100, 3000)


def q(*values: int) -> array[int]:
    return array("Q", values)


def i(*values: int) -> array[int]:
    return array("I", values)


def said(outputs: list[Output], kind: type[M]) -> list[M]:
    """The messages of one class to the scheduler."""
    return [o.message for o in outputs if isinstance(o, Send) and isinstance(o.message, kind)]


def told(outputs: list[Output], kind: type[M], executor: int | None = None) -> list[M]:
    """The messages of one class to executors."""
    return [
        o.message
        for o in outputs
        if isinstance(o, Tell) and isinstance(o.message, kind) and executor in (None, o.executor)
    ]


def ran(outputs: list[Output]) -> list[tuple[int, int, list[bytes]]]:
    """(executor, first position, payloads) of all that executors are given."""
    return [
        (o.executor, o.message.first_position, o.message.payloads)
        for o in outputs
        if isinstance(o, Tell) and isinstance(o.message, RunTasks)
    ]


def ended(outputs: list[Output]) -> list[tuple[int, int, int, bytes]]:
    """(task, attempt, status, payload) of what the scheduler is told."""
    return [
        entry
        for m in said(outputs, Results)
        for entry in zip(u64(m.tasks), u32(m.attempts), m.statuses, m.payloads, strict=True)
    ]


class Rig:
    def __init__(self, slots: int = 1, start: bool = True, **options: Any) -> None:
        self.state = WorkerState(WorkerOptions(slots, **options))
        self.now = 10.0
        self.peer = 0
        self.claims: dict[int, Claims] = {}
        self.state.start(self.now)
        self.first = self.after()
        if start:
            self.connect()
            for number in [o.executor for o in self.first if isinstance(o, StartExecutor)]:
                self.started(number)
            self.say(DefineForWorker([Function(n, "s", name=f"f{n}") for n in range(3)]))

    def after(self) -> list[Output]:
        outputs = self.state.drain(self.now)
        self.state.check()
        return outputs

    def connect(self, scheduler: bytes = b"S" * 16) -> list[Output]:
        self.peer += 1
        self.state.peer_connected(self.peer, Peer(Role.worker, scheduler), self.now)
        outputs = self.after()
        return outputs + self.say(SETTINGS)

    def say(self, message: Message) -> list[Output]:
        """The scheduler speaks."""
        self.state.receive(self.peer, message, self.now)
        return self.after()

    def lose(self) -> list[Output]:
        self.state.peer_lost(self.peer, "reset", self.now)
        return self.after()

    def started(self, number: int) -> list[Output]:
        self.claims[number] = Claims(bytearray(PAGE_BYTES))
        self.state.executor_started(number, self.claims[number])
        return self.after()

    def exited(self, number: int, story: str = "signal 11") -> list[Output]:
        self.state.executor_exited(number, story, self.now)
        return self.after()

    def at(self, now: float) -> list[Output]:
        self.now = now
        self.state.tick(now)
        return self.after()

    def assign(
        self, *tasks: int, attempt: int = 1, function: int = 0, timeout: int = 0, inputs: Inputs | None = None
    ) -> list[Output]:
        timeouts = q(*[timeout] * len(tasks)) if timeout else b""
        payloads = [b"%d" % task for task in tasks]
        return self.say(
            Assign(q(*tasks), i(*[attempt] * len(tasks)), i(function), payloads, timeouts, inputs or Inputs())
        )

    # ---- what executors do

    def take(self, position: int, executor: int = 0) -> None:
        """The executor begins a task, now."""
        assert self.claims[executor].take(position, int(self.now * 1e6))

    def done(
        self,
        *positions: int,
        executor: int = 0,
        wall: int = 100,
        status: int = ResultStatus.succeeded,
        payload: bytes = b"r",
    ) -> list[Output]:
        """The executor has run these."""
        n = len(positions)
        columns = q(*[wall] * n), q(*[0] * n), q(*[0] * n)
        self.claims[executor].rest()
        results = Results(q(*positions), b"", bytes([status]) * n, [payload] * n, *columns)
        self.state.executor_said(executor, results, self.now)
        return self.after()

    def run(self, *positions: int, executor: int = 0, wall: int = 100) -> list[Output]:
        """The executor takes and ends these."""
        for position in positions:
            self.take(position, executor)
        return self.done(*positions, executor=executor, wall=wall)


def of_kind(outputs: list[Output], kind: type[M]) -> list[M]:
    """The outputs of one class."""
    return [o for o in outputs if isinstance(o, kind)]
