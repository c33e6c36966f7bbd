"""A loop that is kept busy, and a thread that notices."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

from scaler.net.watchdog import EXIT_CODE, Watchdog


def block(until: Callable[[], bool]) -> None:
    """Nothing else happens in this thread meanwhile."""
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_loop_that_turns_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        dog = Watchdog("Scheduler", logging.getLogger("scaler"), warn_seconds=0.3, fatal_seconds=0.6, end=pytest.fail)
        await asyncio.sleep(1.0)
        dog.close()

    asyncio.run(run())
    assert caplog.text == ""


def test_where_a_loop_is_stuck_is_told_once_and_that_it_turns_again(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        dog = Watchdog("Scheduler", logging.getLogger("scaler"), warn_seconds=0.05, end=pytest.fail)
        block(lambda: "answered nobody" in caplog.text)
        while "turns again" not in caplog.text:
            await asyncio.sleep(0.001)
        dog.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert caplog.text.count("Scheduler: has answered nobody for 0.1 s") == 1
    assert "block(lambda" in caplog.text and "test_watchdog.py" in caplog.text


def test_a_loop_that_stays_stuck_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    ended, codes = threading.Event(), list[int]()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    async def run() -> None:
        Watchdog("Worker", logging.getLogger("scaler"), warn_seconds=0.05, fatal_seconds=0.2, end=end)
        block(ended.is_set)

    asyncio.run(run())
    assert codes == [EXIT_CODE]
    assert "Worker: has answered nobody for 0.2 s, and ends; it was in" in caplog.text
