"""Values over time, of bounded length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class Series:
    """The last values of one quantity, with when they were seen (Unix seconds)."""

    def __init__(self, length: int) -> None:
        self.times: deque[float] = deque(maxlen=length)
        self.values: deque[float] = deque(maxlen=length)

    def add(self, time: float, value: float) -> None:
        self.times.append(time)
        self.values.append(value)

    @property
    def last(self) -> float:
        """0 before the first."""
        return self.values[-1] if self.values else 0.0

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return zip(self.times, self.values, strict=True)

    def __len__(self) -> int:
        return len(self.values)


class Rate:
    """What a counter's growth comes to in a second, over the time between two looks."""

    def __init__(self) -> None:
        self._time: float | None = None
        self._count = 0

    def of(self, time: float, count: int) -> float:
        """0 at the first look, and when the counter began anew."""
        before, seen = self._time, self._count
        self._time, self._count = time, count
        if before is None or time <= before or count < seen:
            return 0.0
        return (count - seen) / (time - before)
