"""Watches an event loop from a thread: says where it is when it does not turn, and ends the process when that goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

WARN_SECONDS = 3.0
"""A loop that has not turned for so long is told of; half of what peers wait for a heartbeat before they wonder."""
FATAL_SECONDS = 120.0
"""Nobody waits for a daemon any longer: others have its work, and whoever supervises it should start another one."""
EXIT_CODE = 70
_TICKS = 6
"""How often the loop is looked at within WARN_SECONDS."""


class Watchdog:
    """Made in the thread of the loop. Time counts in looks of the watching thread: where the whole process was stopped, or the
    machine slept, that thread slept as well, and nothing is wrong.
    """

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        warn_seconds: float = WARN_SECONDS,
        fatal_seconds: float = FATAL_SECONDS,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._log = log
        self._pause = warn_seconds / _TICKS
        self._fatal = fatal_seconds
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._turned = True
        self._missed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="scaler-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._pause):
            if self._turned:
                if self._missed >= _TICKS:
                    self._log.warning("%s: turns again, after %.1f s", self._name, self._missed * self._pause)
                self._missed, self._turned = 0, False
                try:
                    self._loop.call_soon_threadsafe(self._turn)
                except RuntimeError:  # The loop is closed.
                    return
                continue
            self._missed += 1
            if self._missed == _TICKS:
                self._log.warning("%s: has answered nobody for %.1f s; it is in\n%s", *self._facts())
            if self._missed * self._pause >= self._fatal:
                self._log.critical("%s: has answered nobody for %.1f s, and ends; it was in\n%s", *self._facts())
                self._end(EXIT_CODE)
                return

    def _turn(self) -> None:
        self._turned = True

    def _facts(self) -> tuple[str, float, str]:
        frame = sys._current_frames().get(self._watched)
        where = "".join(traceback.format_stack(frame)).rstrip() if frame is not None else "(its thread has ended)"
        return self._name, self._missed * self._pause, where
