"""multiprocessing.Pool of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from systems.system import System
from systems.work import noop


class Adapter(System):
    def __init__(self, slots: int) -> None:
        self.pool = multiprocessing.get_context("spawn").Pool(slots)

    def submit(self, count: int) -> list[int]:
        results = [self.pool.apply_async(noop, (i,)) for i in range(count)]
        return [result.get() for result in results]

    def map(self, count: int) -> list[int]:
        return list(self.pool.imap(noop, range(count)))

    def call(self, value: Any) -> Any:
        return self.pool.apply(noop, (value,))

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [result.get() for result in [self.pool.apply_async(function, args) for args in arguments]]

    def stop(self) -> None:
        self.pool.terminate()
        self.pool.join()
