"""What the object storage decides. ``protocol/storage.capnp`` says what the messages mean; this is who answers them.

Objects are kept whole, in memory or on disk: ``residency`` knows which, ``admission`` who gets room next. An answer to a get
is one ``Transmit`` that holds a view of the object: the service cuts it into chunks and sends them as fast as the peer reads,
so that nothing large is ever queued.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES
from scaler.machine import Outbox, Output, Pause, Peer, Resume
from scaler.messages import (
    Abandon,
    Get,
    Link,
    Message,
    Put,
    PutWaits,
    Release,
    ReleaseOwner,
    Role,
    Statistics,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage.admission import STALL_SECONDS, Verdict
from scaler.storage.objects import Adopted, Objects
from scaler.storage.residency import Held
from scaler.storage.uploads import NOTHING, Upload, WrongMessageError

MAX_OBJECT_BYTES = 64 << 30
REMEMBERED_OWNERS = 65_536
REMEMBERED_FREED = 262_144
REMEMBERED_ANSWERED = 4_096
UNCOUNTED_BYTES = 64 << 10
"""A transmission of this or less is over as soon as it begins: not worth counting, or telling that it is over."""
_WARNING, _ERROR = 30, 40


@dataclass(slots=True)
class Transmit:
    """Send ``data`` as the ``Chunk``s of this request, as fast as the peer reads; told by ``transmitted`` when it is over.

    Each has at most ``framing.MAX_ATTACHMENT_BYTES``; empty data is one chunk without attachment. The view stays valid
    when the object is freed meanwhile. The transmission ends early when its peer is lost or closed, or with
    ``StopTransmit``.
    """

    peer: int
    request: int
    data: memoryview


@dataclass(slots=True)
class StopTransmit:
    """The peer does not want the rest of this transmission. One that is over, or never was, is passed over."""

    peer: int
    request: int


@dataclass(slots=True)
class _User:
    """A peer and what it has under way, by request number."""

    who: Peer
    uploads: dict[int, Upload] = field(default_factory=dict)
    answered: OrderedDict[int, Upload] = field(default_factory=OrderedDict)
    """Puts that were answered before their last part, whose other parts may still come."""
    gets: dict[int, bytes] = field(default_factory=dict)
    """The ids that its unanswered gets wait for."""
    restores: dict[int, Held] = field(default_factory=dict)
    """The objects on disk that its unanswered gets wait for."""
    transmissions: dict[int, Held] = field(default_factory=dict)
    paused: bool = False
    """It is not read from, because a put of it waits for room."""


_Key = tuple[int, int]
"""A peer and a request."""
_Index = dict[bytes, dict[_Key, None]]
"""Requests by the object they are about, in the order they came."""


class StorageState:
    """The object storage without its sockets and disks; see ``scaler.machine.State``. Peers have the role ``storage_user``.

    ``max_object_bytes`` is the size of the largest object that is taken. ``remembered_owners`` and ``remembered_freed``
    are how many gone owners and freed objects are known by name: the oldest are forgotten, after which a put of such an
    owner is taken and a get of such an object waits. ``memory_limit_bytes`` is how much of objects is in memory, 0 for no
    limit. ``durable``: a put is answered when its object was spilled, and ``adopt`` takes over what an earlier server had.
    """

    def __init__(
        self,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        remembered_owners: int = REMEMBERED_OWNERS,
        remembered_freed: int = REMEMBERED_FREED,
        memory_limit_bytes: int = 0,
        durable: bool = False,
    ) -> None:
        self._max_object_bytes = max_object_bytes
        self._users: dict[int, _User] = {}
        self._by_identity: dict[bytes, int] = {}
        # Dicts, not sets, where the order decides the order of outputs: the same events give the same outputs.
        self._uploads: _Index = {}
        self._waiting: _Index = {}
        self._asked: list[Upload] = []
        """Puts that found no room since the last drain."""
        self._outbox = Outbox()
        self._objects = Objects(self._outbox, memory_limit_bytes, remembered_owners, remembered_freed, durable)
        self._durable = durable
        self._unsaved: dict[int, list[tuple[int, Stored]]] = {}
        """What the peers are told when a copy is written, by its key. Only where objects are durable."""
        self._admission = self._objects.admission
        self._puts = self._puts_saved = 0
        self._gets = self._gets_at_once = self._gets_restored = self._waiting_gets = 0
        self._now = 0.0
        self._handlers: dict[type, Callable[[int, _User, Any], None]] = {
            Get: self._get,
            Abandon: self._abandon,
            Link: self._link,
            Release: self._release,
            ReleaseOwner: self._release_owner,
            StatisticsRequest: self._statistics,
        }

    # ---- told

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        """A storage user is there. An older connection with the same identity is closed."""
        if who.role != Role.storage_user:
            self._outbox.close(peer, f"role {who.role.name} is not served here; this is an object storage")
            return
        older = self._by_identity.get(who.identity)
        if older is not None:
            self._close(older, "the same identity connected again")
        self._users[peer] = _User(who)
        self._by_identity[who.identity] = peer

    def receive(self, peer: int, message: Message, now: float, attachment: bytes = b"") -> None:
        """A user said something. What it may not say closes it, and drops its unfinished puts and its gets only."""
        user = self._users.get(peer)
        if user is None:
            return
        self._now = now
        try:
            if isinstance(message, Put):
                self._put(peer, user, message, attachment)
            else:
                self._handle(peer, user, message, attachment)
        except WrongMessageError as wrong:
            self._close(peer, str(wrong))

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """Its unfinished puts and its gets are dropped. Objects stay: they end with their owners."""
        self._drop(peer)

    def tick(self, now: float) -> None:
        """What depends on time is done in ``drain``."""

    def transmitted(self, peer: int, request: int) -> bool:
        """A transmission is over, complete or not. One of a peer that is gone is passed over.

        Returns whether a drain is due, because room is short.
        """
        user = self._users.get(peer)
        held = user.transmissions.pop(request, None) if user is not None else None
        if held is None:
            return False
        self._objects.unpin(held)
        return self._admission.short

    def adopt(self, copies: list[Adopted]) -> None:
        """Take over the objects of an earlier server, before anything else is told."""
        self._objects.adopt(copies)

    def spilled(self, key: int) -> None:
        """What ``Spill`` asked for is on disk."""
        held = self._objects.spilled(key)
        for peer, stored in self._unsaved.pop(key, ()):
            self._outbox.send(peer, stored)
        self._objects.dispose(held)

    def spill_failed(self, key: int, text: str, now: float) -> None:
        """What ``Spill`` asked for cannot be written, for the reason in the text."""
        held = self._objects.spill_failed(key, text, now)
        unsaved = self._unsaved.pop(key, None)
        for peer, stored in unsaved or ():
            self._outbox.send(
                peer, StorageFailure(stored.request, StorageFailureReason.full, f"cannot keep it: {text}")
            )
        if unsaved is not None and not held.gone:
            self._objects.withdraw(held)
        else:
            self._objects.dispose(held)

    def restored(self, key: int, content: memoryview) -> None:
        """What ``Restore`` asked for is in memory: all its bytes, read-only."""
        held = self._objects.restored(key, content)
        for peer, request in self._take_waiters(held):
            self._transmit(peer, request, held)
        self._objects.dispose(held)

    def restore_failed(self, key: int, text: str) -> None:
        """What ``Restore`` asked for cannot be read, for the reason in the text. The next get tries again."""
        held = self._objects.restore_failed(key)
        self._outbox.log(_ERROR, f"cannot restore object {held.name.hex()}: {text}")
        for peer, request in self._take_waiters(held):
            self._fail(peer, request, StorageFailureReason.unreadable, held.name, text)
        self._objects.dispose(held)

    # ---- asked

    def drain(self, now: float) -> list[Output]:
        """Send, Close, Log, Pause, Resume and those defined here, in the order in which they have to be carried out."""
        self._now = now
        self._make_room()
        return self._outbox.take()

    def next_deadline(self) -> float | None:
        """When a failing disk is tried again, or those that wait for room are looked at."""
        return self._admission.next_deadline()

    def snapshot(self) -> dict[str, Any]:
        """The numbers of ``Statistics``, by the same names."""
        return {
            **self._objects.snapshot(),
            "waiting_gets": self._waiting_gets,
            "puts": self._puts,
            "puts_saved": self._puts_saved,
            "gets": self._gets,
            "gets_at_once": self._gets_at_once,
            "gets_restored": self._gets_restored,
        }

    # ---- doubted

    def check(self) -> None:
        """Recompute every derived fact. Raises AssertionError where it differs."""
        users = self._users.items()
        assert self._by_identity == {user.who.identity: peer for peer, user in users}
        gets = {(peer, request): name for peer, user in users for request, name in user.gets.items()}
        assert gets == {key: name for name, keys in self._waiting.items() for key in keys} and all(
            self._waiting.values()
        )
        restores = {(peer, request): held for peer, user in users for request, held in user.restores.items()}
        assert self._waiting_gets == len(gets) + len(restores)
        uploads = {(peer, request): upload for peer, user in users for request, upload in user.uploads.items()}
        by_object = {key: name for name, keys in self._uploads.items() for key in keys}
        assert by_object == {key: upload.object for key, upload in uploads.items()} and all(self._uploads.values())
        assert not any(name in self._objects for name in (*self._waiting, *self._uploads))
        for upload in uploads.values():
            assert min(len(upload.content), upload.total_bytes) >= upload.received_bytes
            assert upload.total_bytes <= self._max_object_bytes
            assert not (upload.admitted and upload.received_bytes == upload.total_bytes)
            assert upload.owner not in self._objects.owners.gone
        for peer, user in users:
            assert user.paused == (self._admission.waits(peer) and not any(one.peer == peer for one in self._asked))
            for upload in user.answered.values():
                assert not upload.content and upload.received_bytes < upload.total_bytes
            assert len(user.answered) <= REMEMBERED_ANSWERED
        assert all(any(held.key == key for held in self._objects.moving) for key in self._unsaved)
        used = [held for user in self._users.values() for held in user.transmissions.values()]
        self._admission.check(list(uploads.values()), self._objects.check(used, restores))

    # ---- puts

    def _put(self, peer: int, user: _User, put: Put, attachment: bytes) -> None:
        upload = user.uploads.get(put.request) or user.answered.get(put.request)
        if upload is None:
            if len(attachment) == put.total_bytes and self._put_whole(peer, user, put, attachment):
                return
            upload = self._begin(peer, user, put, len(attachment))
        else:
            upload.check_part(put, len(attachment))
        if put.request in user.answered:
            upload.received_bytes += len(attachment)
            if upload.received_bytes == upload.total_bytes:
                del user.answered[put.request]
            return
        upload.touched = self._now
        try:
            upload.take(attachment)
        except MemoryError:
            text = f"there is no memory for an object of {upload.total_bytes} bytes"
            self._refuse_upload(upload, StorageFailureReason.full, text)
            return
        if upload.received_bytes == upload.total_bytes and upload.admitted:
            self._complete(upload)

    def _put_whole(self, peer: int, user: _User, put: Put, content: bytes) -> bool:
        """The short way for an object in one part that is new and finds room. False: it has to go the long way."""
        if (
            put.object in self._objects
            or put.owner in self._objects.owners.gone
            or put.total_bytes > self._max_object_bytes
            or put.offset
            or len(put.object) != OBJECT_ID_BYTES
            or len(put.owner) != IDENTITY_BYTES
            or not self._admission.fits(put.total_bytes)
        ):
            return False
        _check_unused(user, put.request)
        self._store(peer, put.request, put.object, put.owner, memoryview(content))
        return True

    def _begin(self, peer: int, user: _User, put: Put, attachment_bytes: int) -> Upload:
        """Enter the first part of a put, and answer it if its bytes are not needed."""
        _check_id("object id", put.object, OBJECT_ID_BYTES)
        _check_id("owner", put.owner, IDENTITY_BYTES)
        _check_unused(user, put.request)
        upload = Upload(peer, put.request, put.object, put.owner, put.total_bytes)
        upload.check_part(put, attachment_bytes)
        user.uploads[put.request] = upload
        self._uploads.setdefault(put.object, {})[peer, put.request] = None
        if put.total_bytes > self._max_object_bytes:
            text = f"the object has {put.total_bytes} bytes; this storage takes at most {self._max_object_bytes}"
            self._refuse_upload(upload, StorageFailureReason.too_large, text)
        elif put.owner in self._objects.owners.gone:
            self._refuse_owner(upload)
        elif put.object in self._objects:
            self._save_upload(upload)
        elif not self._admission.ask(upload, self._now):
            self._asked.append(upload)
        return upload

    def _complete(self, upload: Upload) -> None:
        """All bytes of an object are here."""
        self._forget_upload(upload)
        self._store(upload.peer, upload.request, upload.object, upload.owner, upload.content.toreadonly())

    def _store(self, peer: int, request: int, name: bytes, owner: bytes, content: memoryview) -> None:
        """A new object: whoever puts or waits for the same one is answered too."""
        held = self._objects.add(name, content, owner)
        self._puts += 1
        if self._durable:
            self._unsaved[held.key] = []
        self._answer_put(peer, Stored(request, False), name)
        for other, other_request in tuple(self._uploads.get(name, ())):
            self._save_upload(self._users[other].uploads[other_request])
        for waiter, waiting_request in self._waiting.pop(name, ()):
            del self._users[waiter].gets[waiting_request]
            self._waiting_gets -= 1
            self._transmit(waiter, waiting_request, held)

    def _save_upload(self, upload: Upload) -> None:
        """The object is there without this put."""
        self._answer_upload(upload)
        self._objects.own(upload.object, upload.owner)
        self._puts += 1
        self._puts_saved += 1
        self._answer_put(upload.peer, Stored(upload.request, True), upload.object)

    def _answer_put(self, peer: int, stored: Stored, name: bytes) -> None:
        """Now, or when the object is where it outlives this server."""
        if self._unsaved:
            held = self._objects.get(name)
            if held is not None and held.key in self._unsaved:
                self._unsaved[held.key].append((peer, stored))
                return
        self._outbox.send(peer, stored)

    def _refuse_owner(self, upload: Upload) -> None:
        text = f"owner {upload.owner.hex()} was released; it can own nothing any more"
        self._refuse_upload(upload, StorageFailureReason.owner_gone, text)

    def _refuse_upload(self, upload: Upload, reason: StorageFailureReason, text: str) -> None:
        self._answer_upload(upload)
        self._outbox.send(upload.peer, StorageFailure(upload.request, reason, text))

    def _answer_upload(self, upload: Upload) -> None:
        """From here on the parts of this put are passed over, up to the last."""
        self._forget_upload(upload)
        self._pause_or_resume(upload.peer)
        upload.content = NOTHING
        if upload.received_bytes == upload.total_bytes:
            return
        answered = self._users[upload.peer].answered
        answered[upload.request] = upload
        # A dialer need not send the parts that are left, so some of these never end.
        if len(answered) > REMEMBERED_ANSWERED:
            answered.popitem(last=False)

    def _forget_upload(self, upload: Upload) -> None:
        del self._users[upload.peer].uploads[upload.request]
        _remove(self._uploads, upload.object, (upload.peer, upload.request))
        self._admission.end(upload)

    def _pause_or_resume(self, peer: int) -> None:
        """A peer whose put waits for room is not read from: whatever it sends next would have to be kept."""
        user = self._users[peer]
        waits = self._admission.waits(peer)
        if waits != user.paused:
            user.paused = waits
            self._outbox.add(Pause(peer) if waits else Resume(peer))

    # ---- room

    def _make_room(self) -> None:
        """Spill what has to be, and decide about those that wait for room."""
        now = self._now
        for upload in self._admission.stalled(now):
            if upload.peer in self._users:
                text = f"put {upload.request} brought nothing for {STALL_SECONDS:.0f} s, and others wait for its room"
                self._close(upload.peer, text)
        self._objects.spill(now)
        while (verdict := self._admission.next(now)) is not None:
            self._carry(verdict)
            self._objects.spill(now)
        for upload in self._asked + self._admission.to_reassure(now):
            if self._admission.has_in_line(upload):
                self._outbox.send(upload.peer, PutWaits(upload.request))
                self._pause_or_resume(upload.peer)
        self._asked.clear()

    def _carry(self, verdict: Verdict) -> None:
        who = verdict.who
        if isinstance(who, Held):
            self._objects.restore(who)
        elif verdict.refusal:
            self._refuse_upload(who, StorageFailureReason.full, verdict.refusal)
        else:
            self._pause_or_resume(who.peer)
            if who.received_bytes == who.total_bytes:
                self._complete(who)

    # ---- gets

    def _get(self, peer: int, user: _User, message: Get) -> None:
        _check_id("object id", message.object, OBJECT_ID_BYTES)
        _check_unused(user, message.request)
        self._gets += 1
        held = self._objects.get(message.object)
        if held is not None and held.content is not None:
            self._gets_at_once += 1
            self._transmit(peer, message.request, held)
        elif held is not None:
            self._gets_restored += 1
            self._wait_for_restore(peer, user, message.request, held)
        elif message.object in self._objects.freed:
            self._fail(peer, message.request, StorageFailureReason.freed, message.object)
        else:
            user.gets[message.request] = message.object
            self._waiting.setdefault(message.object, {})[peer, message.request] = None
            self._waiting_gets += 1

    def _wait_for_restore(self, peer: int, user: _User, request: int, held: Held) -> None:
        """However many wait, it is read once."""
        asked = held.waiters or held.busy
        user.restores[request] = held
        if held.waiters is None:
            held.waiters = {}
        held.waiters[peer, request] = None
        self._waiting_gets += 1
        if not asked and self._admission.ask(held, self._now):
            self._objects.restore(held)

    def _take_waiters(self, held: Held) -> list[_Key]:
        waiters, held.waiters = list(held.waiters or ()), None
        for peer, request in waiters:
            del self._users[peer].restores[request]
        self._waiting_gets -= len(waiters)
        return waiters

    def _transmit(self, peer: int, request: int, held: Held) -> None:
        assert held.content is not None
        if held.size > UNCOUNTED_BYTES:
            self._objects.residency.pin(held)
            self._users[peer].transmissions[request] = held
        else:
            self._objects.residency.use(held)
        self._outbox.add(Transmit(peer, request, held.content))

    def _abandon(self, peer: int, user: _User, message: Abandon) -> None:
        if message.request in user.gets:
            self._forget_get(peer, message.request)
        elif message.request in user.restores:
            self._forget_restore(peer, message.request)
        else:
            # Only the service knows which transmissions are still under way.
            self._outbox.add(StopTransmit(peer, message.request))

    def _forget_get(self, peer: int, request: int) -> None:
        _remove(self._waiting, self._users[peer].gets.pop(request), (peer, request))
        self._waiting_gets -= 1

    def _forget_restore(self, peer: int, request: int) -> None:
        held = self._users[peer].restores.pop(request)
        assert held.waiters is not None
        del held.waiters[peer, request]
        self._waiting_gets -= 1
        if not held.waiters:
            self._admission.withdraw(held)
            self._objects.dispose(held)

    # ---- owners

    def _link(self, peer: int, user: _User, message: Link) -> None:
        _check_id("object id", message.object, OBJECT_ID_BYTES)
        _check_id("owner", message.owner, IDENTITY_BYTES)
        _check_unused(user, message.request)
        if message.owner in self._objects.owners.gone:
            self._fail(peer, message.request, StorageFailureReason.owner_gone, message.owner)
        elif message.object in self._objects:
            self._objects.own(message.object, message.owner)
            self._answer_put(peer, Stored(message.request, True), message.object)
        elif message.object in self._objects.freed:
            self._fail(peer, message.request, StorageFailureReason.freed, message.object)
        else:
            self._fail(peer, message.request, StorageFailureReason.unknown, message.object)

    def _release(self, peer: int, user: _User, message: Release) -> None:
        _check_id("owner", message.owner, IDENTITY_BYTES)
        names = message.objects
        if len(names) % OBJECT_ID_BYTES:
            raise WrongMessageError(
                f"release of {len(names)} bytes of object ids; it has to be a multiple of {OBJECT_ID_BYTES}"
            )
        for start in range(0, len(names), OBJECT_ID_BYTES):
            self._objects.disown(names[start : start + OBJECT_ID_BYTES], message.owner)

    def _release_owner(self, peer: int, user: _User, message: ReleaseOwner) -> None:
        owner = message.owner
        _check_id("owner", owner, IDENTITY_BYTES)
        self._objects.release_owner(owner)
        for other in self._users.values():
            for upload in [upload for upload in other.uploads.values() if upload.owner == owner]:
                self._refuse_owner(upload)

    # ---- the rest

    def _handle(self, peer: int, user: _User, message: Message, attachment: bytes) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise WrongMessageError(f"{type(message).__name__} is no message to an object storage")
        if attachment:
            raise WrongMessageError(
                f"{type(message).__name__} with an attachment of {len(attachment)} bytes; only put has one"
            )
        handler(peer, user, message)

    def _statistics(self, peer: int, user: _User, message: StatisticsRequest) -> None:
        self._outbox.send(peer, Statistics(message.request, **self.snapshot()))

    def _fail(self, peer: int, request: int, reason: StorageFailureReason, name: bytes, why: str = "") -> None:
        text = {
            StorageFailureReason.freed: f"object {name.hex()} was freed",
            StorageFailureReason.unknown: f"there is no object {name.hex()}",
            StorageFailureReason.owner_gone: f"owner {name.hex()} was released; it can own nothing any more",
            StorageFailureReason.unreadable: f"object {name.hex()} cannot be read back from where it was spilled: {why}",
        }[reason]
        self._outbox.send(peer, StorageFailure(request, reason, text))

    def _close(self, peer: int, reason: str) -> None:
        who = self._users[peer].who
        self._drop(peer)
        self._outbox.close(peer, reason)
        self._outbox.log(_WARNING, f"closed {who.name or who.identity.hex()}: {reason}")

    def _drop(self, peer: int) -> None:
        user = self._users.get(peer)
        if user is None:
            return
        for upload in tuple(user.uploads.values()):
            self._forget_upload(upload)
        for request in tuple(user.gets):
            self._forget_get(peer, request)
        for request in tuple(user.restores):
            self._forget_restore(peer, request)
        for held in user.transmissions.values():
            self._objects.unpin(held)
        del self._users[peer]
        del self._by_identity[user.who.identity]


def _remove(index: _Index, name: bytes, key: _Key) -> None:
    keys = index[name]
    del keys[key]
    if not keys:
        del index[name]


def _check_id(what: str, name: bytes, length: int) -> None:
    if len(name) != length:
        raise WrongMessageError(f"{what} of {len(name)} bytes; it has to have {length}")


def _check_unused(user: _User, request: int) -> None:
    if (
        request in user.uploads
        or request in user.answered
        or request in user.gets
        or request in user.restores
        or request in user.transmissions
    ):
        raise WrongMessageError(f"request {request} is under way already")
