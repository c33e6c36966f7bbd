"""How much of what peers say is kept."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from scaler.machine import Close, Output
from scaler.messages import Cancel, DefineFunctions, Function, Release, ReleaseOwner, Role, Subscribe, Update
from scaler.scheduler import clients as clients_module
from scaler.scheduler import monitors as monitors_module
from scaler.scheduler import owed as owed_module
from scaler.scheduler.owed import GivenUp, Owed

from .builders import ANN, Rig, of


def why(outputs: list[Output], peer: int) -> str:
    """For which reason a peer is closed; empty where it is not."""
    return next((o.reason for o in outputs if isinstance(o, Close) and o.peer == peer), "")


def test_further_clients_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "MOST_CLIENTS", 2)
    rig = Rig()
    for n in range(2):
        rig.client(bytes([n + 1]) * 16)
    peer, outputs = rig.connect(Role.client, b"c" * 16)
    assert "2 clients already" in why(outputs, peer)
    assert rig.say(peer, DefineFunctions([])) == []
    # One that is known may come back.
    first, outputs = rig.connect(Role.client, b"\1" * 16)
    assert why(outputs, first) == ""
    # And one that is gone makes room, if it has no tasks.
    client = rig.client(b"\1" * 16)
    client.submit(0)
    rig.lose(client.peer)
    assert why(rig.connect(Role.client, b"d" * 16)[1], 6)
    client = rig.client(b"\1" * 16)
    rig.say(client.peer, Cancel(struct.pack("<Q", 0)))
    rig.lose(client.peer)
    assert why(rig.connect(Role.client, b"d" * 16)[1], 8) == ""


def test_a_client_has_so_many_functions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "MOST_FUNCTIONS", 3)
    rig = Rig()
    client = rig.client(functions=(0, 1))
    outputs = rig.say(client.peer, DefineFunctions([Function(n, "s", b"", b"", "f") for n in (2, 3)]))
    assert "more than 3 functions" in why(outputs, client.peer)


def test_monitors_and_their_intervals_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors_module, "MOST_MONITORS", 3)
    monkeypatch.setattr(monitors_module, "MOST_INTERVALS", 2)
    rig = Rig()
    peers = [rig.connect(Role.monitor, bytes([n]) * 16)[0] for n in range(4)]
    for peer, interval in zip(peers[:3], (1000, 2000, 3000), strict=True):
        assert of(rig.say(peer, Subscribe(interval)), Update, peer)
    assert "3 monitors are subscribed" in why(rig.say(peers[3], Subscribe(1000)), peers[3])
    assert of(rig.at(rig.now + 2.5), Update, peers[2]), "the third interval became the longest of the others"


def test_what_the_storage_is_owed_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed_module, "MOST_BYTES", 48)
    monkeypatch.setattr(owed_module, "MOST_OWNERS", 2)
    names = [bytes([n]) * 16 for n in range(5)]
    owed = Owed()
    owed.release(names[0], b"ann")
    owed.release(names[1], b"ben")
    owed.release(names[2], b"ben")
    owed.release(names[3], b"ann")  # There is no room for it: it goes with its owner.
    assert owed.bytes == 48
    more = Owed()
    more.release(names[3] + names[4], b"ann")
    more.extend(owed)
    assert more.messages() == [Release(names[3] + names[4] + names[0], b"ann")]
    owed.release_owner(b"ben")
    owed.release(names[4], b"ben")
    assert owed.messages() == [Release(names[0], b"ann"), ReleaseOwner(b"ben")]
    owed = Owed()
    for owner in (b"a", b"b", b"c"):
        owed.release_owner(owner)
    assert owed.messages() == [ReleaseOwner(b"b"), ReleaseOwner(b"c")]


def test_clients_that_were_given_up_are_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.scheduler.owed.MOST_OWNERS", 2)
    given_up = GivenUp()
    for client in (b"a", b"b", b"c"):
        given_up.add(client)
    for client in (b"a", b"b", b"c"):
        given_up.came(client)
    assert given_up.returned == [b"b", b"c"], "of the first one that is forgotten"
    given_up.add(b"c")
    assert given_up.returned == [b"b"]


def test_many_releases_are_cut_into_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed_module, "_AT_ONCE", 32)
    owed = Owed()
    for n in range(3):
        owed.release(bytes([n]) * 16, ANN)
    told: list[Any] = owed.messages()
    assert [len(message.objects) for message in told] == [32, 16]
