"""scaler_top against a running cluster, and in a real terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler import Client
from scaler.ids import Address

from .conftest import wait_until

pytestmark = pytest.mark.integration
TOP = str(Path(sys.executable).with_name("scaler_top"))


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def divide(a: int, b: int) -> float:
    return a / b


@pytest.fixture
def cluster(start: Any, free_addresses: tuple[str, str]) -> tuple[str, str]:
    """The addresses of a scheduler with two slots that lets monitors act, and of its monitor."""
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    scheduler = start("scaler_scheduler", address, "-osa", storage, "--no-protected")
    start("scaler_cluster", "-n", "2", address, "--heartbeat-interval-seconds", "0.2", "-pwc", "linux")
    scheduler.wait_for_line("connected with 2 slots")
    return address, str(Address.parse(address).of_monitor())


def top(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOP, *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_one_look_while_a_job_runs(cluster: tuple[str, str], tmp_path: Path) -> None:
    address, monitor = cluster
    with Client(address, timeout_seconds=10) as client:
        naps = [client.submit(nap, 30) for _ in range(2)]
        broken = client.submit(divide, 1, 0)
        needy = client.submit_verbose(nap, (0,), {}, capabilities={"gpu": 1})
        naps[0].cancel()
        assert broken.exception() is not None
        told: dict[str, Any] = {}

        def seen() -> bool:
            told.update(json.loads(top(monitor, "--once", "--json", "--record", str(tmp_path / "feed")).stdout))
            return any(task["function"] == "nap" for task in told["running"])

        wait_until(seen, "the task that runs is told")
        assert told["scheduler"]["address"] == address and told["slots"] == 2
        assert told["tasks"]["failed"] == 1 and told["tasks"]["ready"] == 1
        assert {"capabilities": ["gpu"], "tasks": 1, "offered": False} in told["waiting"]
        (failed,) = told["failures"]
        assert failed["type_name"] == "builtins.ZeroDivisionError" and "in divide" in failed["traceback"]
        assert [executor["state"] for worker in told["workers"] for executor in worker["executors"]].count(
            "running"
        ) == 1
        text = top("--replay", str(tmp_path / "feed"), "--once").stdout
        assert "1 task that ask for gpu wait: no worker offers that" in text and "ZeroDivisionError" in text
        for future in (*naps, needy):
            future.cancel()


def test_nobody_there() -> None:
    ended = top("tcp://127.0.0.1:1", "--once", "--timeout-seconds", "0.3")
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("scaler_top: no connection to tcp://127.0.0.1:1: Connection refused")
    assert ended.stderr.count("\n") == 1


def test_without_a_terminal() -> None:
    ended = top("tcp://127.0.0.1:1")
    assert ended.returncode == 2 and "there is no terminal here; --once" in ended.stderr


class Terminal:
    """tmux, of 80 columns and 24 lines."""

    def __init__(self, socket: Path, command: str) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._run("new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo ended with $?; exec cat")

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=10, check=True).stdout

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def shown(self) -> str:
        return self._run("capture-pane", "-p")

    def wait_for(self, text: str) -> None:
        """However it is broken into lines."""
        words = "".join(text.split())
        wait_until(lambda: words in "".join(self.shown().replace("▌", "").split()), f"{text!r} in the terminal")

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(cluster: tuple[str, str], tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed, which is the terminal of this test")
    opened = Terminal(tmp_path / "tmux", f"TERM=screen-256color {TOP} {cluster[1]} --interval-seconds 0.2")
    yield opened
    opened.close()


def test_a_real_terminal(cluster: tuple[str, str], terminal: Terminal) -> None:
    with Client(cluster[0], timeout_seconds=10) as client:
        future = client.submit(nap, 60)
        terminal.wait_for("slots busy 1 of 2")
        terminal.press("3")
        terminal.wait_for("nap")
        terminal.press("e")
        terminal.wait_for("it runs on worker")
        terminal.press("Escape")
        wait_until(lambda: "it runs on" not in terminal.shown(), "the text is closed")
        terminal.press("c")
        terminal.wait_for("Cancel task")
        terminal.press("y")
        terminal.wait_for("cancelled 1 tasks")
        wait_until(future.cancelled, "the future is cancelled")
        terminal.press("2", "d")
        terminal.wait_for("leave, when it has done")
        terminal.press("y")
        terminal.wait_for("is asked to leave")
        terminal.press("q")
        terminal.wait_for("ended with 0")


def test_the_task_stream_goes_into_files(cluster: tuple[str, str], tmp_path: Path) -> None:
    address, monitor = cluster
    trace, feed = tmp_path / "t.json", tmp_path / "feed"
    with subprocess.Popen(
        [TOP, monitor, "--export", str(trace), "--record", str(feed), "-i", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as exporting:
        assert exporting.stderr is not None and b"connected to" in exporting.stderr.readline()
        with Client(address, timeout_seconds=10) as client:
            assert client.submit(divide, 1, 0).exception() is not None
            naps = [client.submit(nap, 0.02) for _ in range(10)]
            assert sum(future.result() for future in naps) == pytest.approx(0.2)
            wait_until(lambda: trace.read_text().count('"name": "nap"') == 10, "the tasks in the trace")
        exporting.terminate()
        said, _ = exporting.communicate(timeout=20)
    assert exporting.returncode == 0 and said.decode() == f"{trace}: 11 tasks\n"
    tasks = [event for event in json.loads(trace.read_text())["traceEvents"] if event["ph"] == "X"]
    assert {event["tid"] for event in tasks} == {0, 1} and all(
        event["dur"] >= 20_000 for event in tasks if event["name"] == "nap"
    )
    table = tmp_path / "t.csv"
    done = top("--replay", str(feed), "--export", str(table))
    assert (done.returncode, done.stdout) == (0, f"{table}: 11 tasks\n")
    lines = table.read_text().splitlines()
    assert (
        len(lines) == 12
        and sum(",nap," in line for line in lines) == 10
        and sum(",failed," in line for line in lines) == 1
    )
    assert top(monitor, "--export", str(table), "--for-seconds", "0.3").returncode == 0
    refused = top(monitor, "--export", "t.txt")
    assert refused.returncode == 2 and "there is no format for it" in refused.stderr


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def test_a_profile_for_scripts(cluster: tuple[str, str], tmp_path: Path) -> None:
    address, monitor = cluster
    with Client(address, timeout_seconds=10) as client:
        future = client.submit(spin, 60)
        client.submit(nap, 0).result(20)
        file = tmp_path / "found.folded"
        found = top(monitor, "--profile", "1.5", "--profile-function", "spin", "--profile-file", str(file))
        assert found.returncode == 0 and "spin" in found.stdout and "test_top.py:" in found.stdout
        assert "spin;spin (test_top.py:" in file.read_text()
        told = json.loads(top(monitor, "--profile", "0.5", "--json").stdout)
        assert told["executors"] == 2 and told["functions"][0]["name"] == "spin"
        future.cancel()
    for bad in (
        ("--profile-file", "x.json"),
        ("--profile", "1", "--once"),
        ("--profile", "1", "--profile-file", "x.txt"),
    ):
        assert top(monitor, *bad).returncode == 2
