"""What a cluster is asked for is checked where it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from scaler import ConfigurationError, Scheduler, SchedulerClusterCombo
from scaler.cluster.parameters import checked
from scaler.cluster.stack import LocalStack, scheduler_settings
from scaler.scheduler.policy import Policy

WRONG: list[tuple[str, Any, str]] = [
    ("n_workers", 0, "less than 1"),
    ("n_workers", "two", "no whole number"),
    ("address", "localhost", "localhost"),
    ("object_storage_address", "http://127.0.0.1:1", "http"),
    ("monitor_address", 8516, "8516"),
    ("per_worker_capabilities", "linux", "no collection of names"),
    ("per_worker_capabilities", {1: 1}, "no collection of names"),
    ("max_number_of_tasks_waiting", -2, "no limit"),
    ("heartbeat_interval_seconds", 0, "greater than 0"),
    ("client_timeout_seconds", -1, "no time"),
    ("worker_timeout_seconds", float("nan"), "no time"),
    ("task_timeout_seconds", "soon", "no time"),
    ("death_timeout_seconds", 0, "greater than 0"),
    ("garbage_collect_interval_seconds", -1, "no time"),
    ("trim_memory_threshold_bytes", "much", "no size"),
    ("memory_limit_bytes", 1000, "too little"),
    ("per_worker_task_queue_size", 0, "less than 1"),
    ("protected", "perhaps", "neither yes nor no"),
    ("scaler_policy", "simple", "no pair"),
    ("scaler_policy", ("simple", "allocate=odd"), "odd"),
    ("event_loop", "uvlop", "did you mean uvloop?"),
    ("logging_level", "LOUD", "none of DEBUG"),
    ("logging_paths", 1, "not iterable"),
    ("preload", "no call", "no call"),
    ("allow_functions", ["math:sqrt", "a b"], "'a b' is no pattern"),
    ("allow_functions", "math", "'math' names no function"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_a_combo_names_the_parameter_that_is_wrong(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SchedulerClusterCombo(**{"n_workers": 1, name: value})
    assert name in str(raised.value) or name == "scaler_policy"
    assert words in str(raised.value)


def test_so_does_a_scheduler() -> None:
    with pytest.raises(ConfigurationError, match="client_timeout_seconds: 0 s is no interval"):
        Scheduler(client_timeout_seconds=0)
    with pytest.raises(ConfigurationError, match="event_loop: 'asyncio' is none of uvloop, builtin"):
        Scheduler(event_loop="asyncio")


def test_the_policy_is_the_schedulers() -> None:
    stack = LocalStack(1, policy=("simple", "scaling=no"))
    assert scheduler_settings(stack, "tcp://127.0.0.1:1").policy == Policy(scaling="no")
    assert scheduler_settings(LocalStack(1), "tcp://127.0.0.1:1").policy == Policy()


def test_what_is_right_comes_as_a_cluster_takes_it() -> None:
    assert checked(
        n_workers="2",
        monitor_address=None,
        per_worker_capabilities={"linux": -1, "gpu": 2},
        trim_memory_threshold_bytes="2G",
        heartbeat_interval_seconds=1,
        protected=False,
        logging_paths="/dev/stderr",
        logging_level="debug",
        preload="",
    ) == [2, None, ("gpu", "linux"), 2 << 30, 1.0, False, ("/dev/stderr",), "DEBUG", ""]
