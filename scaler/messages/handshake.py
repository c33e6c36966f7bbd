"""The structs of ``protocol/handshake.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    unspecified = 0
    client = 1
    worker = 2
    manager = 3
    monitor = 4
    storage_user = 5
    host_storage = 6


class RefusalReason(IntEnum):
    unspecified = 0
    not_scaler = 1
    version = 2
    role = 3
    authentication = 4
    full = 5
    tls = 6


@dataclass(slots=True)
class Hello:
    magic: int
    protocol_version: int
    oldest_version: int
    role: int
    identity: bytes
    name: str = ""
    nonce: bytes = b""
    software: str = ""


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
    mac: bytes = b""


@dataclass(slots=True)
class Refused:
    reason: int
    text: str
