"""The structs of ``protocol/manager.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RegisterManager:
    manager_name: str
    kind: str
    max_slots: int
    capabilities: list[str] = field(default_factory=list)
    fixed: bool = False
    cost_tier: int = 0
    outlived_milliseconds: int = 0


@dataclass(slots=True)
class ManagerReport:
    starting_slots: int
    running_slots: int
    failures: int
    last_failure: str = ""
    withheld_slots: int = 0
    leaving_workers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DesiredSet:
    capabilities: list[str]
    slots: int


@dataclass(slots=True)
class ConnectedWorker:
    worker_name: str
    slots: int
    draining: bool = False


@dataclass(slots=True)
class Desired:
    slots: int
    sets: list[DesiredSet] = field(default_factory=list)
    connected: list[ConnectedWorker] = field(default_factory=list)


@dataclass(slots=True)
class ManagerLeaving:
    pass


@dataclass(slots=True)
class ShutdownManager:
    text: str
