"""A worker manager's service: the connection to the scheduler, and a backend."""

from __future__ import annotations

import time

from scaler.ids import Address
from scaler.machine import Output
from scaler.manager.baremetal_native import BaremetalNative
from scaler.manager.state import ManagerOptions, ManagerState, StartWorker, StopWorker
from scaler.messages import Role
from scaler.net.daemon import Daemon, log


class ManagerService:
    """Carries what a ManagerState decides."""

    def __init__(self, options: ManagerOptions, scheduler: Address, backend: BaremetalNative) -> None:
        self.state = ManagerState(options)
        self._scheduler = scheduler
        self._backend = backend
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        self._daemon = daemon
        options = self.state.options
        log.info("%s: %s starts %d slots for %s", daemon.name, options.name, options.slots, self._scheduler)
        self.state.start(time.monotonic())
        daemon.driver.wake()
        daemon.driver.dial(self._scheduler, Role.manager, "the scheduler")

    async def close(self) -> None:
        self.state.stop("closing")
        await self._backend.close()

    def carry_out(self, output: Output) -> None:
        """StartWorker and StopWorker."""
        if isinstance(output, StartWorker):
            self._backend.start(output.worker, self._started, self._exited)
        elif isinstance(output, StopWorker):
            self._backend.stop(output.worker)

    def _started(self, worker: int) -> None:
        self.state.worker_started(worker, time.monotonic())
        self._daemon.driver.wake()

    def _exited(self, worker: int, story: str) -> None:
        self.state.worker_exited(worker, story, time.monotonic())
        self._daemon.driver.wake()
