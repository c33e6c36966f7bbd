"""A scheduler with a journal and its client are killed, both; who comes back under the name finds all of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scaler import Client, ScalerFuture
from scaler.errors import ScalerError
from scaler.messages import JournalClient, JournalOver, JournalResults
from scaler.scheduler.journal_format import decoded, scan

from .conftest import Command, wait_until

pytestmark = pytest.mark.integration

NIGHT = """
import sys, time
from pathlib import Path
from scaler import Client

def note(log, what, seconds, result):
    with open(log, "a") as file:
        file.write(what + "\\n")
    time.sleep(seconds)
    return result

log, address = sys.argv[1:]
client = Client(address, name="nightly", heartbeat_interval_seconds=0.1)
done = client.submit_verbose(note, (log, "done", 0, 1), {}, name="done")
large = client.submit_verbose(note, (log, "large", 0, bytes(500_000)), {}, name="large")
wrong = client.submit_verbose(divmod, (1, 0), {}, name="wrong")
for future in (done, large, wrong):
    while not future.done():
        time.sleep(0.01)
used = client.submit(note, log, "used", 0, 2).result()
long = client.submit_verbose(note, (log, "long", 3.0, 3), {}, name="long")
later = client.submit_verbose(note, (log, "later", 0, 4), {}, name="later")
nodes = {1j: (note, log, "a", 0, 5), 2j: (note, log, "b", 2.0, 1j), 3j: (note, log, "c", 0, 2j)}
graph = client.get(nodes, [3j], block=False)
while "b" not in Path(log).read_text().split():
    time.sleep(0.01)
time.sleep(0.5)
print("ready", flush=True)
time.sleep(1000)
"""


def test_who_comes_back_under_the_name_finds_all_of_it(
    start: Callable[..., Command], free_addresses: tuple[str, str], tmp_path: Path
) -> None:
    address, storage = free_addresses
    log, journal = tmp_path / "log", tmp_path / "journal"
    start("scaler_object_storage_server", storage)
    command = ("scaler_scheduler", address, "-osa", storage, "--journal", str(journal))
    scheduler = start(*command)
    start("scaler_cluster", "-n", "2", address)
    log.write_text("")
    with _until_ready(NIGHT, str(log), address):
        pass
    scheduler.kill()
    scheduler.wait()
    scheduler = start(*command)
    scheduler.wait_for_line("tells of 1 clients")
    with Client(address, name="nightly", timeout_seconds=20) as client:
        found = client.recover()
        names = [key for key in found if isinstance(key, str)]
        assert names == ["done", "large", "wrong", "long", "later"]
        assert found["done"].result(20) == 1
        assert found["large"].result(20) == bytes(500_000)
        with pytest.raises(ZeroDivisionError):
            found["wrong"].result(20)
        assert [found["long"].result(20), found["later"].result(20)] == [3, 4]
        (target,) = [future for key, future in found.items() if not isinstance(key, str)]
        assert target.result(20) == 5
        assert client.recover() == {}
    assert sorted(log.read_text().split()) == sorted(["done", "large", "used", "long", "later", "a", "b", "c"])


READER = """
import os, sys, time
from scaler import Client

client = Client(sys.argv[1], name="reader", heartbeat_interval_seconds=0.1)
assert [future.result() for future in [client.submit(pow, n, 2) for n in range(50)]][-1] == 49**2
assert client.map(abs, range(-50, 0)) == list(range(50, 0, -1))
assert list(client.imap(abs, range(-50, 0))) == list(range(50, 0, -1))
unread = client.submit_verbose(abs, (-1,), {}, name="unread")
while not unread.done():
    time.sleep(0.01)
time.sleep(0.5)
print("ready", flush=True)
client.map(time.sleep, [0.1] * 20)
"""


def test_what_was_read_is_not_kept_and_items_are_futures_too(
    start: Callable[..., Command], free_addresses: tuple[str, str], tmp_path: Path
) -> None:
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", address, "-osa", storage, "--journal", str(tmp_path / "journal"))
    start("scaler_cluster", "-n", "1", address)
    with _until_ready(READER, address):
        time.sleep(0.5)
    with Client(address, name="reader", timeout_seconds=20) as client:
        found: dict[str | int, ScalerFuture] = {}

        def is_gone() -> bool:
            found.update(client.recover())
            return bool(found)

        wait_until(is_gone, "the scheduler knows that the client is gone")
        assert found.pop("unread").result(20) == 1
        assert [future.result(20) for future in found.values()] == [None] * 20
        assert list(found) == sorted(found, key=int)


def test_of_a_client_without_a_name_no_result_is_kept(
    start: Callable[..., Command], free_addresses: tuple[str, str], tmp_path: Path
) -> None:
    address, storage = free_addresses
    journal = tmp_path / "journal"
    start("scaler_object_storage_server", storage)
    scheduler = start("scaler_scheduler", address, "-osa", storage, "--journal", str(journal))
    start("scaler_cluster", "-n", "1", address)
    with Client(address, timeout_seconds=20) as client:
        assert client.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        scheduler.interrupt()  # What the journal is to say is written then.
        scheduler.wait()
        data = journal.read_bytes()
        records = list(decoded(data, scan(data).records))
    assert {record.name for record in records if isinstance(record, JournalClient)} == {""}
    assert any(isinstance(record, JournalOver) for record in records)
    assert not any(isinstance(record, JournalResults) for record in records)


def test_without_a_name_or_a_journal_nothing_is_kept(client: Client) -> None:
    with pytest.raises(ScalerError, match=r"takes a name, Client\(name=...\), and a scheduler with --journal"):
        client.recover()


@contextmanager
def _until_ready(script: str, *arguments: str) -> Iterator[None]:
    """A program in another process; it is killed."""
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
