"""The thread that calls what users want called when their futures end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

END_SECONDS = 10.0


class Callbacks:
    """Runs what the client's thread may not wait for, in order, in a thread that starts when it is first needed."""

    def __init__(self, owner: threading.Thread) -> None:
        self._owner = owner
        """The client's thread. What other threads ask for they run themselves."""
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Have it done: at once, or soon if this is the client's thread."""
        if threading.current_thread() is not self._owner:
            work()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="scaler-callbacks", daemon=True)
            self._thread.start()
        self._work.put(work)

    def _serve(self) -> None:
        for work in iter(self._work.get, None):
            work()

    def close(self) -> None:
        """Until all is done, once the client's thread has ended."""
        self._work.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(END_SECONDS)
