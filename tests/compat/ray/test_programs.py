"""Programs written for Ray, on Scaler.

With SCALER_TEST_RAY=ray in the environment they run on Ray itself, where it is installed: what they expect is true of both.
"""

import asyncio
import importlib
import os
import time
from pathlib import Path

import numpy
import pytest

ray = importlib.import_module(os.environ.get("SCALER_TEST_RAY", "scaler.compat.ray"))
exceptions = ray.exceptions

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


@ray.remote
def square(x):
    return x * x


@ray.remote
def add(a, b=0):
    return a + b


@ray.remote(num_returns=2)
def halves(text):
    return text[: len(text) // 2], text[len(text) // 2 :]


@ray.remote
def invert(x):
    return 1 / x


@ray.remote
def when_there(path):
    while not Path(path).exists():
        time.sleep(0.005)
    return path


@ray.remote
def get_all(refs):
    return [value if not isinstance(value, ray.ObjectRef) else ray.get(value) for value in refs["refs"]]


@ray.remote
def size(array):
    return len(array)


@ray.remote
def ones(n):
    return numpy.ones(n)


@ray.remote
def doubled(array):
    return array * 2


class TestGet:
    def test_one_and_several(self):
        assert ray.get(square.remote(3)) == 9
        assert ray.get([square.remote(i) for i in range(20)]) == [i * i for i in range(20)]
        assert ray.get([]) == []

    def test_keywords(self):
        assert ray.get(add.remote(1, b=2)) == 3

    def test_twice(self):
        ref = square.remote(4)
        assert (ray.get(ref), ray.get(ref)) == (16, 16)

    def test_a_timeout(self, tmp_path):
        ref = when_there.remote(str(tmp_path / "go"))
        with pytest.raises(exceptions.GetTimeoutError):
            ray.get(ref, timeout=0.05)
        with pytest.raises(TimeoutError):
            ray.get([ref], timeout=0.05)
        (tmp_path / "go").touch()
        assert ray.get(ref, timeout=20) == str(tmp_path / "go")

    def test_awaited(self):
        async def main():
            return await square.remote(5), await asyncio.gather(square.remote(6), square.remote(7))

        assert asyncio.run(main()) == (25, [36, 49])

    def test_as_a_standard_future(self):
        assert square.remote(6).future().result(20) == 36


class TestReferencesAsArguments:
    def test_they_become_values(self):
        assert ray.get(add.remote(square.remote(2), b=square.remote(3))) == 13

    def test_a_chain(self):
        ref = ray.put(0)
        for _ in range(50):
            ref = add.remote(ref, 1)
        assert ray.get(ref) == 50

    def test_a_tree(self):
        level = [square.remote(i) for i in range(32)]
        while len(level) > 1:
            level = [add.remote(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        assert ray.get(level[0]) == sum(i * i for i in range(32))

    def test_inside_other_arguments_they_stay_references(self):
        refs = [square.remote(2), 7, ray.put("eight")]
        assert ray.get(get_all.remote({"refs": refs})) == [4, 7, "eight"]

    def test_a_call_returns_at_once_though_its_argument_is_not_there(self, tmp_path):
        first = when_there.remote(str(tmp_path / "go"))
        second = add.remote(first, b="!")
        assert ray.wait([second], timeout=0.05) == ([], [second])
        (tmp_path / "go").touch()
        assert ray.get(second) == f"{tmp_path / 'go'}!"

    def test_arguments_are_those_of_the_moment_of_the_call(self, tmp_path):
        numbers = [when_there.remote(str(tmp_path / "go")), 1]
        ref = size.remote(numbers)
        numbers.append(2)
        (tmp_path / "go").touch()
        assert ray.get(ref) == 2

    def test_what_is_done_to_a_value_that_was_got_changes_nothing(self):
        @ray.remote
        def numbers():
            return [1, 2, 3]

        ref = numbers.remote()
        ray.get(ref).append(4)
        assert ray.get(size.remote(ref)) == 3

    def test_large_values(self):
        first = ones.remote(100_000)
        second = doubled.remote(first)
        third = doubled.remote(second)
        assert ray.get(third).sum() == 400_000
        assert ray.get(first).sum() == 100_000
        assert ray.get(second).sum() == 200_000

    def test_a_large_value_nobody_else_holds(self):
        assert ray.get(size.remote(doubled.remote(ones.remote(50_000)))) == 50_000
        assert ray.get(size.remote(ray.put(numpy.zeros(60_000)))) == 60_000


class TestPut:
    @pytest.mark.parametrize("value", [None, 7, {"a": [1]}])
    def test_small(self, value):
        assert ray.get(ray.put(value)) == value

    def test_large_and_used_many_times(self):
        ref = ray.put(numpy.arange(100_000))
        assert ray.get([size.remote(ref) for _ in range(10)]) == [100_000] * 10
        assert ray.get(ref)[-1] == 99_999

    def test_a_reference_is_no_value(self):
        with pytest.raises(TypeError):
            ray.put(ray.put(1))


class TestSeveralReturns:
    def test_each_is_a_reference(self):
        first, second = halves.remote("abcdef")
        assert ray.get([first, second]) == ["abc", "def"]
        assert ray.get(add.remote(second, first)) == "defabc"

    def test_by_options(self):
        assert ray.get(halves.options(num_returns=1).remote("ab")) == ("a", "b")
        assert halves.options(num_returns=0).remote("ab") is None

    def test_a_wrong_number(self):
        refs = halves.options(num_returns=3).remote("ab")
        with pytest.raises(ValueError):
            ray.get(refs)


class TestFailures:
    def test_the_cause_is_what_is_raised(self):
        with pytest.raises(ZeroDivisionError) as caught:
            ray.get(invert.remote(0))
        assert isinstance(caught.value, exceptions.RayTaskError)
        assert isinstance(caught.value.cause, ZeroDivisionError)
        assert "division by zero" in str(caught.value)

    def test_what_depends_on_it_fails_the_same_way(self):
        with pytest.raises(ZeroDivisionError):
            ray.get(square.remote(add.remote(invert.remote(0), 1)))

    def test_inside_other_arguments_it_is_raised_by_get(self):
        with pytest.raises(ZeroDivisionError):
            ray.get(get_all.remote({"refs": [invert.remote(0)]}))

    def test_attributes_of_the_cause(self):
        class OwnError(Exception):
            def __init__(self, code):
                super().__init__(code)
                self.code = code

        @ray.remote
        def fail():
            raise OwnError(42)

        with pytest.raises(exceptions.RayTaskError) as caught:
            ray.get(fail.remote())
        assert caught.value.code == 42

    def test_a_dead_executor(self):
        @ray.remote(max_retries=0)
        def die():
            os._exit(3)

        with pytest.raises(exceptions.WorkerCrashedError):
            ray.get(die.remote())


class TestRetries:
    def test_exceptions_are_retried_when_asked(self, tmp_path):
        @ray.remote(max_retries=2, retry_exceptions=True)
        def at_the_third(directory):
            tries = len(list(Path(directory).iterdir()))
            Path(directory, str(tries)).touch()
            if tries < 2:
                raise LookupError(tries)
            return tries

        assert ray.get(at_the_third.remote(str(tmp_path))) == 2

    def test_only_some_exceptions(self, tmp_path):
        @ray.remote(retry_exceptions=[LookupError])
        def fail(directory):
            tries = len(list(Path(directory).iterdir()))
            Path(directory, str(tries)).touch()
            raise KeyError if tries < 2 else ValueError

        with pytest.raises(ValueError):
            ray.get(fail.remote(str(tmp_path)))
        assert len(list(tmp_path.iterdir())) == 3


class TestWait:
    def test_one_of_several(self, tmp_path):
        slow, quick = when_there.remote(str(tmp_path / "go")), square.remote(2)
        assert ray.wait([slow, quick]) == ([quick], [slow])
        assert ray.wait([slow, quick], num_returns=2, timeout=0.05) == ([quick], [slow])
        (tmp_path / "go").touch()
        assert ray.wait([slow, quick], num_returns=2) == ([slow, quick], [])

    def test_no_more_than_asked_for(self):
        refs = [square.remote(i) for i in range(5)]
        ray.get(refs)
        ended, others = ray.wait(refs, num_returns=2)
        assert (len(ended), len(others)) == (2, 3)
        assert {*ended, *others} == set(refs)

    def test_all_of_a_loop(self):
        pending, values = [square.remote(i) for i in range(20)], []
        while pending:
            ended, pending = ray.wait(pending)
            values += ray.get(ended)
        assert sorted(values) == [i * i for i in range(20)]

    def test_bad_arguments(self):
        ref = square.remote(1)
        with pytest.raises(TypeError):
            ray.wait(ref)
        with pytest.raises(ValueError):
            ray.wait([ref, ref])
        with pytest.raises(ValueError):
            ray.wait([ref], num_returns=2)


class TestCancel:
    def test_a_running_task(self, tmp_path):
        ref = when_there.remote(str(tmp_path / "never"))
        ray.wait([ref], timeout=0.1)
        ray.cancel(ref)
        with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
            ray.get(ref, timeout=20)

    def test_a_task_that_waits_for_another(self, tmp_path):
        first = when_there.remote(str(tmp_path / "go"))
        second = add.remote(first, b="!")
        ray.cancel(second)
        (tmp_path / "go").touch()
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(second, timeout=20)
        assert ray.get(first, timeout=20) == str(tmp_path / "go")

    def test_what_has_ended(self):
        ref = square.remote(3)
        assert ray.get(ref) == 9
        ray.cancel(ref)
        assert ray.get(ref) == 9


class TestUtil:
    def test_as_completed(self):
        refs = [square.remote(i) for i in range(12)]
        assert sorted(ray.util.as_completed(refs, chunk_size=5)) == [i * i for i in range(12)]
        assert set(ray.util.as_completed(refs, yield_obj_refs=True)) == set(refs)

    def test_map_unordered(self):
        values = ray.util.map_unordered(square, range(30), backpressure_size=4, chunk_size=2)
        assert sorted(values) == [i * i for i in range(30)]
        assert sorted(ray.util.map_unordered(square, iter(range(3)), backpressure_size=None)) == [0, 1, 4]

    def test_bad_arguments(self):
        with pytest.raises(ValueError):
            list(ray.util.as_completed([], chunk_size=0))
        with pytest.raises(ValueError):
            list(ray.util.map_unordered(square, [1], backpressure_size=0))


class TestInsideTasks:
    def test_remote_calls(self):
        @ray.remote
        def outer(n):
            return sum(ray.get([square.remote(i) for i in range(n)]))

        assert ray.get(outer.remote(5)) == 30

    def test_a_returned_reference(self):
        @ray.remote
        def outer():
            return square.remote(6)

        assert ray.get(ray.get(outer.remote())) == 36

    def test_recursion(self):
        @ray.remote
        def factorial(n):
            return 1 if n < 2 else n * ray.get(factorial.remote(n - 1))

        assert ray.get(factorial.remote(2)) == 2

    def test_a_reference_in_a_closure(self):
        table = ray.put(list(range(1000)))

        @ray.remote
        def entry(i):
            return ray.get(table)[i]

        assert ray.get([entry.remote(i) for i in (3, 999)]) == [3, 999]


def test_it_is_not_called_directly():
    with pytest.raises(TypeError, match="remote"):
        square(3)


def test_init_twice():
    assert ray.is_initialized()
    with pytest.raises(RuntimeError):
        ray.init()
    ray.init(ignore_reinit_error=True)
    assert ray.get(square.remote(2)) == 4
