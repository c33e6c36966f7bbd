"""What a client has put into the object storage, as far as it keeps it, so that it can put it again."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence

from typing_extensions import Buffer

from scaler.ids import OBJECT_ID_BYTES
from scaler.storage.link import place_of, spare_here
from scaler.storage.segments import Written

KEPT_BYTES = 256 << 20
"""How much of it; what was put first is dropped first. What is in shared memory costs nothing as long as it is stored, too."""


class KeptContent:
    """By object id. An object is kept as long as it is in use: by tasks, or by tasks whose results may have to be made again.

    Safe for use from several threads.
    """

    def __init__(self, lock: threading.RLock, limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        self._lock = lock
        self._contents: OrderedDict[bytes, list[Buffer] | Written] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._bytes = 0
        self._held: Counter[bytes] = Counter()

    def keep(self, object_id: bytes, content: Sequence[Buffer]) -> None:
        """Content that was put over a connection; what may change is copied, unless it is larger than the limit."""
        size = sum(memoryview(part).nbytes for part in content)
        if size <= self.limit:
            self._add(object_id, [part if type(part) is bytes else bytes(part) for part in map(_whole, content)], size)

    def keep_shared(self, object_id: bytes, written: Written) -> None:
        """Content that is in shared memory."""
        if written.total_bytes <= self.limit:
            self._add(object_id, written, written.total_bytes)
        else:
            written.end(spare_here)

    def get(self, object_id: bytes) -> list[Buffer] | None:
        """The content in parts, if it is kept."""
        with self._lock:
            content = self._contents.get(object_id)
            if not isinstance(content, Written):
                return content
            try:
                return [content.view()]
            except OSError:  # There is nothing left to map it with.
                return None

    def place(self, object_id: bytes) -> bytes:
        """Where executors on this host can read it; nothing for what is not in shared memory, or not kept."""
        with self._lock:
            content = self._contents.get(object_id)
            return place_of(content) if isinstance(content, Written) else b""

    def holds(self, object_id: bytes) -> bool:
        """Whether hold() was called for it."""
        return object_id in self._held

    def hold(self, object_ids: bytes) -> None:
        """Keep these (ids one after the other), though no task may use them meanwhile."""
        with self._lock:
            self._held.update(each_id(object_ids))

    def let_go(self, object_ids: bytes, used: Counter[bytes]) -> None:
        """The opposite of hold(). Those that are not ``used`` either are dropped."""
        with self._lock:
            for object_id in each_id(object_ids):
                self._held[object_id] -= 1
                if not self._held[object_id]:
                    del self._held[object_id]
                    if object_id not in used:
                        self._drop(object_id)

    def unused(self, object_id: bytes) -> None:
        """No task uses it any more."""
        with self._lock:
            if object_id not in self._held:
                self._drop(object_id)

    def _add(self, object_id: bytes, content: list[Buffer] | Written, size: int) -> None:
        with self._lock:
            self._drop(object_id)
            self._contents[object_id], self._sizes[object_id] = content, size
            self._bytes += size
            while self._bytes > self.limit:
                self._drop(next(iter(self._contents)))

    def _drop(self, object_id: bytes) -> None:
        content = self._contents.pop(object_id, None)
        if content is not None:
            self._bytes -= self._sizes.pop(object_id)
        if isinstance(content, Written):
            content.end(spare_here)


def each_id(object_ids: bytes) -> Iterator[bytes]:
    """Object ids that stand one after the other."""
    return (object_ids[i : i + OBJECT_ID_BYTES] for i in range(0, len(object_ids), OBJECT_ID_BYTES))


def _whole(part: Buffer) -> Buffer:
    """The bytes object of which this is all, where there is one: it never changes."""
    view = memoryview(part)
    return view.obj if type(view.obj) is bytes and view.nbytes == len(view.obj) else part
