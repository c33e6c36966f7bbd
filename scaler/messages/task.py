"""The structs of ``protocol/task.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from scaler.ids import Column


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
    out_of_memory = 9
    object_lost = 10


@dataclass(slots=True)
class Function:
    number: int
    serializer: str
    content: bytes = b""
    object: bytes = b""
    name: str = ""
    owner: bytes = b""
    streams_output: bool = False
    takes_places: bool = False


@dataclass(slots=True)
class TaskOutput:
    client: bytes
    to_standard_error: bool
    content: bytes


@dataclass(slots=True)
class TaskOptions:
    capabilities: list[str] = field(default_factory=list)
    priority: int = 0
    retries: int = 0
    timeout_milliseconds: int = 0
    name: str = ""
    retry_on: list[str] = field(default_factory=list)
    trace_context: str = ""


@dataclass(slots=True)
class Failure:
    type_name: str
    message: str
    traceback: str
    exception: bytes = b""
    types: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    tasks: Column
    attempts: Column
    statuses: bytes
    payloads: list[bytes]
    wall_microseconds: Column = b""
    cpu_microseconds: Column = b""
    peak_memory_bytes: Column = b""
    counts: Column = b""
    item_ends: list[bytes] = field(default_factory=list)
    slots: Column = b""
    retried: Column = b""


@dataclass(slots=True)
class Inputs:
    ends: Column = b""
    statuses: bytes = b""
    payloads: list[bytes] = field(default_factory=list)
