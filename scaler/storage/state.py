"""What the object storage decides. ``protocol/storage.capnp`` says what the messages mean; this is who answers them.

Objects are kept whole in memory. An answer to a get is one ``Transmit`` that holds a view of the object: the service
cuts it into chunks and sends them as fast as the peer reads, so that nothing large is ever queued.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES
from scaler.machine import Outbox, Output, Peer
from scaler.messages import (
    Abandon,
    Get,
    Link,
    Message,
    Piece,
    Probe,
    Put,
    Release,
    ReleaseOwner,
    Role,
    Statistics,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)

MAX_OBJECT_BYTES = 64 << 30
REMEMBERED_OWNERS = 65_536
REMEMBERED_FREED = 262_144
REMEMBERED_ANSWERED = 4_096
_WARNING = 30


@dataclass(slots=True)
class Content:
    """The bytes of an object; where they are is the service's business."""

    view: memoryview
    shared: Any = field(default=None, compare=False)
    """What holds them in shared memory, if they are there."""


@dataclass(slots=True)
class Transmit:
    """Send the content as the ``Chunk``s of this request, as fast as the peer reads.

    Each has at most ``framing.MAX_ATTACHMENT_BYTES``; empty content is one chunk without attachment. The view stays valid
    when the object is freed meanwhile. The transmission ends early when its peer is lost or closed, or with
    ``StopTransmit``.
    """

    peer: int
    request: int
    content: Content
    shared: bool = False
    """The peer may be told of shared memory instead."""


@dataclass(slots=True)
class Open:
    """Get hold of an object in shared memory, then tell ``opened``."""

    peer: int
    request: int
    total_bytes: int
    pieces: list[Piece]


@dataclass(slots=True)
class AnswerProbe:
    """Answer this request by Shared if the piece can be opened, else by StorageFailure."""

    peer: int
    request: int
    piece: Piece


@dataclass(slots=True)
class StopTransmit:
    """The peer does not want the rest of this transmission. One that is over, or never was, is passed over."""

    peer: int
    request: int


class _WrongMessage(Exception):
    """A peer said what it may not say; the text is the reason it is closed with."""


@dataclass(slots=True)
class _Upload:
    """A put of which not all parts have come."""

    object: bytes
    owner: bytes
    total_bytes: int
    received_bytes: int = 0
    content: bytes | bytearray = b""
    opening: bool = False
    """It is in shared memory; no parts follow."""


@dataclass(slots=True)
class _User:
    """A peer and what it has under way, by request number."""

    who: Peer
    uploads: dict[int, _Upload] = field(default_factory=dict)
    answered: OrderedDict[int, _Upload] = field(default_factory=OrderedDict)
    """Puts that were answered before their last part, whose other parts may still come."""
    gets: dict[int, Get] = field(default_factory=dict)
    """Those that wait for their object."""


@dataclass(slots=True)
class _Object:
    content: Content
    owners: set[bytes] = field(default_factory=set)


class _Memory:
    """The ids that were added last, a limited number of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def add(self, name: bytes) -> None:
        self._ids[name] = None
        self._ids.move_to_end(name)
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def discard(self, name: bytes) -> None:
        self._ids.pop(name, None)

    def __contains__(self, name: bytes) -> bool:
        return name in self._ids

    def __len__(self) -> int:
        return len(self._ids)


_Key = tuple[int, int]
"""A peer and a request."""
_Index = dict[bytes, dict[_Key, None]]
"""Requests by the object they are about, in the order they came."""


class StorageState:
    """The object storage without its sockets; see ``scaler.machine.State``. Peers have the role ``storage_user``.

    ``max_object_bytes`` is the size of the largest object that is taken. ``remembered_owners`` and ``remembered_freed``
    are how many gone owners and freed objects are known by name: the oldest are forgotten, after which a put of such an
    owner is taken and a get of such an object waits.
    """

    def __init__(
        self,
        max_object_bytes: int = MAX_OBJECT_BYTES,
        remembered_owners: int = REMEMBERED_OWNERS,
        remembered_freed: int = REMEMBERED_FREED,
    ) -> None:
        self._max_object_bytes = max_object_bytes
        self._users: dict[int, _User] = {}
        self._by_identity: dict[bytes, int] = {}
        self._objects: dict[bytes, _Object] = {}
        # Dicts, not sets, where the order decides the order of outputs: the same events give the same outputs.
        self._owned: dict[bytes, dict[bytes, None]] = {}
        self._uploads: _Index = {}
        self._waiting: _Index = {}
        self._gone_owners = _Memory(remembered_owners)
        self._freed_objects = _Memory(remembered_freed)
        self._outbox = Outbox()
        self._bytes = self._waiting_gets = 0
        self._puts = self._gets = self._freed = self._puts_saved = 0
        self._handlers: dict[type, Callable[[int, _User, Any], None]] = {
            Get: self._get,
            Abandon: self._abandon,
            Link: self._link,
            Release: self._release,
            ReleaseOwner: self._release_owner,
            StatisticsRequest: self._statistics,
            Probe: self._probe,
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

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        """A user said something. What it may not say closes it, and drops its unfinished puts and its gets only."""
        user = self._users.get(peer)
        if user is None:
            return
        try:
            if isinstance(message, Put):
                self._put(peer, user, message, attachment)
            else:
                self._handle(peer, user, message, attachment)
        except _WrongMessage as wrong:
            self._close(peer, str(wrong))

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """Its unfinished puts and its gets are dropped. Objects stay: they end with their owners."""
        self._drop(peer)

    def opened(self, peer: int, request: int, content: Content | None, why: str = "") -> None:
        """How an ``Open`` ended: with the content, or without and why."""
        user = self._users.get(peer)
        upload = user.uploads.get(request) if user is not None else None
        if upload is None:  # The same object came another way, or the owner went.
            return
        if content is None:
            text = f"the object cannot be read from shared memory: {why}"
            self._refuse_upload(peer, request, StorageFailureReason.not_shared, text)
        else:
            self._complete(peer, request, upload, content)

    def tick(self, now: float) -> None:
        """Nothing here depends on time."""

    # ---- asked

    def drain(self, now: float) -> list[Output]:
        """Send, Close, Log, Transmit and StopTransmit, in the order in which they have to be carried out."""
        return self._outbox.take()

    def next_deadline(self) -> float | None:
        """Never."""
        return None

    def snapshot(self) -> dict[str, Any]:
        """The numbers of ``Statistics``, by the same names."""
        return {
            "objects": len(self._objects),
            "bytes": self._bytes,
            "owners": len(self._owned),
            "waiting_gets": self._waiting_gets,
            "puts": self._puts,
            "gets": self._gets,
            "freed": self._freed,
            "puts_saved": self._puts_saved,
        }

    # ---- doubted

    def check(self) -> None:
        """Recompute every derived fact. Raises AssertionError where it differs."""
        users = self._users.items()
        owned = {(owner, name) for owner, names in self._owned.items() for name in names}
        assert owned == {(owner, name) for name, held in self._objects.items() for owner in held.owners}
        assert all(held.owners for held in self._objects.values()) and all(self._owned.values())
        assert self._bytes == sum(held.content.view.nbytes for held in self._objects.values())
        assert not any(name in self._freed_objects for name in self._objects)
        assert not any(owner in self._gone_owners for owner in self._owned)
        assert self._by_identity == {user.who.identity: peer for peer, user in users}
        gets = {(peer, request): get.object for peer, user in users for request, get in user.gets.items()}
        assert gets == {key: name for name, keys in self._waiting.items() for key in keys}
        assert self._waiting_gets == len(gets) and all(self._waiting.values())
        uploads = {(peer, request): upload for peer, user in users for request, upload in user.uploads.items()}
        by_object = {key: name for name, keys in self._uploads.items() for key in keys}
        assert by_object == {key: upload.object for key, upload in uploads.items()} and all(self._uploads.values())
        assert not self._objects.keys() & (self._waiting.keys() | self._uploads.keys())
        for upload in uploads.values():
            assert len(upload.content) == upload.received_bytes < upload.total_bytes <= self._max_object_bytes
            assert upload.owner not in self._gone_owners
        for user in self._users.values():
            for upload in user.answered.values():
                assert not upload.content and upload.received_bytes < upload.total_bytes
            assert len(user.answered) <= REMEMBERED_ANSWERED

    # ---- puts

    def _put(self, peer: int, user: _User, put: Put, attachment: bytes | bytearray) -> None:
        if put.pieces:
            self._put_shared(peer, user, put, len(attachment))
            return
        upload = user.uploads.get(put.request) or user.answered.get(put.request)
        if upload is None:
            upload = self._begin(peer, user, put, len(attachment))
        else:
            _check_part(upload, put, len(attachment))
        upload.received_bytes += len(attachment)
        last = upload.received_bytes == upload.total_bytes
        if put.request in user.answered:
            if last:
                del user.answered[put.request]
            return
        if last and not upload.content:
            upload.content = attachment
        elif isinstance(upload.content, bytearray):
            upload.content += attachment
        else:
            # It grows with what arrives: a peer that announces much and sends little takes little.
            upload.content = bytearray(attachment)
        if last:
            self._complete(peer, put.request, upload, Content(memoryview(upload.content).toreadonly()))

    def _put_shared(self, peer: int, user: _User, put: Put, attachment_bytes: int) -> None:
        """All bytes at once, in shared memory."""
        if attachment_bytes or put.offset or not put.total_bytes == sum(piece.bytes for piece in put.pieces) > 0:
            raise _WrongMessage(f"put {put.request} has pieces that are not the whole object, or an attachment besides")
        upload = self._begin(peer, user, put, put.total_bytes)
        if user.answered.pop(put.request, None) is None:
            upload.opening = True
            self._outbox.add(Open(peer, put.request, put.total_bytes, put.pieces))

    def _begin(self, peer: int, user: _User, put: Put, attachment_bytes: int) -> _Upload:
        """Enter the first part of a put, and answer it if its bytes are not needed."""
        _check_id("object id", put.object, OBJECT_ID_BYTES)
        _check_id("owner", put.owner, IDENTITY_BYTES)
        _check_unused(user, put.request)
        upload = _Upload(put.object, put.owner, put.total_bytes)
        _check_part(upload, put, attachment_bytes)
        user.uploads[put.request] = upload
        self._uploads.setdefault(put.object, {})[peer, put.request] = None
        if put.total_bytes > self._max_object_bytes:
            text = f"the object has {put.total_bytes} bytes; this storage takes at most {self._max_object_bytes}"
            self._refuse_upload(peer, put.request, StorageFailureReason.too_large, text)
        elif put.owner in self._gone_owners:
            self._refuse_owner(peer, put.request, put.owner)
        elif put.object in self._objects:
            self._save_upload(peer, put.request)
        return upload

    def _complete(self, peer: int, request: int, upload: _Upload, content: Content) -> None:
        """All bytes of an object are here: whoever puts or waits for the same one is answered too."""
        name = upload.object
        self._forget_upload(peer, request)
        self._objects[name] = _Object(content)
        self._bytes += upload.total_bytes
        self._freed_objects.discard(name)
        self._own(name, upload.owner)
        self._puts += 1
        self._outbox.send(peer, Stored(request, False))
        for other in tuple(self._uploads.get(name, ())):
            self._save_upload(*other)
        for waiter, waiting_request in self._waiting.pop(name, ()):
            shared = self._users[waiter].gets.pop(waiting_request).shared
            self._waiting_gets -= 1
            self._transmit(waiter, waiting_request, name, shared)

    def _save_upload(self, peer: int, request: int) -> None:
        """The object is there without this put."""
        upload = self._answer_upload(peer, request)
        self._own(upload.object, upload.owner)
        self._puts += 1
        self._puts_saved += 1
        self._outbox.send(peer, Stored(request, True))

    def _refuse_owner(self, peer: int, request: int, owner: bytes) -> None:
        text = f"owner {owner.hex()} was released; it can own nothing any more"
        self._refuse_upload(peer, request, StorageFailureReason.owner_gone, text)

    def _refuse_upload(self, peer: int, request: int, reason: StorageFailureReason, text: str) -> None:
        self._answer_upload(peer, request)
        self._outbox.send(peer, StorageFailure(request, reason, text))

    def _answer_upload(self, peer: int, request: int) -> _Upload:
        """From here on the parts of this put are passed over, up to the last."""
        upload = self._forget_upload(peer, request)
        upload.content = b""
        if upload.opening:
            return upload
        answered = self._users[peer].answered
        answered[request] = upload
        # A dialer need not send the parts that are left, so some of these never end.
        if len(answered) > REMEMBERED_ANSWERED:
            answered.popitem(last=False)
        return upload

    def _forget_upload(self, peer: int, request: int) -> _Upload:
        upload = self._users[peer].uploads.pop(request)
        _remove(self._uploads, upload.object, (peer, request))
        return upload

    # ---- gets

    def _get(self, peer: int, user: _User, message: Get) -> None:
        _check_id("object id", message.object, OBJECT_ID_BYTES)
        _check_unused(user, message.request)
        self._gets += 1
        if message.object in self._objects:
            self._transmit(peer, message.request, message.object, message.shared)
        elif message.object in self._freed_objects:
            self._fail(peer, message.request, StorageFailureReason.freed, message.object)
        elif message.existed:
            self._fail(peer, message.request, StorageFailureReason.lost, message.object)
        else:
            user.gets[message.request] = message
            self._waiting.setdefault(message.object, {})[peer, message.request] = None
            self._waiting_gets += 1

    def _transmit(self, peer: int, request: int, name: bytes, shared: bool) -> None:
        self._outbox.add(Transmit(peer, request, self._objects[name].content, shared))

    def _abandon(self, peer: int, user: _User, message: Abandon) -> None:
        if message.request in user.gets:
            self._forget_get(peer, message.request)
        else:
            # Only the service knows which transmissions are still under way.
            self._outbox.add(StopTransmit(peer, message.request))

    def _forget_get(self, peer: int, request: int) -> None:
        _remove(self._waiting, self._users[peer].gets.pop(request).object, (peer, request))
        self._waiting_gets -= 1

    # ---- owners

    def _link(self, peer: int, user: _User, message: Link) -> None:
        _check_id("object id", message.object, OBJECT_ID_BYTES)
        _check_id("owner", message.owner, IDENTITY_BYTES)
        _check_unused(user, message.request)
        if message.owner in self._gone_owners:
            self._fail(peer, message.request, StorageFailureReason.owner_gone, message.owner)
        elif message.object in self._objects:
            self._own(message.object, message.owner)
            self._outbox.send(peer, Stored(message.request, True))
        elif message.object in self._freed_objects:
            self._fail(peer, message.request, StorageFailureReason.freed, message.object)
        else:
            self._fail(peer, message.request, StorageFailureReason.unknown, message.object)

    def _release(self, peer: int, user: _User, message: Release) -> None:
        _check_id("owner", message.owner, IDENTITY_BYTES)
        names = message.objects
        if len(names) % OBJECT_ID_BYTES:
            raise _WrongMessage(
                f"release of {len(names)} bytes of object ids; it has to be a multiple of {OBJECT_ID_BYTES}"
            )
        for start in range(0, len(names), OBJECT_ID_BYTES):
            self._disown(names[start : start + OBJECT_ID_BYTES], message.owner)

    def _release_owner(self, peer: int, user: _User, message: ReleaseOwner) -> None:
        owner = message.owner
        _check_id("owner", owner, IDENTITY_BYTES)
        self._gone_owners.add(owner)
        for name in tuple(self._owned.get(owner, ())):
            self._disown(name, owner)
        for uploader, other in self._users.items():
            for request in [request for request, upload in other.uploads.items() if upload.owner == owner]:
                self._refuse_owner(uploader, request, owner)

    def _own(self, name: bytes, owner: bytes) -> None:
        self._objects[name].owners.add(owner)
        self._owned.setdefault(owner, {})[name] = None

    def _disown(self, name: bytes, owner: bytes) -> None:
        """Free the object with its last owner."""
        held = self._objects.get(name)
        if held is None or owner not in held.owners:
            return
        held.owners.remove(owner)
        del self._owned[owner][name]
        if not self._owned[owner]:
            del self._owned[owner]
        if not held.owners:
            del self._objects[name]
            self._bytes -= held.content.view.nbytes
            self._freed += 1
            self._freed_objects.add(name)

    # ---- the rest

    def _handle(self, peer: int, user: _User, message: Message, attachment: bytes | bytearray) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise _WrongMessage(f"{type(message).__name__} is no message to an object storage")
        if attachment:
            raise _WrongMessage(
                f"{type(message).__name__} with an attachment of {len(attachment)} bytes; only put has one"
            )
        handler(peer, user, message)

    def _probe(self, peer: int, user: _User, message: Probe) -> None:
        _check_unused(user, message.request)
        self._outbox.add(AnswerProbe(peer, message.request, message.piece))

    def _statistics(self, peer: int, user: _User, message: StatisticsRequest) -> None:
        self._outbox.send(peer, Statistics(message.request, **self.snapshot()))

    def _fail(self, peer: int, request: int, reason: StorageFailureReason, name: bytes) -> None:
        text = {
            StorageFailureReason.freed: f"object {name.hex()} was freed",
            StorageFailureReason.unknown: f"there is no object {name.hex()}",
            StorageFailureReason.lost: f"object {name.hex()} is not there any more",
            StorageFailureReason.owner_gone: f"owner {name.hex()} was released; it can own nothing any more",
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
        for request in tuple(user.uploads):
            self._forget_upload(peer, request)
        for request in tuple(user.gets):
            self._forget_get(peer, request)
        del self._users[peer]
        del self._by_identity[user.who.identity]


def _remove(index: _Index, name: bytes, key: _Key) -> None:
    keys = index[name]
    del keys[key]
    if not keys:
        del index[name]


def _check_id(what: str, name: bytes, length: int) -> None:
    if len(name) != length:
        raise _WrongMessage(f"{what} of {len(name)} bytes; it has to have {length}")


def _check_unused(user: _User, request: int) -> None:
    if request in user.uploads or request in user.answered or request in user.gets:
        raise _WrongMessage(f"request {request} is under way already")


def _check_part(upload: _Upload, put: Put, attachment_bytes: int) -> None:
    """Raises _WrongMessage where a part does not follow the ones before it."""
    if (put.object, put.owner, put.total_bytes) != (upload.object, upload.owner, upload.total_bytes):
        raise _WrongMessage(f"put {put.request} changed its object, owner or total between parts")
    if put.offset != upload.received_bytes:
        raise _WrongMessage(f"put {put.request} has a part at offset {put.offset}; expected {upload.received_bytes}")
    if put.offset + attachment_bytes > upload.total_bytes:
        end = put.offset + attachment_bytes
        raise _WrongMessage(f"put {put.request} has a part up to byte {end} of an object of {upload.total_bytes} bytes")
    if not attachment_bytes and upload.total_bytes:
        raise _WrongMessage(f"put {put.request} has a part without bytes, of an object of {upload.total_bytes} bytes")
