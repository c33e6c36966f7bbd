"""Clusters of real processes for the tests of this directory."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaler import Client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client with a local cluster of two slots, shared by the tests of a module."""
    with Client(n_workers=2, timeout_seconds=20) as client:
        yield client


def wait_until(true: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Until this is true; ``what`` is said when it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


class Command:
    """A running command, and the lines it has printed."""

    def __init__(self, program: str, *arguments: str) -> None:
        path = Path(sys.executable).with_name(program)
        self._process = subprocess.Popen(
            [str(path), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()

    def wait_for_line(self, text: str, seconds: float = 20) -> str:
        """The first line that has this text in it, once it is there."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._more:
            assert self._more.wait_for(found, seconds), f"no {text!r} in: {''.join(self.lines)}"
            return found() or ""

    def kill(self) -> None:
        self._process.kill()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 20) -> int:
        """Until it has ended; its exit code."""
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Starts commands by name; they are ended after the test, the last started first."""
    running: list[Command] = []

    def run(program: str, *arguments: str) -> Command:
        running.append(Command(program, *arguments))
        return running[-1]

    yield run
    for command in reversed(running):
        if command._process.poll() is None:
            command.interrupt()
        command.wait()


@pytest.fixture
def free_addresses() -> tuple[str, str]:
    """Addresses nobody listens on: a scheduler's, with the monitor's two ports further, and a storage server's."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}"
