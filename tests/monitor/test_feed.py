"""The feed against a real scheduler state behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from scaler.errors import ConnectionLostError, ProtocolError
from scaler.ids import Address
from scaler.messages import Role, Update
from scaler.monitor.feed import Feed, Recorder, Recording, Status, recorded
from scaler.monitor.model import Model
from scaler.net.driver import Driver
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

from .builders import update, worker

LIMIT = 10.0


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not true():
            await asyncio.sleep(0.005)


async def serve(address: Address) -> tuple[Driver, Address]:
    driver = Driver(SchedulerState(SchedulerSettings("tcp://storage:1")), b"S" * 16, "Scheduler")
    return driver, await driver.listen(address, {Role.monitor})


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:0", "ipc://{}/socket"])
def test_it_tells_asks_and_connects_again(where: str, tmp_path: Path) -> None:
    async def scene() -> None:
        driver, address = await serve(Address.parse(where.format(tmp_path)))
        model, changes = Model(), list[Status]()
        feed = Feed(address, model.apply, changes.append, 0.1)
        running = asyncio.create_task(feed.run())
        await until(lambda: model.updates >= 3)
        assert changes == [Status(True, f"connected to {address}")]
        assert not (await feed.explain(5)).known and (await feed.describe(1)).total == 0
        assert "protected" in (await feed.cancel(5)).text and not (await feed.drain(b"w" * 16)).done
        await driver.close()
        await until(lambda: len(changes) >= 3)
        assert not changes[1].connected and f"no connection to {address}" in changes[1].text
        with pytest.raises(ConnectionLostError, match="no connection"):
            await feed.explain(5)
        driver, _ = await serve(address)
        seen = model.updates
        await until(lambda: model.updates > seen)
        assert changes[-1].connected
        running.cancel()
        await asyncio.wait({running})
        await driver.close()

    asyncio.run(scene())


def test_what_is_asked_when_the_connection_breaks_is_answered_with_an_error() -> None:
    async def scene() -> None:
        driver, address = await serve(Address("127.0.0.1", 0))
        model = Model()
        feed = Feed(address, model.apply)
        running = asyncio.create_task(feed.run())
        await until(lambda: model.updates)
        asking = asyncio.create_task(feed.explain(5))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(ConnectionLostError, match="before the answer"):
            await asking
        await driver.close()

    asyncio.run(scene())


def test_the_first_update_or_a_clear_error() -> None:
    async def scene() -> None:
        driver, address = await serve(Address("127.0.0.1", 0))
        model = Model()
        await Feed(address, model.apply).first(LIMIT)
        assert model.updates == 1
        await driver.close()
        with pytest.raises(ConnectionLostError, match=rf"no connection to {address}: Connection refused \(tried for"):
            await Feed(address, model.apply).first(0.2)

    asyncio.run(scene())


def test_a_recording_is_read_back_and_replayed(tmp_path: Path) -> None:
    told = [update(1, True, workers=[worker(n) for n in range(3000)]), update(1.02), update(9, workers=[worker(1)])]
    recorder = Recorder(tmp_path / "feed")
    for one in told:
        recorder.write(one)
    recorder.close()
    assert recorded(tmp_path / "feed") == told

    async def scene() -> None:
        seen, changes = list[Update](), list[Status]()
        recording = Recording(told, seen.append, changes.append, speed=1000, label="it")
        await recording.run()
        assert seen == told and [status.text for status in changes] == ["replaying it", "the end of it"]
        for asking in (recording.explain(1), recording.describe(1), recording.cancel(1), recording.drain(b"")):
            with pytest.raises(ConnectionLostError, match="recording"):
                await asking

    asyncio.run(scene())


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "feed")
    recorder.write(update(1, True))
    recorder.write(update(2, workers=[worker(1)]))
    recorder.close()
    content = (tmp_path / "feed").read_bytes()
    (tmp_path / "feed").write_bytes(content[:-5])
    assert recorded(tmp_path / "feed") == [update(1, True)]


@pytest.mark.parametrize(
    "content", [b"", b"nothing that a scheduler says, but long enough", b"\10\0\0\0\0\0\0\0" + bytes(8)]
)
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "feed").write_bytes(content)
    with pytest.raises(ProtocolError):
        recorded(tmp_path / "feed")
