"""What tasks print, brought to where this process prints."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress

MOST_HELD_BYTES = 8 << 20
"""More is left out, and said to be, where this process does not print as fast as its tasks."""
PATIENCE_SECONDS = 5.0


class OutputWriter:
    """Writes to ``sys.stdout`` and ``sys.stderr``, whatever they are at the time, from a thread of its own: who reads them may
    be slow, and the client has to answer meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pieces: deque[tuple[bool, bytes]] = deque()
        self._held = 0
        self._left_out = 0
        self._put = self._written = 0
        threading.Thread(target=self._write_all, name="scaler-output", daemon=True).start()

    def put(self, to_standard_error: bool, content: bytes) -> None:
        """Have it written. Never waits."""
        with self._changed:
            if self._held + len(content) > MOST_HELD_BYTES:
                self._left_out += len(content)
                return
            self._pieces.append((to_standard_error, content))
            self._held += len(content)
            self._put += 1
            self._changed.notify_all()

    def flush(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all that was put before is written, or so long."""
        with self._changed:
            wanted = self._put
            self._changed.wait_for(lambda: self._written >= wanted, seconds)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces)
                to_standard_error, content = self._pieces[0]
            stream = sys.stderr if to_standard_error else sys.stdout
            _write(stream, content.decode(errors="replace"))
            with self._changed:
                self._pieces.popleft()
                self._held -= len(content)
                left_out, self._left_out = self._left_out, 0
            if left_out:
                _write(sys.stderr, f"[{left_out} bytes that tasks printed are left out: they came too fast]\n")
            with self._changed:
                self._written += 1
                self._changed.notify_all()


def _write(stream: object, text: str) -> None:
    # A stream that is closed, broken, or None (pythonw, daemons) has nobody who reads it.
    with suppress(OSError, ValueError, AttributeError):
        stream.write(text)  # type: ignore[attr-defined]
        stream.flush()  # type: ignore[attr-defined]
