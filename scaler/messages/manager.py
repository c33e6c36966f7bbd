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
