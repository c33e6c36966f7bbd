"""Many futures at a time; any of concurrent.futures' will do."""

from __future__ import annotations

from collections import namedtuple
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future
from typing import Any

import pytest

from scaler import as_completed, gather, wait

Pair = namedtuple("Pair", "left right")


def ended(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def test_results_come_in_the_shape_of_the_futures() -> None:
    one, two = ended(1), ended(2)
    assert gather(one) == 1 and gather([]) == [] and gather("text") == "text"
    assert gather([one, (two, one), {"a": two, "b": [3]}, {one}]) == [1, (2, 1), {"a": 2, "b": [3]}, {1}]
    pair = gather(Pair(one, two))
    assert pair == Pair(1, 2) and pair.left == 1
    assert gather(iter([one, two])) == [1, 2]


def test_a_failure_is_raised_before_the_others_have_ended() -> None:
    with pytest.raises(KeyError):
        gather([Future(), [ended(1), ended(KeyError("x"))]])
    cancelled: Future[Any] = Future()
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        gather([cancelled])


def test_time_is_limited() -> None:
    with pytest.raises(TimeoutError, match="1 of 2"):
        gather([Future(), ended(1)], timeout=0.01)
    with pytest.raises(TimeoutError):
        list(as_completed([Future()], timeout=0.01))


def test_waiting_is_that_of_the_standard_library() -> None:
    one, never = ended(1), Future[Any]()
    done, open_ = wait(iter([one, never]), return_when=FIRST_COMPLETED)
    assert done == {one} and open_ == {never} and list(as_completed([one])) == [one]


@pytest.mark.parametrize("function", [wait, as_completed])
def test_what_is_no_future_is_named(function: Any) -> None:
    with pytest.raises(TypeError, match="entry 1 is a int"):
        function([ended(1), 2])
    with pytest.raises(TypeError, match="not one future"):
        function(ended(1))
