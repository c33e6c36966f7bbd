"""What the scheduler knows of each client, worker and manager."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

from scaler.ids import SEQUENCE_BITS
from scaler.messages import (
    Desired,
    JournalRecord,
    ManagerReport,
    RegisterManager,
    RegisterWorker,
    Results,
    RunningInside,
    WorkerHeartbeat,
)
from scaler.scheduler.uncollected import Uncollected

Single = tuple[int, int, bytes, int, tuple[int, int, int], int]
"""(sequence, status, payload, count, profile, retried) of a task, or of items in a row, that ended other than well."""
NEUTRAL = ("msgpack", "json")
"""Serializers of calls by name, whose results every client reads alike."""
UNKNOWN = (0, 0, 0)
"""The profile (wall and processor time in us, peak bytes) of what did not run to its end."""


@dataclass(slots=True)
class ClientSession:
    """A client, connected or not yet forgotten."""

    number: int
    identity: bytes
    name: str
    peer: int | None
    heard: float
    """When it last said something, or was lost."""
    untold: dict[int, ClientSession] = field(repr=False)
    """By number, the same for all: clients that are to be told something."""
    functions: dict[int, int] = field(default_factory=dict)
    """Its function numbers to the scheduler's."""
    outbox: list[Results] = field(default_factory=list)
    singles: list[Single] = field(default_factory=list)
    answers: list[object] = field(default_factory=list)
    held: array[int] = field(default_factory=lambda: array("Q"))
    """Ids of tasks that are not to begin before all parts of what was submitted together are there."""
    graph: int = 0
    """The number of the graph of which parts are still to come, 0 for none."""
    refusing: bool = False
    """Whether a part was rejected, and so the next ones are."""
    answered: set[int] | None = None
    """Of a client that is back, up to its first heartbeat: what it was told meanwhile, and may just be offering again."""

    inside: RunningInside | None = None
    """The task inside of which it runs."""
    depth: int = 0
    """Of the tasks that it submits: 0 for a client that runs inside no task."""
    origin: int | None = None
    """The number of the client for which that task runs, where it is inside one."""
    orphaned: bool = False
    """Whether the task inside of which it ran was stopped or died: what it submitted was cancelled, and it may be gone soon."""
    software: str = ""
    """See scaler.software."""
    put_by: list[object] | None = None
    """Of a client that comes from another scheduler, while workers are waited for: what it has said."""
    slots_before: int = 0
    """How many slots these workers have."""
    resume_at: float | None = None
    """When they are waited for no more; None until it has offered all."""
    nested: bool = False
    """Whether it runs, or has run, inside a task."""
    replay: list[JournalRecord] = field(default_factory=list)
    """What the journal has of it, until that is entered, before what it has said itself since."""
    journaled: bool = False
    """Whether the journal knows of it."""
    uncollected: Uncollected | None = None
    """With a journal, of a client with a name."""
    labels: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By sequence, of an array by that of its first item: name and serializer, where it has a name or a serializer of its own.
    Only with ``uncollected``."""
    by_name: bool = False
    """Whether it has defined functions with a serializer of their own."""
    next_sequence: int = 0
    """Sequences below are used, as far as the journal tells."""
    claimed_until: float = 0.0
    """Somebody was told that it is gone, and may come for what it has left."""

    @property
    def label(self) -> str:
        return f"client {self.name or self.identity.hex()[:8]}"

    @property
    def is_left_behind(self) -> bool:
        """Whether it is gone, and may come back for what it has."""
        return self.uncollected is not None and self.peer is None

    def note(self, sequence: int, name: str, serializer: str) -> None:
        """Remember what a task, or an array by its first item, is called, as far as that cannot be guessed."""
        if self.uncollected is not None and (name or serializer in NEUTRAL):
            self.labels[sequence] = name, serializer if serializer in NEUTRAL else ""

    @property
    def share(self) -> int:
        """For whom its tasks run: clients that run inside tasks have no share of their own."""
        return self.number if self.origin is None else self.origin

    @property
    def first_id(self) -> int:
        return self.number << SEQUENCE_BITS

    def deliver(self, told: Results) -> None:
        """Have it told of results."""
        self.outbox.append(told)
        self.untold[self.number] = self

    def deliver_single(self, told: Single) -> None:
        """The same of one that ended other than well."""
        self.singles.append(told)
        self.untold[self.number] = self

    def answer(self, message: object) -> None:
        """Have it told this, after results."""
        self.answers.append(message)
        self.untold[self.number] = self

    def collect_results(self) -> list[Results]:
        """What is to be told, which is forgotten here."""
        told = self.outbox
        if self.singles:
            told.append(as_results(self.singles))
        self.outbox, self.singles = [], []
        return told


def as_results(singles: list[Single]) -> Results:
    """One message of these."""
    sequences, statuses, payloads, counts, profiles, retried = zip(*singles, strict=True)
    wall, cpu, peak = (array("Q", column) for column in zip(*profiles, strict=True))
    results = Results(array("Q", sequences), b"", bytes(statuses), list(payloads), wall, cpu, peak)
    if max(counts) > 1:
        results.counts = array("I", counts)
    if any(retried):
        results.retried = array("I", retried)
    return results


@dataclass(slots=True)
class WorkerSession:
    """A connected worker that has registered."""

    number: int
    peer: int
    identity: bytes
    name: str
    facts: RegisterWorker
    heard: float
    since: int
    """Unix milliseconds of its registration."""
    known: set[int] = field(default_factory=set)
    """The functions that were defined for it."""
    vitals: WorkerHeartbeat = field(default_factory=lambda: WorkerHeartbeat(0))
    draining: bool = False
    """Whether it was asked to leave."""
    survivors_to_come: int = 0
    """Of what it still has from another scheduler."""
    telling_until: float = 0.0
    """When that is waited for no more."""
    software: str = ""
    """See scaler.software."""

    @property
    def label(self) -> str:
        return f"worker {self.identity.hex()[:8]} (pid {self.facts.pid} on {self.facts.host})"


@dataclass(slots=True)
class ManagerSession:
    """A connected worker manager that has registered."""

    peer: int
    identity: bytes
    facts: RegisterManager
    report: ManagerReport
    heard: float
    desired: int | None = None
    """Of a dynamic one: how many slots it is asked for, draining ones not included. None before its first report."""
    told: Desired | None = None
    """What it was sent last."""
    wanted: int = 0
    """What the policy would have now."""
    before: deque[tuple[float, int]] = field(default_factory=deque)
    """(until when, how many slots) it wanted more than now, not long ago: times ascend, slots descend."""

    @property
    def name(self) -> str:
        return self.facts.manager_name

    @property
    def most(self) -> int:
        """Slots that it can offer now."""
        return max(0, self.facts.max_slots - self.report.withheld_slots)
