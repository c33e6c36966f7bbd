"""Workers as child processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 5.0


class NativeWorkers:
    """A scaler.manager.service.Backend. ``order`` is what a worker of so many slots is told: see
    scaler.worker.__main__."""

    def __init__(self, order: Callable[[int], Mapping[str, Any]]) -> None:
        self._order = order
        self._processes: dict[int, Process] = {}
        self._kills: dict[int, asyncio.TimerHandle] = {}
        self._closing = False

    async def start(self, number: int, slots: int) -> str:
        """See Backend."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "scaler.worker",
            json.dumps(self._order(slots)),
            stdin=asyncio.subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C in a terminal is for the manager, which ends its workers in order.
        )
        self._processes[number] = process
        if self._closing:
            self.stop(number)
        return f"worker {process.pid}"

    async def wait(self, number: int) -> tuple[str, int]:
        """See Backend."""
        process = self._processes[number]
        code = await process.wait()
        del self._processes[number]
        timer = self._kills.pop(number, None)
        if timer is not None:
            timer.cancel()
        return f"worker {process.pid} {_manner(code)}", code

    def stop(self, number: int) -> None:
        """See Backend."""
        process = self._processes.get(number)
        if process is not None and number not in self._kills:
            self._signal(process, signal.SIGTERM)
            loop = asyncio.get_running_loop()
            self._kills[number] = loop.call_later(PATIENCE_SECONDS, self._signal, process, signal.SIGKILL)

    async def close(self) -> None:
        """See Backend. Those who wait for the workers have to be waited for as well."""
        self._closing = True
        for number in list(self._processes):
            self.stop(number)

    @staticmethod
    def _signal(process: Process, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def _environment() -> dict[str, str]:
    """What is imported here is imported there, and what stands in this directory besides."""
    here = str(Path.cwd())
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*(entry or here for entry in sys.path), here])}


def _manner(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
