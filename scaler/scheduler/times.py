"""Since when tasks are where they are, in columns: a fill for each column of tasks that moves."""

from __future__ import annotations

from array import array

from scaler._core.table import fill
from scaler.scheduler.clock import Clock, between


class Times:
    """By the index of a task. Times are stamps of the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._came = array("I")
        self._queued = array("I")
        self._assigned = array("I")

    def came(self, tasks: array[int]) -> None:
        """They were submitted."""
        fill(self._came, tasks, self._clock.stamp)

    def queued(self, tasks: array[int]) -> None:
        """They are ready."""
        fill(self._queued, tasks, self._clock.stamp)

    def assigned(self, tasks: array[int]) -> None:
        """They were given to a worker."""
        fill(self._assigned, tasks, self._clock.stamp)

    def blocked(self, task: int, still: bool) -> int:
        """Milliseconds from its submission until it was ready, or until now."""
        return self._clock.since(self._came[task]) if still else between(self._came[task], self._queued[task])

    def ready(self, task: int, still: bool) -> int:
        """Milliseconds since then until it was given to a worker, or until now."""
        return self._clock.since(self._queued[task]) if still else between(self._queued[task], self._assigned[task])

    def with_worker(self, task: int) -> int:
        """Milliseconds since it was given to a worker."""
        return self._clock.since(self._assigned[task])
