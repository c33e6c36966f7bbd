"""Windows of calls, with calls that end when the test says so."""

import itertools
from concurrent.futures import Future

import pytest

from scaler.compat.windows import Window


class Calls:
    def __init__(self):
        self.made: list[tuple[int, Future]] = []

    def submit(self, item):
        future = Future()
        self.made.append((item, future))
        return future

    def end(self, *items):
        for item, future in self.made:
            if item in items:
                future.set_result(item)


@pytest.fixture
def calls():
    return Calls()


def test_no_more_are_under_way_than_the_window_holds(calls):
    window = Window(calls.submit, itertools.count(), ordered=True, size=3)
    assert len(calls.made) == 3
    calls.end(0, 1)
    window.next()
    window.next()
    assert len(calls.made) == 4  # one place was free when the second was asked for


def test_in_order(calls):
    window = Window(calls.submit, range(3), ordered=True)
    calls.end(2, 1, 0)
    assert [window.next().result() for _ in range(3)] == [0, 1, 2]


def test_as_they_end(calls):
    window = Window(calls.submit, range(3), ordered=False)
    calls.end(2)
    assert window.next().result() == 2
    calls.end(0, 1)
    assert {window.next().result() for _ in range(2)} == {0, 1}


@pytest.mark.parametrize("ordered", [True, False])
def test_a_timeout_loses_nothing(calls, ordered):
    window = Window(calls.submit, range(1), ordered=ordered)
    with pytest.raises(TimeoutError):
        window.next(0.001)
    calls.end(0)
    assert window.next(0).result() == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_the_end(calls, ordered):
    window = Window(calls.submit, [], ordered=ordered)
    with pytest.raises(StopIteration):
        window.next()
