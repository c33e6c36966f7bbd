"""A reference to an object in the object storage, usable as an argument anywhere arguments go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scaler import serialization


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """What Client.send_object() returns: an object in the object storage, as an argument of any number of tasks.

    It may stand anywhere in arguments, and can be pickled. In a task it has become the object itself; elsewhere it stays a
    reference.
    """

    object_id: bytes
    """16 bytes, by which the object storage knows it."""
    size: int
    """In bytes, as serialized."""
    name: str = ""
    """For people."""
    tag: str = serialization.DEFAULT_TAG
    """How it is written."""
    place: bytes = field(default=b"", repr=False, compare=False)
    """Where it may be read on this host, without asking for it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return serialization.resolve, (self.object_id, self.size, self.name, self.tag, self.place)

    def __repr__(self) -> str:
        return f"ObjectReference({self.name or self.object_id.hex()[:8]}, {self.size} bytes)"
