"""Simulated time: what happens when, in an order that follows from the seed alone."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable


class Clock:
    """The queue of things to come, the one source of randomness, and the record of what happened."""

    def __init__(self, seed: int, verbose: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.seed = seed
        self.story: list[str] = []
        self.frames = 0
        self._verbose = verbose
        self._trace = hashlib.blake2b(digest_size=16)
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Have ``what`` called at this time; of several at one time, the first entered goes first."""
        heapq.heappush(self._queue, (max(time, self.now), next(self._order), what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        """Have ``what`` called so many seconds from now."""
        self.at(self.now + delay, what)

    def run(self, until: float, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to ``until``, or until ``done()``; returns whether it was done."""
        while True:
            if done is not None and done():
                return True
            if not self._queue or self._queue[0][0] > until:
                self.now = max(self.now, until)
                return False
            self.now, _, what = heapq.heappop(self._queue)
            what()

    def tell(self, text: str) -> None:
        """A line of the story."""
        line = f"{self.now:10.6f}  {text}"
        self._trace.update(line.encode())
        self.story.append(line)
        if self._verbose:
            print(line)

    def frame(self, origin: str, target: str, data: bytes) -> None:
        """A frame was read: part of the trace."""
        self.frames += 1
        self._trace.update(f"{self.now:.9f} {origin} {target} ".encode() + data)

    @property
    def trace(self) -> str:
        """A digest of all that happened so far."""
        return self._trace.hexdigest()

    def bytes(self, count: int) -> bytes:
        """Random bytes, for identities and object ids."""
        return self.random.randbytes(count)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability
