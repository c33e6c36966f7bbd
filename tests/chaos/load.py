"""Tasks that leave a trace of each run, and what became of them."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from scaler import Client

RUN = struct.Struct("<Q")
AHEAD = 2000
"""How many tasks a client has submitted and not heard of."""
PATIENCE_SECONDS = 120


def work(number: int, seconds: float, runs: str) -> int:
    """A task: sleeps, and notes that it has run to its end."""
    time.sleep(seconds)
    note(number, runs)
    return number * number + 1


def work_on_bytes(number: int, content: bytes, seconds: float, runs: str) -> bytes:
    """A task with a large argument and a large result."""
    time.sleep(seconds)
    note(number, runs)
    return content[::-1]


def note(number: int, runs: str) -> None:
    """A line in a file that all processes append to; so short a write is not torn."""
    descriptor = os.open(runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, RUN.pack(number))
    finally:
        os.close(descriptor)


@dataclass
class Tally:
    """What became of tasks."""

    name: str
    submitted: int = 0
    right: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """By the name of the error."""
    lost: int = 0
    """Never ended."""
    again: int = 0
    """Ran to their end more than once."""
    delivered_twice: int = 0
    seconds: float = 0.0
    longest_pause: float = 0.0
    """Seconds in which no task ended."""
    faults: int = 0
    notes: str = ""

    @property
    def good(self) -> bool:
        return not (self.wrong or self.lost or self.delivered_twice or self.failed)


@dataclass
class Load:
    """Tasks through a client, at most ``ahead`` at a time."""

    client: Client
    directory: Path
    seconds: float = 0.01
    content: bytes = b""
    ahead: int = AHEAD
    callbacks: Counter[int] = field(default_factory=Counter)
    _ended: list[float] = field(default_factory=list)

    def run(self, count: int, tally: Tally) -> None:
        """Submit so many, wait, and check all results."""
        runs = str(self.directory / "runs")
        began = time.monotonic()
        self._ended = [began]
        waiting: dict[int, Future[Any]] = {}
        for number in range(count):
            waiting[number] = self._submit(number, runs)
            tally.submitted += 1
            if len(waiting) >= self.ahead:
                for done in list(islice(waiting, -(-self.ahead // 2))):
                    self._judge(done, waiting.pop(done), tally)
        for number, future in waiting.items():
            self._judge(number, future, tally)
        tally.seconds = time.monotonic() - began
        tally.longest_pause = max(after - before for before, after in pairwise(self._ended))
        ran = Counter(_noted(Path(runs)))
        tally.again = sum(times - 1 for times in ran.values())
        tally.delivered_twice = sum(times - 1 for times in self.callbacks.values() if times > 1)

    def _submit(self, number: int, runs: str) -> Future[Any]:
        if self.content:
            future = self.client.submit(work_on_bytes, number, RUN.pack(number) + self.content, self.seconds, runs)
        else:
            future = self.client.submit(work, number, self.seconds, runs)
        future.add_done_callback(lambda _: self._note(number))
        return future

    def _note(self, number: int) -> None:
        self.callbacks.update([number])
        self._ended.append(time.monotonic())

    def _judge(self, number: int, future: Future[Any], tally: Tally) -> None:
        try:
            result = future.result(PATIENCE_SECONDS)
        except TimeoutError:
            tally.lost += 1
        except Exception as error:
            tally.failed[type(error).__name__] += 1
            tally.notes = tally.notes or f"the first error: {error}"
        else:
            expected = (RUN.pack(number) + self.content)[::-1] if self.content else number * number + 1
            tally.right += result == expected
            tally.wrong += result != expected


def _noted(path: Path) -> Iterator[int]:
    content = path.read_bytes() if path.exists() else b""
    return (number for (number,) in RUN.iter_unpack(content))
