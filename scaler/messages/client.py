"""The structs of ``protocol/client.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.ids import Column
from scaler.messages.task import Function, TaskOptions


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
    options: Column = b""
    dependency_ends: Column = b""
    dependencies: Column = b""
    wanted: bytes = b""
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
    attempt: int = 0


@dataclass(slots=True)
class Resuming:
    slots: int


@dataclass(slots=True)
class AllOffered:
    pass


@dataclass(slots=True)
class Recover:
    pass


@dataclass(slots=True)
class RecoveredClient:
    identity: bytes
    next_sequence: int
    sequences: Column
    counts: Column = b""
    names: list[str] = field(default_factory=list)
    serializers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Recovered:
    clients: list[RecoveredClient]
    more: bool = False


@dataclass(slots=True)
class Awaiting:
    sequences: Column


@dataclass(slots=True)
class Collected:
    sequences: Column
    counts: Column = b""


@dataclass(slots=True)
class Cancel:
    sequences: Column
    counts: Column = b""


@dataclass(slots=True)
class ClearTasks:
    pass


@dataclass(slots=True)
class Restore:
    objects: bytes


@dataclass(slots=True)
class Restored:
    objects: bytes
    failures: list[str]


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
    worker_software: list[str] = field(default_factory=list)
    kept_seconds: int = 0
