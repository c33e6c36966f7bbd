"""What an adapter is: a system's cluster on this machine, and the work in the system's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil


class Missing(Exception):
    """The system has no such thing; the text says so."""


class System:
    """One system. The constructor starts its cluster with so many slots; ``stop`` ends it."""

    distribution: str | None = None
    """Whose version is reported; None for the standard library."""

    def __init__(self, slots: int) -> None:
        raise NotImplementedError

    def submit(self, count: int) -> list[int]:
        """noop(i) for i below ``count``, each submitted by itself; all results."""
        raise Missing("no single tasks")

    def map(self, count: int) -> list[int]:
        """noop over range(count) by the system's map, with every item a task of its own where there is a choice."""
        raise Missing("no map")

    def call(self, value: Any) -> Any:
        """noop(value): submitted and waited for."""
        raise Missing("no single tasks")

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        """The function for each of these arguments, each submitted by itself; all results."""
        raise Missing("no single tasks")

    def compute(self, graph: dict[str, Any], key: str) -> Any:
        """The value of one key of a graph."""
        raise Missing("no graphs")

    def role(self, process: psutil.Process) -> str:
        """What a process of the cluster is: scheduler, worker, executor, storage or other."""
        return "other" if "multiprocessing.resource_tracker" in " ".join(process.cmdline()) else "executor"

    def stop(self) -> None:
        raise NotImplementedError
