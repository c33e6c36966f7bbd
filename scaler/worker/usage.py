"""How much processor time and memory processes of this host use."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil


class Usage:
    """Asked again and again of the same processes; tells what they used since it was asked before."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[float, int]] = {}
        """By pid, as measured last: processor use in percent of one core, resident bytes."""
        self._before: dict[int, tuple[float, float]] = {}
        """By pid: when it was measured, and its processor time in seconds."""

    def measure(self, pids: Iterable[int]) -> tuple[float, int]:
        """Look at these processes; returns the sums. One that is gone uses nothing, one that is new has used nothing yet."""
        now, seen = time.monotonic(), dict[int, tuple[float, float]]()
        self.of = {}
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                with process.oneshot():
                    times, resident = process.cpu_times(), int(process.memory_info().rss)
                seen[pid] = now, times.user + times.system
                then, before = self._before.get(pid, seen[pid])
                percent = 100 * (seen[pid][1] - before) / max(now - then, 1e-6)
                self.of[pid] = max(0.0, percent), resident
        self._before = seen
        return sum(percent for percent, _ in self.of.values()), sum(resident for _, resident in self.of.values())
