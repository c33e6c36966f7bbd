"""The supervisor: forks daemons off one process that has everything loaded, and ends them all when one ends that the others
cannot do without.

A process that only forks and waits: it has no event loop and no threads. Its children die with it, even if it is killed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scaler.errors import ClusterError
from scaler.net.driver import load_conversations
from scaler.worker import executor
from scaler.worker.fork_server import die_with_parent

log = logging.getLogger("scaler")

PATIENCE_SECONDS = 7.0
"""More than a worker manager has for its own workers, so that it is not killed while it ends them."""
START_SECONDS = 30.0
MOST_RESTARTS = 5
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
Ready = Callable[[str], None]


@dataclass(slots=True)
class Child:
    name: str
    pid: int
    again: Callable[[Ready], int] | None = None
    """What to run when it dies; None: all end then."""
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Children in the order of their start; they are ended in the opposite order."""

    children: list[Child] = field(default_factory=list)
    _signals: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _unready: str = ""

    def prepare(self) -> None:
        """Once, before the first start()."""
        for end in self._signals:
            end.setblocking(False)
        for number in HANDLED:
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(self._signals[1].fileno(), warn_on_full_buffer=False)
        load_conversations()
        executor.load_codecs()
        gc.collect()
        gc.freeze()

    def start(
        self,
        name: str,
        run: Callable[[Ready], int],
        wait: bool = True,
        patience: float = START_SECONDS,
        again: Callable[[str], Callable[[Ready], int]] | None = None,
    ) -> str:
        """Fork a daemon. With ``wait`` returns what it told ready(); raises ClusterError if it ends before, or takes
        longer than ``patience``, in seconds. ``again`` is given that text, for what is run when the daemon dies."""
        pid, text = self._fork(name, run, wait, patience)
        self.children.append(Child(name, pid, again(text) if again is not None else None))
        if wait and not text:
            raise ClusterError(self._unready)
        return text

    def _fork(self, name: str, run: Callable[[Ready], int], wait: bool, patience: float) -> tuple[int, str]:
        """The process, and what it told ready(): nothing if it did not, which ``_unready`` tells."""
        read, write = os.pipe()
        parent = os.getpid()
        # A signal to the new child waits until it has set aside our handlers, which would swallow it.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        pid = os.fork()
        if not pid:
            os.close(read)
            self._become(run, write, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        os.close(write)
        with os.fdopen(read, "rb") as told:
            if not wait:
                return pid, ""
            ready, _, _ = select.select([told], [], [], patience)
            text = told.readline().decode().strip() if ready else ""
        why = "ended before it was ready; see its log" if ready else f"was not ready within {patience:g} s"
        self._unready = f"{name} {why}"
        return pid, text

    def _become(self, run: Callable[[Ready], int], write: int, parent: int) -> None:
        code = 1
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            for end in self._signals:
                end.close()

            def ready(text: str) -> None:
                with contextlib.suppress(BrokenPipeError):
                    os.write(write, text.encode() + b"\n")
                os.close(write)

            code = run(ready)
        except Exception:
            log.exception("a daemon failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, lifeline: int | None = None) -> int:
        """Until told to end by a signal, by the end of ``lifeline`` (a descriptor), or by a child that ends for good."""
        reading = [self._signals[0].fileno()] + ([lifeline] if lifeline is not None else [])
        while True:
            ready, _, _ = select.select(reading, [], [])
            if lifeline in ready and not os.read(lifeline, 4096):
                return 0
            if self._signals[0].fileno() in ready:
                numbers = self._signals[0].recv(4096)
                if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                    return 0
                ended = self._reap()
                if ended is not None:
                    return ended

    def _reap(self) -> int | None:
        for child in list(self.children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                if code and self._restart(child, code):
                    continue
                self.children.remove(child)
                if code:
                    log.error("%s ended with exit code %d; stopping the others", child.name, code)
                return 1 if code else 0
        return None

    def _restart(self, child: Child, code: int) -> bool:
        """Whether the others can go on, with another one in the place of a child that died."""
        if child.again is None or child.restarts == MOST_RESTARTS:
            return False
        child.restarts += 1
        log.warning("%s ended with exit code %d; another one takes its place", child.name, code)
        child.pid, text = self._fork(child.name, child.again, True, START_SECONDS)
        return bool(text)

    def stop(self) -> None:
        """End the children one after the other, last started first: SIGTERM, and SIGKILL to one that takes too long."""
        for child in reversed(self.children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not os.waitpid(child.pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
                    break
                select.select([self._signals[0]], [], [], 0.05)
                with contextlib.suppress(BlockingIOError):
                    self._signals[0].recv(4096)
        self.children.clear()
