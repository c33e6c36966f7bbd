"""A cluster of real commands that can be killed one by one, and is kept alive as a supervisor would."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

WORKER_TIMEOUT_SECONDS = 4
CLIENT_TIMEOUT_SECONDS = 20


class Daemon:
    """A command that is started again when it has ended, as long as it is wanted. ``prefix`` comes before it."""

    def __init__(self, directory: Path, name: str, program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        self.name = name
        self.starts = 0
        self._command = [*prefix, str(Path(sys.executable).with_name(program)), *arguments]
        self._log = (directory / f"{name}.log").open("ab")
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL; another one is started at once."""
        with self._lock:
            self.process.kill()
            self.process.wait()
            self._start()

    def restart(self) -> None:
        """SIGTERM; another one is started when it has ended."""
        with self._lock:
            self.process.terminate()
            self.process.wait(30)
            self._start()

    def end(self) -> None:
        """For good."""
        with self._lock:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGCONT)
                self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._log.close()


class Cluster:
    """A scheduler that listens at ``host``, an object storage, and managers with a worker each, of ``options``."""

    def __init__(
        self, directory: Path, workers: int = 4, slots: int = 1, *options: str, host: str = "127.0.0.1"
    ) -> None:
        self._directory = directory
        self._options = options
        self.address, self.storage_address = (f"tcp://127.0.0.1:{port}" for port in _free_ports())
        self.storage = self._daemon("storage", "scaler_object_storage_server", self.storage_address)
        self.scheduler = self._daemon(
            "scheduler",
            "scaler_scheduler",
            self.address.replace("127.0.0.1", host),
            *("-osa", self.storage_address, "-wt", str(WORKER_TIMEOUT_SECONDS), "-ct", str(CLIENT_TIMEOUT_SECONDS)),
            *(() if host == "127.0.0.1" else ("--insecure",)),
        )
        self.managers: list[Daemon] = []
        for _ in range(workers):
            self.add_worker(slots)

    def _daemon(self, name: str, program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> Daemon:
        return Daemon(self._directory, name, program, *arguments, prefix=prefix)

    def add_worker(self, slots: int = 1, address: str = "", prefix: tuple[str, ...] = ()) -> Daemon:
        """A manager of one worker; ``address`` is where they find the scheduler, if not where it is."""
        name = f"manager{len(self.managers)}"
        arguments = address or self.address, "-n", str(slots), "-wmi", name, "-his", "1", *self._options
        manager = self._daemon(name, "scaler_cluster", *arguments, prefix=prefix)
        self.managers.append(manager)
        return manager

    def workers(self) -> list[psutil.Process]:
        """Those that live."""
        children = [child for manager in self.managers for child in _children(manager.pid)]
        nurseries = [child for child in children if "scaler.worker.nursery" in _command(child)]
        return [child for child in children if child not in nurseries] + [
            worker for nursery in nurseries for worker in _children(nursery.pid)
        ]

    def executors(self) -> list[psutil.Process]:
        """Those that live."""
        fork_servers = [child for worker in self.workers() for child in _children(worker.pid)]
        return [child for server in fork_servers for child in _children(server.pid)]

    def daemons(self) -> dict[str, psutil.Process]:
        """Scheduler, storage and workers by name."""
        found = {daemon.name: psutil.Process(daemon.pid) for daemon in (self.scheduler, self.storage)}
        return found | {f"worker{number}": worker for number, worker in enumerate(self.workers())}

    def end(self) -> None:
        for daemon in (*self.managers, self.scheduler, self.storage):
            daemon.end()


@contextmanager
def cluster(directory: Path, workers: int = 4, slots: int = 1, *options: str) -> Iterator[Cluster]:
    """One that ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Cluster(directory, workers, slots, *options)
    try:
        yield made
    finally:
        made.end()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _free_ports() -> list[int]:
    """Two that nobody uses, nor the monitor's above the first."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other, socket.socket() as monitor:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            try:
                monitor.bind(("127.0.0.1", one.getsockname()[1] + 2))
            except OSError:
                continue
            return [one.getsockname()[1], other.getsockname()[1]]
    raise OSError("no free ports")
