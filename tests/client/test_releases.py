"""Objects are freed in the background, and not while they are put again."""

from __future__ import annotations

import threading

import pytest

from scaler.client import releases as releases_module
from scaler.client.releases import Releases
from scaler.errors import ConnectionLostError

X, Y, Z = b"x" * 16, b"y" * 16, b"z" * 16


class Storage:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = threading.Event()
        self.freed: list[list[bytes]] = []

    def release(self, names: list[bytes]) -> None:
        self.asked.set()
        assert self.open.wait(10)
        self.freed.append(names)


def test_what_comes_while_the_storage_is_away_goes_together_later() -> None:
    storage = Storage()
    releases = Releases(storage.release)
    releases.add(X)
    assert storage.asked.wait(10)
    releases.add(Y)
    releases.add(Z)
    releases.take_back(Y)
    storage.open.set()
    releases.take_back(X)  # waits until it is freed
    assert storage.freed[0] == [X]
    releases.add(X)
    releases.take_back(b"?" * 16)
    releases.close()
    assert [Y] not in storage.freed


def test_a_storage_that_does_not_come_back_costs_nothing_else() -> None:
    asked = threading.Semaphore(0)

    def fail(names: list[bytes]) -> None:
        asked.release()
        raise ConnectionLostError("gone")

    releases = Releases(fail)
    releases.add(X)
    assert asked.acquire(timeout=10)
    releases.take_back(X)
    releases.add(Y)
    assert asked.acquire(timeout=10), "the thread lives"
    releases.close()


def test_what_is_to_be_freed_soon_is_freed_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases_module, "GATHER_SECONDS", 60)
    storage = Storage()
    storage.open.set()
    releases = Releases(storage.release)
    releases.add(X)
    releases.flush()
    releases.flush()
    assert storage.freed == [[X]]
    releases.close()


def test_what_is_freed_in_one_go_is_told_in_one_message() -> None:
    storage = Storage()
    storage.open.set()
    releases = Releases(storage.release)
    names = [bytes([i]) * 16 for i in range(20)]
    with releases._changed:  # so that its thread does not begin before the last
        for name in names:
            releases.add(name)
    releases.take_back(b"?" * 16)
    assert storage.asked.wait(10)
    releases.take_back(names[0])
    releases.close()
    assert storage.freed == [names]
