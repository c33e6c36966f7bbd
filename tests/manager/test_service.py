"""The service's own loop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from scaler.ids import Address
from scaler.manager.service import ManagerService
from scaler.manager.state import ManagerOptions


class Nowhere:
    """A backend without workers."""

    poll_seconds = 60.0
    most_slots = 1

    async def list(self):
        return []

    async def close(self):
        pass


@pytest.mark.parametrize("turns", range(4))
def test_it_ends_though_there_is_something_to_look_at_at_the_same_time(turns):
    async def run() -> None:
        options = ManagerOptions("ann", "nowhere", 1, fixed=False)
        service = ManagerService(options, Address.parse("tcp://127.0.0.1:1"), Nowhere())
        service._daemon = SimpleNamespace(name="manager", driver=SimpleNamespace(wake=lambda: None))
        service._watcher = asyncio.get_running_loop().create_task(service._watch())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        service._look.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        closing = asyncio.get_running_loop().create_task(service.close())
        done, _ = await asyncio.wait([closing], timeout=2)
        assert done

    asyncio.run(run())
