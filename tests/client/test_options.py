"""The options of a task are checked where they are given."""

from __future__ import annotations

import concurrent.futures
import json
from decimal import Decimal

import pytest

from scaler.client.options import LONGEST_MILLISECONDS, MOST_PRIORITY, task_options
from scaler.messages import TaskOptions


class OwnError(Exception):
    pass


def test_most_tasks_have_none() -> None:
    assert task_options() is None
    assert task_options([], 0, 0, None, None, None) is None


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"capabilities": ("linux", "gpu", "gpu")}, TaskOptions(capabilities=["gpu", "linux"])),
        ({"capabilities": {"gpu": 1}}, TaskOptions(capabilities=["gpu"])),
        ({"priority": -3}, TaskOptions(priority=-3)),
        ({"priority": 10**12}, TaskOptions(priority=MOST_PRIORITY)),
        ({"priority": -(10**12)}, TaskOptions(priority=-MOST_PRIORITY)),
        ({"retries": 3}, TaskOptions(retries=3)),
        ({"timeout": 1.5}, TaskOptions(timeout_milliseconds=1500)),
        ({"timeout": Decimal("0.25")}, TaskOptions(timeout_milliseconds=250)),
        ({"timeout": 1e-6}, TaskOptions(timeout_milliseconds=1)),
        ({"timeout": 1e300}, TaskOptions(timeout_milliseconds=LONGEST_MILLISECONDS)),
        ({"name": "one"}, TaskOptions(name="one")),
        ({"retry_on": ValueError}, TaskOptions(retry_on=["builtins.ValueError"])),
        ({"retry_on": "ValueError"}, TaskOptions(retry_on=["builtins.ValueError"])),
        ({"retry_on": (OwnError, "far.away.Error")}, TaskOptions(retry_on=[f"{__name__}.OwnError", "far.away.Error"])),
    ],
    ids=str,
)
def test_what_is_made_of_them(given: dict[str, object], made: TaskOptions) -> None:
    assert task_options(**given) == made  # type: ignore[arg-type]


def test_names_are_those_under_which_types_were_defined() -> None:
    assert json.JSONDecodeError.__module__ == "json.decoder"
    options = task_options(retry_on=["json.JSONDecodeError", concurrent.futures.TimeoutError, "socket.timeout"])
    assert options is not None
    assert options.retry_on == ["json.decoder.JSONDecodeError", "builtins.TimeoutError", "builtins.TimeoutError"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"capabilities": "gpu"}, TypeError, "capabilities has to be several names"),
        ({"capabilities": 3}, TypeError, "capabilities has to be several names"),
        ({"capabilities": [3]}, TypeError, "a capability has to be a text, not 3"),
        ({"priority": 1.5}, TypeError, "priority has to be a whole number, not 1.5"),
        ({"priority": None}, TypeError, "priority has to be a whole number, not None"),
        ({"retries": True}, TypeError, "retries has to be a whole number, not True"),
        ({"retries": "3"}, TypeError, "retries has to be a whole number, not '3'"),
        ({"retries": -1}, ValueError, "retries has to be a number from 0 to"),
        ({"retries": 1 << 32}, ValueError, "retries has to be a number from 0 to"),
        ({"timeout": -0.5}, ValueError, "timeout has to be a number of seconds, or 0 for no limit, not -0.5"),
        ({"timeout": float("nan")}, ValueError, "timeout has to be a number of seconds, or 0 for no limit, not nan"),
        ({"timeout": float("inf")}, ValueError, "timeout has to be a number of seconds, or 0 for no limit, not inf"),
        ({"timeout": "5"}, TypeError, "timeout has to be a number of seconds, not '5'"),
        ({"timeout": True}, TypeError, "timeout has to be a number of seconds, not True"),
        ({"name": 5}, TypeError, "name has to be a text, not 5"),
        ({"retry_on": ()}, ValueError, "retry_on names no exception"),
        ({"retry_on": int}, TypeError, "retry_on has to be the types of exceptions.*<class 'int'> is neither"),
        ({"retry_on": [ValueError("x")]}, TypeError, "retry_on has to be the types of exceptions.*is neither"),
        ({"retry_on": "builtins.int"}, TypeError, "'builtins.int' is neither"),
        ({"retry_on": "ValueErorr"}, TypeError, "'ValueErorr' is neither"),
        ({"retry_on": "no such name."}, TypeError, "is neither"),
        ({"retry_on": 5}, TypeError, "5 is neither"),
    ],
    ids=str,
)
def test_what_cannot_be(given: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        task_options(**given)  # type: ignore[arg-type]
