"""A dynamic worker manager as a real process: workers come with the work and leave after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from scaler import Client

pytestmark = pytest.mark.integration


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return time.monotonic()


def test_workers_come_with_the_work_and_leave_after_it(
    free_addresses: tuple[str, str], start: Callable[..., Any]
) -> None:
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    scheduler = start("scaler_scheduler", address, "-osa", storage)
    manager = start("scaler_worker_manager", "baremetal_native", address, "-mtc", "4")
    scheduler.wait_for_line("worker manager")
    with Client(address, timeout_seconds=20) as client:
        assert len(client.map(nap, [0.3] * 12)) == 12
        manager.wait_for_line("with 4 slots")
        scheduler.wait_for_line("is asked to leave")
        manager.wait_for_line("it had 4 slots")
        assert client.submit(nap, 0).result(20)
        manager.wait_for_line("with 1 slots")
    assert not [line for line in scheduler.lines if "run again" in line]
