"""What is asked for a task, and of workers, on real clusters."""

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from scaler import (
    Client,
    ClusterError,
    ConfigurationError,
    SchedulerClusterCombo,
    TaskMemoryError,
    TaskTimeoutError,
)

pytestmark = pytest.mark.integration


def count(directory: str) -> int:
    """How often it was called, this time included."""
    calls = len(list(Path(directory).iterdir()))
    Path(directory, str(calls)).touch()
    return calls + 1


def fail_as(directory: str, kinds: list[type[Exception]]) -> str:
    """Raises these one after the other, then returns."""
    calls = count(directory)
    if calls <= len(kinds):
        raise kinds[calls - 1](calls)
    return f"done at call {calls}"


class TestRetries:
    def test_only_some_exceptions_count(self, client, tmp_path):
        kinds = [ConnectionResetError, TimeoutError, ValueError]
        options = {"retries": 5, "retry_on": (ConnectionError, "TimeoutError")}
        with pytest.raises(ValueError, match="3"):
            client.submit_verbose(fail_as, (str(tmp_path), kinds), {}, **options).result(20)

    def test_any_exception_counts_otherwise(self, client, tmp_path):
        kinds = [ConnectionResetError, TimeoutError, ValueError]
        future = client.submit_verbose(fail_as, (str(tmp_path), kinds), {}, retries=3)
        assert future.result(20) == "done at call 4"

    def test_retries_are_used_up(self, client, tmp_path):
        with pytest.raises(KeyError):
            client.submit_verbose(fail_as, (str(tmp_path), [KeyError] * 4), {}, retries=2, retry_on=LookupError).result(
                20
            )
        assert count(str(tmp_path)) == 4

    def test_a_class_of_a_script(self, tmp_path):
        program = f"""
from pathlib import Path
from scaler import Client

class OwnError(Exception):
    pass

class Particular(OwnError):
    pass

def fail(directory):
    calls = len(list(Path(directory).iterdir()))
    Path(directory, str(calls)).touch()
    if not calls:
        raise Particular
    return "second call"

if __name__ == "__main__":
    with Client(n_workers=1) as client:
        print(client.submit_verbose(fail, ({str(tmp_path / "calls")!r},), {{}}, retries=1, retry_on=OwnError).result(20))
"""
        (tmp_path / "calls").mkdir()
        script = tmp_path / "script.py"
        script.write_text(program)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "second call\n"

    def test_bad_options_are_refused_where_they_are_given(self, client):
        for options, error in (
            ({"retries": -1}, ValueError),
            ({"timeout": "soon"}, TypeError),
            ({"retry_on": 5}, TypeError),
        ):
            with pytest.raises(error):
                client.submit_verbose(abs, (-1,), {}, **options)


class TestTimeLimits:
    def test_the_workers_own_and_that_of_a_task(self):
        with (
            SchedulerClusterCombo(1, task_timeout_seconds=0.3, logging_level="WARNING") as combo,
            Client(combo.get_address(), timeout_seconds=20) as client,
        ):
            with pytest.raises(TaskTimeoutError, match=r"^sleep ran for .* s; its limit is 0.300 s$"):
                client.submit(time.sleep, 3600).result(20)
            with pytest.raises(TaskTimeoutError, match=r"^a nap ran for .* s; its limit is 0.050 s$"):
                client.submit_verbose(time.sleep, (3600,), {}, timeout=0.05, name="a nap").result(20)
            assert client.submit_verbose(time.sleep, (0.5,), {}, timeout=60).result(20) is None
            with pytest.raises(TaskTimeoutError, match="its limit is"):
                client.map(time.sleep, [0.01, 3600])

    def test_workers_end_without_a_scheduler(self, start, free_addresses):
        workers = start("scaler_cluster", "-n", "1", free_addresses[0], "--death-timeout-seconds", "0.5")
        assert workers.wait() == 1
        assert "no scheduler for" in "".join(workers.lines)

    def test_a_worker_by_itself_does_too(self, free_addresses, tmp_path):
        order = {
            "options": {
                "slots": 1,
                "capabilities": [],
                "death_timeout_seconds": 0.5,
                "scheduler_address": free_addresses[0],
            },
            "event_loop": "uvloop",
            "logging": ["INFO", [str(tmp_path / "log")], None],
        }
        command = [sys.executable, "-m", "scaler.worker", json.dumps(order)]
        assert subprocess.run(command, timeout=30, check=False).returncode == 1
        assert "no scheduler for" in (tmp_path / "log").read_text()


def fill(megabytes: int) -> int:
    """Take memory, and keep it for a while."""
    block = bytearray(megabytes << 20)
    for place in range(0, len(block), 4096):
        block[place] = 1
    while megabytes > 200:
        time.sleep(1)
    return len(block)


def resident() -> int:
    return psutil.Process().memory_info().rss


def grow() -> int:
    """Take memory that only the garbage collector can free; what the process has then."""
    circle: list[object] = [bytes(100) for _ in range(2_000_000)]
    circle.append(circle)
    return resident()


class TestMemory:
    def test_a_task_that_takes_too_much_fails_and_others_do_not(self):
        with (
            SchedulerClusterCombo(2, memory_limit_bytes=300 << 20, logging_level="ERROR") as combo,
            Client(combo.get_address(), timeout_seconds=20) as client,
        ):
            others = [client.submit(fill, 20) for _ in range(20)]
            greedy = client.submit_verbose(fill, (1000,), {}, name="greedy")
            with pytest.raises(
                TaskMemoryError, match=r"^greedy took its executor to [\d.,]+ .iB of memory; the limit is 300 MiB"
            ):
                greedy.result(30)
            assert [other.result(20) for other in others] == [20 << 20] * 20
            with pytest.raises(MemoryError):
                client.map(fill, [1, 2, 1000])

    def test_memory_is_given_back_after_a_task(self):
        with (
            SchedulerClusterCombo(1, trim_memory_threshold_bytes=150 << 20, logging_level="ERROR") as combo,
            Client(combo.get_address(), timeout_seconds=20) as client,
        ):
            client.submit(gc.disable).result(20)
            assert client.submit(grow).result(30) > 200 << 20
            deadline = time.monotonic() + 20
            while client.submit(resident).result(20) > 150 << 20:
                assert time.monotonic() < deadline


PRELOADED = """
import os

first = None

def setup(*args, **kwargs):
    global first
    first = first or (args, kwargs)

def fail():
    raise RuntimeError("no such database")

def crash():
    os._exit(7)
"""


@pytest.fixture
def preloadable(tmp_path, monkeypatch):
    """The module ``preloadable``, here and in the processes started here."""
    (tmp_path / "preloadable.py").write_text(PRELOADED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def first_setup() -> object:
    return sys.modules["preloadable"].first  # type: ignore[attr-defined]


@pytest.mark.usefixtures("preloadable")
class TestPreload:
    def test_it_comes_before_the_first_task_of_each_executor(self):
        preload = "preloadable:setup('production', size=3)"
        with (
            SchedulerClusterCombo(2, preload=preload, logging_level="ERROR") as combo,
            Client(combo.get_address(), timeout_seconds=20) as client,
        ):
            made = (("production",), {"size": 3})
            assert [f.result(20) for f in [client.submit(first_setup) for _ in range(50)]] == [made] * 50
            with pytest.raises(TaskTimeoutError):
                client.submit_verbose(time.sleep, (3600,), {}, timeout=0.1).result(20)
            assert [f.result(20) for f in [client.submit(first_setup) for _ in range(50)]] == [made] * 50

    def test_one_that_raises_keeps_a_cluster_from_starting(self):
        with pytest.raises(ClusterError) as caught:
            SchedulerClusterCombo(2, preload="preloadable:fail", logging_level="CRITICAL")
        told = str(caught.value)
        assert told.startswith("the local cluster did not start: the preload preloadable:fail failed:\nTraceback")
        assert told.rstrip().endswith("RuntimeError: no such database")
        assert "scaler/worker" not in told

    def test_so_does_one_that_ends_its_process(self):
        with pytest.raises(ClusterError, match=r"executors do not start: .* ended with exit code 7"):
            SchedulerClusterCombo(1, preload="preloadable:crash()", logging_level="CRITICAL")

    def test_one_that_is_none_is_refused_at_once(self):
        with pytest.raises(ConfigurationError, match="preload: 'preloadable' is no preload"):
            SchedulerClusterCombo(1, preload="preloadable")
        with pytest.raises(ConfigurationError, match="memory_limit_bytes: 'much' is no size"):
            SchedulerClusterCombo(1, memory_limit_bytes="much")

    def test_the_command(self, start, free_addresses):
        scheduler, storage = free_addresses
        start("scaler_object_storage_server", storage)
        start("scaler_scheduler", scheduler, "-osa", storage)
        bad = start("scaler_cluster", "-n", "2", scheduler, "--preload", "preloadable:fail()")
        assert bad.wait() == 1
        said = "".join(bad.lines)
        assert said.count("RuntimeError: no such database") == 1
        assert said.count("preload preloadable:fail() failed") == 1
        start("scaler_cluster", "-n", "1", scheduler, "--preload", "preloadable:setup(1)")
        with Client(scheduler, timeout_seconds=20) as client:
            assert client.submit(first_setup).result(20) == ((1,), {})
