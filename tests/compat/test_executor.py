"""ScalerExecutor against what the standard library says of executors, and asyncio on top of it."""

import asyncio
import concurrent.futures
import time

import pytest

import scaler
from scaler.compat.executor import ScalerExecutor

pytestmark = pytest.mark.integration


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise LookupError(f"no {x}")


def forever(x: int = 0) -> int:
    time.sleep(3600)
    return x


@pytest.fixture
def executor(client):
    with ScalerExecutor(client) as executor:
        yield executor


def test_it_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)
    assert scaler.ScalerExecutor is ScalerExecutor


def test_submit_takes_any_keyword(executor):
    assert executor.submit(dict, fn=1, self=2).result(20) == {"fn": 1, "self": 2}


def test_an_exception_arrives(executor):
    with pytest.raises(LookupError, match="no 3"):
        executor.submit(fail, 3).result(20)


def test_standard_wait_and_as_completed(executor):
    futures = [executor.submit(square, i) for i in range(20)]
    done, rest = concurrent.futures.wait(futures, timeout=20)
    assert (done, rest) == (set(futures), set())
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures)) == [i * i for i in range(20)]


class TestMap:
    def test_in_order_until_the_shortest_ends(self, executor):
        assert list(executor.map(pow, [2, 3, 4], [1, 2], chunksize=5)) == [2, 9]

    def test_timeout(self, executor):
        with pytest.raises(TimeoutError):
            list(executor.map(forever, [1], timeout=0.01))

    def test_the_first_failure_comes_in_its_place(self, executor):
        results = executor.map(lambda x: 1 // x, [1, 0, 1])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


class TestShutdown:
    def test_nothing_is_taken_afterwards(self, client):
        executor = ScalerExecutor(client)
        executor.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(square, 1)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.map(square, [1])

    def test_it_waits(self, client):
        with ScalerExecutor(client) as executor:
            futures = [executor.submit(square, i) for i in range(100)]
        assert all(future.done() for future in futures)

    def test_it_does_not_wait_when_asked_not_to(self, client):
        executor = ScalerExecutor(client)
        future = executor.submit(forever)
        executor.shutdown(wait=False)
        assert not future.done()
        future.cancel()

    def test_it_cancels(self, client):
        executor = ScalerExecutor(client)
        futures = [executor.submit(forever, i) for i in range(5)]
        executor.shutdown(cancel_futures=True)
        assert all(future.cancelled() for future in futures)

    def test_somebody_elses_client_stays_open(self, client):
        ScalerExecutor(client).shutdown()
        assert client.submit(square, 3).result(20) == 9

    def test_its_own_cluster_ends_and_results_stay(self):
        with ScalerExecutor(max_workers=1) as executor:
            large, small = executor.submit(bytes, 1 << 20), executor.submit(square, 4)
        assert len(large.result()) == 1 << 20
        assert small.result() == 16
        with pytest.raises(scaler.ClientClosedError):
            executor.client.submit(square, 1)
        executor.shutdown()  # again

    def test_its_own_cluster_ends_without_being_waited_for(self):
        executor = ScalerExecutor(max_workers=1)
        future = executor.submit(square, 5)
        executor.shutdown(wait=False)
        assert future.result(20) == 25


def test_an_address(client):
    with ScalerExecutor(client.address) as executor:
        assert executor.submit(square, 6).result(20) == 36


def test_how_wide_it_is(executor, client):
    assert executor._max_workers == 2
    with ScalerExecutor(client.address) as other:
        assert other._max_workers == 2


def test_a_number_is_no_client():
    with pytest.raises(TypeError, match="a Client or an address"):
        ScalerExecutor(4)


def test_run_in_executor(executor):
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(executor, square, i) for i in range(10)])

    assert asyncio.run(main()) == [i * i for i in range(10)]
