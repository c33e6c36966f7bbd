"""What the object storage decides. ``protocol/storage.capnp`` says what the messages mean; this is who answers them.

Objects are kept whole, in memory or on disk: ``residency`` knows which, ``admission`` who gets room next. An answer to a get
is one ``Transmit`` that holds a view of the object: the service cuts it into chunks and sends them as fast as the peer reads,
so that nothing large is ever queued.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES
from scaler.machine import Outbox, Output, Peer
from scaler.messages import (
    Abandon,
    AdmitOwner,
    Get,
    Link,
    Message,
    Probe,
    Put,
    Release,
    ReleaseOwner,
    Role,
    Statistics,
    StatisticsRequest,
    StorageFailureReason,
    Stored,
)
from scaler.storage.content import Content, Room, plain
from scaler.storage.gets import Gets
from scaler.storage.hosts import Center, Hosts
from scaler.storage.objects import Objects
from scaler.storage.outputs import Adopted, AnswerProbe
from scaler.storage.places import Places
from scaler.storage.puts import Puts
from scaler.storage.requests import User, check_id, failure
from scaler.storage.uploads import WrongMessageError
from scaler.storage.upstream import Upstream
from scaler.stuck import Stuck

MAX_OBJECT_BYTES = 64 << 30
REMEMBERED_OWNERS = 65_536
REMEMBERED_FREED = 262_144
_WARNING = 30
_CENTER = Peer(Role.host_storage, b"", "the center")


class StorageState:
    """The object storage without its sockets and disks; see ``scaler.machine.State``. Peers have the role ``storage_user``.

    ``max_object_bytes`` is the size of the largest object that is taken. ``remembered_owners`` and ``remembered_freed``
    are how many gone owners and freed objects are known by name: the oldest are forgotten, after which a put of such an
    owner is taken and a get of such an object waits. ``memory_limit_bytes`` is how much of objects is in memory, 0 for no
    limit. ``durable``: a put is answered when its object was spilled, and ``adopt`` takes over what an earlier server had.
    ``allocate`` makes memory for what comes in parts. ``serves``: this is the storage of one host, which others reach at
    that address; it dials the center, the storage of all, in the role ``host_storage``.
    """

    def __init__(
        self,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        remembered_owners: int = REMEMBERED_OWNERS,
        remembered_freed: int = REMEMBERED_FREED,
        memory_limit_bytes: int = 0,
        durable: bool = False,
        allocate: Callable[[int], Room] = plain,
        serves: str | None = None,
    ) -> None:
        self._users: dict[int, User] = {}
        self._by_identity: dict[bytes, int] = {}
        self._outbox = Outbox()
        self.upstream = None if serves is None else Upstream(self._outbox, serves)
        """What is said to the center; None for the center itself."""
        places = Places(self._outbox, self._not_found)
        self._objects = Objects(
            self._outbox, memory_limit_bytes, remembered_owners, remembered_freed, durable, places, self.upstream
        )
        self._gets = Gets(self._users, self._objects, self._outbox)
        self._puts = Puts(
            self._users,
            self._objects,
            self._outbox,
            max_object_bytes,
            durable,
            allocate,
            self._gets.arrived,
            self._close,
        )
        self._hosts = Hosts(self._objects, self._gets, self._outbox)
        self._host_peers: dict[int, Peer] = {}
        self._center = None
        if self.upstream is not None:
            self._center = Center(self._objects, self._gets, self._puts, self._outbox)
        self._now = 0.0
        self._stuck = Stuck(self._outbox.log)
        self._handlers: dict[type, Callable[[int, User, Any], None]] = {
            Get: self._get,
            Abandon: self._gets.abandon,
            Link: self._link,
            Release: self._release,
            ReleaseOwner: self._release_owner,
            AdmitOwner: self._admit_owner,
            StatisticsRequest: self._statistics,
            Probe: self._probe,
        }

    # ---- told

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        """A storage user is there. An older connection with the same identity is closed."""
        if who.role == Role.host_storage:
            if self.upstream is not None:
                self.upstream.connected(peer)
            else:
                self._host_peers[peer] = who
            return
        if who.role != Role.storage_user:
            self._outbox.close(peer, f"role {who.role.name} is not served here; this is an object storage")
            return
        older = self._by_identity.get(who.identity)
        if older is not None:
            self._close(older, "the same identity connected again")
        self._users[peer] = User(who)
        self._by_identity[who.identity] = peer

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        """A user said something. What it may not say closes it, and drops its unfinished puts and its gets only."""
        user = self._users.get(peer)
        self._now = now
        try:
            if user is None:
                self._receive_from_storage(peer, message)
            elif isinstance(message, Put):
                self._puts.put(peer, user, message, attachment, now)
            else:
                self._handle(peer, user, message, attachment)
        except WrongMessageError as wrong:
            self._close(peer, str(wrong))

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """Its unfinished puts and its gets are dropped. Objects stay: they end with their owners, or with their host."""
        self._drop(peer)

    def tick(self, now: float) -> None:
        """Look for what is stuck. What else depends on time is done in ``drain``."""
        if self._stuck.due(now):
            self._stuck.found([*self._gets.suspects(), *self._objects.admission.suspects()], now)

    def fetch_failed(self, name: bytes) -> None:
        """What ``Fetch`` asked for could not be had there."""
        if self.upstream is not None:
            self.upstream.fetch_failed(name)
        else:
            self._hosts.failed(self._objects.places.failed_here(name))

    def leave(self) -> bool:
        """The storage of a host is to end: what only it has is to go to the center. ``Stop`` follows.

        Returns whether there is a center now that could take it; if not, nothing follows.
        """
        if self.upstream is None or self.upstream.peer is None:
            return False
        self.upstream.leave()
        return True

    def opened(self, peer: int, request: int, content: Content | None, why: str = "") -> None:
        """How an ``Open`` ended: with the content, or without and why."""
        self._puts.opened(peer, request, content, why)

    def transmitted(self, peer: int, request: int) -> bool:
        """A counted transmission is over, complete or not. One of a peer that is gone is passed over.

        Returns whether a drain is due, because room is short.
        """
        return self._gets.transmitted(peer, request) and self._objects.admission.short

    def adopt(self, copies: list[Adopted]) -> None:
        """Take over the objects of an earlier server, before anything else is told."""
        self._objects.adopt(copies)

    def spilled(self, key: int) -> None:
        """What ``Spill`` asked for is on disk."""
        self._puts.spilled(key)

    def spill_failed(self, key: int, text: str, now: float) -> None:
        """What ``Spill`` asked for cannot be written, for the reason in the text."""
        self._puts.spill_failed(key, text, now)

    def restored(self, key: int, content: Content) -> None:
        """What ``Restore`` asked for is in memory: all its bytes, read-only."""
        self._gets.restored(key, content)

    def restore_failed(self, key: int, text: str) -> None:
        """What ``Restore`` asked for cannot be read, for the reason in the text. The next get tries again."""
        self._gets.restore_failed(key, text)

    # ---- asked

    def drain(self, now: float) -> list[Output]:
        """Send, Close, Log, Pause, Resume and those of ``outputs``, in the order in which they have to be carried out."""
        self._now = now
        self._puts.make_room(now)
        self._objects.take_from_leaving()
        if self.upstream is not None:
            self.upstream.speak()
        return self._outbox.take()

    def next_deadline(self) -> float | None:
        """When a failing disk is tried again, or those that wait are looked at."""
        times = [self._objects.admission.next_deadline()]
        if self._gets.waiting_count or self._objects.admission.short:
            times.append(max(self._stuck.next_look, self._now))
        return min((time for time in times if time is not None), default=None)

    def snapshot(self) -> dict[str, Any]:
        """The numbers of ``Statistics``, by the same names."""
        return {
            **self._objects.snapshot(),
            **self._gets.snapshot(),
            "puts": self._puts.count,
            "puts_saved": self._puts.saved_count,
        }

    # ---- doubted

    def check(self) -> None:
        """Recompute every derived fact. Raises AssertionError where it differs."""
        assert self._by_identity == {user.who.identity: peer for peer, user in self._users.items()}
        restores, uploads = self._gets.check(), self._puts.check()
        used = [held for user in self._users.values() for held in user.transmissions.values()]
        self._objects.admission.check(uploads, self._objects.check(used, restores))

    # ---- handlers

    def _receive_from_storage(self, peer: int, message: Message) -> None:
        """From the storage of a host, or from the center. Raises WrongMessageError."""
        if peer in self._host_peers:
            self._hosts.receive(peer, message)
        elif self._center is not None and self.upstream is not None and peer == self.upstream.peer:
            self._center.receive(message)

    def _not_found(self, name: bytes, freed: bool) -> None:
        self._gets.not_found(name, freed)

    def _handle(self, peer: int, user: User, message: Message, attachment: bytes | bytearray) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise WrongMessageError(f"{type(message).__name__} is no message to an object storage")
        if attachment:
            raise WrongMessageError(
                f"{type(message).__name__} with an attachment of {len(attachment)} bytes; only put has one"
            )
        handler(peer, user, message)

    def _get(self, peer: int, user: User, message: Get) -> None:
        self._gets.get(peer, user, message, self._now)

    def _link(self, peer: int, user: User, message: Link) -> None:
        check_id("object id", message.object, OBJECT_ID_BYTES)
        check_id("owner", message.owner, IDENTITY_BYTES)
        user.check_unused(message.request)
        if message.owner in self._objects.owners.gone:
            self._outbox.send(peer, failure(message.request, StorageFailureReason.owner_gone, message.owner))
        elif self._objects.exists(message.object):
            self._objects.own(message.object, message.owner)
            self._puts.answer(peer, Stored(message.request, True), message.object)
        elif message.object in self._objects.freed:
            self._outbox.send(peer, failure(message.request, StorageFailureReason.freed, message.object))
        else:
            self._outbox.send(peer, failure(message.request, StorageFailureReason.unknown, message.object))

    def _release(self, peer: int, user: User, message: Release) -> None:
        check_id("owner", message.owner, IDENTITY_BYTES)
        names = message.objects
        if len(names) % OBJECT_ID_BYTES:
            raise WrongMessageError(
                f"release of {len(names)} bytes of object ids; it has to be a multiple of {OBJECT_ID_BYTES}"
            )
        for start in range(0, len(names), OBJECT_ID_BYTES):
            self._objects.disown(names[start : start + OBJECT_ID_BYTES], message.owner)

    def _release_owner(self, peer: int, user: User, message: ReleaseOwner) -> None:
        check_id("owner", message.owner, IDENTITY_BYTES)
        self._objects.release_owner(message.owner)
        self._puts.refuse_owner(message.owner)

    def _admit_owner(self, peer: int, user: User, message: AdmitOwner) -> None:
        check_id("owner", message.owner, IDENTITY_BYTES)
        self._objects.admit_owner(message.owner)

    def _probe(self, peer: int, user: User, message: Probe) -> None:
        user.check_unused(message.request)
        self._outbox.add(AnswerProbe(peer, message.request, message.piece))

    def _statistics(self, peer: int, user: User, message: StatisticsRequest) -> None:
        self._outbox.send(peer, Statistics(message.request, **self.snapshot()))

    # ---- the end of a user

    def _close(self, peer: int, reason: str) -> None:
        who = self._users[peer].who if peer in self._users else self._host_peers.get(peer, _CENTER)
        self._drop(peer)
        self._outbox.close(peer, reason)
        self._outbox.log(_WARNING, f"closed {who.name or who.identity.hex()}: {reason}")

    def _drop(self, peer: int) -> None:
        user = self._users.get(peer)
        if self._host_peers.pop(peer, None) is not None:
            self._hosts.lost(peer)
        elif self.upstream is not None and peer == self.upstream.peer:
            self.upstream.lost()
        if user is None:
            return
        self._puts.forget(user)
        self._gets.forget(peer, user)
        del self._users[peer]
        del self._by_identity[user.who.identity]
