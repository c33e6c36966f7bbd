"""What the loop of a client is given to do, and when it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scaler.client.inbox import Inbox

LONG, SHORT = 30.0, 0.001


class Loop:
    """Has what was called soon, and what was called later."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon_threadsafe(self, work: Callable[..., Any], *args: Any) -> None:
        if args:
            work(*args)
        else:
            self.soon.append(work)

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        self.later.append((seconds, work))


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def inbox(loop: Loop) -> Inbox[int]:
    return Inbox(loop, look)  # type: ignore[arg-type]


def look() -> None:
    """What a loop calls to look."""


def test_entries_are_taken_in_order_with_those_that_come_meanwhile(inbox: Inbox[int]) -> None:
    inbox.add(1)
    inbox.add(2)
    taken = []
    for entry in inbox.take():
        taken.append(entry)
        if entry == 1:
            inbox.add(3)
    assert taken == [1, 2, 3] and not inbox


def test_the_loop_is_woken_once_until_it_looks(inbox: Inbox[int], loop: Loop) -> None:
    inbox.wake()
    inbox.wake()
    inbox.wake(LONG)
    assert (loop.soon, loop.later) == ([look], [])
    assert list(inbox.take()) == []
    inbox.wake(LONG)
    inbox.wake(LONG)
    assert (loop.soon, loop.later) == ([look], [(LONG, look)])


def test_who_is_in_a_hurry_does_not_wait_for_who_is_not(inbox: Inbox[int], loop: Loop) -> None:
    inbox.wake(LONG)
    inbox.wake(SHORT)
    inbox.wake()
    assert (loop.soon, loop.later) == ([look], [(LONG, look), (SHORT, look)])


def test_after_its_end_nobody_is_woken(inbox: Inbox[int], loop: Loop) -> None:
    inbox.add(1)
    inbox.close()
    assert list(inbox.take()) == [1]
    inbox.wake()
    assert not loop.soon


def test_a_finalizer_may_come_in_the_middle(inbox: Inbox[int], loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in whatever thread lets an object go, which may be one that is just waking the loop."""
    wake = loop.call_soon_threadsafe

    def let_go_of_something(work: Callable[..., Any], *args: Any) -> None:
        inbox.add(2)
        inbox.wake()
        wake(work, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", let_go_of_something)
    inbox.add(1)
    inbox.wake()
    assert loop.soon == [look] and list(inbox.take()) == [1, 2]


def test_a_loop_looks_in_time() -> None:
    async def main() -> list[int]:
        looked: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        inbox: Inbox[int] = Inbox(asyncio.get_running_loop(), lambda: looked.set_result(list(inbox.take())))
        inbox.add(1)
        inbox.wake(SHORT)
        inbox.add(2)
        return await asyncio.wait_for(looked, LONG)

    assert asyncio.run(main()) == [1, 2]
