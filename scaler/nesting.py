"""What a process knows of the task that it runs: set in executors, read by clients that run inside tasks.

It says nothing in every other process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaler.tracing import Tracer


@dataclass(slots=True)
class Running:
    """What runs in this process."""

    task: int = 0
    """Its task id, 0 when nothing runs; of an item that of its range."""
    attempt: int = 0
    """Which attempt of it."""
    run: int = 0
    """Counts the tasks that have begun in this process."""
    worker: bytes = b""
    """Identity of the worker that this process belongs to."""
    tracer: Tracer | None = None
    """What makes spans, while it runs a task that is traced."""
    streams_output: bool = False
    """Whether its client wants to see what it prints."""

    def begin(self, task: int, attempt: int) -> None:
        """A task begins."""
        self.task, self.attempt = task, attempt
        self.run += 1

    def end(self) -> None:
        """It ended."""
        self.task = 0


running = Running()
"""Of this process."""
