"""The books: what was asked for, what ran and what was delivered, and the judgement of it.

Nothing here looks into the code under test. What was asked for comes from the workload, what ran from the simulated
executors, what was delivered from what clients hand to their users.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum

from scaler.messages import ResultStatus, TaskOptions

from .clock import Clock

MAX_DEATHS = 3
"""The promise of protocol and documentation, on purpose not imported from the scheduler."""


class Violation(AssertionError):
    """A promise was broken."""


class Kind(Enum):
    PLAIN = "plain"
    FAILS = "fails"
    FLAKY = "flaky"
    """Fails the first times that it runs."""
    POISON = "poison"
    """Kills its executor whenever it runs."""
    STORED = "stored"
    """Its result goes to the object storage."""
    ENDLESS = "endless"
    """Runs far beyond its time limit."""
    PARENT = "parent"
    """Submits others, and ends when they have ended."""


@dataclass(slots=True, eq=False)
class Job:
    """A task as its user sees it."""

    client: bytes
    sequence: int
    kind: Kind
    seconds: float
    function: int
    function_content: bytes
    options: TaskOptions | None = None
    dependencies: tuple[Job, ...] = ()
    wanted: bool = True
    flaky_runs: int = 0
    padding: int = 0
    children: int = 0
    """Of a parent: how many tasks it submits."""
    levels: int = 0
    """Of a parent: how many levels of parents there may be among them."""
    parent: Job | None = None
    """Inside which it was submitted."""
    takes: bytes = b""
    """The id of an object that its client put, which it needs."""
    cancelled: bool = False
    """Whether its user cancelled it, or cleared everything, after it was submitted."""
    dropped: bool = False
    """Whether its client is gone for good: nobody waits for it."""
    value: bytes = b""
    lineage: list[Job] = field(default_factory=list)
    """It and everything it depends on."""

    def __post_init__(self) -> None:
        known = {id(self): self}
        for dependency in self.dependencies:
            known.update((id(job), job) for job in dependency.lineage)
        self.lineage = list(known.values())
        digest = hashlib.blake2b(self.key, digest_size=16)
        for dependency in self.dependencies:
            digest.update(dependency.value)
        self.value = digest.digest()

    @property
    def key(self) -> bytes:
        return self.client + self.sequence.to_bytes(8, "little")

    @property
    def payload(self) -> bytes:
        return self.key + bytes(self.padding)

    @property
    def retries(self) -> int:
        return self.options.retries if self.options else 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.options.capabilities if self.options else ())

    @property
    def timeout(self) -> float:
        return self.options.timeout_milliseconds / 1000 if self.options else 0.0

    def __str__(self) -> str:
        return f"{self.client.hex()[:4]}/{self.sequence} ({self.kind.value})"


@dataclass(slots=True, eq=False)
class Run:
    """One execution of a task in an executor."""

    job: Job
    worker: str
    began: float
    ended: float | None = None
    status: ResultStatus | None = None
    """None while it runs, and for ever when its executor died."""
    interrupted: bool = False
    waits: bool = False


class Books:
    """Told of everything that users and executors do; raises Violation at the first broken promise."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.jobs: dict[bytes, Job] = {}
        self.runs: dict[bytes, list[Run]] = defaultdict(list)
        self.outcomes: dict[bytes, ResultStatus] = {}
        self.slots: dict[str, int] = {}
        self.offers: dict[str, frozenset[str]] = {}
        self.running: Counter[str] = Counter()
        self.parents: Counter[str] = Counter()
        """Of those that run, the ones that have submitted others."""
        self.disturbances = 0
        """Faults after which a task may run more often than its deaths and retries explain."""
        self.lives = 1
        """How many schedulers there have been, and how often one may have forgotten a client."""
        self.deaths = 0
        """How many executors died."""
        self.hidden_deaths = 0
        """Executors that had died when their workers killed them for a task (it looks as if only that ended them), and runs of
        poison that such a kill ended, which nobody counts as a death."""
        self.emptied = 0
        """How often the object storage was restarted, and lost all it had."""
        self.silenced: set[bytes] = set()
        """Clients that were silent for so long that the scheduler may have forgotten them, and freed their objects."""
        self._missing = 0

    # ---- told

    def worker_added(self, name: str, slots: int, capabilities: tuple[str, ...]) -> None:
        self.slots[name] = slots
        self.offers[name] = frozenset(capabilities)

    def submitted(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.jobs[job.key] = job
            self._missing += job.wanted

    def dropped(self, client: bytes) -> None:
        """This client is gone for good."""
        for job in self.jobs.values():
            if job.client == client and not job.dropped:
                job.dropped = True
                self._missing -= job.wanted and job.key not in self.outcomes

    def nobody_waits_for(self, job: Job) -> None:
        """Its client is gone, and it was never accepted, or was cancelled."""
        job.dropped = True
        self._missing -= 1

    def began(self, worker: str, payload: bytes, inputs: list[bytes | None], function_content: bytes) -> Run:
        """``inputs`` has None where an object was gone; what the task then ends with is judged on delivery."""
        job = self.jobs[payload[:24]]
        self._must(payload == job.payload, job, "runs with a payload that is not its own")
        self._must(function_content == job.function_content, job, "runs with the function of another")
        self._must(job.needs <= self.offers[worker], job, f"runs on {worker}, which does not offer {set(job.needs)}")
        for dependency in job.dependencies:
            finished = any(run.status in _GOOD for run in self.runs[dependency.key])
            self._must(finished, job, f"runs before {dependency}")
        right = len(inputs) == len(job.dependencies) and all(
            value in (None, dependency.value) for value, dependency in zip(inputs, job.dependencies, strict=True)
        )
        self._must(right, job, "runs with inputs that are not the results of its dependencies")
        self.running[worker] += 1
        most = self.slots[worker] + self.parents[worker]
        self._must(self.running[worker] <= most, job, f"is one too many for {worker}")
        run = Run(job, worker, self.clock.now)
        self.runs[job.key].append(run)
        if job.kind is Kind.POISON:
            limit = (MAX_DEATHS + 1) * self.lives + self.disturbances + self.hidden_deaths
            self._must(len(self.runs[job.key]) <= limit, job, f"kills more than {limit} executors")
        return run

    def became_parent(self, run: Run) -> None:
        """It submitted others, and waits for them."""
        run.waits = True
        self.parents[run.worker] += 1

    def finished(self, run: Run, status: ResultStatus) -> None:
        run.status = status
        self._ended(run)

    def interrupted(self, run: Run) -> None:
        """Its executor died."""
        run.interrupted = True
        self._ended(run)

    def _ended(self, run: Run) -> None:
        run.ended = self.clock.now
        self.running[run.worker] -= 1
        self.parents[run.worker] -= run.waits

    def delivered(self, key: bytes, status: ResultStatus, value: bytes | None) -> None:
        """A client handed this outcome to its user. ``value`` is the result itself, None if its object is gone."""
        job = self.jobs[key]
        self._must(job.wanted, job, "was delivered, and nobody wants it")
        self._must(key not in self.outcomes, job, f"was delivered twice, at last as {status.name}")
        self._must(not job.dropped, job, "was delivered to a client that is gone")
        self.outcomes[key] = status
        self._missing -= 1
        self._judge(job, status, value)

    # ---- asked

    @property
    def missing(self) -> int:
        """How many wanted tasks of surviving clients have no outcome."""
        return self._missing

    def unfinished(self) -> list[Job]:
        return [j for j in self.jobs.values() if j.wanted and not j.dropped and j.key not in self.outcomes]

    # ---- judging

    def _must(self, holds: bool, job: Job, text: str) -> None:
        if not holds:
            raise Violation(f"seed {self.clock.seed}, {self.clock.now:.6f} s: task {job} {text}")

    def _judge(self, job: Job, status: ResultStatus, value: bytes | None) -> None:
        """Whether something that really happened explains this outcome."""
        if status in _GOOD:
            ran = any(run.status == status for run in self.runs[job.key])
            self._must(ran, job, f"is {status.name} without having run so")
            if value is None:
                self._must(job.client in self.silenced, job, "has a result that is not in the storage")
            else:
                self._must(value == job.value, job, "has a wrong result")
            return
        reason = _EXPLANATIONS.get(status)
        self._must(reason is not None, job, f"ended as {status.name}: {value!r}")
        explained = any(reason(self, cause) for cause in job.lineage)
        self._must(explained, job, f"ended as {status.name}, and nothing explains it: {value!r}")

    def _failed(self, job: Job) -> bool:
        may_fail = job.kind in (Kind.FAILS, Kind.FLAKY)
        return may_fail and sum(run.status == ResultStatus.failed for run in self.runs[job.key]) > job.retries

    def _crashed(self, job: Job) -> bool:
        # A run may end unheard when its worker's connection breaks: to the scheduler it died then.
        unheard = [run for run in self.runs[job.key] if run.interrupted or self.disturbances]
        return len(unheard) > MAX_DEATHS

    def _timed_out(self, job: Job) -> bool:
        return job.timeout > 0 and any(run.interrupted for run in self.runs[job.key])

    def _object_lost(self, job: Job) -> bool:
        """It could not be made again: its function was forgotten, or it was lost again and again."""
        return self.emptied > 0 or job.client in self.silenced

    def _cancelled(self, job: Job) -> bool:
        """By its user; or because the task inside of which it was submitted was stopped, or was running on a lost worker."""
        parent = job.parent
        if job.cancelled or parent is None:
            return job.cancelled
        # What nobody wants is stopped when the last that depends on it ends.
        return parent.dropped or not parent.wanted or bool(self.disturbances) or self._cancelled(parent)

    # ---- the end

    def check_calm(self) -> None:
        """For a run without faults: every task ran once, or as often as it failed.

        Where executors were killed, for tasks that were cancelled, results that they had not sent are made again.
        """
        if self.deaths:
            return
        for key, runs in self.runs.items():
            job = self.jobs[key]
            self._must(len(runs) <= 1 + job.retries, job, f"ran {len(runs)} times, and no fault explains it")

    def check_idle(self) -> None:
        """Nothing runs any more."""
        busy = +self.running
        if busy:
            raise Violation(f"seed {self.clock.seed}: tasks still run when all ended: {dict(busy)}")


_GOOD = (ResultStatus.succeeded, ResultStatus.stored)
_EXPLANATIONS = {
    ResultStatus.failed: Books._failed,
    ResultStatus.crashed: Books._crashed,
    ResultStatus.timed_out: Books._timed_out,
    ResultStatus.cancelled: Books._cancelled,
    ResultStatus.object_lost: Books._object_lost,
}
