"""The object storage is killed and comes back empty, in the middle of a job: the job finishes, or says what is missing."""

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest

from scaler import Client, ObjectReference
from scaler.errors import ObjectLostError, ObjectStorageFullError
from scaler.ids import new_identity
from scaler.messages import AdmitOwner, ReleaseOwner
from scaler.storage import client as storage_client

pytestmark = pytest.mark.integration

SIZE = 1 << 20


@dataclasses.dataclass
class Cluster:
    """Real processes, whose storage can be replaced by an empty one."""

    address: str
    kill_storage: Callable[[], None]
    start_storage: Callable[[], None]
    wait_until_noticed: Callable[[], None]
    """Until the scheduler has seen that the storage is another one: only then can it say so."""

    def replace_storage(self) -> None:
        self.kill_storage()
        self.start_storage()


@pytest.fixture
def cluster(free_addresses, start) -> Iterator[Cluster]:
    scheduler, storage = free_addresses
    running = [start("scaler_object_storage_server", storage)]
    log = start("scaler_scheduler", scheduler, "-osa", storage)
    start("scaler_cluster", "-n", "2", scheduler)

    def kill_storage() -> None:
        running[-1].kill()
        running[-1].wait()

    def start_storage() -> None:
        running.append(start("scaler_object_storage_server", storage))
        running[-1].wait_for_line("listen to object storage address")

    def wait_until_noticed() -> None:
        log.wait_for_line("was restarted")

    yield Cluster(scheduler, kill_storage, start_storage, wait_until_noticed)


@pytest.fixture
def client(cluster) -> Iterator[Client]:
    with Client(cluster.address, timeout_seconds=30) as client:
        assert client.submit(abs, -1).result(20) == 1
        yield client


def grown(data, number):
    time.sleep(0.02)
    return data + number


def noted(path, data):
    """Says in a file that it ran, so that a test knows how often."""
    with path.open("a") as file:
        file.write("x")
    return data


def joined(*parts):
    return np.concatenate(parts)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_map_with_large_arguments_and_results(client, cluster, tmp_path):
    shared = np.arange(SIZE // 8)
    futures = [client.submit(grown, shared, number) for number in range(60)]
    wait_for(lambda: sum(future.done() for future in futures) > 20)
    cluster.replace_storage()
    for number, future in enumerate(futures):
        assert np.array_equal(future.result(60), shared + number)
    assert len(client._service.objects.lineage) == 0


def test_map_as_one_array(client, cluster, tmp_path):
    shared = np.arange(SIZE // 8)
    started = tmp_path / "started"

    def slow(data, number):
        started.write_text("x")
        return grown(data, number)

    stream = client.imap(slow, [shared] * 60, range(60))
    first = next(stream)
    cluster.replace_storage()
    for number, value in enumerate([first, *stream]):
        assert np.array_equal(value, shared + number)


def test_results_that_nobody_has_fetched_are_made_again_once(client, cluster, tmp_path, monkeypatch):
    # For a while they are with the executors, too, and read there.
    monkeypatch.setattr(storage_client, "read_place", lambda place: None)
    path, data = tmp_path / "runs", np.ones(SIZE // 8)
    futures = [client.submit(noted, path, data) for _ in range(4)]
    wait_for(lambda: all(future.done() for future in futures))
    cluster.replace_storage()
    assert all(np.array_equal(future.result(30), data) for future in futures)
    assert path.read_text() == "x" * 8
    assert len(client._service.objects.lineage) == 0


def test_graph_with_large_intermediates(client, cluster, tmp_path):
    path, release = tmp_path / "runs", tmp_path / "release"

    def held(data):
        while not release.exists():
            time.sleep(0.01)
        return data

    graph = {"data": np.arange(SIZE // 8), "gate": (held, 1)}
    for i in range(4):
        graph[f"a{i}"] = (noted, path, "data")
        graph[f"b{i}"] = (grown, f"a{i}", i)
        graph[f"c{i}"] = (lambda data, gate: data, f"b{i}", "gate")
    graph["all"] = (joined, *(f"c{i}" for i in range(4)))
    future = client.get(graph, ["all"], block=False)["all"]
    wait_for(lambda: path.exists() and path.read_text() == "x" * 4)
    time.sleep(0.2)  # Until most of the second row is stored, too: whether it is makes no difference to the outcome.
    cluster.replace_storage()
    release.write_text("")
    expected = np.concatenate([graph["data"] + i for i in range(4)])
    assert np.array_equal(future.result(60), expected)


def test_a_result_of_a_graph_that_was_not_fetched(client, cluster):
    data = np.arange(SIZE // 8)
    future = client.get({"a": (grown, data, 1), "b": (grown, "a", 2)}, ["b"], block=False)["b"]
    wait_for(future.done)
    cluster.replace_storage()
    assert np.array_equal(future.result(30), data + 3)


def test_references(client, cluster):
    data = np.arange(SIZE // 8)
    reference = client.send_object(data, name="table")
    small = client.send_object(b"x" * 100_000)
    assert client.submit(grown, reference, 1).result(20)[0] == 1
    cluster.replace_storage()
    assert client.map(len, [[reference, small]] * 4) == [2] * 4
    assert (
        client.map(lambda parts: int(parts[0].sum()) + len(parts[1]), [[reference, small]] * 4)
        == [int(data.sum()) + 100_000] * 4
    )
    freed = client.send_object(b"y" * 100_000)
    cluster.replace_storage()
    assert np.array_equal(client.fetch_object(reference), data)
    client.free_object(freed)
    with pytest.raises(ObjectLostError, match="freed"):
        client.submit(len, freed).result(20)


def test_large_functions(client, cluster):
    data = os.urandom(300_000)

    def carrying(number):
        return len(data) + number

    assert client.submit(carrying, 1).result(20) == 300_001
    cluster.replace_storage()
    assert client.map(carrying, range(4)) == [300_000 + i for i in range(4)]


def test_a_result_that_others_take_as_argument(client, cluster):
    data = np.arange(SIZE // 8)
    future = client.submit(grown, data, 1)
    wait_for(future.done)
    reference = future.as_argument()
    cluster.replace_storage()
    later = [client.submit(grown, reference, number) for number in range(4)]
    assert all(np.array_equal(one.result(30), data + 1 + number) for number, one in enumerate(later))
    assert np.array_equal(future.result(30), data + 1)


def test_tasks_inside_tasks(client, cluster, tmp_path):
    """The inner tasks take what the client around their parent has sent, and what their own has put."""
    path, release = tmp_path / "started", tmp_path / "release"

    def parent(inner, reference):
        with inner:
            table = np.arange(SIZE // 8)
            first = inner.submit(grown, table, 1)
            wait_for(first.done)
            path.write_text("x")
            wait_for(release.exists)
            second = inner.submit(lambda parts, table: parts[0] + table, [reference.reference()], table)
            return float(first.result(30).sum() + second.result(30).sum())

    data = np.arange(SIZE // 8)
    reference = client.send_object(data, name="table")
    future = client.submit(parent, client, Untouched(reference))
    wait_for(path.exists)
    cluster.replace_storage()
    release.write_text("")
    assert future.result(60) == float((data + 1).sum() + (2 * data).sum())


class Untouched:
    """A reference that stays one."""

    def __init__(self, reference):
        self._fields = dataclasses.astuple(reference)

    def reference(self):
        return ObjectReference(*self._fields)


def test_small_tasks_go_on_while_the_storage_is_away(client, cluster):
    large = client.submit(np.ones, SIZE)
    wait_for(large.done)
    futures = [client.submit(grown, np.ones(SIZE // 8), number) for number in range(2)]
    wait_for(lambda: all(future.done() for future in futures))
    cluster.kill_storage()
    del large, futures[0]  # What is freed now waits for the storage, and nobody waits for that.
    began = time.monotonic()
    assert [client.submit(abs, -x).result(5) for x in range(100)] == list(range(100))
    assert time.monotonic() - began < 3
    cluster.start_storage()
    assert futures[0].result(30)[0] == 2


def test_what_is_not_kept_ends_with_an_error_that_says_so(client, cluster):
    client._service.objects.kept.limit = SIZE // 2
    reference = client.send_object(np.ones(SIZE), name="table")
    cluster.replace_storage()
    cluster.wait_until_noticed()
    with pytest.raises(ObjectLostError) as caught:
        client.submit(grown, reference, 1).result(20)
    text = str(caught.value)
    assert reference.object_id.hex() in text
    assert text.startswith("grown") and "was restarted" in text and "called it 'table'; of what" in text


def test_an_argument_that_turns_out_not_to_be_stored_is_put_once_more(client, monkeypatch):
    storage = client._service.objects._client()
    put, told = storage.put, []

    def not_stored(object_id, content, owner, kept=None, tell=None):
        there = put(object_id, content, owner, kept)
        if tell is not None:
            storage.release([object_id], owner)
            told.append(object_id)
            tell(object_id, ObjectStorageFullError("no room"))
        return there

    monkeypatch.setattr(storage, "put", not_stored)
    argument = np.ones(SIZE // 8)
    assert client.submit(grown, argument, 1).result(20)[0] == 2
    (name,) = told
    assert len(storage.get(name, existed=True)) > SIZE // 8


def test_a_result_that_was_freed_as_its_client_was_given_up_is_made_again(client, monkeypatch):
    monkeypatch.setattr(storage_client, "read_place", lambda place: None)
    service = client._service
    future = client.submit(np.ones, SIZE)
    wait_for(future.done)
    give_up_and_admit(service)
    assert future.result(20)[0] == 1


def test_what_was_freed_as_its_client_was_given_up_is_put_again(client):
    reference = client.send_object(np.ones(SIZE), name="table")
    give_up_and_admit(client._service)
    assert client.submit(grown, reference, 1).result(20)[0] == 2
    assert client.fetch_object(reference)[0] == 1


def give_up_and_admit(service):
    """Tell the storage what a scheduler does of a client that was silent for too long and is back."""
    storage = service.objects._client()
    for message in (ReleaseOwner(service.identity), AdmitOwner(service.identity)):
        storage._attempt(storage._links, storage._links.writers, new_identity(), lambda link: link.send(message))  # noqa: B023


def test_a_result_whose_arguments_are_not_kept(client, cluster, monkeypatch):
    monkeypatch.setattr(storage_client, "read_place", lambda place: None)
    client._service.objects.kept.limit = SIZE // 2
    future = client.submit(grown, np.ones(SIZE), 1)
    wait_for(future.done)
    cluster.replace_storage()
    with pytest.raises(ObjectLostError) as caught:
        future.result(20)
    text = str(caught.value)
    assert text.startswith("the result of grown (task ") and "was restarted" in text and "are kept" in text
    assert len(client._service.objects.lineage) == 0


def test_the_callback_of_a_future_may_ask_for_a_lost_result(client, cluster):
    future = client.submit(np.ones, SIZE)
    wait_for(future.done)
    cluster.replace_storage()
    seen = []
    other = client.submit(time.sleep, 0.3)
    other.add_done_callback(lambda _: seen.append(future.result(20)[0]))
    other.result(20)
    wait_for(lambda: seen)
    assert seen == [1]


def test_a_local_cluster_goes_on_when_its_storage_is_killed():
    with Client(n_workers=2, timeout_seconds=30) as client:
        assert client.cluster is not None
        port = int(client.cluster.object_storage_address.rpartition(":")[2])
        argument = client.send_object(np.ones(SIZE // 8))
        futures = [client.submit(grown, argument, number) for number in range(20)]
        client.wait(futures[:4])
        listening = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
        os.kill(listening[0], signal.SIGKILL)
        assert [future.result(30)[0] for future in futures] == [1.0 + number for number in range(20)]
        assert client.submit(grown, argument, 1).result(30)[0] == 2.0
