"""What the object storage is to be told of objects and their owners."""

from __future__ import annotations

from scaler.ids import OBJECT_ID_BYTES
from scaler.messages import AdmitOwner, Message, Release, ReleaseOwner

MOST_BYTES = 64 << 20
"""Of ids of objects: what more there is stays until its owner goes, which frees it too."""
MOST_OWNERS = 65_536
"""As many as an object storage knows by name. Of more, those that went first are not told of."""
_AT_ONCE = (1 << 20) // OBJECT_ID_BYTES * OBJECT_ID_BYTES


class GivenUp:
    """Clients that are gone, with all they own, and those of them that are there again."""

    def __init__(self) -> None:
        self.gone: list[bytes] = []
        self.returned: list[bytes] = []
        """Both: whoever tells the object storage clears them."""
        self._known: dict[bytes, None] = {}
        """Those that are gone, as many as an object storage knows by name."""

    def add(self, client: bytes) -> None:
        """It will not be back."""
        self.gone.append(client)
        self.returned = [other for other in self.returned if other != client]
        self._known[client] = None
        if len(self._known) > MOST_OWNERS:
            del self._known[next(iter(self._known))]

    def came(self, client: bytes) -> None:
        """It is there."""
        if client in self._known:
            self.came_from_another(client)

    def came_from_another(self, client: bytes) -> None:
        """It is there, and was at another scheduler, which may have given it up."""
        self._known.pop(client, None)
        self.returned.append(client)


class Owed:
    """What the object storage is to be told: objects that are not needed, owners that are gone or back."""

    def __init__(self) -> None:
        self._objects: dict[bytes, bytearray] = {}
        """Ids of objects, by their owner."""
        self._owners: dict[bytes, None] = {}
        self._returned: dict[bytes, None] = {}
        self.bytes = 0
        """Of ids of objects."""

    def release(self, names: bytes | bytearray, owner: bytes) -> None:
        """Nobody will fetch these objects, whose ids follow each other."""
        names = names[: MOST_BYTES - self.bytes]
        if names and owner not in self._owners:
            self._objects.setdefault(owner, bytearray()).extend(names)
            self.bytes += len(names)

    def release_owner(self, owner: bytes) -> None:
        """It is gone, with all that it has."""
        self.bytes -= len(self._objects.pop(owner, b""))
        self._returned.pop(owner, None)
        self._owners[owner] = None
        if len(self._owners) > MOST_OWNERS:
            del self._owners[next(iter(self._owners))]

    def admit_owner(self, owner: bytes) -> None:
        """It is back."""
        self._owners.pop(owner, None)
        self._returned[owner] = None
        if len(self._returned) > MOST_OWNERS:
            del self._returned[next(iter(self._returned))]

    def extend(self, later: Owed) -> None:
        """Add what came after this."""
        for owner in later._returned:
            self.admit_owner(owner)
        for owner, names in later._objects.items():
            self.release(names, owner)
        for owner in later._owners:
            self.release_owner(owner)

    def messages(self) -> list[Message]:
        """All of it, as the object storage is told."""
        told: list[Message] = [
            Release(bytes(names[begin : begin + _AT_ONCE]), owner)
            for owner, names in self._objects.items()
            for begin in range(0, len(names), _AT_ONCE)
        ]
        told += [ReleaseOwner(owner) for owner in self._owners]
        told += [AdmitOwner(owner) for owner in self._returned]
        return told

    def __bool__(self) -> bool:
        return bool(self._objects or self._owners or self._returned)
