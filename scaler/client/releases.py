"""Objects that are freed: told to the object storage by a thread of its own, which may wait for it, many at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from scaler.errors import ScalerError

log = logging.getLogger("scaler")

GATHER_SECONDS = 0.005
"""How long an object waits for others that are freed with it: a message for each would cost more than all the rest."""


class Releases:
    """``send`` frees objects, and may block as long as the storage is away. Safe for use from several threads, and by
    finalizers.
    """

    def __init__(self, send: Callable[[list[bytes]], None]) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        """Held while objects are under way."""
        self._waiting: dict[bytes, None] = {}
        self._under_way: dict[bytes, None] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, object_id: bytes) -> None:
        """Have an object freed, soon."""
        with self._changed:
            first = not self._waiting
            self._waiting[object_id] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="scaler-release", daemon=True)
                self._thread.start()
            if first:
                self._changed.notify_all()

    def take_back(self, object_id: bytes) -> None:
        """It is put again: it is not freed any more when this returns."""
        with self._changed:
            self._waiting.pop(object_id, None)
            self._changed.wait_for(lambda: object_id not in self._under_way)

    def close(self) -> None:
        """Nothing is freed any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def flush(self) -> None:
        """Free now what is to be freed soon."""
        with self._sending:
            with self._changed:
                if self._closed:
                    return
                self._under_way, self._waiting = self._waiting, {}
            try:
                if self._under_way:
                    self._send(list(self._under_way))
            except ScalerError as error:
                log.debug("objects could not be released: %s", error)
            with self._changed:
                self._under_way = {}
                self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self.flush()

    def _wait(self) -> bool:
        """For objects, and a little longer; False when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: self._closed, GATHER_SECONDS)
            return not self._closed
