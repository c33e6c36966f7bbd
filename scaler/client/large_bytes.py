"""The memory of large results: what a program has let go is written again, which is much faster than getting more."""

from __future__ import annotations

import os
import threading
import time

from scaler._core.recycled import Recycled

HELD_BYTES = 256 << 20
HELD_SECONDS = 2.0
"""How much memory of such results is held at most, and for how long after the last of them."""


class LargeBytes:
    """Makes bytes objects. Safe for use from several threads."""

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self.held = Recycled(limit)
        self._lock = threading.Lock()
        self._process = 0
        """The one in which a thread lets them go."""
        self._used = 0.0

    def copy(self, view: memoryview) -> bytes:
        """As bytes(view)."""
        made = self.held.copy(view)
        self._used = time.monotonic()
        if self._process != os.getpid():
            self._watch()
        return made

    def drop_unused(self, seconds: float = HELD_SECONDS) -> bool:
        """Let all of it go if none was used for so long; False while it is held."""
        with self._lock:
            if time.monotonic() - self._used < seconds:
                return False
            self._process = 0  # Who makes one from here on begins to watch again.
            self.held.clear()
            return True

    def _watch(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="scaler-large-bytes", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(HELD_SECONDS)
            if self.drop_unused():
                return


large_bytes_here = LargeBytes()
