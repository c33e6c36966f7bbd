"""Large files in shared memory are closed by a thread: giving back their memory takes 40 ms a GB, too long for a loop."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

LARGE_BYTES = 8 << 20


class Closing:
    """Closes files for a service until ``end``; ``close`` may be called by finalizers, in any thread."""

    def __init__(self) -> None:
        self._files: SimpleQueue[int | None] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="scaler-closing", daemon=True)
        self._thread.start()

    def close(self, descriptor: int, size: int) -> None:
        """A file of so many bytes: a large one soon, others at once."""
        if size < LARGE_BYTES or self._ended:
            os.close(descriptor)
        else:
            self._files.put(descriptor)

    def end(self) -> None:
        """Everything is closed when this returns."""
        self._ended = True
        self._files.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (descriptor := self._files.get()) is not None:
            os.close(descriptor)
