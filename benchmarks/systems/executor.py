"""ProcessPoolExecutor of the standard library."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from systems.system import System
from systems.work import noop


class Adapter(System):
    def __init__(self, slots: int) -> None:
        self.pool = ProcessPoolExecutor(slots, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, count: int) -> list[int]:
        futures = [self.pool.submit(noop, i) for i in range(count)]
        return [future.result() for future in futures]

    def map(self, count: int) -> list[int]:
        return list(self.pool.map(noop, range(count)))

    def call(self, value: Any) -> Any:
        return self.pool.submit(noop, value).result()

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [future.result() for future in [self.pool.submit(function, *args) for args in arguments]]

    def stop(self) -> None:
        self.pool.shutdown()
