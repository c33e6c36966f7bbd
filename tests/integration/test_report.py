"""The report of a client's job on a real cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from scaler import Client

from .conftest import wait_until

pytestmark = pytest.mark.integration


def fails_twice(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("x")
    if len(Path(path).read_text()) < 3:
        raise ValueError("not yet")
    return 1


def dies_once(path: str) -> int:
    if not Path(path).exists():
        Path(path).touch()
        os._exit(1)
    return 2


def test_a_job(tmp_path):
    with Client(n_workers=2, timeout_seconds=20, name="ann") as client:
        assert client.report().calls == 0
        sleeps = [client.submit(time.sleep, 0.05) for _ in range(6)]
        again = client.submit_verbose(fails_twice, (str(tmp_path / "a"),), {}, retries=5)
        assert again.result() == 1
        dead = client.submit(dies_once, str(tmp_path / "b"))
        failing = client.submit(divmod, 1, 0)
        assert client.map(pow, range(1000), [2] * 1000)[5] == 25
        assert client.map(fails_twice, [str(tmp_path / "a")] * 3) == [1, 1, 1]
        assert client.get({"a": (pow, 2, 3), "b": (pow, "a", 2)}, ["b"]) == {"b": 64}
        assert len(client.submit(bytes, 1_000_000).result()) == 1_000_000
        assert len(client.submit(bytes, bytes(1_000_000)).result()) == 1_000_000
        client.wait([*sleeps, again, dead, failing])
        report = client.report()
        by_name = {function.name: function for function in report.functions}
        assert by_name["sleep"].calls == 6 and 0.05 <= by_name["sleep"].wall_p50 <= by_name["sleep"].wall_max
        assert by_name["sleep"].wall_seconds >= 0.3 and by_name["sleep"].cpu_seconds < 0.1
        assert by_name["sleep"].memory_peak > 1 << 20
        assert (by_name["divmod"].calls, by_name["divmod"].failed) == (1, 1)
        assert (by_name["fails_twice"].calls, by_name["fails_twice"].failed, by_name["fails_twice"].retried) == (
            4,
            0,
            2,
        )
        assert (by_name["dies_once"].calls, by_name["dies_once"].retried) == (1, 1)
        assert by_name["pow"].calls in (1001, 1002)  # The graph's first result is an input, and its client is not told.
        assert report.slots == 2 and report.parallelism > 0 and report.busy_seconds < report.connected_seconds
        assert [one.function for one in report.slowest].count("sleep") == 6 and report.unfinished == 0
        assert report.put_bytes >= 1_000_000 and report.fetched_bytes >= 2_000_000
        assert report.argument_bytes > 1000 and report.result_bytes > 1000
        busy = report.busy_seconds
        never = client.submit_verbose(abs, (1,), {}, capabilities={"moon": -1})
        wait_until(
            lambda: client.report().unfinished == 1 and client.report().busy_seconds > busy, "an unfinished call"
        )
        never.cancel()
        wait_until(lambda: client.report().cancelled == 1, "the cancelled call")
    assert client.report().calls == report.calls + 1
