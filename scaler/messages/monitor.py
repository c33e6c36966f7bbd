"""The structs of ``protocol/monitor.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.ids import Column
from scaler.messages.profile import StackSamples
from scaler.messages.storage import Statistics
from scaler.messages.task import ResultStatus
from scaler.messages.worker import ExecutorFacts


@dataclass(slots=True)
class Subscribe:
    interval_milliseconds: int = 0


@dataclass(slots=True)
class CancelTask:
    request: int
    task: int


@dataclass(slots=True)
class DrainWorker:
    request: int
    worker: bytes


@dataclass(slots=True)
class ExplainTask:
    request: int
    task: int


@dataclass(slots=True)
class DescribeGraph:
    request: int
    number: int


@dataclass(slots=True)
class GraphDescription:
    request: int
    tasks: Column = b""
    functions: Column = b""
    function_names: list[str] = field(default_factory=list)
    states: bytes = b""
    dependency_ends: Column = b""
    dependencies: Column = b""
    total: int = 0


@dataclass(slots=True)
class ProfileTasks:
    request: int
    milliseconds: int
    hertz: int = 0
    worker: bytes = b""
    slots: Column = b""
    function_name: str = ""


@dataclass(slots=True)
class StopProfile:
    request: int


@dataclass(slots=True)
class ProfilePart:
    request: int
    samples: StackSamples = field(default_factory=StackSamples)
    workers: int = 0
    workers_ended: int = 0
    executors: int = 0
    ended: bool = False
    text: str = ""


@dataclass(slots=True)
class Answer:
    request: int
    done: bool
    text: str


@dataclass(slots=True)
class Explanation:
    request: int
    task: int
    known: bool
    name: str = ""
    function_name: str = ""
    state: str = ""
    client: bytes = b""
    worker: bytes = b""
    attempt: int = 0
    ahead: int = 0
    dependencies: Column = b""
    blocked_milliseconds: int = 0
    ready_milliseconds: int = 0
    assigned_milliseconds: int = 0
    text: str = ""


@dataclass(slots=True)
class SchedulerFacts:
    address: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    started_unix_milliseconds: int = 0
    protected: bool = False
    lag_microseconds: int = 0


@dataclass(slots=True)
class TaskCounts:
    waiting: int = 0
    ready: int = 0
    assigned: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stale: int = 0


@dataclass(slots=True)
class WorkerFacts:
    identity: bytes
    name: str
    host: str
    pid: int
    manager_name: str
    slots: int
    held: int
    cpu_percent: float
    resident_bytes: int
    round_trip_microseconds: int
    draining: bool
    capabilities: list[str]
    running: int = 0
    host_free_bytes: int = 0
    executors: list[ExecutorFacts] = field(default_factory=list)
    connected_unix_milliseconds: int = 0
    worker_name: str = ""


@dataclass(slots=True)
class ClientFacts:
    identity: bytes
    name: str
    connected: bool
    unfinished: int
    number: int = 0


@dataclass(slots=True)
class ManagerFacts:
    manager_name: str
    kind: str
    max_slots: int
    starting_slots: int
    running_slots: int
    failures: int
    last_failure: str
    wanted_slots: int = 0
    fixed: bool = False
    withheld_slots: int = 0
    capabilities: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FunctionFacts:
    name: str
    succeeded: int = 0
    failed: int = 0
    wall_microseconds: int = 0
    cpu_microseconds: int = 0
    longest_microseconds: int = 0
    peak_memory_bytes: int = 0
    unfinished: int = 0


@dataclass(slots=True)
class WaitingTasks:
    capabilities: list[str]
    tasks: int
    offered: bool


@dataclass(slots=True)
class GraphFacts:
    number: int
    client: bytes
    tasks: int
    finished: int = 0
    failed: int = 0
    assigned: int = 0
    submitted_unix_milliseconds: int = 0
    ended_unix_milliseconds: int = 0
    name: str = ""


@dataclass(slots=True)
class EndedTasks:
    tasks: Column = b""
    functions: Column = b""
    function_names: list[str] = field(default_factory=list)
    workers: Column = b""
    worker_identities: list[bytes] = field(default_factory=list)
    slots: Column = b""
    statuses: bytes = b""
    ended_unix_milliseconds: Column = b""
    wall_microseconds: Column = b""
    cpu_microseconds: Column = b""
    peak_memory_bytes: Column = b""
    counts: Column = b""
    total: int = 0


@dataclass(slots=True)
class FailedTask:
    task: int
    name: str
    function_name: str
    client: bytes
    worker: bytes
    status: ResultStatus
    unix_milliseconds: int
    attempt: int = 0
    wall_microseconds: int = 0
    cpu_microseconds: int = 0
    peak_memory_bytes: int = 0
    type_name: str = ""
    message: str = ""
    traceback: str = ""
    attempts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LogLine:
    unix_milliseconds: int
    level: int
    text: str


@dataclass(slots=True)
class Update:
    full: bool
    unix_milliseconds: int
    tasks: TaskCounts
    workers: list[WorkerFacts] = field(default_factory=list)
    removed_workers: list[bytes] = field(default_factory=list)
    clients: list[ClientFacts] = field(default_factory=list)
    managers: list[ManagerFacts] = field(default_factory=list)
    scheduler_cpu_percent: float = 0.0
    scheduler_resident_bytes: int = 0
    objects: Statistics = field(default_factory=Statistics)
    scheduler: SchedulerFacts = field(default_factory=SchedulerFacts)
    functions: list[FunctionFacts] = field(default_factory=list)
    waiting: list[WaitingTasks] = field(default_factory=list)
    graphs: list[GraphFacts] = field(default_factory=list)
    ended: EndedTasks = field(default_factory=EndedTasks)
    failures: list[FailedTask] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
