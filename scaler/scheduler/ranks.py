"""What tasks are queued by: priority and depth in one number, and runs of tasks that are queued alike."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from scaler._core.queues import DEPTH_BITS
from scaler._core.table import gather

MAX_DEPTH = (1 << DEPTH_BITS) - 1
"""Deeper tasks count as so deep."""
MAX_PRIORITY = (1 << 24) - 1
"""Greater priorities count as this one, and lesser ones than its opposite less one as that."""


def rank(priority: int, depth: int) -> int:
    """What the queues go by, as u32: the priority that was asked for, and among equals the depth.

    So recursion goes depth first, and few tasks wait for others at a time. Between shares only the priority counts.
    """
    priority = max(-MAX_PRIORITY - 1, min(priority, MAX_PRIORITY))
    return ((priority << DEPTH_BITS) + min(depth, MAX_DEPTH)) & 0xFFFFFFFF


def signed(value: int) -> int:
    """An i32 out of the u32 it was stored as."""
    return value - (1 << 32) if value >> 31 else value


def alike(tasks: array[int], *columns: array[int]) -> Iterator[tuple[tuple[int, ...], array[int]]]:
    """(entries, tasks) of those that have the same entries in all of these u32 columns, in order."""
    chosen = [gather(column, tasks) for column in columns]
    if all(len(set(column)) == 1 for column in chosen):
        yield tuple(column[0] for column in chosen), tasks
        return
    runs: dict[tuple[int, ...], list[int]] = {}
    for task, *entries in zip(tasks, *chosen, strict=True):
        runs.setdefault(tuple(entries), []).append(task)
    for kind, some in runs.items():
        yield kind, array("I", some)
