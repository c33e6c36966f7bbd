"""How much of what users say the object storage keeps."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.machine import Close, Peer, Send
from scaler.messages import Get, Put, Role, StorageFailure, StorageFailureReason, Stored
from scaler.storage import puts as puts_module
from scaler.storage import requests as requests_module
from scaler.storage.state import StorageState

OWNER = b"o" * 16


def told(state: StorageState, message: Any, attachment: bytes = b"") -> list[Any]:
    state.receive(1, message, 1.0, attachment)
    outputs = state.drain(1.0)
    state.check()
    return outputs


def storage() -> StorageState:
    state = StorageState()
    state.peer_connected(1, Peer(Role.storage_user, b"u" * 16), 1.0)
    return state


def test_so_many_requests_of_a_peer_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "MOST_REQUESTS", 3)
    state = storage()
    assert told(state, Get(1, b"a" * 16)) == []
    assert told(state, Put(2, b"b" * 16, OWNER, 2, 0), b"x") == []
    assert told(state, Get(3, b"a" * 16)) == []
    reasons = [output.reason for output in told(state, Get(4, b"a" * 16)) if isinstance(output, Close)]
    assert reasons == ["more than 3 requests are under way"]
    assert state.snapshot()["waiting_gets"] == 0


@pytest.mark.parametrize("parts", [1, 2])
def test_there_are_so_many_objects_of_whatever_size(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    monkeypatch.setattr(puts_module, "MOST_OBJECTS", 2)
    state = storage()
    for n in range(2):
        assert told(state, Put(n, bytes([n]) * 16, OWNER, 0, 0)) == [Send(1, Stored(n, False))]
    outputs = told(state, Put(2, b"\2" * 16, OWNER, parts, 0), b"x")
    (failure,) = [output.message for output in outputs if isinstance(output, Send)]
    assert isinstance(failure, StorageFailure) and failure.reason == StorageFailureReason.full
    assert "2 objects here already" in failure.text
    assert told(state, Put(3, b"\1" * 16, OWNER, 0, 0)) == [Send(1, Stored(3, True))], "what is there may be put again"
