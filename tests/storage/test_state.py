"""Given these events, exactly these outputs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scaler.machine import Close, Log, Output, Peer, Send
from scaler.messages import (
    Abandon,
    AdmitOwner,
    Get,
    Hello,
    Link,
    Piece,
    Probe,
    Put,
    Release,
    ReleaseOwner,
    Role,
    Statistics,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage import puts as storage_puts
from scaler.storage.content import Content
from scaler.storage.outputs import AnswerProbe, Open, StopTransmit, Transmit
from scaler.storage.state import StorageState
from scaler.stuck import LOOK_SECONDS

ANN, BEN = b"A" * 16, b"B" * 16
X, Y = b"x" * 16, b"y" * 16


class Rig:
    """A state with users 1 and 2, which is checked after each event."""

    def __init__(self, **options: int) -> None:
        self.state = StorageState(**options)
        for peer in (1, 2):
            self.connect(peer)

    def connect(self, peer: int, identity: bytes = b"", role: Role = Role.storage_user) -> list[Output]:
        self.state.peer_connected(peer, Peer(role, identity or bytes([peer]) * 16, f"user {peer}"), 0.0)
        return self.after()

    def say(self, peer: int, message: Any, attachment: bytes = b"") -> list[Output]:
        self.state.receive(peer, message, 0.0, attachment)
        return self.after()

    def lose(self, peer: int) -> list[Output]:
        self.state.peer_lost(peer, "gone", 0.0)
        return self.after()

    def after(self) -> list[Output]:
        self.state.check()
        return self.state.drain(0.0)

    def put(self, peer: int, request: int, content: bytes, name: bytes = X, owner: bytes = ANN) -> list[Output]:
        return self.say(peer, Put(request, name, owner, len(content), 0), content)

    def counts(self) -> tuple[int, int, int, int]:
        numbers = self.state.snapshot()
        return numbers["objects"], numbers["bytes"], numbers["owners"], numbers["waiting_gets"]


def transmit(peer: int, request: int, content: bytes, shared: bool = False) -> Transmit:
    return Transmit(peer, request, Content(memoryview(content)), shared)


def failure(outputs: list[Output]) -> tuple[int, int, int]:
    """Peer, request and reason of the only output."""
    (output,) = outputs
    assert isinstance(output, Send) and isinstance(output.message, StorageFailure) and output.message.text
    return output.peer, output.message.request, output.message.reason


def closed(outputs: list[Output], peer: int = 1) -> str:
    """The reason for which this peer was closed, and nothing else happened."""
    close, log = outputs
    assert isinstance(close, Close) and close.peer == peer and isinstance(log, Log) and close.reason in log.text
    return close.reason


def piece(size: int, offset: int = 0) -> Piece:
    return Piece(4711, 5, "scaler-x", 1, offset, size)


def test_a_put_in_shared_memory_is_opened_then_stored() -> None:
    rig = Rig()
    put = Put(1, X, ANN, 5000, 0, [piece(4096), piece(904, 8192)])
    rig.say(2, Get(1, X, True))
    assert rig.say(1, put) == [Open(1, 1, 5000, put.pieces)]
    assert rig.counts() == (0, 0, 0, 1)
    rig.state.opened(1, 1, Content(memoryview(b"a" * 5000)))
    assert rig.after() == [Send(1, Stored(1, False)), transmit(2, 1, b"a" * 5000, shared=True)]
    assert rig.counts() == (1, 5000, 1, 0)


def test_what_cannot_be_opened_may_be_put_over_the_connection() -> None:
    rig = Rig()
    rig.say(1, Put(1, X, ANN, 3, 0, [piece(3)]))
    rig.state.opened(1, 1, None, "no such file")
    assert failure(rig.after()) == (1, 1, StorageFailureReason.not_shared)
    assert rig.put(1, 2, b"abc") == [Send(1, Stored(2, False))]


def test_what_is_there_already_is_not_opened() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    assert rig.say(2, Put(1, X, BEN, 3, 0, [piece(3)])) == [Send(2, Stored(1, True))]
    # No parts follow, so the number is free.
    assert rig.say(2, Get(1, X)) == [transmit(2, 1, b"abc")]


@pytest.mark.parametrize("over", ["peer", "owner", "other"])
def test_what_was_opened_too_late_is_passed_over(over: str) -> None:
    rig = Rig()
    rig.say(1, Put(1, X, ANN, 3, 0, [piece(3)]))
    if over == "peer":
        assert rig.lose(1) == []
    elif over == "owner":
        assert failure(rig.say(2, ReleaseOwner(ANN))) == (1, 1, StorageFailureReason.owner_gone)
    else:
        assert rig.put(2, 1, b"abc") == [Send(2, Stored(1, False)), Send(1, Stored(1, True))]
    rig.state.opened(1, 1, Content(memoryview(b"abc")))
    assert rig.after() == []


def test_a_probe_is_the_services_to_answer() -> None:
    assert Rig().say(1, Probe(1, piece(1))) == [AnswerProbe(1, 1, piece(1))]


@pytest.mark.parametrize(
    ("put", "attachment"),
    [
        (Put(1, X, ANN, 4, 0, [piece(3)]), b""),
        (Put(1, X, ANN, 0, 0, [piece(0)]), b""),
        (Put(1, X, ANN, 3, 3, [piece(3)]), b""),
        (Put(1, X, ANN, 3, 0, [piece(3)]), b"abc"),
    ],
)
def test_pieces_that_are_not_the_object_close_their_peer(put: Put, attachment: bytes) -> None:
    assert "not the whole object" in closed(Rig().say(1, put, attachment))


@pytest.mark.parametrize("content", [b"", b"a", b"abc"])
def test_put_then_get(content: bytes) -> None:
    rig = Rig()
    assert rig.put(1, 1, content) == [Send(1, Stored(1, False))]
    assert rig.say(2, Get(1, X)) == [transmit(2, 1, content)]
    assert rig.counts() == (1, len(content), 1, 0)


def test_put_in_parts_is_answered_after_the_last() -> None:
    rig = Rig()
    assert rig.say(1, Put(1, X, ANN, 6, 0), b"ab") == []
    assert rig.say(1, Put(1, X, ANN, 6, 2), b"cd") == []
    assert rig.counts() == (0, 0, 0, 0)
    assert rig.say(1, Put(1, X, ANN, 6, 4), b"ef") == [Send(1, Stored(1, False))]
    assert rig.say(1, Get(2, X)) == [transmit(1, 2, b"abcdef")]


def test_objects_cannot_be_written_through_a_transmission() -> None:
    rig = Rig()
    rig.say(1, Put(1, X, ANN, 2, 0), b"a")
    rig.say(1, Put(1, X, ANN, 2, 1), b"b")
    (output,) = rig.say(1, Get(2, X))
    assert output.content.view.readonly


def test_waiting_gets_are_answered_when_the_object_arrives() -> None:
    rig = Rig()
    assert rig.say(2, Get(1, X)) == rig.say(1, Get(9, X)) == []
    assert rig.counts() == (0, 0, 0, 2)
    assert rig.put(1, 1, b"abc") == [Send(1, Stored(1)), transmit(2, 1, b"abc"), transmit(1, 9, b"abc")]
    assert rig.counts() == (1, 3, 1, 0)


def test_second_put_is_already_there_and_its_other_parts_are_passed_over() -> None:
    rig = Rig()
    rig.put(1, 1, b"abcdef")
    assert rig.say(2, Put(7, X, BEN, 6, 0), b"ab") == [Send(2, Stored(7, True))]
    assert rig.say(2, Put(7, X, BEN, 6, 2), b"cd") == []
    assert rig.say(2, Put(7, X, BEN, 6, 4), b"ef") == []
    assert rig.counts() == (1, 6, 2, 0)
    # The record of the put is gone with its last part.
    assert "offset" in closed(rig.say(2, Put(7, X, BEN, 6, 4), b"ef"), 2)


def test_two_puts_at_once_the_first_complete_one_wins() -> None:
    rig = Rig()
    assert rig.say(1, Put(1, X, ANN, 4, 0), b"ab") == []
    assert rig.say(2, Put(1, X, BEN, 4, 0), b"ab") == []
    assert rig.say(2, Put(1, X, BEN, 4, 2), b"cd") == [Send(2, Stored(1, False)), Send(1, Stored(1, True))]
    assert rig.say(1, Put(1, X, ANN, 4, 2), b"cd") == []
    assert rig.counts() == (1, 4, 2, 0)


@pytest.mark.parametrize(
    ("message", "attachment", "word"),
    [
        (Put(1, X[:15], ANN, 1, 0), b"a", "object id"),
        (Put(1, X, ANN + b"A", 1, 0), b"a", "owner"),
        (Put(1, X, ANN, 3, 1), b"a", "offset"),
        (Put(1, X, ANN, 1, 0), b"ab", "up to byte 2"),
        (Put(1, X, ANN, 0, 0), b"a", "up to byte 1"),
        (Put(1, X, ANN, 1, 0), b"", "without bytes"),
        (Put(5, X, ANN, 5, 2), b"c", "changed"),
        (Put(5, Y, ANN, 4, 2), b"c", "changed"),
        (Put(5, X, BEN, 4, 2), b"c", "changed"),
        (Put(5, X, ANN, 4, 0), b"a", "offset"),
        (Put(5, X, ANN, 4, 3), b"d", "offset"),
        (Put(5, X, ANN, 4, 2), b"cde", "up to byte 5"),
        (Put(6, X, ANN, 4, 0), b"a", "under way"),
        (Get(5, X), b"", "under way"),
        (Get(6, X), b"", "under way"),
        (Get(1, b""), b"", "object id"),
        (Get(1, X), b"a", "attachment"),
        (Link(1, b"", ANN), b"", "object id"),
        (Link(1, X, b""), b"", "owner"),
        (Link(6, X, ANN), b"", "under way"),
        (Release(X + b"y", ANN), b"", "multiple"),
        (Release(X, b""), b"", "owner"),
        (ReleaseOwner(b""), b"", "owner"),
        (AdmitOwner(b"short"), b"", "owner"),
        (Hello(1, 1, 1, 5, ANN), b"", "Hello"),
    ],
)
def test_wrong_message_closes_its_peer_only(message: Any, attachment: bytes, word: str) -> None:
    rig = Rig()
    rig.say(1, Put(5, X, ANN, 4, 0), b"ab")
    rig.say(1, Get(6, Y))
    rig.say(2, Put(1, X, BEN, 4, 0), b"ab")
    rig.say(2, Get(2, Y))
    assert word in closed(rig.say(1, message, attachment))
    assert rig.say(1, Get(7, X)) == [], "nothing is heard of it any more"
    assert rig.counts() == (0, 0, 0, 1)
    assert rig.say(2, Put(1, X, BEN, 4, 2), b"cd") == [Send(2, Stored(1, False))]
    assert rig.put(2, 3, b"y", Y) == [Send(2, Stored(3, False)), transmit(2, 2, b"y")]


def test_too_large_is_refused_before_anything_is_kept() -> None:
    rig = Rig(max_object_bytes=3)
    assert rig.put(1, 1, b"abc") == [Send(1, Stored(1))]
    assert failure(rig.say(1, Put(2, Y, ANN, 4, 0), b"ab")) == (1, 2, StorageFailureReason.too_large)
    assert rig.say(1, Put(2, Y, ANN, 4, 2), b"cd") == []
    assert rig.counts() == (1, 3, 1, 0)


def test_object_lives_as_long_as_one_owner() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    assert rig.say(2, Link(1, X, BEN)) == [Send(2, Stored(1, True))]
    assert rig.say(1, Release(Y + X, ANN)) == rig.say(1, Release(X, ANN)) == []
    assert rig.counts() == (1, 3, 1, 0)
    (under_way,) = rig.say(1, Get(2, X))
    assert rig.say(2, Release(X, BEN)) == []
    assert rig.counts() == (0, 0, 0, 0)
    assert bytes(under_way.content.view) == b"abc"
    assert failure(rig.say(1, Get(3, X))) == (1, 3, StorageFailureReason.freed)
    assert failure(rig.say(1, Link(4, X, ANN))) == (1, 4, StorageFailureReason.freed)


def test_a_get_of_what_existed_does_not_wait() -> None:
    rig = Rig()
    assert failure(rig.say(1, Get(1, X, existed=True))) == (1, 1, StorageFailureReason.lost)
    rig.put(1, 2, b"content")
    assert rig.say(1, Get(3, X, existed=True)) == [transmit(1, 3, b"content")]
    rig.say(1, Release(X, ANN))
    assert failure(rig.say(1, Get(4, X, existed=True))) == (1, 4, StorageFailureReason.freed)


def test_what_was_freed_with_its_owner_is_lost_when_that_one_is_back() -> None:
    rig = Rig()
    rig.connect(1)
    rig.put(1, 1, b"abc", X)
    rig.put(1, 2, b"abc", Y)
    rig.say(1, Release(Y, ANN))
    rig.say(1, ReleaseOwner(ANN))
    assert failure(rig.say(1, Get(3, X, existed=True))) == (1, 3, StorageFailureReason.freed)
    rig.say(1, AdmitOwner(ANN))
    assert failure(rig.say(1, Get(4, X, existed=True))) == (1, 4, StorageFailureReason.lost)
    assert failure(rig.say(1, Get(5, Y, existed=True))) == (1, 5, StorageFailureReason.freed), "it freed that itself"


def test_freed_object_can_be_put_again() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    rig.say(1, Release(X, ANN))
    assert rig.put(1, 2, b"abc") == [Send(1, Stored(2, False))]
    assert rig.say(1, Get(3, X)) == [transmit(1, 3, b"abc")]


def test_link_of_what_never_was() -> None:
    rig = Rig()
    assert failure(rig.say(1, Link(1, X, ANN))) == (1, 1, StorageFailureReason.unknown)
    rig.say(1, Put(2, X, ANN, 2, 0), b"a")
    assert failure(rig.say(1, Link(3, X, ANN))) == (1, 3, StorageFailureReason.unknown)


def test_released_owner_loses_all_and_can_own_nothing() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    rig.put(1, 2, b"d", Y)
    rig.say(1, Link(3, Y, BEN))
    rig.say(1, Put(4, b"z" * 16, ANN, 2, 0), b"a")
    gone = StorageFailureReason.owner_gone
    assert failure(rig.say(2, ReleaseOwner(ANN))) == (1, 4, gone)
    assert rig.counts() == (1, 1, 1, 0)
    assert rig.say(1, Put(4, b"z" * 16, ANN, 2, 1), b"b") == [], "passed over"
    assert failure(rig.put(1, 5, b"abc")) == (1, 5, gone)
    assert failure(rig.say(1, Link(6, Y, ANN))) == (1, 6, gone)
    assert rig.put(2, 1, b"abc", owner=BEN) == [Send(2, Stored(1, False))]


def test_an_owner_that_is_back_can_own_again() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    rig.say(2, ReleaseOwner(ANN))
    assert failure(rig.put(1, 2, b"abc", Y))[2] == StorageFailureReason.owner_gone
    assert rig.say(2, AdmitOwner(ANN)) == [] and rig.counts()[0] == 0
    assert rig.put(1, 3, b"abc", Y) == [Send(1, Stored(3))]


def test_memory_of_gone_owners_and_freed_objects_is_bounded() -> None:
    rig = Rig(remembered_owners=2, remembered_freed=2)
    names = [bytes([number]) * 16 for number in (1, 2, 3)]
    for request, name in enumerate(names):
        rig.put(1, request, b"a", name, owner=name)
        rig.say(1, ReleaseOwner(name))
    assert rig.say(1, Get(10, names[0])) == [], "it waits: that it was freed is forgotten"
    assert failure(rig.say(1, Get(11, names[1])))[2] == StorageFailureReason.freed
    assert rig.put(1, 12, b"a", names[0], names[0]) == [Send(1, Stored(12)), transmit(1, 10, b"a")]
    assert failure(rig.put(1, 13, b"a", names[1], names[1]))[2] == StorageFailureReason.owner_gone


def test_owner_released_again_is_remembered_anew() -> None:
    rig = Rig(remembered_owners=2)
    for owner in (ANN, BEN, ANN, b"C" * 16):
        rig.say(1, ReleaseOwner(owner))
    assert failure(rig.put(1, 1, b"a", owner=ANN))[2] == StorageFailureReason.owner_gone
    assert rig.put(1, 2, b"a", owner=BEN) == [Send(1, Stored(2))]


def test_number_of_an_answered_put_cannot_be_used_for_another_request() -> None:
    rig = Rig()
    rig.put(1, 1, b"ab")
    rig.say(1, Put(2, X, ANN, 2, 0), b"a")
    assert "under way" in closed(rig.say(1, Get(2, X)))


def test_memory_of_answered_puts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_puts, "REMEMBERED_ANSWERED", 2)
    rig = Rig()
    rig.put(1, 0, b"ab")
    for request in (1, 2, 3):
        assert rig.say(1, Put(request, X, ANN, 2, 0), b"a") == [Send(1, Stored(request, True))]
    assert rig.say(1, Put(3, X, ANN, 2, 1), b"b") == []
    assert "offset" in closed(rig.say(1, Put(1, X, ANN, 2, 1), b"b"))


def test_abandon() -> None:
    rig = Rig()
    rig.say(1, Get(1, X))
    assert rig.say(1, Abandon(1)) == []
    assert rig.counts() == (0, 0, 0, 0)
    assert rig.put(1, 2, b"abc") == [Send(1, Stored(2))]
    assert rig.say(1, Get(3, X)) == [transmit(1, 3, b"abc")]
    assert rig.say(1, Abandon(3)) == [StopTransmit(1, 3)]


def test_lost_peer_leaves_objects_and_nothing_else() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    rig.say(1, Put(2, Y, ANN, 2, 0), b"a")
    rig.say(1, Get(3, Y))
    assert rig.lose(1) == rig.lose(1) == []
    assert rig.counts() == (1, 3, 1, 0)
    assert rig.say(2, Put(1, Y, BEN, 2, 0), b"a") == []
    assert rig.say(2, Put(1, Y, BEN, 2, 1), b"b") == [Send(2, Stored(1, False))]


def test_same_identity_again_closes_the_older_connection() -> None:
    rig = Rig()
    rig.say(1, Get(1, X))
    assert "again" in closed(rig.connect(3, bytes([1]) * 16))
    assert rig.lose(1) == []
    assert rig.put(3, 1, b"a") == [Send(3, Stored(1))]


def test_other_roles_are_closed() -> None:
    rig = Rig()
    (output,) = rig.connect(3, role=Role.client)
    assert isinstance(output, Close) and output.peer == 3 and "client" in output.reason


def test_statistics() -> None:
    rig = Rig()
    rig.put(1, 1, b"abc")
    rig.put(2, 1, b"abc", owner=BEN)
    rig.put(2, 2, b"d", Y, BEN)
    rig.say(1, Release(X, ANN))
    rig.say(2, Release(X, BEN))
    rig.say(1, Get(2, Y))
    rig.say(1, Get(3, b"z" * 16))
    (answer,) = rig.say(2, StatisticsRequest(9))
    assert isinstance(answer, Send) and isinstance(answer.message, Statistics)
    assert {name: value for name, value in asdict(answer.message).items() if value} == {
        "request": 9,
        "objects": 1,
        "bytes": 1,
        "owners": 1,
        "waiting_gets": 1,
        "puts": 3,
        "gets": 2,
        "freed": 1,
        "puts_saved": 1,
        "memory_bytes": 1,
        "gets_at_once": 1,
    }
    assert rig.state.next_deadline() == LOOK_SECONDS


def test_an_object_that_is_waited_for_and_that_nobody_puts_is_told_of() -> None:
    rig = Rig()
    rig.say(1, Get(1, X))
    rig.say(2, Get(1, X))
    lines: list[str] = []
    for _ in range(60):
        now = rig.state.next_deadline()
        assert now is not None
        rig.state.tick(now)
        lines += [output.text for output in rig.state.drain(now) if isinstance(output, Log)]
        if lines:
            break
    assert lines == [f"stuck: user 1 and 1 more waits for object {X.hex()}, which nobody has put, for 30 s"]
    rig.say(1, Abandon(1))
    rig.put(2, 2, b"x")
    assert rig.state.next_deadline() is None


def test_state_imports_nothing_that_does_anything() -> None:
    code = """
import sys, scaler.storage.state
sys.exit(bool({"asyncio", "socket", "threading", "subprocess", "random", "logging", "capnp"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OBJECTS = {bytes([letter]) * 16: bytes([letter]) * size for letter, size in ((120, 0), (121, 1), (122, 4))}
peers = st.sampled_from([1, 2, 3])
names = st.sampled_from(sorted(OBJECTS))
owners = st.sampled_from([b"A" * 16, b"B" * 16, b"C" * 16])


class Oracle(RuleBasedStateMachine):
    """The same rules over plain lists of facts: who owns what, who waits for what, what is half here."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.rig.connect(3)
        self.request = 0
        self.owns: set[tuple[bytes, bytes]] = set()
        self.ever: set[bytes] = set()
        self.went_with: dict[bytes, bytes] = {}
        """What was freed as its last owner went, and that one."""
        self.gone: set[bytes] = set()
        self.waits: list[tuple[int, int, bytes]] = []
        self.halves: list[tuple[int, int, bytes, bytes]] = []
        self.rests: list[tuple[int, int, bytes, bytes]] = []

    def next(self) -> int:
        self.request += 1
        return self.request

    def held(self) -> set[bytes]:
        return {name for _, name in self.owns}

    def here(self, peer: int, request: int, name: bytes, owner: bytes) -> list[Output]:
        """What follows when all bytes of an object are here."""
        self.ever.add(name)
        self.went_with.pop(name, None)
        self.owns.add((owner, name))
        outputs: list[Output] = [Send(peer, Stored(request, False))]
        for half in [half for half in self.halves if half[2] == name]:
            self.halves.remove(half)
            self.rests.append(half)
            self.owns.add((half[3], name))
            outputs.append(Send(half[0], Stored(half[1], True)))
        for wait in [wait for wait in self.waits if wait[2] == name]:
            self.waits.remove(wait)
            outputs.append(transmit(wait[0], wait[1], OBJECTS[name]))
        return outputs

    @rule(peer=peers, name=names, owner=owners, whole=st.booleans())
    def put(self, peer: int, name: bytes, owner: bytes, whole: bool) -> None:
        request, content = self.next(), OBJECTS[name]
        part = content if whole or len(content) < 2 else content[:2]
        outputs = self.rig.say(peer, Put(request, name, owner, len(content), 0), part)
        if owner in self.gone:
            assert failure(outputs) == (peer, request, StorageFailureReason.owner_gone)
        elif name in self.held():
            assert outputs == [Send(peer, Stored(request, True))]
            self.owns.add((owner, name))
        elif part != content:
            assert outputs == []
            self.halves.append((peer, request, name, owner))
            return
        else:
            assert outputs == self.here(peer, request, name, owner)
        if part != content:
            self.rests.append((peer, request, name, owner))

    @rule(data=st.data())
    def second_part(self, data: st.DataObject) -> None:
        if not self.halves + self.rests:
            return
        half = data.draw(st.sampled_from(self.halves + self.rests))
        peer, request, name, owner = half
        content = OBJECTS[name]
        outputs = self.rig.say(peer, Put(request, name, owner, len(content), 2), content[2:])
        if half in self.rests:
            self.rests.remove(half)
            assert outputs == []
        else:
            self.halves.remove(half)
            assert outputs == self.here(peer, request, name, owner)

    @rule(peer=peers, name=names)
    def get(self, peer: int, name: bytes) -> None:
        request = self.next()
        outputs = self.rig.say(peer, Get(request, name))
        if name in self.held():
            assert outputs == [transmit(peer, request, OBJECTS[name])]
        elif name in self.ever:
            assert failure(outputs) == (peer, request, StorageFailureReason.freed)
        else:
            assert outputs == []
            self.waits.append((peer, request, name))

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        if self.waits:
            wait = data.draw(st.sampled_from(self.waits))
            self.waits.remove(wait)
            assert self.rig.say(wait[0], Abandon(wait[1])) == []

    @rule(peer=peers, name=names, owner=owners)
    def link(self, peer: int, name: bytes, owner: bytes) -> None:
        request = self.next()
        outputs = self.rig.say(peer, Link(request, name, owner))
        if owner in self.gone:
            assert failure(outputs) == (peer, request, StorageFailureReason.owner_gone)
        elif name in self.held():
            self.owns.add((owner, name))
            assert outputs == [Send(peer, Stored(request, True))]
        else:
            freed = name in self.ever
            reason = StorageFailureReason.freed if freed else StorageFailureReason.unknown
            assert failure(outputs) == (peer, request, reason)

    @rule(peer=peers, some=st.lists(names), owner=owners)
    def release(self, peer: int, some: list[bytes], owner: bytes) -> None:
        assert self.rig.say(peer, Release(b"".join(some), owner)) == []
        self.owns -= {(owner, name) for name in some}

    @rule(peer=peers, owner=owners)
    def admit_owner(self, peer: int, owner: bytes) -> None:
        assert self.rig.say(peer, AdmitOwner(owner)) == []
        if owner in self.gone:
            self.gone.remove(owner)
            back = {name for name, other in self.went_with.items() if other == owner}
            self.ever -= back
            self.went_with = {name: other for name, other in self.went_with.items() if name not in back}

    @rule(peer=peers, owner=owners)
    def release_owner(self, peer: int, owner: bytes) -> None:
        outputs = self.rig.say(peer, ReleaseOwner(owner))
        self.gone.add(owner)
        before = self.held()
        self.owns = {fact for fact in self.owns if fact[0] != owner}
        self.went_with.update(dict.fromkeys(before - self.held(), owner))
        refused = [half for half in self.halves if half[3] == owner]
        self.halves = [half for half in self.halves if half[3] != owner]
        self.rests += refused
        reason = StorageFailureReason.owner_gone
        expected = sorted((peer, request, int(reason)) for peer, request, _, _ in refused)
        assert sorted(failure([output]) for output in outputs) == expected

    @rule(peer=peers)
    def reconnect(self, peer: int) -> None:
        assert self.rig.lose(peer) == []
        self.waits = [wait for wait in self.waits if wait[0] != peer]
        self.halves = [half for half in self.halves if half[0] != peer]
        self.rests = [rest for rest in self.rests if rest[0] != peer]
        self.rig.connect(peer)

    @invariant()
    def counts_agree(self) -> None:
        held = self.held()
        size = sum(len(OBJECTS[name]) for name in held)
        assert self.rig.counts() == (len(held), size, len({owner for owner, _ in self.owns}), len(self.waits))


Oracle.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOracle = Oracle.TestCase
