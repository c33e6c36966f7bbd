"""The Pool, next to the standard library's own: what is asked of both is answered alike."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from scaler.compat.multiprocessing import Pool, TimeoutError

pytestmark = pytest.mark.integration

value = 0


def square(x):
    return x * x


def add(a, b=0):
    return a + b


def invert(x):
    return 1 / x


def set_value(to, directory):
    global value
    value = to
    Path(directory, str(os.getpid())).touch()


def get_value(_):
    return value


def when_there(path):
    while not Path(path).exists():
        time.sleep(0.005)
    return path


@pytest.fixture(params=["scaler", "multiprocessing"])
def pool(request):
    """Both kinds of pool; the client's own cluster for ours."""
    if request.param == "multiprocessing":
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            yield pool
    else:
        with Pool(client=request.getfixturevalue("client")) as pool:
            yield pool


@pytest.fixture
def ours(client):
    with Pool(client=client) as pool:
        yield pool


class TestAlike:
    """Everything about both, in few tests: a pool of processes takes a while to start."""

    def test_results(self, pool):
        assert pool.apply(add, (1,), {"b": 2}) == 3
        assert pool.apply_async(add, (1, 2)).get(20) == 3
        assert pool.map(square, range(5), 2) == [0, 1, 4, 9, 16]
        assert pool.map_async(square, range(3), chunksize=2).get(20) == [0, 1, 4]
        assert pool.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
        assert pool.starmap_async(add, [(1, 2), (3, 4)]).get(20) == [3, 7]
        assert list(pool.imap(square, iter(range(5)))) == [0, 1, 4, 9, 16]
        assert sorted(pool.imap_unordered(square, range(5), chunksize=1)) == [0, 1, 4, 9, 16]
        assert pool.map(square, []) == []
        assert pool.map_async(square, []).get(20) == []
        assert list(pool.imap(square, [])) == []

    def test_failures(self, pool):
        for failing in (
            lambda: pool.apply(invert, (0,)),
            lambda: pool.map(invert, [1, 0]),
            lambda: pool.map_async(invert, [1, 0]).get(20),
            lambda: pool.starmap(invert, [(1,), (0,)]),
        ):
            with pytest.raises(ZeroDivisionError):
                failing()
        results = pool.imap(invert, [1, 0, 2])
        assert results.next(20) == 1
        with pytest.raises(ZeroDivisionError):
            results.next(20)
        assert next(results) == 0.5
        with pytest.raises(StopIteration):
            results.next(20)

    def test_async_results(self, pool, tmp_path):
        result = pool.apply_async(when_there, (str(tmp_path / "go"),))
        assert not result.ready()
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(0.01)
        result.wait(0.01)
        (tmp_path / "go").touch()
        result.wait(20)
        assert result.ready()
        assert result.successful()
        failed = pool.apply_async(invert, (0,))
        failed.wait(20)
        assert not failed.successful()

    def test_callbacks_have_returned_when_the_result_is_ready(self, pool):
        seen, errors = [], []
        told = {"callback": seen.append, "error_callback": errors.append}
        pool.apply_async(square, (3,), **told).get(20)
        pool.map_async(square, [1, 2], **told).get(20)
        pool.apply_async(invert, (0,), **told).wait(20)
        assert seen == [9, [1, 4]]
        assert [type(error) for error in errors] == [ZeroDivisionError]

    def test_the_end(self, pool):
        with pytest.raises(ValueError, match="still running"):
            pool.join()
        results = [pool.apply_async(square, (i,)) for i in range(20)]
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.apply(square, (1,))
        with pytest.raises(ValueError, match="not running"), pool:
            pass
        pool.join()
        assert [result.get(0) for result in results] == [i * i for i in range(20)]


def test_imap_reads_no_further_than_its_window(ours):
    def items():
        number = 0
        while True:
            yield number
            number += 1

    results = ours.imap(square, items())
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]


def test_imap_times_out(ours, tmp_path):
    results = ours.imap(when_there, [str(tmp_path / "go")])
    with pytest.raises(TimeoutError):
        results.next(timeout=0.01)
    (tmp_path / "go").touch()
    assert results.next(20) == str(tmp_path / "go")


def test_an_initializer_runs_before_the_first_call(client, tmp_path):
    with Pool(initializer=set_value, initargs=(7, str(tmp_path)), client=client) as pool:
        assert pool.map(get_value, range(50)) == [7] * 50
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


def test_a_failing_initializer_fails_the_call(client):
    with Pool(initializer=invert, initargs=(0,), client=client) as pool, pytest.raises(ZeroDivisionError):
        pool.apply(square, (1,))


def test_terminate_cancels(client, tmp_path):
    pool = Pool(client=client)
    result = pool.apply_async(when_there, (str(tmp_path / "never"),))
    pool.terminate()
    pool.join()
    assert result.ready()
    assert client.submit(square, 2).result(20) == 4  # a client of somebody else stays open


def test_callbacks_may_use_the_pool(ours):
    answer, done = [], threading.Event()

    def more(result):
        ours.apply_async(square, (result,), callback=lambda value: (answer.append(value), done.set()))

    ours.apply_async(square, (3,), callback=more)
    assert done.wait(20)
    assert answer == [81]


def test_its_own_cluster_ends_and_results_stay():
    with Pool(1) as pool:
        result = pool.apply_async(bytes, (1 << 20,))
        pool.close()
        pool.join()
    assert len(result.get(0)) == 1 << 20


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 1"):
        Pool(0)
    with pytest.raises(TypeError, match="initializer"):
        Pool(1, initializer=3)
