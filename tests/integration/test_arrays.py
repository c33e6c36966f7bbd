"""map, starmap and imap against a real local cluster."""

import concurrent.futures
import itertools
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from scaler import Client, SerializationError, TaskCrashedError

pytestmark = pytest.mark.integration


def square(x: int) -> int:
    return x * x


def fails_at(x: int, bad: int) -> int:
    if x == bad:
        raise LookupError(f"no {x}")
    return x


def dies_at(x: int, bad: int) -> int:
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def large(x: int) -> bytes:
    return bytes([x % 256]) * (200_000 if x % 50 == 0 else 10)


def mark(directory: str, x: int) -> int:
    Path(directory, str(x)).touch()
    time.sleep(0.01)
    return x


def test_a_map_of_many_short_items(client: Client) -> None:
    assert client.map(square, range(50_000)) == [n * n for n in range(50_000)]


def test_arguments_and_results_of_all_sizes(client: Client) -> None:
    values = [large(n) for n in range(300)]
    assert client.map(large, range(300)) == values
    assert client.map(len, values) == [len(value) for value in values]


def test_the_first_failure_is_raised_and_the_client_stays_usable(client: Client) -> None:
    with pytest.raises(LookupError, match="no 777"):
        client.starmap(fails_at, ((n, 777) for n in range(20_000)))
    assert client.map(square, range(10)) == [n * n for n in range(10)]


def test_an_item_that_kills_its_executor_fails_with_its_story(client: Client) -> None:
    with pytest.raises(TaskCrashedError, match="SIGKILL"):
        client.starmap(dies_at, ((n, 300) for n in range(1000)))


def test_an_argument_that_cannot_be_written_is_named(client: Client) -> None:
    with pytest.raises(SerializationError, match="argument 1 of square"):
        client.map(square, [1, 2, threading.Lock()])


def test_a_slow_item_does_not_hold_up_the_others(client: Client) -> None:
    client.map(time.sleep, [0.0] * 1000)
    began = time.monotonic()
    client.map(time.sleep, [0.0] * 1000 + [0.4] * 4)
    assert time.monotonic() - began < 1.4  # four items on two slots, and not one after the other


def test_results_do_not_wait_for_a_long_task_behind_them(client: Client) -> None:
    client.map(time.sleep, [0.0] * 1000)  # The function is known to be short, and is sent ahead.
    began = time.monotonic()
    futures = [client.submit(time.sleep, 0.0 if n != 20 else 2.0) for n in range(40)]
    done, _ = concurrent.futures.wait([f for n, f in enumerate(futures) if n != 20], timeout=1.5)
    assert len(done) == 39
    assert time.monotonic() - began < 1.5
    futures[20].result()


def test_items_before_a_long_one_are_yielded_while_it_runs(client: Client) -> None:
    client.map(time.sleep, [0.0] * 1000)
    stream = client.imap(time.sleep, [0.0] * 100 + [2.0])
    began = time.monotonic()
    for _ in range(100):
        next(stream)
    assert time.monotonic() - began < 1.5
    stream.close()


def test_clear_ends_a_map(client: Client) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            client.map(time.sleep, [0.05] * 1000)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not client._service._arrays:
        time.sleep(0.001)
    client.clear()
    thread.join(10)
    assert [type(error) for error in errors] == [CancelledError]


def test_imap_yields_in_order_from_an_endless_iterable(client: Client) -> None:
    taken = itertools.count()
    stream = client.imap(square, taken)
    assert list(itertools.islice(stream, 5000)) == [n * n for n in range(5000)]
    stream.close()
    assert next(stream, None) is None


def test_imap_takes_no_more_than_its_buffer(client: Client) -> None:
    taken: list[int] = []

    def calls():
        for n in itertools.count():
            taken.append(n)
            yield n

    stream = client.imap(square, calls(), buffersize=10)
    assert [next(stream) for _ in range(20)] == [n * n for n in range(20)]
    assert len(taken) <= 31  # twenty given, ten under way, one in the hand
    stream.close()


def test_a_call_is_sent_while_the_iterable_waits_for_its_result(client: Client) -> None:
    answers: list[int] = []
    arrived = threading.Event()

    def calls():
        yield 3
        assert arrived.wait(20), "the first call was not sent"
        yield answers[0]

    stream = client.imap(square, calls())
    answers.append(next(stream))
    arrived.set()
    assert list(stream) == [81]


def test_imap_raises_where_the_call_failed_and_goes_on(client: Client) -> None:
    stream = client.imap(fails_at, range(5), itertools.repeat(2))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(LookupError, match="no 2"):
        next(stream)
    assert list(stream) == [3, 4]


def test_imap_raises_what_its_iterable_raised_after_the_results_before(client: Client) -> None:
    def calls():
        yield 1
        raise KeyError("broken")

    stream = client.imap(square, calls())
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_imap_names_an_argument_that_cannot_be_written(client: Client) -> None:
    stream = client.imap(square, [1, threading.Lock(), 3])
    assert next(stream) == 1
    with pytest.raises(SerializationError, match="argument 1 of square"):
        next(stream)
    assert list(stream) == [9]


def test_imap_unordered_yields_what_is_there_first(client: Client) -> None:
    assert sorted(client.imap_unordered(square, range(3000))) == [n * n for n in range(3000)]
    first, *_ = client.imap_unordered(time.sleep, [0.5, 0.0])
    assert first is None


def test_what_a_dropped_stream_had_under_way_is_cancelled(client: Client, tmp_path: Path) -> None:
    stream = client.imap(mark, itertools.repeat(str(tmp_path)), range(100_000), buffersize=100)
    next(stream)
    del stream
    deadline = time.monotonic() + 10
    while client._service._arrays:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(list(tmp_path.iterdir())) < 100


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffer_has_room(client: Client, size: int) -> None:
    with pytest.raises(ValueError, match="buffersize"):
        client.imap(square, [1], buffersize=size)
