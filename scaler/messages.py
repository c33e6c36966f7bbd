"""The vocabulary: one class for each struct in ``protocol/``, with the same fields in snake case.

What each one means, who sends it and what follows is said in the schemas and nowhere else. ``scaler.wire.codec`` turns
messages into bytes and back; a test holds both to the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from scaler.ids import Column

_EMPTY = b""


class Role(IntEnum):
    unspecified = 0
    client = 1
    worker = 2
    manager = 3
    monitor = 4
    storage_user = 5


class RefusalReason(IntEnum):
    unspecified = 0
    not_scaler = 1
    version = 2
    role = 3
    authentication = 4
    full = 5


class ResultStatus(IntEnum):
    unspecified = 0
    succeeded = 1
    stored = 2
    failed = 3
    cancelled = 4
    crashed = 5
    timed_out = 6
    rejected = 7
    lost = 8


class StorageFailureReason(IntEnum):
    unspecified = 0
    freed = 1
    unknown = 2
    owner_gone = 3
    too_large = 4
    full = 5
    unreadable = 6


# ---- handshake.capnp


@dataclass(slots=True)
class Hello:
    magic: int
    protocol_version: int
    oldest_version: int
    role: int
    identity: bytes
    name: str = ""
    nonce: bytes = _EMPTY


@dataclass(slots=True)
class Challenge:
    method: str
    nonce: bytes


@dataclass(slots=True)
class Proof:
    mac: bytes


@dataclass(slots=True)
class Welcome:
    magic: int
    protocol_version: int
    identity: bytes
    mac: bytes = _EMPTY


@dataclass(slots=True)
class Refused:
    reason: int
    text: str


# ---- task.capnp


@dataclass(slots=True)
class Function:
    number: int
    serializer: str
    content: bytes = _EMPTY
    object: bytes = _EMPTY
    name: str = ""
    owner: bytes = _EMPTY


@dataclass(slots=True)
class TaskOptions:
    capabilities: list[str] = field(default_factory=list)
    priority: int = 0
    retries: int = 0
    timeout_milliseconds: int = 0
    name: str = ""


@dataclass(slots=True)
class Failure:
    type_name: str
    message: str
    traceback: str
    exception: bytes = _EMPTY


@dataclass(slots=True)
class Results:
    tasks: Column
    attempts: Column
    statuses: bytes
    payloads: list[bytes]
    wall_microseconds: Column = _EMPTY
    cpu_microseconds: Column = _EMPTY
    peak_memory_bytes: Column = _EMPTY
    counts: Column = _EMPTY
    item_ends: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Inputs:
    ends: Column = _EMPTY
    statuses: bytes = _EMPTY
    payloads: list[bytes] = field(default_factory=list)


# ---- client.capnp


@dataclass(slots=True)
class DefineFunctions:
    functions: list[Function]


@dataclass(slots=True)
class ForgetFunctions:
    numbers: Column


@dataclass(slots=True)
class Submit:
    sequences: Column
    functions: Column
    payloads: list[bytes]
    option_sets: list[TaskOptions] = field(default_factory=list)
    options: Column = _EMPTY
    dependency_ends: Column = _EMPTY
    dependencies: Column = _EMPTY
    wanted: bytes = _EMPTY
    more: bool = False


@dataclass(slots=True)
class SubmitArray:
    first_sequence: int
    function: int
    items: bytes
    item_ends: Column
    options: TaskOptions = field(default_factory=TaskOptions)


@dataclass(slots=True)
class RunningInside:
    task: int
    first_sequence: int
    worker: bytes


@dataclass(slots=True)
class Cancel:
    sequences: Column
    counts: Column = _EMPTY


@dataclass(slots=True)
class ClearTasks:
    pass


@dataclass(slots=True)
class ClientHeartbeat:
    sent_microseconds: int


@dataclass(slots=True)
class HeartbeatEcho:
    sent_microseconds: int
    slots: int = 0


@dataclass(slots=True)
class ClientGoodbye:
    pass


@dataclass(slots=True)
class ShutdownCluster:
    pass


@dataclass(slots=True)
class ShutdownRefused:
    text: str


@dataclass(slots=True)
class ClusterEnding:
    text: str


@dataclass(slots=True)
class ClientSettings:
    client_number: int
    object_storage_address: str
    inline_limit_bytes: int
    heartbeat_milliseconds: int
    timeout_milliseconds: int
    resumed: bool
    slots: int = 0


# ---- worker.capnp


@dataclass(slots=True)
class RegisterWorker:
    slots: int
    queue_limit: int
    capabilities: list[str] = field(default_factory=list)
    host: str = ""
    pid: int = 0
    manager_name: str = ""
    version: str = ""


@dataclass(slots=True)
class WorkerSettings:
    object_storage_address: str
    inline_limit_bytes: int
    timeout_milliseconds: int


@dataclass(slots=True)
class WorkerHeartbeat:
    sent_microseconds: int
    cpu_percent: float = 0.0
    resident_bytes: int = 0
    host_free_bytes: int = 0
    queued: int = 0
    running: int = 0
    round_trip_microseconds: int = 0


@dataclass(slots=True)
class WorkerHeartbeatEcho:
    sent_microseconds: int


@dataclass(slots=True)
class DefineForWorker:
    functions: list[Function]


@dataclass(slots=True)
class ForgetForWorker:
    numbers: Column


@dataclass(slots=True)
class Assign:
    tasks: Column
    attempts: Column
    functions: Column
    payloads: list[bytes]
    timeout_milliseconds: Column = _EMPTY
    inputs: Inputs = field(default_factory=Inputs)
    item_ends: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class LendSlots:
    tasks: Column


@dataclass(slots=True)
class Started:
    tasks: Column
    attempts: Column


@dataclass(slots=True)
class Retract:
    tasks: Column
    attempts: Column


@dataclass(slots=True)
class Retracted:
    returned: Column
    returned_attempts: Column
    kept: Column
    kept_attempts: Column


@dataclass(slots=True)
class Trimmed:
    tasks: Column
    attempts: Column
    kept: Column


@dataclass(slots=True)
class CancelAssigned:
    tasks: Column
    attempts: Column


@dataclass(slots=True)
class ExecutorDeaths:
    tasks: Column
    attempts: Column
    stories: list[str]
    items: Column = _EMPTY
    statuses: bytes = _EMPTY


@dataclass(slots=True)
class Drain:
    pass


@dataclass(slots=True)
class WorkerLeaving:
    pass


@dataclass(slots=True)
class ShutdownWorker:
    text: str


# ---- executor.capnp


@dataclass(slots=True)
class ForkServerReady:
    error: str = ""


@dataclass(slots=True)
class ForkExecutor:
    executor: int


@dataclass(slots=True)
class ExecutorForked:
    executor: int
    pid: int


@dataclass(slots=True)
class ExecutorExited:
    executor: int
    exit_code: int


@dataclass(slots=True)
class ExecutorSettings:
    object_storage_address: str
    scheduler_address: str
    inline_limit_bytes: int
    worker: bytes = _EMPTY


@dataclass(slots=True)
class DefineForExecutor:
    functions: list[Function]


@dataclass(slots=True)
class ForgetForExecutor:
    numbers: Column


@dataclass(slots=True)
class RunTasks:
    first_position: int
    functions: Column
    payloads: list[bytes]
    inputs: Inputs = field(default_factory=Inputs)
    item_ends: list[bytes] = field(default_factory=list)
    tasks: Column = _EMPTY


# ---- storage.capnp


@dataclass(slots=True)
class Put:
    request: int
    object: bytes
    owner: bytes
    total_bytes: int
    offset: int


@dataclass(slots=True)
class Stored:
    request: int
    already_there: bool = False


@dataclass(slots=True)
class PutWaits:
    request: int


@dataclass(slots=True)
class Get:
    request: int
    object: bytes


@dataclass(slots=True)
class Chunk:
    request: int
    total_bytes: int
    offset: int


@dataclass(slots=True)
class Abandon:
    request: int


@dataclass(slots=True)
class Link:
    request: int
    object: bytes
    owner: bytes


@dataclass(slots=True)
class Release:
    objects: bytes
    owner: bytes


@dataclass(slots=True)
class ReleaseOwner:
    owner: bytes


@dataclass(slots=True)
class StorageFailure:
    request: int
    reason: int
    text: str


@dataclass(slots=True)
class StatisticsRequest:
    request: int


@dataclass(slots=True)
class Statistics:
    request: int
    objects: int
    bytes: int
    owners: int
    waiting_gets: int
    puts: int
    gets: int
    freed: int
    puts_saved: int
    memory_bytes: int
    memory_limit_bytes: int
    spilled_objects: int
    spilled_bytes: int
    waiting_puts: int
    spills: int
    spill_failures: int
    restores: int
    gets_at_once: int
    gets_restored: int


# ---- manager.capnp


@dataclass(slots=True)
class RegisterManager:
    manager_name: str
    kind: str
    max_slots: int
    capabilities: list[str] = field(default_factory=list)
    fixed: bool = False


@dataclass(slots=True)
class ManagerReport:
    starting_slots: int
    running_slots: int
    failures: int
    last_failure: str = ""


@dataclass(slots=True)
class Desired:
    slots: int


@dataclass(slots=True)
class ManagerLeaving:
    pass


@dataclass(slots=True)
class ShutdownManager:
    text: str


# ---- monitor.capnp


@dataclass(slots=True)
class Subscribe:
    interval_milliseconds: int = 0


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


@dataclass(slots=True)
class ClientFacts:
    identity: bytes
    name: str
    connected: bool
    unfinished: int


@dataclass(slots=True)
class ManagerFacts:
    manager_name: str
    kind: str
    max_slots: int
    starting_slots: int
    running_slots: int
    failures: int
    last_failure: str


@dataclass(slots=True)
class Update:
    full: bool
    unix_milliseconds: int
    tasks: TaskCounts
    workers: list[WorkerFacts]
    removed_workers: list[bytes]
    clients: list[ClientFacts]
    managers: list[ManagerFacts]
    scheduler_cpu_percent: float = 0.0
    scheduler_resident_bytes: int = 0


MESSAGE_BYTES = 8 << 20
"""About how much is put into one message that carries many payloads: far less than a frame may have."""


def runs(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges that cover all positions in order, each of MESSAGE_BYTES at most or of one position."""
    if sum(sizes) <= MESSAGE_BYTES:
        yield 0, len(sizes)
        return
    first = total = 0
    for position, size in enumerate(sizes):
        if total + size > MESSAGE_BYTES and position > first:
            yield first, position
            first, total = position, 0
        total += size
    yield first, len(sizes)


def function_runs(functions: Sequence[Function]) -> Iterator[list[Function]]:
    """Functions in lists that fit into one message each."""
    for first, last in runs([len(function.content) for function in functions]):
        yield list(functions[first:last])


Message: TypeAlias = object
"""Any of the classes above."""
