"""Which results were used: a scheduler with a journal keeps them for a client with a name until it is told."""

from __future__ import annotations

from array import array
from collections import deque

from scaler.messages import Collected


class Collections:
    """Told by users' threads, taken by the client's with each heartbeat."""

    def __init__(self) -> None:
        self.on = False
        """Whether anybody wants to know."""
        self._fresh: deque[tuple[int, int]] = deque()
        self._told: list[tuple[int, Collected]] = []
        """With the time of the heartbeat after it: what the scheduler may not have heard."""

    def add(self, sequence: int, count: int = 1) -> None:
        """The result of a task was used, or of so many items, or nobody will."""
        if self.on:
            self._fresh.append((sequence, count))

    def take(self, heartbeat: int) -> Collected | None:
        """What is to be said before the heartbeat of this time."""
        pairs = [self._fresh.popleft() for _ in range(len(self._fresh))]
        if not pairs:
            return None
        counts = array("I", [count for _, count in pairs])
        together = max(counts) > 1
        told = Collected(array("Q", [sequence for sequence, _ in pairs]), counts if together else b"")
        self._told.append((heartbeat, told))
        return told

    def answered(self, heartbeat: int) -> None:
        """The scheduler has heard this heartbeat, and what was said before it."""
        self._told = [entry for entry in self._told if entry[0] > heartbeat]

    def connected(self) -> None:
        """What was said on the connection before may not have arrived."""
        told, self._told = self._told, []
        for _, message in told:
            counts = message.counts or [1] * len(message.sequences)
            self._fresh.extend(zip(message.sequences, counts, strict=True))
