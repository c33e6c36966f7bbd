"""Tasks that submit tasks and wait for them, on real clusters of very few slots."""

import concurrent.futures
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler import Client, ClientClosedError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def one() -> Iterator[Client]:
    """A cluster of one slot."""
    with Client(n_workers=1, timeout_seconds=20) as client:
        yield client


@pytest.fixture(scope="module")
def two() -> Iterator[Client]:
    """A cluster of two."""
    with Client(n_workers=2, timeout_seconds=20) as client:
        yield client


def until(condition, seconds=20.0):
    """Poll a condition of another process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def increment(x: int) -> int:
    return x + 1


def fibonacci(client: Client, n: int) -> int:
    if n < 2:
        return n
    a = client.submit(fibonacci, client, n - 1)
    b = client.submit(fibonacci, client, n - 2)
    return a.result() + b.result()


def factorial(n: int) -> int:
    return 1 if n < 2 else n * Client().submit(factorial, n - 1).result()


def factorial_with(n: int) -> int:
    if n < 2:
        return 1
    with Client() as client:
        return n * client.submit(factorial_with, n - 1).result()


def connections(_: int) -> int:
    return sum(thread.name == "scaler-client" for thread in threading.enumerate())


@pytest.mark.parametrize(("n", "expected"), [(8, 21), (12, 144)])
def test_recursion_with_a_pickled_client(one: Client, n: int, expected: int) -> None:
    began = time.monotonic()
    assert one.submit(fibonacci, one, n).result(60) == expected
    assert time.monotonic() - began < 30  # A second; without lent slots never.


@pytest.mark.parametrize("function", [factorial, factorial_with])
def test_recursion_with_a_client_made_inside_the_task(one: Client, function) -> None:
    assert one.submit(function, 10).result(60) == 3628800


def test_clients_inside_tasks_share_a_connection(one: Client) -> None:
    one.submit(factorial_with, 4).result(60)
    one.submit(fibonacci, one, 4).result(60)
    assert max(one.map(connections, range(20))) <= 1


def nested_calls(client: Client) -> tuple[list[int], dict[str, int], list[int]]:
    graph = {"a": 1, "b": (increment, "a"), "c": (lambda x, y: x + y, "a", "b")}
    return client.map(increment, range(50)), client.get(graph, ["c"]), list(client.imap(increment, range(50)))


def test_maps_and_graphs_inside_tasks(one: Client) -> None:
    expected = list(range(1, 51))
    assert one.submit(nested_calls, one).result(60) == (expected, {"c": 3}, expected)
    assert one.map(nested_calls, [one] * 3) == [(expected, {"c": 3}, expected)] * 3
    assert one.get({"d": (nested_calls, one)}, ["d"]) == {"d": (expected, {"c": 3}, expected)}


def wait_for_all(client: Client) -> int:
    futures = [client.submit(increment, n) for n in range(10)]
    done, waiting = concurrent.futures.wait(futures)
    assert not waiting
    return sum(future.result() for future in concurrent.futures.as_completed(done))


def test_other_ways_to_wait(one: Client) -> None:
    assert one.submit(wait_for_all, one).result(60) == 55


def descend(level: int) -> int:
    return 1 if not level else sum(Client().map(descend, [level - 1] * 3))


def test_several_levels_with_two_slots(two: Client) -> None:
    assert two.submit(descend, 4).result(60) == 81
    assert sum(two.map(descend, [3] * 4)) == 4 * 27


def leave_a_mark(directory: str, name: str) -> None:
    Path(directory, name).write_text(str(os.getpid()))
    time.sleep(3600)


def parent_of_marks(client: Client, directory: str, level: int) -> None:
    if level:
        client.submit(parent_of_marks, client, directory, level - 1).result()
    Path(directory, "reached").touch()
    client.map(leave_a_mark, [directory] * 2, ["first", "second"])


def test_cancelling_a_parent_cancels_its_children(two: Client, tmp_path: Path) -> None:
    parent = two.submit(parent_of_marks, two, str(tmp_path), 2)
    marks = [tmp_path / "first", tmp_path / "second"]
    until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    pids = [int(mark.read_text()) for mark in marks]
    assert parent.cancel()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert two.submit(increment, 1).result(20) == 2


def wait_for_file(path: str) -> None:
    Path(path + " waits").touch()
    until(Path(path).exists)
    Path(path + " ended").touch()


def start_and_forget(client: Client, path: str) -> None:
    client.submit(wait_for_file, path)


def start_and_leave(client: Client, directory: str) -> bool:
    with client:
        future = client.submit(leave_a_mark, directory, "cancelled")
        until(Path(directory, "cancelled").exists)
    with pytest.raises(ClientClosedError):
        client.submit(increment, 1)
    return future.cancelled()


def test_leaving_a_client_inside_a_task_cancels_what_it_submitted(one: Client, tmp_path: Path) -> None:
    assert one.submit(start_and_leave, one, str(tmp_path)).result(60)
    pid = int((tmp_path / "cancelled").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert one.submit(fibonacci, one, 4).result(60) == 3


def test_children_of_a_task_that_ended_go_on(one: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "signal")
    one.submit(start_and_forget, one, path).result(60)
    until(Path(path + " waits").exists)
    Path(path).touch()
    until(Path(path + " ended").exists)


def die_once(client: Client, directory: str, n: int) -> int:
    """A tree of tasks in which the first executor that comes to n == 2 dies."""
    if n == 2 and not Path(directory, "died").exists():
        Path(directory, "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n if n < 2 else sum(client.map(die_once, [client] * 2, [directory] * 2, [n - 1, n - 2]))


def test_an_executor_that_dies_in_the_middle(two: Client, tmp_path: Path) -> None:
    assert two.submit(die_once, two, str(tmp_path), 7).result(60) == 13
    assert (tmp_path / "died").exists()
