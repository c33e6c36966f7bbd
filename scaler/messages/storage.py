"""The structs of ``protocol/storage.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class StorageFailureReason(IntEnum):
    unspecified = 0
    freed = 1
    unknown = 2
    owner_gone = 3
    too_large = 4
    not_shared = 5
    lost = 6
    full = 7
    unreadable = 8


@dataclass(slots=True)
class Piece:
    process: int
    descriptor: int
    name: str
    generation: int
    offset: int
    bytes: int


@dataclass(slots=True)
class Put:
    request: int
    object: bytes
    owner: bytes
    total_bytes: int
    offset: int = 0
    pieces: list[Piece] = field(default_factory=list)


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
    shared: bool = False
    existed: bool = False


@dataclass(slots=True)
class Mapped:
    request: int
    total_bytes: int
    pieces: list[Piece]


@dataclass(slots=True)
class Probe:
    request: int
    piece: Piece


@dataclass(slots=True)
class Shared:
    request: int
    piece: Piece


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
class AdmitOwner:
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
    request: int = 0
    objects: int = 0
    bytes: int = 0
    owners: int = 0
    waiting_gets: int = 0
    puts: int = 0
    gets: int = 0
    freed: int = 0
    puts_saved: int = 0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    spilled_objects: int = 0
    spilled_bytes: int = 0
    waiting_puts: int = 0
    spills: int = 0
    spill_failures: int = 0
    restores: int = 0
    gets_at_once: int = 0
    gets_restored: int = 0
    hosts: int = 0
    objects_on_hosts: int = 0
    transfers: int = 0
