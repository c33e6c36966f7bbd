"""What a client's threads have for its event loop to do."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_Entry = TypeVar("_Entry")


class Inbox(Generic[_Entry]):
    """Entries in the order in which they came, and when the loop looks at them, which it does by calling ``look``.

    Safe for use from several threads, and by finalizers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], None]) -> None:
        self._loop = loop
        self._look = look
        self._entries: deque[_Entry] = deque()
        self._lock = threading.RLock()
        self._within = math.inf
        """In so many seconds at most the loop looks; less than nothing when it does not any more."""

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entry: _Entry) -> None:
        """Without waking the loop."""
        self._entries.append(entry)

    def wake(self, patience: float = 0.0) -> None:
        """Have the loop look, at once or within so many seconds, with what comes until then. To be called after add()."""
        with self._lock:
            if self._within <= patience:
                return
            self._within = patience
            if patience:
                self._loop.call_soon_threadsafe(self._loop.call_later, patience, self._look)
            else:
                self._loop.call_soon_threadsafe(self._look)

    def take(self) -> Iterator[_Entry]:
        """Take entries out, also those that are added meanwhile."""
        with self._lock:
            if self._within >= 0:
                self._within = math.inf
        while self._entries:
            yield self._entries.popleft()

    def close(self) -> None:
        """The loop does not look any more."""
        with self._lock:
            self._within = -1.0
