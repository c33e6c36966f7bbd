"""Hosts with object storages of their own, as real processes: objects stay where they are made, and go directly to where they are
needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from scaler import Client
from scaler.ids import Address, new_identity
from scaler.storage.client import StorageClient
from scaler.worker import executor

from .conftest import wait_until

pytestmark = pytest.mark.integration

MEGABYTE = 1 << 20


def storage_here(*_: Any) -> str:
    """Where the executor that runs this puts its results."""
    assert executor.current is not None
    return executor.current.settings.object_storage_address


def made(number: int) -> np.ndarray:
    return np.full(MEGABYTE // 8, float(number))


def grown(array: np.ndarray) -> np.ndarray:
    return array + 1


def summed(*arrays: np.ndarray) -> tuple[float, str]:
    return sum(float(array.sum()) for array in arrays), storage_here()


class Host:
    """An object storage and a worker of one slot."""

    def __init__(self, start: Callable[..., Any], center: str, scheduler: str) -> None:
        self.storage = start("scaler_object_storage_server", "tcp://127.0.0.1:0", "--center", center)
        line = self.storage.wait_for_line("listen to object storage address")
        self.address = line.rsplit(" ", 1)[1].strip()
        self.worker = start("scaler_cluster", "-n", "1", scheduler, "-osa", self.address)

    def kill(self) -> None:
        """All its processes: workers outlive what started them."""
        for process in psutil.Process(self.worker.pid).children(recursive=True):
            process.kill()
        for command in (self.worker, self.storage):
            command.kill()
            command.wait()


@pytest.fixture
def addresses(free_addresses: tuple[str, str], start: Callable[..., Any]) -> tuple[str, str]:
    scheduler, center = free_addresses
    start("scaler_object_storage_server", center)
    start("scaler_scheduler", scheduler, "-osa", center)
    return scheduler, center


@pytest.fixture
def hosts(addresses: tuple[str, str], start: Callable[..., Any]) -> list[Host]:
    scheduler, center = addresses
    return [Host(start, center, scheduler) for _ in range(2)]


@pytest.fixture
def client(addresses: tuple[str, str], hosts: list[Host]) -> Iterator[Client]:
    with Client(addresses[0], timeout_seconds=30) as client:
        seen: set[str] = set()

        def both_are_there() -> bool:
            seen.update(client.map(storage_here, range(8)))
            return len(seen) == 2

        wait_until(both_are_there, "tasks on both hosts")
        assert seen == {host.address for host in hosts}
        yield client


def objects(address: str) -> int:
    storage = StorageClient(Address.parse(address), new_identity())
    try:
        return storage.statistics().objects
    finally:
        storage.close()


def test_a_chain_stays_on_its_host_and_a_client_gets_its_end(client: Client, addresses: tuple[str, str]) -> None:
    graph: dict[str, Any] = {"0": (made, 0)} | {f"{number}": (grown, f"{number - 1}") for number in range(1, 9)}
    graph["end"] = (summed, "8")
    result = client.get(graph, ["end"])["end"]
    assert result[0] == 8.0 * MEGABYTE / 8
    assert objects(addresses[1]) == 0, "nothing passed the center"
    assert client.submit(made, 3).result().sum() == 3.0 * MEGABYTE / 8


def test_what_both_need_is_in_both_and_freed_in_both(
    client: Client, hosts: list[Host], addresses: tuple[str, str]
) -> None:
    # Without its place, which all can read here, since these hosts are one.
    argument = replace(client.send_object(made(1)), place=b"")
    sums = client.map(summed, [argument] * 20)
    assert {where for _, where in sums} == {host.address for host in hosts}
    assert all(objects(host.address) == 1 for host in hosts)
    client.free_object(argument)
    places = addresses[1], *(host.address for host in hosts)
    wait_until(lambda: not any(map(objects, places)), "that it is freed everywhere")


def test_a_host_is_killed_and_what_it_had_is_made_again(client: Client, hosts: list[Host]) -> None:
    futures = [client.submit(made, number) for number in range(40)]
    client.wait(futures)
    assert all(objects(host.address) for host in hosts)
    hosts[0].kill()
    assert [future.result(20)[0] for future in futures] == list(range(40))


def test_a_host_that_ends_in_order_leaves_what_it_had(client: Client, hosts: list[Host], tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def noted(number: int) -> np.ndarray:
        with runs.open("a") as file:
            file.write(f"{number}\n")
        return made(number)

    futures = [client.submit(noted, number) for number in range(40)]
    client.wait(futures)
    assert all(objects(host.address) for host in hosts)
    for command in (hosts[0].worker, hosts[0].storage):
        command.interrupt()
        assert command.wait(30) == 0
    assert [future.result(20)[0] for future in futures] == list(range(40))
    assert len(runs.read_text().split()) == 40, "nothing had to be made again"
