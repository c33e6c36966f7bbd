"""What a backend is: something that starts workers somewhere, stops them, and tells which there are.

A backend is one file beside this one. It decides nothing: how many workers there should be, which of them, and when to try
again is ``scaler.manager.state``'s to say. Every worker has a name, which the backend puts on whatever it makes (a tag, a
label, a job's name), together with the name of the manager: so ``list`` finds what an earlier manager of that name left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Phase(Enum):
    """How far a worker is, as its backend sees it."""

    PENDING = "pending"
    """Asked for; nothing runs yet, so that it can be taken back without harm."""
    RUNNING = "running"
    """Its process, or the machine that is to run it, has been started. Whether it works the scheduler knows."""
    ENDED = "ended"
    """It is gone, or never came to be."""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """A worker that is to be started."""

    name: str
    """Unique for all time among the workers of managers of this name; letters, digits and ``-_.``."""
    slots: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a backend sees of one worker."""

    name: str
    phase: Phase
    slots: int = 0
    """0: as it was ordered."""
    label: str = ""
    """What to call it to people: process, host, job."""
    story: str = ""
    """Of one that has ended: how, for people."""
    orderly: bool = False
    """Of one that has ended: whether by itself and without an error, as one that was drained."""
    unfit: bool = False
    """Of one that has ended: whether it found that no worker can work here, so that another one would do no better."""
    killed: bool = False
    """Of one that has ended: whether something outside ended it, so that another one may do better."""
    leaving: bool = False
    """Its machine will be taken away soon: it is to get no more tasks, and another worker its place."""


class Backend(Protocol):
    """Where workers run. The service makes one call at a time, from one event loop."""

    poll_seconds: float
    """How often to list(), beside when ``changed`` was called; 0: never."""
    changed: Callable[[], None]
    """Set by the service: to be called when list() has something new to tell."""

    @property
    def most_slots(self) -> int:
        """The most that can be had now, running ones included: fewer when a part of it does not answer or is full."""

    @property
    def worker_slots(self) -> int:
        """How many slots a worker has here, unless the user says something else."""

    async def prepare(self) -> None:
        """Once, before anything else. Raises ConfigurationError for what the user has to mend."""

    def describe(self, order: WorkerOrder) -> str:
        """What start() would do about it, in one line for people."""

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """Begin to start workers, without waiting until they work; tells of each whether that went well.

        What goes wrong with one is told in its sighting, and harms no other.
        """

    async def stop(self, names: Sequence[str]) -> None:
        """Have workers end, by force if they take too long. Names that are not there are passed over."""

    async def list(self) -> Sequence[Sighting]:
        """All workers of this manager's name that there are, and those that ended since the last call.

        Raises OSError when it cannot be known at present.
        """

    async def close(self) -> None:
        """Wait until what was stopped has ended, and give back connections and helpers."""
