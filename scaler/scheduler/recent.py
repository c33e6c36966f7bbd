"""The last things of a kind that happened: log lines, failures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from scaler.machine import Outbox
from scaler.messages import LogLine
from scaler.scheduler.clock import Clock

T = TypeVar("T")
KEPT_LINES = 200


class Recent(Generic[T]):
    """Keeps the last ``size`` of them, and counts all."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._kept: deque[T] = deque(maxlen=size)

    def add(self, thing: T) -> None:
        self._kept.append(thing)
        self.count += 1

    def since(self, count: int) -> list[T]:
        """Those that came after so many, as far as they are kept."""
        new = min(self.count - count, len(self._kept))
        return list(islice(self._kept, len(self._kept) - new, None)) if new else []


@dataclass(slots=True)
class RememberedOutbox(Outbox):
    """Remembers the last lines that it was given for the log."""

    clock: Clock = field(default_factory=Clock)
    lines: Recent[LogLine] = field(default_factory=lambda: Recent(KEPT_LINES))

    def log(self, level: int, text: str) -> None:
        Outbox.log(self, level, text)
        self.lines.add(LogLine(self.clock.unix_milliseconds, level, text))
