"""The backend ``baremetal_native``: workers as child processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict

from scaler.worker.state import WorkerOptions

PATIENCE_SECONDS = 5.0


class BaremetalNative:
    """Starts and stops workers; tells ``exited(worker, story)`` when one ends."""

    def __init__(
        self, options: WorkerOptions, event_loop: str, logging: tuple[str, tuple[str, ...], str | None]
    ) -> None:
        self._command = json.dumps({"options": asdict(options), "event_loop": event_loop, "logging": logging})
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, worker: int, started: Callable[[int], None], exited: Callable[[int, str], None]) -> None:
        """Start a worker process."""
        task = asyncio.get_running_loop().create_task(self._live(worker, started, exited))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, worker: int, started: Callable[[int], None], exited: Callable[[int, str], None]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", "scaler.worker", self._command)
        except OSError as error:
            exited(worker, f"it could not be started: {error.strerror}")
            return
        self._processes[worker] = process
        started(worker)
        code = await process.wait()
        del self._processes[worker]
        exited(worker, f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")

    def stop(self, worker: int) -> None:
        """Ask a worker to end."""
        process = self._processes.get(worker)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def close(self) -> None:
        """End all workers, by force those that take too long."""
        for worker in list(self._processes):
            self.stop(worker)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)
        for process in list(self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)
