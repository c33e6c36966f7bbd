"""Gets: of what is in memory they are answered at once, of the rest when it is there, or was read back."""

from __future__ import annotations

from itertools import islice

from scaler.ids import OBJECT_ID_BYTES
from scaler.machine import Outbox
from scaler.messages import Abandon, Get, StorageFailureReason
from scaler.storage.content import Content
from scaler.storage.objects import Objects
from scaler.storage.outputs import StopTransmit, Transmit
from scaler.storage.requests import Index, Key, User, check_id, failure, remove
from scaler.storage.residency import Held
from scaler.stuck import Finding

UNCOUNTED_BYTES = 64 << 10
"""A transmission of this or less is over as soon as it begins: not worth counting, or telling that it is over."""
_ERROR = 40
SUSPECTED = 100


class Gets:
    """The gets of these users from these objects."""

    def __init__(self, users: dict[int, User], objects: Objects, outbox: Outbox) -> None:
        self.count = self.at_once = self.restored_count = self.waiting_count = 0
        self._users = users
        self._objects = objects
        self._outbox = outbox
        # A dict, not a set, where the order decides the order of outputs: the same events give the same outputs.
        self._waiting: Index = {}

    def snapshot(self) -> dict[str, int]:
        """The numbers of ``Statistics`` that are known here."""
        return {
            "waiting_gets": self.waiting_count,
            "gets": self.count,
            "gets_at_once": self.at_once,
            "gets_restored": self.restored_count,
        }

    def get(self, peer: int, user: User, message: Get, now: float) -> None:
        """Raises WrongMessageError."""
        check_id("object id", message.object, OBJECT_ID_BYTES)
        user.check_unused(message.request)
        self.count += 1
        held = self._objects.get(message.object)
        if held is not None and held.content is not None:
            self.at_once += 1
            # Who is told of shared memory opens it soon, while what was used last is not what is spilled next.
            self._transmit(user, peer, message, held, message.shared and held.content.shared is not None)
        elif held is not None:
            self.restored_count += 1
            self._wait_for_restore(peer, user, message, held, now)
        elif message.object in self._objects.freed:
            self._outbox.send(peer, failure(message.request, StorageFailureReason.freed, message.object))
        elif message.existed and self._objects.upstream is None and message.object not in self._objects.places:
            self._outbox.send(peer, failure(message.request, StorageFailureReason.lost, message.object))
        else:
            user.gets[message.request] = message
            self._waiting.setdefault(message.object, {})[peer, message.request] = None
            self.waiting_count += 1
            self._want(message.object, message.existed)

    def _want(self, name: bytes, existed: bool) -> None:
        """Have an object brought here, if it is on a host."""
        upstream, places = self._objects.upstream, self._objects.places
        if upstream is not None:
            upstream.want(name, existed)
        elif name in places:
            places.want_here(name)

    def not_found(self, name: bytes, freed: bool) -> None:
        """An object that was wanted is nowhere. Gets of one that may exist some time go on waiting."""
        reason = StorageFailureReason.freed if freed else StorageFailureReason.lost
        for peer, request in list(self._waiting.get(name, ())):
            user = self._users[peer]
            if freed or user.gets[request].existed:
                self._forget_get(peer, user, request)
                self._outbox.send(peer, failure(request, reason, name))
        if name in self._waiting:
            self._want(name, False)

    def waits_for(self, name: bytes) -> bool:
        """Whether somebody waits for this object to exist."""
        return name in self._waiting

    def arrived(self, name: bytes, held: Held) -> None:
        """An object exists now: answer those who wait for it."""
        for peer, request in self._waiting.pop(name, ()):
            user = self._users[peer]
            self.waiting_count -= 1
            self._transmit(user, peer, user.gets.pop(request), held, False)

    def suspects(self) -> list[Finding]:
        """The objects that have been waited for for longest: maybe nobody makes them."""
        found: list[Finding] = []
        for name, keys in islice(self._waiting.items(), SUSPECTED):
            peer, request = next(iter(keys))
            who = self._users[peer].who
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            text = f"{who.name or who.identity.hex()[:8]}{more} waits for object {name.hex()}, which nobody has put,"
            found.append((("get", name, peer, request), None, text))
        return found

    def _transmit(self, user: User, peer: int, get: Get, held: Held, briefly: bool) -> None:
        """``briefly``: there is nothing to wait for."""
        assert held.content is not None
        counted = not briefly and held.size > UNCOUNTED_BYTES
        if counted:
            self._objects.residency.pin(held)
            user.transmissions[get.request] = held
        else:
            self._objects.residency.use(held)
        self._outbox.add(Transmit(peer, get.request, held.content, get.shared, counted))

    def transmitted(self, peer: int, request: int) -> bool:
        """A counted transmission is over. Returns whether there was one."""
        user = self._users.get(peer)
        held = user.transmissions.pop(request, None) if user is not None else None
        if held is not None:
            self._objects.unpin(held)
        return held is not None

    # ---- what is on disk

    def _wait_for_restore(self, peer: int, user: User, get: Get, held: Held, now: float) -> None:
        """However many wait, it is read once."""
        asked = held.waiters or held.busy
        user.restores[get.request] = held, get
        if held.waiters is None:
            held.waiters = {}
        held.waiters[peer, get.request] = None
        self.waiting_count += 1
        if not asked and self._objects.admission.ask(held, now):
            self._objects.restore(held)

    def restored(self, key: int, content: Content) -> None:
        """An object was read back."""
        held = self._objects.restored(key, content)
        for peer, get in self._take_waiters(held):
            self._transmit(self._users[peer], peer, get, held, False)
        self._objects.dispose(held)

    def restore_failed(self, key: int, text: str) -> None:
        """An object could not be read back."""
        held = self._objects.restore_failed(key)
        self._outbox.log(_ERROR, f"cannot restore object {held.name.hex()}: {text}")
        for peer, get in self._take_waiters(held):
            self._outbox.send(peer, failure(get.request, StorageFailureReason.unreadable, held.name, text))
        self._objects.dispose(held)

    def _take_waiters(self, held: Held) -> list[tuple[int, Get]]:
        waiters, held.waiters = list(held.waiters or ()), None
        self.waiting_count -= len(waiters)
        return [(peer, self._users[peer].restores.pop(request)[1]) for peer, request in waiters]

    # ---- the end

    def abandon(self, peer: int, user: User, message: Abandon) -> None:
        """The answer is not wanted any more."""
        if message.request in user.gets:
            self._forget_get(peer, user, message.request)
        elif message.request in user.restores:
            self._forget_restore(peer, user, message.request)
        else:
            # Only the service knows which transmissions are still under way.
            self._outbox.add(StopTransmit(peer, message.request))

    def forget(self, peer: int, user: User) -> None:
        """A user is gone, and all its gets."""
        for request in tuple(user.gets):
            self._forget_get(peer, user, request)
        for request in tuple(user.restores):
            self._forget_restore(peer, user, request)
        for held in user.transmissions.values():
            self._objects.unpin(held)

    def _forget_get(self, peer: int, user: User, request: int) -> None:
        name = user.gets.pop(request).object
        remove(self._waiting, name, (peer, request))
        self.waiting_count -= 1
        if self._objects.upstream is not None and name not in self._waiting:
            self._objects.upstream.unwant(name)

    def _forget_restore(self, peer: int, user: User, request: int) -> None:
        held, _ = user.restores.pop(request)
        assert held.waiters is not None
        del held.waiters[peer, request]
        self.waiting_count -= 1
        if not held.waiters:
            self._objects.admission.withdraw(held)
            self._objects.dispose(held)

    # ---- doubted

    def check(self) -> dict[Key, Held]:
        """Recompute every derived fact. Raises AssertionError; returns what is waited for, of all that is on disk."""
        users = self._users.items()
        gets = {(peer, request): get.object for peer, user in users for request, get in user.gets.items()}
        assert gets == {key: name for name, keys in self._waiting.items() for key in keys}
        assert all(self._waiting.values())
        restores = {(peer, request): held for peer, user in users for request, (held, _) in user.restores.items()}
        assert self.waiting_count == len(gets) + len(restores)
        assert not any(name in self._objects for name in self._waiting)
        return restores
