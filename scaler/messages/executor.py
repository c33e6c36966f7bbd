"""The structs of ``protocol/executor.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.ids import Column
from scaler.messages.task import Function, Inputs


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
class Preloaded:
    error: str = ""


@dataclass(slots=True)
class ExecutorSettings:
    object_storage_address: str
    scheduler_address: str
    inline_limit_bytes: int
    worker: bytes = b""


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
    tasks: Column = b""
    trace_contexts: list[str] = field(default_factory=list)
    attempts: Column = b""


@dataclass(slots=True)
class Tidy:
    trim: bool = False
