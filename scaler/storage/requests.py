"""Who uses the storage, and what each has under way."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from scaler.machine import Peer
from scaler.messages import Get, StorageFailure, StorageFailureReason
from scaler.storage.residency import Held
from scaler.storage.uploads import Upload, WrongMessageError

MOST_REQUESTS = 65_536
"""How many a peer may have under way."""


@dataclass(slots=True)
class User:
    """A peer and what it has under way, by request number."""

    who: Peer
    uploads: dict[int, Upload] = field(default_factory=dict)
    answered: OrderedDict[int, Upload] = field(default_factory=OrderedDict)
    """Puts that were answered before their last part, whose other parts may still come."""
    gets: dict[int, Get] = field(default_factory=dict)
    """Those that wait for their object to exist."""
    restores: dict[int, tuple[Held, Get]] = field(default_factory=dict)
    """Those that wait for their object, which is on disk."""
    transmissions: dict[int, Held] = field(default_factory=dict)
    """The objects that stay in memory until they are transmitted."""
    paused: bool = False
    """It is not read from, because a put of it waits for room."""

    def check_unused(self, request: int) -> None:
        """Raises WrongMessageError for the number of a request that is under way, and for one too many."""
        under_way = len(self.uploads) + len(self.gets) + len(self.restores) + len(self.transmissions)
        if under_way >= MOST_REQUESTS:
            raise WrongMessageError(f"more than {MOST_REQUESTS} requests are under way")
        if (
            request in self.uploads
            or request in self.answered
            or request in self.gets
            or request in self.restores
            or request in self.transmissions
        ):
            raise WrongMessageError(f"request {request} is under way already")


Key: TypeAlias = tuple[int, int]
"""A peer and a request."""
Index: TypeAlias = dict[bytes, dict[Key, None]]
"""Requests by the object they are about, in the order they came."""


def remove(index: Index, name: bytes, key: Key) -> None:
    """Take a request out of an index."""
    keys = index[name]
    del keys[key]
    if not keys:
        del index[name]


def check_id(what: str, name: bytes, length: int) -> None:
    """Raises WrongMessageError."""
    if len(name) != length:
        raise WrongMessageError(f"{what} of {len(name)} bytes; it has to have {length}")


def failure(request: int, reason: StorageFailureReason, name: bytes, why: str = "") -> StorageFailure:
    """What is said of an object, or an owner, of this name."""
    text = {
        StorageFailureReason.freed: f"object {name.hex()} was freed",
        StorageFailureReason.unknown: f"there is no object {name.hex()}",
        StorageFailureReason.lost: f"object {name.hex()} is not there any more",
        StorageFailureReason.owner_gone: f"owner {name.hex()} was released; it can own nothing any more",
        StorageFailureReason.unreadable: f"object {name.hex()} cannot be read back from where it was spilled: {why}",
    }[reason]
    return StorageFailure(request, reason, text)
