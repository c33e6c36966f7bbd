"""Workers as processes of this machine.

A fixed manager starts its one worker as a process of its own. A dynamic one has a nursery (scaler.worker.nursery) that forks
workers: from nothing to eight of them takes a third of a second, where as many new processes would take two seconds. So has a
fixed one whose worker died, which another one may do, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from scaler.config import Option, available_cpus
from scaler.errors import ConfigurationError
from scaler.machine import UNFIT
from scaler.manager import records
from scaler.manager.backend import Backend, Phase, Sighting, WorkerOrder
from scaler.manager.template import WorkerTemplate

OPTIONS = (
    Option(
        "mode",
        "dynamic: as many slots as the scheduler asks for; fixed: the same number all the time",
        "dynamic",
        choices=("dynamic", "fixed"),
    ),
)
MOST_WORKERS = 8
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 1.0
LINE_BYTES = 1 << 20


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    return NativeWorkers(template, options.max_task_concurrency or available_cpus(), options.mode == "fixed")


class NativeWorkers:
    """A scaler.manager.backend.Backend."""

    def __init__(self, template: WorkerTemplate, most_slots: int, fixed: bool) -> None:
        self.poll_seconds = 0.0
        self.changed: Callable[[], None] = lambda: None
        self.most_slots = most_slots
        self._template = template
        self._fixed = fixed
        self._pids: dict[str, int] = {}
        """Those that this manager started."""
        self._found: dict[str, records.Record] = {}
        """Those that an earlier one did."""
        self._ended: list[Sighting] = []
        self._stopped: set[str] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        self._nursery: _Nursery | None = None
        self._bereft = False
        """Whether a worker has died."""

    @property
    def worker_slots(self) -> int:
        """At most eight workers: so it can shrink by parts, and a large machine has no hundred of them."""
        return max(1, -(-self.most_slots // MOST_WORKERS))

    def describe(self, order: WorkerOrder) -> str:
        """See Backend."""
        return f"a process of this machine: {sys.executable} -P -m scaler.worker, {order.slots} slots, as {order.name}"

    async def prepare(self) -> None:
        """See Backend."""
        if self._fixed:
            return
        try:
            self._found = {record.name: record for record in records.living(self._template.manager)}
        except OSError as error:
            raise ConfigurationError(f"cannot see which workers there are: {error}") from None
        self.poll_seconds = POLL_SECONDS if self._found else 0.0
        await self._open_nursery()

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """See Backend."""
        if self._fixed and not self._bereft:
            return [await self._start_process(order) for order in orders]
        nursery = self._nursery or await self._open_nursery()
        return [await self._fork(nursery, order) for order in orders]

    async def stop(self, names: Sequence[str]) -> None:
        """See Backend. SIGTERM, and SIGKILL a little later."""
        for name in names:
            if name not in self._stopped and self._signal(name, signal.SIGTERM):
                self._stopped.add(name)
                self._watch(self._kill_later(name))

    async def list(self) -> list[Sighting]:
        """See Backend."""
        for name in [name for name, record in self._found.items() if not record.lives]:
            record = self._found.pop(name)
            records.remove(self._template.manager, name)
            self._ended.append(Sighting(name, Phase.ENDED, story=f"worker {record.pid} is gone"))
        self.poll_seconds = POLL_SECONDS if self._found else 0.0
        ended, self._ended = self._ended, []
        own = [Sighting(name, Phase.RUNNING, label=f"worker {pid}") for name, pid in self._pids.items()]
        found = [Sighting(r.name, Phase.RUNNING, r.slots, f"worker {r.pid}") for r in self._found.values()]
        return [*ended, *own, *found]

    async def close(self) -> None:
        """See Backend."""
        if self._watchers:
            await asyncio.wait(self._watchers)
        if self._nursery is not None:
            await self._nursery.close()

    # ---- processes

    async def _start_process(self, order: WorkerOrder) -> Sighting:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "scaler.worker",
                self._template.fill(order),
                stdin=asyncio.subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,  # Ctrl-C in a terminal is for the manager, which ends its workers in order.
            )
        except OSError as error:
            return Sighting(order.name, Phase.ENDED, story=f"a worker could not be started: {error}")
        self._pids[order.name] = process.pid
        self._watch(self._wait_for(order.name, process))
        return Sighting(order.name, Phase.RUNNING, label=f"worker {process.pid}")

    async def _wait_for(self, name: str, process: Process) -> None:
        self._exited(name, await process.wait())

    async def _open_nursery(self) -> _Nursery:
        self._nursery = nursery = await _Nursery.open(self._forked, self._exited, self._nursery_gone)
        return nursery

    def _forked(self, name: str, pid: int) -> None:
        self._pids[name] = pid

    def _nursery_gone(self) -> None:
        """Its workers go on; how they end will not be known."""
        self._nursery = None
        self._found.update((r.name, r) for r in records.living(self._template.manager) if r.name in self._pids)
        self._pids.clear()
        self.changed()

    async def _fork(self, nursery: _Nursery, order: WorkerOrder) -> Sighting:
        try:
            pid = await nursery.fork(order.name, self._template.fill(order))
        except OSError as error:
            return Sighting(order.name, Phase.ENDED, story=f"a worker could not be started: {error}")
        if order.name in self._pids:
            records.write(self._template.manager, order.name, pid, order.slots)
        return Sighting(order.name, Phase.RUNNING, label=f"worker {pid}")

    def _exited(self, name: str, code: int) -> None:
        pid = self._pids.pop(name, 0)
        self._stopped.discard(name)
        records.remove(self._template.manager, name)
        self._bereft |= code != 0
        story = f"worker {pid or name} {manner(code)}"
        self._ended.append(
            Sighting(name, Phase.ENDED, story=story, orderly=code == 0, unfit=code == UNFIT, killed=code < 0)
        )
        self.changed()

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    def _signal(self, name: str, number: signal.Signals) -> bool:
        """Whether it was there."""
        record = self._found.get(name)
        pid = record.pid if record is not None and record.lives else self._pids.get(name, 0)
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, number)
                return True
        return False

    async def _kill_later(self, name: str) -> None:
        """Until it has ended."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while name in self._pids or (name in self._found and self._found[name].lives):
            if loop.time() > deadline:
                self._signal(name, signal.SIGKILL)
            await asyncio.sleep(0.01)
        self.changed()


class _Nursery:
    """The manager's end of a nursery."""

    def __init__(
        self,
        process: Process,
        writer: asyncio.StreamWriter,
        forked: Callable[[str, int], None],
        exited: Callable[[str, int], None],
        gone: Callable[[], None],
    ) -> None:
        self._process = process
        self._writer = writer
        self._forked, self._exited, self._gone = forked, exited, gone
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._closing = False
        self._reader: asyncio.Task[None]

    @classmethod
    async def open(
        cls, forked: Callable[[str, int], None], exited: Callable[[str, int], None], gone: Callable[[], None]
    ) -> _Nursery:
        """Start one. It tells the names of workers with their pids and exit codes, and when it has died itself."""
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "scaler.worker.nursery",
            str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            env=environment(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        nursery = cls(process, writer, forked, exited, gone)
        nursery._reader = asyncio.get_running_loop().create_task(nursery._read(reader))
        return nursery

    async def fork(self, name: str, order: str) -> int:
        """The pid of a new worker. Raises OSError."""
        self._asked[name] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps([name, order]).encode() + b"\n")
        try:
            return await self._asked[name]
        finally:
            del self._asked[name]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                what, name, told = json.loads(line)
                future = self._asked.get(name)
                if what == "ended":
                    self._exited(name, told)
                elif what == "started":
                    self._forked(name, told)
                    if future is not None:
                        future.set_result(told)
                elif future is not None:
                    future.set_exception(OSError(told))
        for future in self._asked.values():
            if not future.done():
                future.set_exception(OSError("the process that forks workers is gone"))
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._process.wait()
        if not self._closing:
            self._gone()

    async def close(self) -> None:
        """Workers stay."""
        self._closing = True
        self._writer.close()
        await self._reader


def environment() -> dict[str, str]:
    """What is imported here is imported there, and what stands in this directory besides."""
    here = str(Path.cwd())
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*(entry or here for entry in sys.path), here])}


def manner(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
