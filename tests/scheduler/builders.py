"""A scheduler's state with peers that speak in short words, checked after each event."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeVar

from scaler.ids import task_id, u32, u64
from scaler.machine import Close, Output, Peer, Send
from scaler.messages import (
    Assign,
    CancelAssigned,
    ClientSettings,
    DefineFunctions,
    Desired,
    ExecutorDeaths,
    Function,
    ManagerReport,
    RegisterManager,
    RegisterWorker,
    Results,
    ResultStatus,
    Role,
    Started,
    Submit,
    TaskOptions,
)
from scaler.net.driver import conversation
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

M = TypeVar("M")
OK = ResultStatus.succeeded
ANN, BEN = b"A" * 16, b"B" * 16


def q(*values: int) -> array[int]:
    """A u64 column."""
    return array("Q", values)


def i(*values: int) -> array[int]:
    """A u32 column."""
    return array("I", values)


def of(outputs: list[Output], kind: type[M], peer: int | None = None) -> list[M]:
    """The messages of one class, to one peer or to all."""
    return [
        o.message for o in outputs if isinstance(o, Send) and isinstance(o.message, kind) and peer in (None, o.peer)
    ]


def sent(outputs: list[Output]) -> list[tuple[int, Any]]:
    """(peer, message), log lines left out."""
    return [(o.peer, o.message) for o in outputs if isinstance(o, Send)]


def closed(outputs: list[Output]) -> list[int]:
    return [o.peer for o in outputs if isinstance(o, Close)]


def tasks(outputs: list[Output], peer: int | None = None) -> list[tuple[int, int]]:
    """(task id, attempt) of all assigned."""
    messages = of(outputs, Assign, peer)
    return [pair for m in messages for pair in zip(u64(m.tasks), u32(m.attempts), strict=True)]


def cancelled(outputs: list[Output], peer: int | None = None) -> list[tuple[int, int]]:
    messages = of(outputs, CancelAssigned, peer)
    return [pair for m in messages for pair in zip(u64(m.tasks), u32(m.attempts), strict=True)]


def results(outputs: list[Output], peer: int | None = None) -> list[tuple[int, ResultStatus, bytes]]:
    """(sequence, status, payload) of all that clients are told."""
    return [
        (sequence, ResultStatus(status), payload)
        for m in of(outputs, Results, peer)
        for sequence, status, payload in zip(u64(m.tasks), m.statuses, m.payloads, strict=True)
    ]


def why(rig: Rig, id: int) -> str:
    """Why a task is where it is, in one sentence."""
    return rig.state.explain(id).text.partition("\n")[0]


class Rig:
    """Time stands still unless ``now`` is set."""

    def __init__(self, **settings: Any) -> None:
        self.state = SchedulerState(SchedulerSettings("tcp://storage:1", **settings))
        self.now = 100.0
        self._peers = 0
        self._roles: dict[int, Role] = {}

    def after(self) -> list[Output]:
        outputs = self.state.drain(self.now)
        self.state.check()
        return outputs

    def connect(self, role: Role, identity: bytes, name: str = "", software: str = "") -> tuple[int, list[Output]]:
        self._peers += 1
        self._roles[self._peers] = role
        self.state.peer_connected(self._peers, Peer(role, identity, name, software=software), self.now)
        return self._peers, self.after()

    def say(self, peer: int, message: Any) -> list[Output]:
        self.state.receive(peer, self._from_wire(peer, message), self.now)
        return self.after()

    def _from_wire(self, peer: int, message: Any) -> Any:
        """The message as it arrives, with bytes for columns; what cannot be said in this direction stays as it is."""
        codec, _ = conversation(self._roles[peer])
        return codec.decode(codec.encode(message)) if type(message) in codec.vocabulary else message

    def lose(self, peer: int) -> list[Output]:
        self.state.peer_lost(peer, "reset", self.now)
        return self.after()

    def at(self, now: float) -> list[Output]:
        self.now = now
        self.state.tick(now)
        return self.after()

    def until(self, now: float) -> list[Output]:
        """As at(), with all that comes before; a state that is told the time too late thinks that it was stopped."""
        outputs: list[Output] = []
        while (deadline := self.state.next_deadline() or now) < now:
            outputs += self.at(max(deadline, self.now + 0.001))
        return outputs + self.at(now)

    # ---- peers that are ready to work

    def client(self, identity: bytes = ANN, functions: Sequence[int] = (0,)) -> Client:
        peer, outputs = self.connect(Role.client, identity, identity[:1].decode())
        (settings,) = of(outputs, ClientSettings, peer)
        self.say(peer, DefineFunctions([Function(n, "s", b"content %d" % n, b"", f"f{n}") for n in functions]))
        return Client(self, peer, settings.client_number)

    def worker(
        self,
        slots: int = 1,
        queue: int = 1000,
        offers: Sequence[str] = (),
        identity: bytes = b"",
        manager: str = "",
        name: str = "",
    ) -> Worker:
        peer, outputs = self.connect(Role.worker, identity or bytes([65 + self._peers]) * 16)
        facts = RegisterWorker(slots, queue, list(offers), "host", 7, manager, worker_name=name)
        return Worker(self, peer, outputs + self.say(peer, facts))

    def manager(
        self, name: str, most: int, starting: int = 0, running: int = 0, identity: bytes = b"", **facts: Any
    ) -> Manager:
        """A dynamic one, unless it is said to be fixed."""
        peer, outputs = self.connect(Role.manager, identity or bytes([65 + self._peers]) * 16)
        outputs += self.say(peer, RegisterManager(name, "test", most, **facts))
        return Manager(self, peer, outputs + self.say(peer, ManagerReport(starting, running, 0)))


class Client:
    def __init__(self, rig: Rig, peer: int, number: int) -> None:
        self.rig, self.peer, self.number = rig, peer, number

    def id(self, sequence: int) -> int:
        return task_id(self.number, sequence)

    def submit(
        self,
        *sequences: int,
        function: int = 0,
        options: TaskOptions | None = None,
        needs: dict[int, Sequence[int]] | None = None,
        unwanted: Sequence[int] = (),
        more: bool = False,
    ) -> list[Output]:
        message = Submit(q(*sequences), i(function), [b"arguments %d" % s for s in sequences], more=more)
        if options is not None:
            message.option_sets, message.options = [options], i(0)
        if needs:
            ends, dependencies = i(), q()
            for sequence in sequences:
                dependencies.extend(needs.get(sequence, ()))
                ends.append(len(dependencies))
            message.dependency_ends, message.dependencies = ends, dependencies
        if unwanted:
            message.wanted = bytes(s not in unwanted for s in sequences)
        return self.say(message)

    def say(self, message: Any) -> list[Output]:
        return self.rig.say(self.peer, message)


class Worker:
    def __init__(self, rig: Rig, peer: int, outputs: list[Output]) -> None:
        self.rig, self.peer, self.outputs = rig, peer, outputs

    def ends(
        self, *ended: tuple[int, int], status: int = OK, payload: bytes = b"result", wall: int = 1000
    ) -> list[Output]:
        """Results of these (task id, attempt)."""
        ids, attempts = q(*[id for id, _ in ended]), i(*[attempt for _, attempt in ended])
        n = len(ended)
        return self.say(
            Results(ids, attempts, bytes([status]) * n, [payload] * n, q(*[wall] * n), q(*[0] * n), q(*[0] * n))
        )

    def started(self, *running: tuple[int, int]) -> list[Output]:
        return self.say(Started(q(*[id for id, _ in running]), i(*[attempt for _, attempt in running])))

    def death(self, id: int, attempt: int, story: str = "signal 11") -> list[Output]:
        return self.say(ExecutorDeaths(q(id), i(attempt), [story]))

    def say(self, message: Any) -> list[Output]:
        return self.rig.say(self.peer, message)


class Manager:
    def __init__(self, rig: Rig, peer: int, outputs: list[Output]) -> None:
        self.rig, self.peer, self.outputs = rig, peer, outputs

    def report(self, starting: int, running: int, withheld: int = 0) -> list[Output]:
        return self.say(ManagerReport(starting, running, 0, "", withheld))

    def says_are_taken(self, *names: str) -> list[Output]:
        """The machines of these workers will be."""
        return self.say(ManagerReport(0, 0, 0, leaving_workers=list(names)))

    def asked(self, outputs: list[Output]) -> list[int]:
        """How many slots it is asked for, message by message."""
        return [message.slots for message in of(outputs, Desired, self.peer)]

    def say(self, message: Any) -> list[Output]:
        return self.rig.say(self.peer, message)
