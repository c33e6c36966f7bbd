"""The structs of ``protocol/monitor.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.messages.storage import Statistics


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
    objects: Statistics = field(default_factory=Statistics)
