"""Calls of functions by their names, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from scaler import (
    Client,
    FunctionNotAllowedError,
    FunctionNotFoundError,
    RemoteError,
    SchedulerClusterCombo,
    SerializationError,
)

from .conftest import Command

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def restricted() -> Iterator[Client]:
    """A client of a cluster that runs little."""
    with (
        SchedulerClusterCombo(1, allow_functions=["math:*", "builtins:sorted"], logging_level="WARNING") as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        yield client


def test_functions_that_only_the_workers_need(client: Client) -> None:
    assert client.submit_by_name("math:sqrt", 16.0).result() == 4.0
    assert client.submit_by_name("builtins:sorted", [3, 1, 2], reverse=True).result() == [3, 2, 1]
    assert client.submit_by_name("datetime:timedelta.total_seconds", 1).exception() is not None
    assert client.map_by_name("math:pow", range(5), range(5)) == [i**i for i in range(5)]
    assert client.submit(len, [1]).result() == 1


def test_large_arguments_and_results_go_through_the_object_storage(client: Client) -> None:
    array = np.arange(300_000, dtype=float)
    np.testing.assert_array_equal(client.submit_by_name("numpy:negative", array).result(), -array)
    assert client.submit_by_name("builtins:len", bytes(1 << 20)).result() == 1 << 20
    np.testing.assert_array_equal(client.map_by_name("numpy:negative", [array, array])[1], -array)


def test_errors_are_type_message_and_traceback(client: Client) -> None:
    error = client.submit_by_name("math:sqrt", -1).exception()
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == ("builtins.ValueError", "math domain error")
    assert "ValueError" in error.traceback
    with pytest.raises(FunctionNotFoundError, match="math has no 'nothing'"):
        client.submit_by_name("math:nothing").result()
    with pytest.raises(SerializationError, match=r"the result of builtins:set \(a set\) cannot be serialized"):
        client.submit_by_name("builtins:set", [1]).result()
    with pytest.raises(RemoteError, match="ValueError"):
        client.map_by_name("math:sqrt", [1, -1])
    with pytest.raises(SerializationError, match=r"argument 1 of math:sqrt \(a complex\)"):
        client.submit_by_name("math:sqrt", 1j)
    with pytest.raises(ValueError, match="names no function"):
        client.submit_by_name("math.sqrt", 2)


def test_options_and_cancel(client: Client, tmp_path: Path) -> None:
    future = client.submit_by_name_verbose("time:sleep", [600], capabilities=["nobody has this"], priority=3)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    # The second attempt finds what the first one has made.
    made = tmp_path / "made"
    again = client.submit_by_name_verbose("os:mkdir", (str(made),), {"mode": 0o700}, retries=1, name="make")
    assert again.result() is None
    # An error that counts for retries is known by its name, as any other.
    twice = client.submit_by_name_verbose(
        "os:mkdir", (str(made),), retries=1, retry_on="builtins.FileExistsError", name="make"
    )
    assert "FileExistsError" in str(twice.exception())


def test_the_command(start: Callable[..., Command], free_addresses: tuple[str, str]) -> None:
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", scheduler, "-osa", storage)
    patterns = "--allow-functions", "mypackage.*", "math:sqrt"
    start("scaler_cluster", "-n", "1", scheduler, *patterns, "--allow-functions", "math:sin")
    with Client(scheduler, timeout_seconds=20) as client:
        assert client.submit_by_name("math:sqrt", 16).result() == 4.0
        assert client.submit_by_name("math:sin", 0).result() == 0.0
        for refused in (client.submit_by_name("math:cos", 0), client.submit(len, "")):
            with pytest.raises(FunctionNotAllowedError, match=r"--allow-functions mypackage\.\* math:sqrt math:sin"):
                refused.result()


def test_what_is_not_allowed_fails_its_task_only(restricted: Client) -> None:
    assert restricted.submit_by_name("math:sqrt", 16.0).result() == 4.0
    assert restricted.submit_by_name("builtins:sorted", [2, 1]).result() == [1, 2]
    told = "--allow-functions math:[*] builtins:sorted"
    with pytest.raises(FunctionNotAllowedError, match=f"os:system may not be called on this worker: .*{told}"):
        restricted.submit_by_name("os:system", "true").result()
    with pytest.raises(FunctionNotAllowedError, match=f"function len was sent as code.*{told}"):
        restricted.submit(len, [1]).result()
    with pytest.raises(FunctionNotAllowedError):
        restricted.map(len, [[1], [2]])
    with pytest.raises(FunctionNotAllowedError):
        restricted.get({"a": (len, [1])}, ["a"])
