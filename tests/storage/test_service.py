"""The real service and the real client in one process: objects over shared memory, and over the connection where it fails."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from scaler.errors import ObjectLostError
from scaler.ids import Address, new_identity
from scaler.messages import Mapped
from scaler.net.daemon import Daemon
from scaler.storage import link as storage_link
from scaler.storage.client import StorageClient
from scaler.storage.content import SHARED_BYTES
from scaler.storage.disk import Disk
from scaler.storage.link import place_of
from scaler.storage.segments import Segment, Spare, Written
from scaler.storage.service import StorageService
from scaler.storage.settings import StorageSettings

ANN, X, Y = b"A" * 16, b"x" * 16, b"y" * 16
LARGE = SHARED_BYTES + 7


class Storage:
    """A service on a loop and a thread of its own."""

    def __init__(self, settings: StorageSettings | None = None) -> None:
        self._settings = settings
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)))
        self._thread.start()
        ready.wait(10)

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self.service = StorageService(Address("127.0.0.1", 0), self._settings)
        self.daemon = Daemon("storage", self.service)
        await self.service.start(self.daemon)
        ready.set()
        await self.daemon.driver.stopped
        await self.daemon.driver.close()
        await self.service.close()

    def stop(self) -> None:
        with suppress(RuntimeError):  # A test may have ended it.
            self._loop.call_soon_threadsafe(self.daemon.stop, "test over")
        self._thread.join()
        self.service.state.check()


@pytest.fixture
def storage() -> Iterator[Storage]:
    running = Storage()
    yield running
    running.stop()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Storage]:
    """One with room for four large objects."""
    running = Storage(StorageSettings(5 * LARGE, str(tmp_path)))
    yield running
    running.stop()


@pytest.fixture
def spilling(small: Storage) -> Iterator[StorageClient]:
    user = StorageClient(small.service.address, new_identity(), timeout_seconds=5)
    yield user
    user.close()


@pytest.fixture
def client(storage: Storage) -> Iterator[StorageClient]:
    user = StorageClient(storage.service.address, new_identity(), timeout_seconds=5)
    yield user
    user.close()


@pytest.fixture
def far(client: StorageClient) -> StorageClient:
    """A client that shares no memory."""
    client.shares()
    client._links.share = False
    return client


def descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


def is_shared(found: memoryview) -> bool:
    return type(found.obj).__name__ == "Mapping"


def test_large_objects_are_mapped_small_ones_sent(client: StorageClient) -> None:
    small, large = os.urandom(SHARED_BYTES - 1), os.urandom(LARGE)
    assert client.shares() and not client.put(X, small, ANN) and not client.put(Y, [large[:100], large[100:]], ANN)
    found = client.get(X), client.get(Y)
    assert [is_shared(view) for view in found] == [False, True] and found[0] == small and found[1] == large
    assert all(view.readonly for view in found)


def test_what_came_over_a_connection_is_shared_with_those_who_can(storage: Storage, far: StorageClient) -> None:
    content = os.urandom(LARGE)
    far.put(X, content, ANN)
    near = StorageClient(far.address, new_identity(), timeout_seconds=5)
    found, again = near.get(X), near.get(X)
    assert is_shared(found) and found == again == content and far.get(X) == content
    near.close()


def test_what_was_put_can_be_kept_without_a_copy(client: StorageClient) -> None:
    kept: list[Written] = []
    content = os.urandom(LARGE)
    client.put(X, content, ANN, kept.append)
    client.release([X], ANN)
    client.statistics()
    client.put(Y, bytes(LARGE), ANN, kept.append)
    client.put(b"z" * 16, b"small", ANN, kept.append)
    views = [written.view() for written in kept]
    assert [is_shared(view) for view in views] == [True, True], "what went over the connection is not kept so"
    assert views == [content, bytes(LARGE)]


def test_an_object_is_read_at_its_place_without_the_storage_as_long_as_it_is_there(client: StorageClient) -> None:
    kept: list[Written] = []
    content = os.urandom(LARGE)
    client.put(X, content, ANN, kept.append)
    place = place_of(kept[0])
    found = client.get(X, existed=True, place=place)
    assert found == content and is_shared(found) and client.statistics().gets == 0
    del found
    kept[0].end(spare := Spare())
    assert spare.take(LARGE).name.encode() not in place, "the storage has it open"
    assert client.get(X, existed=True, place=place) == content and client.statistics().gets == 0
    client.release([X], ANN)
    client.statistics()
    assert spare.take(LARGE).generation > 1, "it is written again"
    with pytest.raises(ObjectLostError):
        client.get(X, existed=True, place=place)
    client.put(Y, content, ANN)
    for stale in (place, place[:-8], b"nonsense"):
        assert client.get(Y, existed=True, place=stale) == content
    assert client.statistics().gets == 4


def test_a_mapped_object_outlives_its_release(client: StorageClient) -> None:
    content = os.urandom(LARGE)
    client.put(X, content, ANN)
    found = client.get(X)
    client.release([X], ANN)
    client.statistics()  # Answered behind the release, which is not; the get goes over another connection.
    with pytest.raises(ObjectLostError):
        client.get(X)
    client.put(Y, bytes(LARGE), ANN)
    assert found == content


def test_what_was_got_is_put_again_without_a_copy(client: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(LARGE)
    client.put(X, content, ANN)
    found = client.get(X)
    monkeypatch.setattr(Segment, "write", lambda *_: pytest.fail("it was copied"))
    client.put(Y, found, ANN)
    assert client.get(Y) == content


def test_what_was_freed_meanwhile_is_copied(client: StorageClient) -> None:
    content = os.urandom(LARGE)
    client.put(X, content, ANN)
    found = client.get(X)
    client.release([X], ANN)
    client.put(Y, found, ANN)
    assert client.get(Y) == content


@pytest.mark.parametrize("broken", ["make", "open"])
def test_where_no_memory_can_be_shared_it_goes_over_the_connection(
    client: StorageClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    def refuse(*_: object) -> Segment:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(Segment, broken, refuse)
    content = os.urandom(LARGE)
    for name in (X, Y):
        client.put(name, content, ANN)
        assert client.get(name) == content and not is_shared(client.get(name))
    assert not client.shares()
    assert len([line for line in caplog.messages if "Function not implemented" in line]) == (broken == "make")


def test_when_memory_is_short_it_goes_over_the_connection(
    client: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.shares()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Segment, "write", full)
    content = os.urandom(LARGE)
    client.put(X, content, ANN)
    assert client.get(X) == content


def test_nothing_stays_open_in_either(storage: Storage, client: StorageClient) -> None:
    client.put(X, bytes(LARGE), ANN)
    assert client.get(X).nbytes == LARGE
    client.release([X], ANN)
    client.statistics()
    storage_link.spare_here.drop_unused(seconds=0)
    before = len(descriptors())
    for _ in range(20):
        name = new_identity()
        client.put(name, bytes(LARGE), ANN)
        assert client.get(name).nbytes == LARGE
        client.release([name], ANN)
    assert client.statistics().objects == 0
    storage_link.spare_here.drop_unused(seconds=0)
    assert len(descriptors()) <= before + 1


def put_several(client: StorageClient, first: int, count: int = 10) -> dict[bytes, bytes]:
    contents = {bytes([number]) * 16: os.urandom(LARGE) for number in range(first, first + count)}
    for name, content in contents.items():
        client.put(name, content, ANN)
    return contents


def test_what_was_spilled_is_mapped_again(spilling: StorageClient) -> None:
    contents = put_several(spilling, 0)
    assert spilling.statistics().spilled_objects >= 5
    for name, content in contents.items():
        found = spilling.get(name)
        assert found == content and is_shared(found)
    assert spilling.statistics().restores >= 5


def test_spilled_memory_is_written_again(spilling: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage has closed it, so the system lets its writer use it for the next objects."""
    storage_link.spare_here.drop_unused(seconds=0)
    contents = put_several(spilling, 0)

    def make(size: int) -> Segment:
        raise AssertionError("there is one that is not read any more")

    with monkeypatch.context() as patch:
        patch.setattr(storage_link.Segment, "make", make)
        for number in range(100, 105):
            contents[bytes([number]) * 16] = content = os.urandom(LARGE)
            spilling.put(bytes([number]) * 16, content, ANN)
    assert all(spilling.get(name) == content for name, content in contents.items())


@pytest.mark.parametrize("far_getter", [False, True])
def test_mapped_memory_stays_as_it_is_whatever_the_storage_spills(spilling: StorageClient, far_getter: bool) -> None:
    contents = put_several(spilling, 0, 2)
    if far_getter:
        spilling._links.share = False
    found = {name: spilling.get(name) for name in contents}
    put_several(spilling, 100)
    put_several(spilling, 110)
    assert spilling.statistics().spilled_objects >= 15
    assert found == contents


def test_a_getter_that_comes_too_late_gets_it_over_the_connection(
    small: Storage, spilling: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is spilled after the getter was told where it is, and before he has opened it."""
    contents = put_several(spilling, 0, 1)
    other = StorageClient(small.service.address, new_identity(), timeout_seconds=5)
    mapped = storage_link._mapped

    def late(answer: Mapped) -> memoryview:
        monkeypatch.setattr(storage_link, "_mapped", mapped)
        put_several(other, 100)
        return mapped(answer)

    monkeypatch.setattr(storage_link, "_mapped", late)
    (name,) = contents
    found = spilling.get(name)
    assert found == contents[name] and not is_shared(found)
    assert is_shared(spilling.get(name)), "and the next time it is mapped again"
    other.close()


def test_a_result_made_of_an_input_that_was_spilled_is_copied(spilling: StorageClient) -> None:
    contents = put_several(spilling, 0, 1)
    (name,) = contents
    given = spilling.get(name)
    put_several(spilling, 100)
    spilling.put(Y, given, ANN)
    assert spilling.get(Y) == contents[name]


def test_an_input_is_spilled_and_a_result_made_of_it_is_not_lost(spilling: StorageClient) -> None:
    contents = put_several(spilling, 0, 1)
    (name,) = contents
    spilling.put(Y, spilling.get(name), ANN)
    before = spilling.statistics()
    assert before.memory_bytes < 2 * LARGE < before.bytes + 1, "its pages count once"
    spilling.release([name], ANN)
    assert spilling.statistics().memory_bytes == before.memory_bytes
    put_several(spilling, 100)
    assert spilling.get(Y) == contents[name]


def test_many_who_put_too_much_at_once_all_finish(small: Storage) -> None:
    def work(number: int) -> bool:
        user = StorageClient(small.service.address, new_identity(), timeout_seconds=20)
        if number % 2:
            user.shares()
            user._links.share = False
        contents = put_several(user, 20 * number)
        right = all(user.get(name) == content for name, content in contents.items())
        user.release(list(contents), ANN)
        user.close()
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_the_loop_goes_on_while_a_large_file_is_closed(small: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    closing, went_on, close = threading.Event(), threading.Event(), Disk.close

    def close_slowly(disk: Disk) -> None:
        closing.set()
        assert went_on.wait(5)
        close(disk)

    monkeypatch.setattr(Disk, "close", close_slowly)
    small._loop.call_soon_threadsafe(small.daemon.stop, "test over")
    assert closing.wait(5)
    small._loop.call_soon_threadsafe(went_on.set)
    assert went_on.wait(4)
