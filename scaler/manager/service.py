"""The worker manager's service: the connection to the scheduler, and workers by way of a backend."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaler.ids import Address
from scaler.machine import Output
from scaler.manager.backend import Backend, Phase, Sighting, WorkerOrder
from scaler.manager.state import ManagerOptions, ManagerState, StartWorkers, StopWorkers
from scaler.messages import Role
from scaler.net.daemon import Daemon, log

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def sized(options: ManagerOptions, backend: Backend) -> ManagerOptions:
    """The options with what the backend can offer, where nothing else was said. Once it is prepared."""
    slots = options.slots or backend.most_slots
    one = slots if options.fixed else options.worker_slots or backend.worker_slots
    return replace(options, slots=slots, worker_slots=max(1, min(one, slots)))


class ManagerService:
    """Carries what a ManagerState decides. The backend is asked one thing at a time."""

    def __init__(self, options: ManagerOptions, scheduler: Address, backend: Backend) -> None:
        self.state = ManagerState(options)
        self._scheduler = scheduler
        self._backend = backend
        self._turn = asyncio.Lock()
        self._look = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        """See what workers there are, start some, and dial the scheduler. Raises ConfigurationError."""
        self._daemon = daemon
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            # A terminal that is closed tells the manager only, as with Ctrl-C; under nohup it is to live on.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.asked_to_end, "its terminal is closed")
        self._backend.changed = self._look.set
        await self._backend.prepare()
        self.state.options = sized(self.state.options, self._backend)
        self.state.start(time.monotonic())
        await self._list()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        daemon.driver.wake()
        daemon.driver.dial(self._scheduler, Role.manager, "the scheduler")

    async def close(self) -> None:
        """End all workers."""
        if self._watcher is None:
            return  # It never got as far.
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watcher
        # Those that were being started when the end came.
        await self._stop(self.state.names)
        await self._backend.close()

    def carry_out(self, output: Output) -> None:
        """StartWorkers and StopWorkers."""
        if isinstance(output, StartWorkers):
            self._spawn(self._start(output.orders))
        elif isinstance(output, StopWorkers):
            self._spawn(self._stop(output.names))

    def asked_to_end(self, reason: str) -> None:
        """The scheduler should hear that this is no accident."""
        self.state.end(reason)
        self._daemon.driver.wake()

    def health(self) -> str:
        """It needs the scheduler."""
        return "" if self.state.snapshot()["connected"] else f"not connected to the scheduler at {self._scheduler}"

    def metrics(self) -> list[Metric]:
        """Its slots and workers."""
        from scaler.metrics.families import gauge, managers

        return [
            *managers([self.state.facts()]),
            gauge("scaler_manager_workers", "Workers that are starting, at work or ending.", len(self.state.names)),
        ]

    # ---- the backend

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, orders: Sequence[WorkerOrder]) -> None:
        async with self._turn:
            try:
                seen = list(await self._backend.start(orders))
            except Exception as error:
                seen = []
                reason = f"no worker could be started: {error or type(error).__name__}"
            else:
                reason = "the backend does not tell what became of a worker"
        told = {sighting.name for sighting in seen}
        missing = [Sighting(o.name, Phase.ENDED, story=reason) for o in orders if o.name not in told]
        self._tell([*seen, *missing], complete=False)

    async def _stop(self, names: Sequence[str]) -> None:
        if names:
            async with self._turn:
                await self._quietly("stop workers", lambda: self._backend.stop(names))
            self._look.set()

    async def _list(self) -> None:
        async with self._turn:
            await self._quietly("see which workers there are", self._list_now)

    async def _list_now(self) -> None:
        self._tell(await self._backend.list(), complete=True)

    async def _quietly(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """What goes wrong is logged; it is tried again when it is due again."""
        try:
            await call()
        except Exception as error:
            log.warning("%s: cannot %s: %s", self._daemon.name, what, error or type(error).__name__)

    def _tell(self, seen: Sequence[Sighting], complete: bool) -> None:
        self.state.offered = self._backend.most_slots
        self.state.sighted(seen, time.monotonic(), complete)
        self._daemon.driver.wake()

    async def _watch(self) -> None:
        """List whenever something has changed, and from time to time."""
        while True:
            # Python 3.11's wait_for would swallow being cancelled in the turn in which there is something to look at.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._backend.poll_seconds or None):
                    await self._look.wait()
            self._look.clear()
            await self._list()
