"""Profiles of real executors."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.ids import Address
from scaler.monitor.feed import Feed
from scaler.monitor.model import Model
from scaler.monitor.profile import Profile

from .conftest import wait_until

pytestmark = pytest.mark.integration


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def price(seconds: float) -> None:
    spin(seconds)


def nap(flag: str) -> None:
    Path(f"{flag} begun").touch()
    while not Path(flag).exists():
        time.sleep(0.01)


def die_once(flag: str) -> None:
    """Ends its executor soon, the first time."""
    if not Path(flag).exists():
        Path(flag).touch()
        time.sleep(0.6)
        os._exit(3)
    time.sleep(1.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Client, Address]]:
    """A client of a cluster of two slots that lets monitors act, and the address for these."""
    combo = SchedulerClusterCombo(2, logging_level="ERROR", protected=False)
    with Client(combo.get_address(), timeout_seconds=20) as client:
        yield client, Address.parse(combo.get_monitor_address())
    combo.shutdown()


def take(address: Address, profile: Profile, meanwhile: Callable[[Feed], None] = lambda feed: None) -> Profile:
    """Until it has ended."""

    async def run() -> None:
        model, ended = Model(), asyncio.Event()
        feed = Feed(address, model.apply, interval_seconds=0.1)
        running = asyncio.create_task(feed.run())
        async with asyncio.timeout(20):
            while not model.updates:
                await asyncio.sleep(0.01)
            profile.changed = lambda: ended.set() if profile.ended else None
            answer = await feed.profile(profile)
            assert answer.done, answer.text
            meanwhile(feed)
            await ended.wait()
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(run())
    return profile


def seconds(profile: Profile, name: str) -> float:
    """In a function, and what it called."""
    return sum(share.total for share in profile.shares() if share.frame.name == name) / profile.hertz


def test_tasks_that_run_already_are_seen_by_function(cluster: tuple[Client, Address], tmp_path: Path) -> None:
    client, address = cluster
    futures = [client.submit(price, 3.0), client.submit(nap, str(tmp_path / "flag"))]
    wait_until((tmp_path / "flag begun").exists, "it has begun")
    profile = take(address, Profile(1.5))
    (tmp_path / "flag").touch()
    client.wait(futures)
    assert profile.notes == [] and (profile.workers, profile.workers_ended, profile.executors) == (1, 1, 2)
    assert {node.frame.name for node in profile.tree().children} == {"price", "nap"}
    assert 0.9 < seconds(profile, "spin") <= 1.7 and 0.9 < seconds(profile, "nap") <= 1.7
    (task,) = [node for node in profile.tree().children if node.frame.name == "price"]
    assert [node.frame.name for node in task.children] == ["price"]
    assert task.children[0].children[0].frame == ("spin", __file__, spin.__code__.co_firstlineno)
    assert profile.parts > 2, "one sees it grow"


def test_only_one_function_and_short_tasks(cluster: tuple[Client, Address]) -> None:
    client, address = cluster
    futures = [client.submit(price, 0.02) for _ in range(40)] + [client.submit(time.sleep, 0.02) for _ in range(40)]
    profile = take(address, Profile(1.0, hertz=200, function="price"))
    client.wait(futures)
    assert [node.frame.name for node in profile.tree().children] == ["price"]
    assert 0.2 < profile.total / profile.hertz < 1.0


def test_an_executor_that_dies_is_told_and_the_next_one_is_looked_at(
    cluster: tuple[Client, Address], tmp_path: Path
) -> None:
    client, address = cluster
    future = client.submit(die_once, str(tmp_path / "flag"))
    profile = take(address, Profile(2.0))
    future.result(20)
    assert profile.executors == 3 and profile.notes == ["1 executor ended, or did not answer, before all was told"]
    assert seconds(profile, "die_once") > 0.7


def test_it_can_be_stopped(cluster: tuple[Client, Address]) -> None:
    client, address = cluster
    future = client.submit(spin, 1.0)
    begin = time.monotonic()
    profile = Profile(600.0)
    take(address, profile, lambda feed: feed.stop_profile(profile))
    assert time.monotonic() - begin < 10 and profile.notes == []
    future.result(20)


def test_two_at_a_time(cluster: tuple[Client, Address]) -> None:
    client, address = cluster
    futures = [client.submit(spin, 1.5) for _ in range(2)]
    first, second = Profile(1.0, hertz=50), Profile(0.7, hertz=200)

    async def both() -> None:
        await asyncio.gather(asyncio.to_thread(take, address, first), asyncio.to_thread(take, address, second))

    asyncio.run(both())
    client.wait(futures)
    assert 1.0 < seconds(first, "spin") < 2.3 and 0.7 < seconds(second, "spin") < 1.6
