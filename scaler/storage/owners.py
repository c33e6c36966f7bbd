"""Who owns which objects, and who can own nothing any more."""

from __future__ import annotations

from collections import OrderedDict


class Remembered:
    """The ids that were added last, a limited number of them; each may be ``on_behalf`` of another."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: OrderedDict[bytes, bytes] = OrderedDict()
        self._of: dict[bytes, dict[bytes, None]] = {}
        """Those that are on behalf of others, by these."""

    def add(self, name: bytes, on_behalf: bytes = b"") -> None:
        self.discard(name)
        self._ids[name] = on_behalf
        if on_behalf:
            self._of.setdefault(on_behalf, {})[name] = None
        if len(self._ids) > self._limit:
            self.discard(next(iter(self._ids)))

    def discard(self, name: bytes) -> None:
        on_behalf = self._ids.pop(name, b"")
        if on_behalf:
            del self._of[on_behalf][name]
            if not self._of[on_behalf]:
                del self._of[on_behalf]

    def discard_of(self, other: bytes) -> None:
        """All that are on behalf of that one."""
        for name in self._of.pop(other, ()):
            del self._ids[name]

    def __contains__(self, name: bytes) -> bool:
        return name in self._ids

    def __len__(self) -> int:
        return len(self._ids)


class Owners:
    """The owners of each object. ``remembered`` is how many gone owners are known by name."""

    def __init__(self, remembered: int) -> None:
        # Dicts, not sets: the order decides the order of outputs, and the same events give the same outputs.
        self._owned: dict[bytes, dict[bytes, None]] = {}
        self._owners: dict[bytes, set[bytes]] = {}
        self.gone = Remembered(remembered)

    def __len__(self) -> int:
        return len(self._owned)

    def add(self, name: bytes, owner: bytes) -> bool:
        """Returns whether it did not own the object before."""
        owners = self._owners.get(name)
        if owners is None:
            self._owners[name] = {owner}
        elif owner in owners:
            return False
        else:
            owners.add(owner)
        owned = self._owned.get(owner)
        if owned is None:
            owned = self._owned[owner] = {}
        owned[name] = None
        return True

    def has(self, name: bytes) -> bool:
        """Whether anybody owns it."""
        return name in self._owners

    def of_object(self, name: bytes) -> tuple[bytes, ...]:
        """Who owns it, in the order of their ids."""
        return tuple(sorted(self._owners[name]))

    def remove(self, name: bytes, owner: bytes) -> bool:
        """Returns whether this was the last owner of the object. What it does not own is passed over."""
        owners = self._owners.get(name)
        if owners is None or owner not in owners:
            return False
        owners.remove(owner)
        del self._owned[owner][name]
        if not self._owned[owner]:
            del self._owned[owner]
        if not owners:
            del self._owners[name]
        return not owners

    def of(self, owner: bytes) -> tuple[bytes, ...]:
        """What it owns, in the order it came."""
        return tuple(self._owned.get(owner, ()))

    def check(self, objects: set[bytes]) -> None:
        """Raises AssertionError unless exactly these objects are owned, and by nobody who is gone."""
        owned = {(owner, name) for owner, names in self._owned.items() for name in names}
        assert owned == {(owner, name) for name, owners in self._owners.items() for owner in owners}
        assert self._owners.keys() == objects
        assert all(self._owners.values()) and all(self._owned.values())
        assert not any(owner in self.gone for owner in self._owned)
