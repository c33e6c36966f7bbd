"""States that are told nonsense: what each is made of, and who may speak to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaler.client.state import ClientState, Task
from scaler.machine import Close, Peer
from scaler.messages import Function, Role
from scaler.net.driver import conversation
from scaler.scheduler.journal import Append
from scaler.scheduler.journal_format import journal_codec
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.storage.state import StorageState
from scaler.worker.state import WorkerOptions, WorkerState

from .nonsense import IDENTITIES, Babbler


@dataclass(frozen=True)
class Subject:
    """A state, and the roles of its peers."""

    make: Callable[[], Any]
    roles: tuple[Role, ...]
    dials: bool = False
    """Whether it dials its peers, and so hears what listeners say."""
    attachments: bool = False


def _client() -> ClientState:
    state = ClientState()
    state.define(Function(0, "s", b"f"))
    state.submit([Task(sequence, 0, b"a") for sequence in range(4)])
    return state


def _worker() -> WorkerState:
    state = WorkerState(WorkerOptions(2, host="h"))
    state.start(0.0)
    return state


SUBJECTS = {
    "scheduler": Subject(
        lambda: SchedulerState(
            SchedulerSettings("tcp://storage:1", client_timeout_seconds=5, worker_timeout_seconds=5)
        ),
        (Role.client, Role.worker, Role.manager, Role.monitor),
    ),
    "scheduler with a journal": Subject(
        lambda: SchedulerState(SchedulerSettings("tcp://storage:1", client_timeout_seconds=5, journal=True)),
        (Role.client, Role.worker),
    ),
    "storage": Subject(StorageState, (Role.storage_user,), attachments=True),
    "worker": Subject(_worker, (Role.worker,), dials=True),
    "client": Subject(_client, (Role.client,), dials=True),
}


class NonsenseError(Exception):
    """What a state did that it should not have done."""


def babble(name: str, seed: int, messages: int) -> int:
    """Tell a state so many messages, from peers that come and go; returns how many connections it closed for them.

    Raises NonsenseError, with the seed, where it raises anything, breaks its own rules, or says what cannot be encoded.
    """
    subject, chance = SUBJECTS[name], random.Random(f"{name} {seed}")
    state, babbler = subject.make(), Babbler(chance)
    peers: dict[int, Role] = {}
    now, number, closed = 1.0, 0, 0
    for step in range(messages):
        now += chance.choice((0.0, 0.001, 0.1, 2.0))
        try:
            if not peers or chance.random() < 0.05:
                number += 1
                role = chance.choice(subject.roles)
                peers[number] = role
                if subject.dials:
                    peers = {number: role}
                state.peer_connected(number, Peer(role, chance.choice(IDENTITIES), "x"), now)
            peer = chance.choice(list(peers))
            if chance.random() < 0.02:
                del peers[peer]
                state.peer_lost(peer, "reset", now)
            else:
                hears = conversation(peers[peer])[1 if subject.dials else 0]
                attachment = chance.randbytes(chance.randrange(3)) if subject.attachments else b""
                state.receive(peer, babbler.message(hears), now, attachment)
            deadline = state.next_deadline()
            if deadline is not None and deadline <= now:
                state.tick(now)
            for output in state.drain(now):
                if isinstance(output, Close):
                    closed += 1
                    peers.pop(output.peer, None)
                elif hasattr(output, "message") and hasattr(output, "peer") and output.peer in peers:
                    says = conversation(peers[output.peer])[0 if subject.dials else 1]
                    says.encode(output.message)
                elif isinstance(output, Append):
                    for record in output.records:
                        journal_codec().encode(record)
            state.check()
        except Exception as error:
            raise NonsenseError(f"{name}, seed {seed}, message {step}: {type(error).__name__}: {error}") from error
    return closed
