"""What is stored: the objects, their owners, and the orders to move them between memory and disk."""

from __future__ import annotations

from scaler.machine import Outbox
from scaler.storage.admission import Admission
from scaler.storage.content import Content
from scaler.storage.outputs import Adopted, Forget, Mark, Restore, Spill
from scaler.storage.owners import Owners, Remembered
from scaler.storage.places import CENTER, Places
from scaler.storage.residency import Held, Residency
from scaler.storage.upstream import NOBODY, Upstream

_INFO, _WARNING = 20, 30


class Objects:
    """The objects of one storage, by id. What has to be done about them goes to the outbox.

    ``durable``: each object is written at once, and its owners are recorded with its copy.
    """

    def __init__(
        self,
        outbox: Outbox,
        memory_limit_bytes: int,
        remembered_owners: int,
        remembered_freed: int,
        durable: bool,
        places: Places,
        upstream: Upstream | None,
    ) -> None:
        self.places = places
        self.upstream = upstream
        self.owners = Owners(remembered_owners)
        self.freed = Remembered(remembered_freed)
        """What existed and is there no more."""
        self.residency = Residency(memory_limit_bytes)
        self.admission = Admission(self.residency)
        self.bytes = self.freed_count = 0
        self.spills = self.spill_failures = self.restores = 0
        self._memory_limit = memory_limit_bytes
        self._durable = durable
        self._outbox = outbox
        self._held: dict[bytes, Held] = {}
        self._moving: dict[int, Held] = {}
        """What is being written or read, by key."""
        self._keys = 0

    @property
    def moving(self) -> list[Held]:
        """What is being written or read."""
        return list(self._moving.values())

    def __contains__(self, name: bytes) -> bool:
        return name in self._held

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._held)

    def exists(self, name: bytes) -> bool:
        """Whether it is here, or on a host, or on its way to one."""
        return name in self._held or name in self.places

    def is_owned(self, name: bytes) -> bool:
        """Whether somebody owns it."""
        return self.owners.has(name)

    def get(self, name: bytes) -> Held | None:
        return self._held.get(name)

    def snapshot(self) -> dict[str, int]:
        """The numbers of ``Statistics`` that are known here."""
        return {
            "objects": len(self._held),
            "bytes": self.bytes,
            "owners": len(self.owners),
            "freed": self.freed_count,
            "memory_bytes": self.residency.used_bytes,
            "memory_limit_bytes": self._memory_limit,
            "spilled_objects": self.residency.spilled,
            "spilled_bytes": self.residency.spilled_bytes,
            "waiting_puts": self.admission.waiting_puts,
            "spills": self.spills,
            "spill_failures": self.spill_failures,
            "restores": self.restores,
            **self.places.snapshot(),
        }

    # ---- coming and going

    def add(self, name: bytes, content: Content, owner: bytes) -> Held:
        """A new object, which is in memory."""
        self._keys += 1
        size = content.view.nbytes
        held = self._held[name] = Held(self._keys, name, size, content)
        self.residency.enter(held)
        self.bytes += size
        self.freed.discard(name)
        if self.upstream is not None:
            self.upstream.add(name, owner)
            self.owners.add(name, NOBODY)
        elif owner != NOBODY:
            self.owners.add(name, owner)
        if self.places.is_wanted(name):
            self.places.hold(CENTER, name)
        if self._durable:
            self._write(self.residency.write_at_once(held))
        return held

    def adopt(self, copies: list[Adopted]) -> None:
        """Take over what an earlier server left."""
        for copy in copies:
            self._keys = max(self._keys, copy.key)
            held = self._held[copy.name] = Held(copy.key, copy.name, copy.size, None, copied=True)
            self.residency.enter_on_disk(held)
            self.bytes += held.size
            for owner in copy.owners:
                self.owners.add(copy.name, owner)

    def own(self, name: bytes, owner: bytes) -> None:
        """One more owner of an object that is there."""
        if self.upstream is not None:
            self.upstream.own(name, owner)
        elif self.owners.add(name, owner):
            self._mark(name, owner, True)

    def disown(self, name: bytes, owner: bytes, gone: bool = False) -> None:
        """Free the object with its last owner; ``gone``: since that one is."""
        if self.owners.remove(name, owner):
            self.freed_count += 1
            self.freed.add(name, owner if gone else b"")
            self._remove(name)
            self.places.forget(name, freed=True)
        elif name in self._held:
            self._mark(name, owner, False)

    def _remove(self, name: bytes) -> None:
        """It is not here any more, if it was."""
        held = self._held.pop(name, None)
        if held is None:
            return
        self.bytes -= held.size
        held.gone = True
        if self.upstream is not None:
            self.upstream.remove(name)
        self.dispose(held)

    def drop(self, name: bytes) -> None:
        """The center says that this object, which is on this host, is freed."""
        assert self.upstream is not None
        self.upstream.dropped(name)
        self.disown(name, NOBODY)
        self.freed.discard(name)  # The center remembers that, until the owner it was freed with is back.

    def lose(self, name: bytes) -> None:
        """No host has it any more. If it is not here either, it is lost."""
        if name not in self._held:
            for owner in self.owners.of_object(name) if self.is_owned(name) else ():
                self.owners.remove(name, owner)
        self.places.forget(name, freed=False)

    def take_from_leaving(self) -> None:
        """Get what only hosts have that are about to go."""
        self.places.move_from_leaving(self._held)

    def _mark(self, name: bytes, owner: bytes, owns: bool) -> None:
        if self._durable:
            self._outbox.add(Mark(self._held[name].key, owner, owns))

    def release_owner(self, owner: bytes) -> None:
        """Take everything from an owner, who can own nothing any more."""
        self.owners.gone.add(owner)
        for name in self.owners.of(owner):
            self.disown(name, owner, gone=True)

    def admit_owner(self, owner: bytes) -> None:
        """One that was gone is back. What was freed with it is lost: it may put that again, if it is asked to."""
        if owner in self.owners.gone:
            self.owners.gone.discard(owner)
            self.freed.discard_of(owner)

    def unpin(self, held: Held) -> None:
        """A transmission of it is over."""
        self.residency.unpin(held)
        self.dispose(held)

    def dispose(self, held: Held) -> None:
        """Forget the bytes of an object that was freed, once nobody uses, moves or waits for them."""
        if held.gone and not (held.busy or held.pins or held.waiters):
            self.residency.remove(held)
            if held.copied:
                self._outbox.add(Forget(held.key))

    # ---- moving

    def spill(self, now: float) -> None:
        """Have what should be on disk be written."""
        for held in self.admission.to_write(now):
            if self.upstream is not None and self.upstream.is_copy(held.name):
                self._evict(held)
            else:
                self._write(held)

    def _evict(self, held: Held) -> None:
        """Drop a copy instead of writing it to disk: other hosts have the object."""
        self.residency.not_written(held)
        self.owners.remove(held.name, NOBODY)
        self._remove(held.name)

    def _write(self, held: Held) -> None:
        assert held.content is not None
        self._moving[held.key] = held
        owners = self.owners.of_object(held.name) if self._durable else ()
        self._outbox.add(Spill(held.key, held.content.view, held.name, owners))

    def spilled(self, key: int) -> Held:
        """A copy was written; dispose() has to be called."""
        held = self._moving.pop(key)
        self.spills += 1
        failed = self.residency.failing
        self.admission.written(held)
        if failed and not self.residency.failing:
            self._outbox.log(_INFO, "the disk takes objects again")
        return held

    def spill_failed(self, key: int, text: str, now: float) -> Held:
        """A copy could not be written; dispose() has to be called."""
        held = self._moving.pop(key)
        self.spill_failures += 1
        if self.admission.write_failed(held, text, now):
            what = "all puts" if self._durable else "puts beyond the memory limit"
            self._outbox.log(_WARNING, f"cannot spill objects: {text}; {what} fail until it can")
        return held

    def withdraw(self, held: Held) -> None:
        """Take back an object that was added, whoever owns it."""
        *others, last = self.owners.of_object(held.name)
        for owner in others:
            self.owners.remove(held.name, owner)
        self.disown(held.name, last)

    def restore(self, held: Held) -> None:
        """Have it be read, into room that it has."""
        self._moving[held.key] = held
        self._outbox.add(Restore(held.key, held.size))

    def restored(self, key: int, content: Content) -> Held:
        """A copy was read; what waits for it has to be answered, and then dispose() called."""
        held = self._moving.pop(key)
        self.restores += 1
        self.residency.was_read(held, content)
        return held

    def restore_failed(self, key: int) -> Held:
        """A copy could not be read; what waits for it has to be answered, and then dispose() called."""
        held = self._moving.pop(key)
        self.residency.read_failed(held)
        return held

    # ---- doubted

    def check(self, used: list[Held], restores: dict[tuple[int, int], Held]) -> list[Held]:
        """Recompute every derived fact; raises AssertionError where it differs. Returns all there is, freed or not.

        ``used`` are the objects of all transmissions, ``restores`` those that gets wait for.
        """
        self.owners.check(set(self._held) | self.places.names())
        self.places.check()
        if self.upstream is not None:
            self.upstream.check(set(self._held))
        assert self.bytes == sum(held.size for held in self._held.values())
        assert not any(name in self.freed for name in self._held)
        everything = {*self._held.values(), *self._moving.values(), *restores.values(), *used}
        assert all(held.gone == (self._held.get(held.name) is not held) for held in everything)
        assert {held.key: held for held in everything if held.busy} == self._moving
        assert restores == {key: held for held in everything for key in held.waiters or ()}
        assert all(held.pins == sum(held is one for one in used) for held in everything)
        return list(everything)
