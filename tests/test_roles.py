"""Roles can do only what is theirs: each state, told by a peer of each role whatever another role may say, closes that peer,
or passes over it, does nothing else, and goes on with the others. The codecs of the conversations cannot even read most of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scaler.client.state import ClientState
from scaler.errors import ProtocolError
from scaler.machine import Close, Log, Peer
from scaler.manager.state import ManagerOptions, ManagerState
from scaler.messages import Hello, Role
from scaler.net.driver import conversation
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.storage.state import StorageState
from scaler.wire.handshake import MAGIC, PROTOCOL_VERSION, Listener
from scaler.worker.state import WorkerOptions, WorkerState

from .wire.random_messages import ARMS, CLASSES, NESTED, default

SPOKEN = sorted({kind.__name__ for _, kind in ARMS} - NESTED)
"""All that anybody can say to anybody."""


def _worker() -> WorkerState:
    state = WorkerState(WorkerOptions(2, host="h"))
    state.start(0.0)
    return state


def _manager() -> ManagerState:
    state = ManagerState(ManagerOptions("m", "baremetal_native", 4))
    state.start(0.0)
    return state


STATES: dict[str, tuple[Callable[[], Any], tuple[Role, ...], bool]] = {
    "scheduler": (
        lambda: SchedulerState(SchedulerSettings("tcp://s:1")),
        (Role.client, Role.worker, Role.manager, Role.monitor),
        False,
    ),
    "storage": (StorageState, (Role.storage_user, Role.host_storage), False),
    "host storage": (lambda: StorageState(serves="tcp://h:1"), (Role.storage_user,), False),
    "worker": (_worker, (Role.worker,), True),
    "manager": (_manager, (Role.manager,), True),
    "client": (ClientState, (Role.client,), True),
}


@pytest.mark.parametrize(("name", "role"), [(name, role) for name, (_, roles, _) in STATES.items() for role in roles])
def test_what_is_not_for_a_role_closes_it_and_does_nothing(name: str, role: Role) -> None:
    make, _, dials = STATES[name]
    allowed = {kind.__name__ for kind in conversation(role)[1 if dials else 0].vocabulary}
    wrong = [kind for kind in SPOKEN if kind not in allowed]
    assert len(wrong) > 60
    assert {kind: problem for kind in wrong if (problem := told_by_another(make(), role, kind, dials))} == {}


def told_by_another(state: Any, role: Role, kind: str, dials: bool) -> str:
    """What went wrong, if anything."""
    if not dials:
        state.peer_connected(1, Peer(role, b"a" * 16, "healthy"), 1.0)
    state.peer_connected(2, Peer(role, b"b" * 16, "wrong"), 1.0)
    state.drain(1.0)
    before = state.snapshot()
    try:
        state.receive(2, default(kind), 1.0)
        outputs = state.drain(1.0)
    except Exception as error:
        return f"raised {error!r}"
    state.check()
    closed = [output.peer for output in outputs if isinstance(output, Close)]
    if closed != [2] and not (dials and not closed):  # Who dials passes over what cannot be read anyway.
        return "was not closed, or another peer was"
    if [output for output in outputs if not isinstance(output, Close | Log)]:
        return f"did something: {outputs}"
    state.peer_connected(3, Peer(role, b"b" * 16, "wrong"), 1.0)
    state.drain(1.0)
    return "" if state.snapshot() == before else f"{before} became {state.snapshot()}"


@pytest.mark.parametrize("kind", SPOKEN)
def test_a_codec_reads_only_what_its_role_may_say(kind: str) -> None:
    """Whoever writes another role's message by its own schema is misread, or not read at all."""
    for role in Role:
        if role == Role.unspecified:
            continue
        for union in conversation(role):
            if CLASSES[kind] in union.vocabulary:
                continue
            with pytest.raises(ProtocolError, match="cannot be said"):
                union.encode(default(kind))


@pytest.mark.parametrize("served", [role for role in Role if role != Role.unspecified], ids=lambda role: role.name)
@pytest.mark.parametrize("role", range(12))
def test_a_listener_lets_in_only_the_roles_that_it_serves(served: Role, role: int) -> None:
    listener = Listener({served}, b"l" * 16)
    listener.receive(Hello(MAGIC, PROTOCOL_VERSION, 1, role, b"d" * 16, "", b"", ""))
    assert (listener.peer is not None) == (role == served)
    assert (listener.error is None) == (role == served)
