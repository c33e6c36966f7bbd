"""How tasks ended: by other means than their own results, and how many in all."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.messages import ResultStatus


@dataclass(slots=True)
class End:
    """A task that ended in this pass by other means than its own result."""

    task: int
    id: int
    status: ResultStatus
    payload: bytes
    count: int = 1
    """Items that ended, of which the id names the first."""
    profile: tuple[int, int, int] = (0, 0, 0)
    """Wall and CPU microseconds and peak bytes, where the task ran to its end."""
    retried: int = 0
    """How often it was run again."""


@dataclass(slots=True)
class Counters:
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stale: int = 0
