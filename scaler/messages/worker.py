"""The structs of ``protocol/worker.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from scaler.ids import Column
from scaler.messages.task import Function, Inputs, Results


@dataclass(slots=True)
class RegisterWorker:
    slots: int
    queue_limit: int
    capabilities: list[str] = field(default_factory=list)
    host: str = ""
    pid: int = 0
    manager_name: str = ""
    object_storage_address: str = ""
    worker_name: str = ""
    survivors: int = 0


@dataclass(slots=True)
class Survived:
    results: Results
    owners: list[bytes]
    owner_of: Column
    sequences: Column


@dataclass(slots=True)
class WorkerSettings:
    object_storage_address: str
    inline_limit_bytes: int
    timeout_milliseconds: int


class ExecutorState(IntEnum):
    unspecified = 0
    starting = 1
    idle = 2
    running = 3
    ending = 4


@dataclass(slots=True)
class ExecutorFacts:
    slot: int
    pid: int
    state: ExecutorState
    task: int = 0
    function_name: str = ""
    running_microseconds: int = 0
    queued: int = 0
    cpu_percent: float = 0.0
    resident_bytes: int = 0


@dataclass(slots=True)
class WorkerHeartbeat:
    sent_microseconds: int
    cpu_percent: float = 0.0
    resident_bytes: int = 0
    host_free_bytes: int = 0
    queued: int = 0
    running: int = 0
    round_trip_microseconds: int = 0
    executors: list[ExecutorFacts] = field(default_factory=list)


@dataclass(slots=True)
class WorkerHeartbeatEcho:
    sent_microseconds: int
    again_milliseconds: int = 0


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
    timeout_milliseconds: Column = b""
    inputs: Inputs = field(default_factory=Inputs)
    item_ends: list[bytes] = field(default_factory=list)
    sequences: Column = b""
    trace_contexts: list[str] = field(default_factory=list)


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
    items: Column = b""
    statuses: bytes = b""


@dataclass(slots=True)
class Drain:
    pass


@dataclass(slots=True)
class WorkerLeaving:
    grace_milliseconds: int = 0


@dataclass(slots=True)
class ShutdownWorker:
    text: str
