"""The structs of ``protocol/host.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Serve:
    address: str


@dataclass(slots=True)
class Hold:
    request: int
    objects: bytes
    owners: bytes


@dataclass(slots=True)
class Holding:
    request: int
    refused: bytes = b""


@dataclass(slots=True)
class LetGo:
    objects: bytes


@dataclass(slots=True)
class Drop:
    objects: bytes


@dataclass(slots=True)
class Locate:
    request: int
    object: bytes
    existed: bool = False


@dataclass(slots=True)
class Located:
    request: int
    address: str = ""


@dataclass(slots=True)
class NotThere:
    request: int


@dataclass(slots=True)
class GiveUp:
    request: int


@dataclass(slots=True)
class NotFound:
    request: int
    freed: bool = False


@dataclass(slots=True)
class HostLeaving:
    pass


@dataclass(slots=True)
class MayLeave:
    pass
