"""What the object storage is to be told when it is there again."""

from __future__ import annotations

from scaler.ids import OBJECT_ID_BYTES
from scaler.messages import Message, Release, ReleaseOwner

MOST_BYTES = 64 << 20
"""Of ids of objects: what more there is stays until its owner goes, which frees it too."""
MOST_OWNERS = 65_536
"""As many as an object storage knows by name. Of more, those that went first are not told of."""
_AT_ONCE = (1 << 20) // OBJECT_ID_BYTES * OBJECT_ID_BYTES


class Owed:
    """Objects that are not needed, and owners that are gone, while no storage is there to be told."""

    def __init__(self) -> None:
        self._objects: dict[bytes, bytearray] = {}
        """Ids of objects, by their owner."""
        self._owners: dict[bytes, None] = {}
        self.bytes = 0
        """Of ids of objects."""

    def release(self, name: bytes, owner: bytes) -> None:
        """Nobody will fetch this object."""
        if owner not in self._owners and self.bytes < MOST_BYTES:
            self._objects.setdefault(owner, bytearray()).extend(name)
            self.bytes += len(name)

    def release_owner(self, owner: bytes) -> None:
        """It is gone, with all that it has."""
        self.bytes -= len(self._objects.pop(owner, b""))
        self._owners[owner] = None
        if len(self._owners) > MOST_OWNERS:
            del self._owners[next(iter(self._owners))]

    def take(self) -> list[Message]:
        """All of it as messages, which is forgotten here."""
        told: list[Message] = [
            Release(bytes(names[begin : begin + _AT_ONCE]), owner)
            for owner, names in self._objects.items()
            for begin in range(0, len(names), _AT_ONCE)
        ]
        told += [ReleaseOwner(owner) for owner in self._owners]
        self._objects, self._owners, self.bytes = {}, {}, 0
        return told
