"""The worker manager's service: the connection to the scheduler, and workers by way of a backend."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Protocol

from scaler.ids import Address
from scaler.machine import Output
from scaler.manager.state import ManagerOptions, ManagerState, StartWorker, StopWorker
from scaler.messages import Role
from scaler.net.daemon import Daemon, log


class Backend(Protocol):
    """Where workers run."""

    async def start(self, number: int, slots: int) -> str:
        """Start a worker of so many slots; returns what to call it in the log. Raises OSError when it cannot."""

    async def wait(self, number: int) -> tuple[str, int]:
        """Until that worker has ended; returns how it did, for people, and its exit code: 0 in order, UNFIT where no worker
        can work here."""

    def stop(self, number: int) -> None:
        """Have a worker end, by force if it takes too long; wait() tells when it has. Nothing, if it is not there."""

    async def close(self) -> None:
        """Start no more, and end all; returns when none is left."""


class ManagerService:
    """Carries what a ManagerState decides."""

    def __init__(self, options: ManagerOptions, scheduler: Address, backend: Backend) -> None:
        self.state = ManagerState(options)
        self._scheduler = scheduler
        self._backend = backend
        self._tasks: set[asyncio.Task[None]] = set()
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        """Start the workers and dial the scheduler."""
        self._daemon = daemon
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            # A terminal that is closed tells the manager only, as with Ctrl-C; under nohup it is to live on.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.asked_to_end, "its terminal is closed")
        self.state.start(time.monotonic())
        daemon.driver.wake()
        daemon.driver.dial(self._scheduler, Role.manager, "the scheduler")

    async def close(self) -> None:
        """End all workers."""
        await self._backend.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def carry_out(self, output: Output) -> None:
        """StartWorker and StopWorker."""
        if isinstance(output, StartWorker):
            task = asyncio.get_running_loop().create_task(self._keep(output.number, output.slots))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(output, StopWorker):
            self._backend.stop(output.number)

    def asked_to_end(self, reason: str) -> None:
        """The scheduler should hear that this is no accident."""
        self.state.end(reason)
        self._daemon.driver.wake()

    async def _keep(self, number: int, slots: int) -> None:
        """One worker, from its start to its end."""
        try:
            called = await self._backend.start(number, slots)
        except OSError as error:
            story, exit_code = f"a worker could not be started: {error}", 1
        else:
            log.info("%s: started %s with %d slots", self._daemon.name, called, slots)
            self.state.worker_started(number, time.monotonic())
            self._daemon.driver.wake()
            story, exit_code = await self._backend.wait(number)
        self.state.worker_exited(number, story, time.monotonic(), exit_code)
        self._daemon.driver.wake()
