"""Calls over an iterable, a window of them under way at a time: what imap() and its like stand on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

SIZE = 1000
"""How many calls are under way at most, by default."""


class Window:
    """Ended calls, one after the other, while the next are under way.

    Args:
        submit: makes a call of an item.
        items: read no further than calls are under way, so it may be endless.
        ordered: whether calls come in the order of the items, or as they end.
        size: how many calls are under way at most.
    """

    def __init__(
        self, submit: Callable[[Any], Future[Any]], items: Iterable[Any], ordered: bool, size: int = SIZE
    ) -> None:
        self._submit = submit
        self._items = iter(items)
        self._ordered = ordered
        self._size = size
        self._under_way: deque[Future[Any]] = deque()
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._count = 0
        self._fill()

    def _fill(self) -> None:
        while self._count < self._size:
            try:
                item = next(self._items)
            except StopIteration:
                return
            future = self._submit(item)
            self._count += 1
            if self._ordered:
                self._under_way.append(future)
            else:
                future.add_done_callback(self._ended.put)

    def next(self, timeout: float | None = None) -> Future[Any]:
        """The next call that ended. Raises TimeoutError after ``timeout`` seconds, StopIteration after the last."""
        self._fill()
        if not self._count:
            raise StopIteration
        future = self._next_in_order(timeout) if self._ordered else self._next_to_end(timeout)
        self._count -= 1
        return future

    def _next_in_order(self, timeout: float | None) -> Future[Any]:
        future = self._under_way[0]
        if not future.done():
            ended: SimpleQueue[Future[Any]] = SimpleQueue()
            future.add_done_callback(ended.put)
            _take(ended, timeout)
        return self._under_way.popleft()

    def _next_to_end(self, timeout: float | None) -> Future[Any]:
        return _take(self._ended, timeout)


def _take(ended: SimpleQueue[Future[Any]], timeout: float | None) -> Future[Any]:
    try:
        return ended.get(timeout=None if timeout is None else max(0.0, timeout))
    except Empty:
        raise TimeoutError from None
