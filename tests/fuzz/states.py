"""States that are told nonsense: what each is made of, and who may speak to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaler.client.state import ClientState, Task
from scaler.machine import Close, Peer
from scaler.manager.state import ManagerOptions, ManagerState
from scaler.messages import Function, Role
from scaler.net.driver import conversation
from scaler.scheduler.journal import Append
from scaler.scheduler.journal_format import journal_codec
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.storage.state import StorageState
from scaler.wire.codec import UnionCodec
from scaler.worker.state import WorkerOptions, WorkerState

from .nonsense import IDENTITIES, Babbler


@dataclass(frozen=True)
class Subject:
    """A state, and the roles of its peers."""

    make: Callable[[], Any]
    roles: tuple[Role, ...]
    dials: tuple[Role, ...] = ()
    """Roles in which it dials others, of which there is one connection at a time, and so hears what listeners say."""
    attachments: bool = False

    def hears(self, role: Role) -> UnionCodec:
        """What a peer of this role says to it."""
        return conversation(role)[1 if role in self.dials else 0]

    def says(self, role: Role) -> UnionCodec:
        """What it says to a peer of this role."""
        return conversation(role)[0 if role in self.dials else 1]


def _client() -> ClientState:
    state = ClientState()
    state.define(Function(0, "s", b"f"))
    state.submit([Task(sequence, 0, b"a") for sequence in range(4)])
    return state


def _worker() -> WorkerState:
    state = WorkerState(WorkerOptions(2, host="h"))
    state.start(0.0)
    return state


def _manager() -> ManagerState:
    state = ManagerState(ManagerOptions("m", "baremetal_native", 4))
    state.start(0.0)
    return state


SUBJECTS = {
    "scheduler": Subject(
        lambda: SchedulerState(
            SchedulerSettings("tcp://storage:1", client_timeout_seconds=5, worker_timeout_seconds=5)
        ),
        (Role.client, Role.worker, Role.manager, Role.monitor),
    ),
    "journalling": Subject(
        lambda: SchedulerState(SchedulerSettings("tcp://storage:1", client_timeout_seconds=5, journal=True)),
        (Role.client, Role.worker),
    ),
    "storage": Subject(StorageState, (Role.storage_user, Role.host_storage), attachments=True),
    "spilling": Subject(
        lambda: StorageState(memory_limit_bytes=64, remembered_owners=2, remembered_freed=2),
        (Role.storage_user,),
        attachments=True,
    ),
    "host": Subject(
        lambda: StorageState(serves="tcp://h:1"),
        (Role.storage_user, Role.host_storage),
        (Role.host_storage,),
        attachments=True,
    ),
    "worker": Subject(_worker, (Role.worker,), (Role.worker,)),
    "manager": Subject(_manager, (Role.manager,), (Role.manager,)),
    "client": Subject(_client, (Role.client,), (Role.client,)),
}


class NonsenseError(Exception):
    """What a state did that it should not have done."""


class Talk:
    """A state among peers that come and go. What it raises, and what it says that cannot be encoded, is raised here."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.peers: dict[int, Role] = {}
        self.closed = 0
        """How many connections the state closed."""
        self._state = subject.make()
        self._numbers = 0
        self._now = 1.0

    def connect(self, role: Role, identity: bytes) -> None:
        """A handshake is over."""
        self._numbers += 1
        if role in self.subject.dials:
            for older in [peer for peer, other in self.peers.items() if other == role]:
                self.lose(older)
        self.peers[self._numbers] = role
        self._state.peer_connected(self._numbers, Peer(role, identity, "x"), self._now)

    def lose(self, peer: int) -> None:
        """A connection breaks."""
        del self.peers[peer]
        self._state.peer_lost(peer, "reset", self._now)

    def tell(self, peer: int, message: Any, attachment: bytes = b"") -> None:
        """A peer says something."""
        self._state.receive(peer, message, self._now, attachment)

    def decide(self, seconds: float) -> None:
        """Time passes; what the state wants done is done, and its invariants are looked at."""
        self._now += seconds
        deadline = self._state.next_deadline()
        if deadline is not None and deadline <= self._now:
            self._state.tick(self._now)
        for output in self._state.drain(self._now):
            if isinstance(output, Close):
                self.closed += 1
                self.peers.pop(output.peer, None)
            elif hasattr(output, "message") and hasattr(output, "peer") and output.peer in self.peers:
                self.subject.says(self.peers[output.peer]).encode(output.message)
            elif isinstance(output, Append):
                for record in output.records:
                    journal_codec().encode(record)
        self._state.check()


def babble(name: str, seed: int, messages: int) -> int:
    """Tell a state so many messages, from peers that come and go; returns how many connections it closed for them.

    Raises NonsenseError, with the seed, where it raises anything, breaks its own rules, or says what cannot be encoded.
    """
    subject, chance = SUBJECTS[name], random.Random(f"{name} {seed}")
    talk, babbler = Talk(subject), Babbler(chance)
    for step in range(messages):
        pause = chance.choice((0.0, 0.001, 0.1, 2.0))
        try:
            if not talk.peers or chance.random() < 0.05:
                talk.connect(chance.choice(subject.roles), chance.choice(IDENTITIES))
            peer = chance.choice(list(talk.peers))
            if chance.random() < 0.02:
                talk.lose(peer)
            else:
                attachment = chance.randbytes(chance.randrange(3)) if subject.attachments else b""
                talk.tell(peer, babbler.message(subject.hears(talk.peers[peer])), attachment)
            talk.decide(pause)
        except Exception as error:
            raise NonsenseError(f"{name}, seed {seed}, message {step}: {type(error).__name__}: {error}") from error
    return talk.closed
