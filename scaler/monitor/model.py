"""What a screen shows, folded from the updates of a scheduler. No I/O, no clock: all times are those of the updates.

model = Model()
model.apply(update)              # each Update of the feed, in order
model.workers[identity].cpu_percent
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from scaler.ids import SEQUENCE_BITS, u32, u64
from scaler.messages import (
    ClientFacts,
    EndedTasks,
    ExecutorFacts,
    ExecutorState,
    FailedTask,
    FunctionFacts,
    GraphFacts,
    LogLine,
    ManagerFacts,
    ResultStatus,
    SchedulerFacts,
    Statistics,
    TaskCounts,
    Update,
    WaitingTasks,
    WorkerFacts,
)
from scaler.monitor.series import Rate, Series

KEPT_UPDATES = 600
"""How long the series are."""
KEPT_TASKS = 5000
KEPT_FAILURES = 500
KEPT_LINES = 1000
UNKNOWN_SLOT = 0xFFFFFFFF


@dataclass(slots=True)
class EndedTask:
    """A task, or items of an array that ended together. Times in seconds, memory in bytes."""

    task: int
    function: str
    worker: bytes
    """Identity."""
    slot: int | None
    """None where it is not known."""
    status: ResultStatus
    ended: float
    """Unix time at which the scheduler heard of it."""
    wall: float
    cpu: float
    peak_memory: int
    count: int

    @property
    def began(self) -> float:
        """About when it began, Unix time."""
        return self.ended - self.wall

    @property
    def succeeded(self) -> bool:
        return self.status in (ResultStatus.succeeded, ResultStatus.stored)


@dataclass(slots=True)
class RunningTask:
    """What an executor runs, as its worker's last heartbeat told."""

    task: int
    function: str
    worker: bytes
    slot: int
    seconds: float
    """For how long it ran then."""
    cpu_percent: float
    resident_bytes: int


@dataclass(slots=True)
class Charts:
    """Series with a value for each update."""

    rate: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Tasks that ended in a second, well or not."""
    failure_rate: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    queue: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Tasks that no worker has."""
    held: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Tasks that workers have."""
    slots: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    busy_slots: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    workers: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    scheduler_cpu: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Percent of one core."""
    scheduler_memory: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    workers_cpu: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    workers_memory: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    lag: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Of the scheduler's event loop, in seconds."""
    round_trip: Series = field(default_factory=lambda: Series(KEPT_UPDATES))
    """Between workers and scheduler, the median, in seconds."""
    objects_bytes: Series = field(default_factory=lambda: Series(KEPT_UPDATES))


class Model:
    """All that a scheduler has told. Attributes are to be read only."""

    def __init__(self) -> None:
        self.updates = 0
        """How many updates there were: a screen that has shown this many has nothing to do."""
        self.unix_seconds = 0.0
        """Of the last update."""
        self.tasks = TaskCounts()
        self.scheduler = SchedulerFacts()
        self.scheduler_cpu_percent = 0.0
        self.scheduler_resident_bytes = 0
        self.objects = Statistics()
        self.workers: dict[bytes, WorkerFacts] = {}
        """By identity."""
        self.clients: dict[bytes, ClientFacts] = {}
        self.managers: list[ManagerFacts] = []
        self.functions: dict[str, FunctionFacts] = {}
        self.waiting: list[WaitingTasks] = []
        self.graphs: list[GraphFacts] = []
        """The oldest first."""
        self.ended: deque[EndedTask] = deque(maxlen=KEPT_TASKS)
        """A sample, the newest last."""
        self.ended_count = 0
        """How many have been put into ``ended``."""
        self.left_out = 0
        """How many tasks and items ended, while somebody looked, that are not in the sample."""
        self.failures: deque[FailedTask] = deque(maxlen=KEPT_FAILURES)
        self.log: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self.charts = Charts()
        self._ended_rate = Rate()
        self._failed_rate = Rate()

    # ---- told

    def apply(self, update: Update) -> None:
        """Take in what an update tells."""
        if update.full:
            self._forget()
        self.updates += 1
        self.unix_seconds = update.unix_milliseconds / 1000
        self.tasks, self.scheduler, self.objects = update.tasks, update.scheduler, update.objects
        self.scheduler_cpu_percent = update.scheduler_cpu_percent
        self.scheduler_resident_bytes = update.scheduler_resident_bytes
        for identity in update.removed_workers:
            self.workers.pop(identity, None)
        self._take_workers(update.workers)
        self.clients = {client.identity: client for client in update.clients}
        self.functions.update((function.name, function) for function in update.functions)
        self.managers, self.waiting, self.graphs = update.managers, update.waiting, update.graphs
        self._take_ended(update.ended)
        for failed in update.failures:
            failed.status = ResultStatus(_known(failed.status, _STATUSES))
            self.failures.append(failed)
        self.log.extend(update.log)
        self._chart()

    def _forget(self) -> None:
        """All is told anew; only the series go on, and the sample of an older part of the time."""
        self.workers.clear()
        self.functions.clear()
        self.ended.clear()
        self.failures.clear()
        self.log.clear()

    def _take_workers(self, workers: list[WorkerFacts]) -> None:
        for worker in workers:
            for executor in worker.executors:
                executor.state = ExecutorState(_known(executor.state, _EXECUTOR_STATES))
            self.workers[worker.identity] = worker

    def _take_ended(self, ended: EndedTasks) -> None:
        slots, counts = u32(ended.slots), u32(ended.counts)
        functions, workers = u32(ended.functions), u32(ended.workers)
        columns = (ended.ended_unix_milliseconds, ended.wall_microseconds, ended.cpu_microseconds)
        times = zip(*map(u64, columns), u64(ended.peak_memory_bytes), strict=True)
        tasks = zip(u64(ended.tasks), functions, workers, slots, ended.statuses, counts, times, strict=True)
        for task, function, worker, slot, status, count, (unix_ms, wall, cpu, peak) in tasks:
            self.ended.append(
                EndedTask(
                    task,
                    ended.function_names[function],
                    ended.worker_identities[worker],
                    None if slot == UNKNOWN_SLOT else slot,
                    ResultStatus(_known(status, _STATUSES)),
                    unix_ms / 1000,
                    wall / 1e6,
                    cpu / 1e6,
                    peak,
                    count,
                )
            )
        self.ended_count += len(counts)
        self.left_out += max(0, ended.total - sum(counts))

    def _chart(self) -> None:
        now, charts, tasks = self.unix_seconds, self.charts, self.tasks
        for series, value in (
            (charts.rate, self._ended_rate.of(now, tasks.succeeded + tasks.failed)),
            (charts.failure_rate, self._failed_rate.of(now, tasks.failed)),
            (charts.queue, tasks.waiting + tasks.ready),
            (charts.held, tasks.assigned + tasks.running),
            (charts.slots, self.slots),
            (charts.busy_slots, self.busy_slots),
            (charts.workers, len(self.workers)),
            (charts.scheduler_cpu, self.scheduler_cpu_percent),
            (charts.scheduler_memory, self.scheduler_resident_bytes),
            (charts.workers_cpu, sum(worker.cpu_percent for worker in self.workers.values())),
            (charts.workers_memory, sum(worker.resident_bytes for worker in self.workers.values())),
            (charts.lag, self.scheduler.lag_microseconds / 1e6),
            (charts.round_trip, self.round_trip),
            (charts.objects_bytes, self.objects.bytes),
        ):
            series.add(now, value)

    # ---- asked

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.workers.values())

    @property
    def busy_slots(self) -> int:
        """Slots that have a task."""
        return sum(min(worker.slots, worker.held) for worker in self.workers.values())

    @property
    def round_trip(self) -> float:
        """Between workers and scheduler, the median, in seconds; 0 where none is known."""
        known = sorted(w.round_trip_microseconds for w in self.workers.values() if w.round_trip_microseconds)
        return known[len(known) // 2] / 1e6 if known else 0.0

    @property
    def unfinished(self) -> int:
        """Tasks and items that have not ended."""
        counts = self.tasks
        return counts.waiting + counts.ready + counts.assigned + counts.running

    def running(self) -> list[RunningTask]:
        """What executors run, the longest first."""
        found = [
            RunningTask(
                executor.task,
                executor.function_name,
                worker.identity,
                executor.slot,
                executor.running_microseconds / 1e6,
                executor.cpu_percent,
                executor.resident_bytes,
            )
            for worker in self.workers.values()
            for executor in worker.executors
            if executor.task and executor.state == ExecutorState.running
        ]
        return sorted(found, key=lambda task: -task.seconds)

    def executors(self, worker: bytes) -> list[ExecutorFacts]:
        """Of one worker, by slot; empty if it is not there."""
        facts = self.workers.get(worker)
        return sorted(facts.executors, key=lambda executor: executor.slot) if facts is not None else []

    def client_of(self, task: int) -> ClientFacts | None:
        """Who submitted a task, by its id."""
        number = task >> SEQUENCE_BITS
        return next((client for client in self.clients.values() if client.number == number), None)

    def worker_label(self, identity: bytes) -> str:
        """What to call a worker, also one that is gone."""
        worker = self.workers.get(identity)
        if worker is None:
            return identity.hex()[:8]
        return worker.worker_name or f"{worker.host}:{worker.pid}"

    def client_label(self, identity: bytes) -> str:
        """What to call a client, also one that is gone."""
        client = self.clients.get(identity)
        return (client.name if client is not None else "") or identity.hex()[:8]


_STATUSES = frozenset(ResultStatus)
_EXECUTOR_STATES = frozenset(ExecutorState)


def _known(value: int, enumerants: frozenset[Any]) -> int:
    """0, unspecified, for what a newer scheduler may have to say."""
    return value if value in enumerants else 0


def task_from_label(text: str) -> int:
    """The id in what task_label() wrote, or a plain number. Raises ValueError for anything else."""
    client, colon, sequence = text.strip().partition(":")
    if not colon:
        return int(client)
    top = 1 << SEQUENCE_BITS - 1
    low = int(sequence[1:]) + top if sequence.startswith("r") else int(sequence)
    return int(client) << SEQUENCE_BITS | low
