"""A blocking way to put and get objects, for executors and for clients that have no event loop at hand."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count, repeat
from typing import Any, TypeVar

from typing_extensions import Buffer

from scaler.errors import (
    ClientClosedError,
    ConnectionLostError,
    ObjectLostError,
    ObjectMissingError,
    ObjectStorageError,
    ObjectStorageFullError,
    ProtocolError,
)
from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES, Address, new_identity
from scaler.messages import (
    Chunk,
    Get,
    Mapped,
    Message,
    Probe,
    Put,
    PutWaits,
    RefusalReason,
    Refused,
    Release,
    Role,
    Shared,
    Statistics,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage.content import SHARED_BYTES
from scaler.storage.segments import Known, Segment, Spare, open_object, share
from scaler.wire import framing
from scaler.wire.codec import codec
from scaler.wire.handshake import NONCE_BYTES, Dialer, handshake_codec

HANDSHAKE_SECONDS = 10.0
BACK_OFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TRUSTED_BYTES = 1 << 30
GROWTH_BYTES = 64 << 20
MAX_IDLE_READERS = 4
_KEEP_ALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
MOST_BUFFERS = 512
"""How many one system call takes; the system's limit is 1,024."""
_BUFFERS = (bytes, bytearray, memoryview)
_Answer = TypeVar("_Answer")

log = logging.getLogger("scaler")
mapped_here = Known()
spare_here = Spare()


class StorageClient:
    """Puts objects into an object storage and gets them back. All methods block, and may be called from any thread.

    It connects when it is first used, and again when a connection is lost, for up to ``timeout_seconds`` before a
    call raises ConnectionLostError. Puts, releases and statistics share one connection, in order; each get under way
    has its own, so that one that waits for an object never keeps another thread from bringing that object. After a
    fork the child connects by itself, under an identity of its own.

    ``identity`` (16 bytes) names the connection; no other StorageClient may have it at the same time. Any call may
    raise RefusedError or ProtocolError when the peer does not let us in or is no object storage, and
    ClientClosedError after ``close``.
    """

    def __init__(
        self, address: Address, identity: bytes, name: str = "", secret: bytes = b"", timeout_seconds: float = 60
    ) -> None:
        self.address = address
        self._name = name
        self._secret = secret
        self._timeout = timeout_seconds
        self._links = _Links(identity)

    def put(
        self,
        object_id: bytes,
        content: Buffer | Sequence[Buffer],
        owner: bytes,
        kept: Callable[[memoryview], None] | None = None,
    ) -> bool:
        """Store an object for an owner (16 bytes each); returns whether the same id was there already.

        ``content`` is one contiguous buffer, or several that follow each other. Where the storage is of this host and
        user, a large object is written into shared memory, where it stays; ``kept`` is given a view of it there, which
        outlives the storage.

        Waits as long as the storage says that it has no room yet. Raises ObjectStorageFullError when it will have none,
        ObjectStorageError when it does not take it for another reason (too large, or the owner was released),
        ConnectionLostError, and ValueError for ids of another length.
        """
        _check_ids(owner, [object_id])
        given = content if isinstance(content, Sequence) and not isinstance(content, _BUFFERS) else [content]
        parts = [view for view in map(_flat, given) if view.nbytes]
        links = self._current()
        with links.writing:
            return self._attempt(
                links, links.writers, links.identity, lambda link: link.put(object_id, parts, owner, kept)
            )

    def get(self, object_id: bytes, existed: bool = False) -> memoryview:
        """The bytes of an object, read-only; waits without limit for one that does not exist yet, unless it ``existed``.

        Raises ObjectLostError when it was freed, ObjectMissingError when it existed and is lost, ObjectStorageError when it
        cannot be had for another reason, ConnectionLostError, and ValueError for an id that has not 16 bytes.
        """
        _check_ids(bytes(IDENTITY_BYTES), [object_id])
        links = self._current()
        try:
            return self._attempt(links, links.readers, new_identity(), lambda link: link.get(object_id, existed))
        except ObjectMissingError:
            why = "was restarted" if len(links.instances) > 1 else "does not have it any more"
            text = f"object {object_id.hex()} is lost: the object storage at {self.address} {why}"
            raise ObjectMissingError(text, object_id) from None

    def shares(self) -> bool:
        """Whether large objects travel through shared memory. Raises ConnectionLostError."""
        links = self._current()
        if links.share is None:
            with links.writing:
                self._attempt(links, links.writers, links.identity, lambda link: link.shares())
        return bool(links.share)

    @property
    def instances(self) -> int:
        """How many object storages have been at the address, as far as this process noticed: one more with each restart."""
        return len(self._current().instances)

    def release(self, object_ids: list[bytes], owner: bytes) -> None:
        """Say that an owner needs these objects no longer. Not answered: a loss of the connection may lose it too.

        Raises ConnectionLostError, and ValueError for ids that have not 16 bytes.
        """
        _check_ids(owner, object_ids)
        message = Release(b"".join(object_ids), owner)
        links = self._current()
        with links.writing:
            self._attempt(links, links.writers, links.identity, lambda link: link.send(message))

    def try_release(self, object_ids: list[bytes], owner: bytes) -> bool:
        """As release(), if that can be done at once; False, and nothing happens, where it would have to wait."""
        links = self._current()
        if not links.writing.acquire(blocking=False):
            return False
        try:
            link = links.take(links.writers)
            if link is not None:
                _use(links, links.writers, link, lambda link: link.send(Release(b"".join(object_ids), owner)))
            return link is not None
        except OSError:
            return False
        finally:
            links.writing.release()

    def statistics(self) -> Statistics:
        """What the storage holds and did. Raises ConnectionLostError."""
        links = self._current()
        with links.writing:
            return self._attempt(links, links.writers, links.identity, lambda link: link.statistics())

    def close(self) -> None:
        """Close all connections. Calls under way in other threads, and later ones, raise ClientClosedError."""
        self._current().close()

    # ---- inside

    def _current(self) -> _Links:
        """The connections of this process. Those of the process we were forked from stay its own."""
        links = self._links
        if links.pid != os.getpid():
            links.disown()
            self._links = links = _Links(new_identity(), links.closed.is_set())
        return links

    def _attempt(self, links: _Links, idle: list[_Link], identity: bytes, act: Callable[[_Link], _Answer]) -> _Answer:
        """Do ``act`` over a connection, again over a new one when it is lost."""
        outage: float | None = None
        for pause in chain(BACK_OFF_SECONDS, repeat(BACK_OFF_SECONDS[-1])):
            began = time.monotonic()
            link = None
            try:
                link = links.take(idle) or self._dial(links, identity, outage)
                return _use(links, idle, link, act)
            except OSError as error:
                links.raise_if_closed()
                now = time.monotonic()
                # A socket's own timeout, unlike one that TCP reports, has no number.
                silent = link is not None and isinstance(error, TimeoutError) and error.errno is None
                outage = began if silent else self._outage_since(outage, began, now, link is not None)
                if silent or now - outage >= self._timeout:
                    why = error.strerror or str(error)
                    text = f"cannot reach the object storage at {self.address}: {why} (tried for {now - outage:.1f} s)"
                    raise ConnectionLostError(text) from None
            links.closed.wait(min(pause, self._timeout - (now - outage)))
        raise AssertionError("unreachable")

    def _outage_since(self, outage: float | None, began: float, now: float, connected: bool) -> float:
        """Since when nothing has worked, after an attempt that began and failed at these times."""
        if not connected:
            return began if outage is None else outage
        # A call may wait for hours: what worked longer than we would try to connect starts a new outage.
        return now if outage is None or now - began > self._timeout else outage

    def _dial(self, links: _Links, identity: bytes, outage: float | None) -> _Link:
        """A new connection on which the handshake is over. Raises OSError, RefusedError or ProtocolError."""
        tried = 0.0 if outage is None else time.monotonic() - outage
        patience = min(HANDSHAKE_SECONDS, max(0.001, self._timeout - tried))
        sock = _connected(self.address, patience)
        try:
            link = _Link(sock, links)
            link.shake_hands(Dialer(Role.storage_user, identity, self._name, self._secret, os.urandom(NONCE_BYTES)))
            sock.settimeout(self._timeout)
            links.add(link)
        except BaseException:
            sock.close()
            raise
        return link


class _NotShared(ObjectStorageError):
    """The other side cannot open what is in shared memory here."""


_ERRORS: dict[int, type[ObjectStorageError]] = {
    StorageFailureReason.freed: ObjectLostError,
    StorageFailureReason.lost: ObjectMissingError,
    StorageFailureReason.not_shared: _NotShared,
    StorageFailureReason.full: ObjectStorageFullError,
}


def _mapped(answer: Mapped) -> memoryview:
    """An object that is in shared memory. Raises OSError."""
    mapping = open_object(answer.pieces, answer.total_bytes).map()
    mapped_here.add(mapping, answer.pieces)
    return mapping.view


def _chunks(parts: Sequence[memoryview]) -> Iterator[tuple[int, list[memoryview]]]:
    """(offset, buffers) of attachments; one without bytes for an empty object."""
    offset = filled = 0
    chunk: list[memoryview] = []
    for part in parts:
        begin = 0
        while begin < len(part):
            taken = part[begin : begin + framing.MAX_ATTACHMENT_BYTES - filled]
            chunk.append(taken)
            filled += len(taken)
            begin += len(taken)
            if filled == framing.MAX_ATTACHMENT_BYTES:
                yield offset, chunk
                offset, filled, chunk = offset + filled, 0, []
    if chunk or not offset:
        yield offset, chunk


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _connected(address: Address, patience: float) -> socket.socket:
    """A connected socket. Raises OSError."""
    if address.path:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(patience)
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((address.host, address.port), patience)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _keep_alive(sock)
    return sock


def _use(links: _Links, idle: list[_Link], link: _Link, act: Callable[[_Link], _Answer]) -> _Answer:
    try:
        answer = act(link)
    except ObjectStorageError:
        # The storage answered: the connection is as good as before.
        links.give_back(idle, link)
        raise
    except BaseException:
        links.drop(link)
        raise
    links.give_back(idle, link)
    return answer


class _Links:
    """The connections of one process, idle and in use."""

    def __init__(self, identity: bytes, closed: bool = False) -> None:
        self.pid = os.getpid()
        self.identity = identity
        self.writing = threading.Lock()
        self.writers: list[_Link] = []
        self.readers: list[_Link] = []
        self.closed = threading.Event()
        self.instances: set[bytes] = set()
        """The identities of the storages that were here: it has another one when it was restarted."""
        self.share: bool | None = None
        """Whether the storage and this process can use each other's shared memory; None before that was tried."""
        self._lock = threading.Lock()
        self._all: set[_Link] = set()
        if closed:
            self.closed.set()

    def raise_if_closed(self) -> None:
        if self.closed.is_set():
            raise ClientClosedError("the storage client was closed")

    def take(self, idle: list[_Link]) -> _Link | None:
        """An idle connection that still works, if there is one. Raises ClientClosedError after close."""
        while True:
            with self._lock:
                self.raise_if_closed()
                if not idle:
                    return None
                link = idle.pop()
            # Nothing is under way on it, so whatever there is to read is its end.
            if not link.readable():
                return link
            self.drop(link)

    def add(self, link: _Link) -> None:
        """Enter a new connection. Raises ClientClosedError after close."""
        with self._lock:
            self.raise_if_closed()
            self._all.add(link)

    def give_back(self, idle: list[_Link], link: _Link) -> None:
        with self._lock:
            if len(idle) < MAX_IDLE_READERS and not self.closed.is_set():
                idle.append(link)
                return
        self.drop(link)

    def drop(self, link: _Link) -> None:
        with self._lock:
            self._all.discard(link)
        link.shut()
        link.sock.close()

    def close(self) -> None:
        with self._lock:
            self.closed.set()
            idle = self.writers + self.readers
            self.writers.clear()
            self.readers.clear()
            busy = self._all.difference(idle)
        for link in idle:
            self.drop(link)
        for link in busy:
            # Wakes the thread that uses it, which drops it.
            link.shut()

    def disown(self) -> None:
        """Close this process's copies. The lock is left alone: a thread that is not here may have held it."""
        for link in list(self._all):
            link.sock.close()


class _Link:
    """One connection, used by one thread at a time. Raises OSError when it is lost, and ProtocolError for nonsense."""

    def __init__(self, sock: socket.socket, links: _Links) -> None:
        self.sock = sock
        self._links = links
        self._requests = count(1)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._says = self._hears = handshake_codec()
        self._unread: tuple[Message, int] | None = None
        """An answer that was received, and not asked for yet."""
        self._max_message_bytes = framing.MAX_HANDSHAKE_BYTES
        self._max_attachment_bytes = 0

    # ---- conversations

    def shake_hands(self, side: Dialer) -> None:
        self.send(side.hello)
        while side.peer is None:
            message, _ = self._receive()
            if isinstance(message, Refused) and message.reason == RefusalReason.full:
                raise ConnectionRefusedError(message.text)
            for answer in side.receive(message):
                self.send(answer)
            if side.error is not None:
                raise side.error
        self._links.instances.add(side.peer.identity)
        self._says, self._hears = codec("storage", "ToStorage"), codec("storage", "FromStorage")
        self._max_message_bytes = framing.MAX_MESSAGE_BYTES
        self._max_attachment_bytes = framing.MAX_ATTACHMENT_BYTES

    def put(
        self,
        object_id: bytes,
        parts: Sequence[memoryview],
        owner: bytes,
        kept: Callable[[memoryview], None] | None = None,
    ) -> bool:
        total = sum(part.nbytes for part in parts)
        if total >= SHARED_BYTES and self.shares():
            try:
                return self._put_shared(object_id, parts, owner, total, kept)
            except _NotShared as error:
                self._no_more_shared(logging.WARNING, str(error))
        request = next(self._requests)
        for offset, pieces in _chunks(parts):
            # An answer before the last part says that the rest is not needed, or not wanted.
            if offset and self._answered():
                break
            self.send(Put(request, object_id, owner, total, offset), pieces)
        return self._answer(request, Stored).already_there

    def get(self, object_id: bytes, existed: bool) -> memoryview:
        answer, attachment_bytes = self._asked(object_id, self.shares(), existed)
        if isinstance(answer, Mapped):
            try:
                return _mapped(answer)
            except OSError:  # Freed or spilled meanwhile, or there is nothing left to map it with.
                answer, attachment_bytes = self._asked(object_id, False, existed)
        return self._received(answer, attachment_bytes)

    def _asked(self, object_id: bytes, shared: bool, existed: bool) -> tuple[Any, int]:
        """The first answer to a get."""
        request = next(self._requests)
        self.send(Get(request, object_id, shared, existed))
        patience = self.sock.gettimeout()
        # The object may be long in coming; that the peer is alive is left to TCP.
        self.sock.settimeout(None)
        try:
            return self._answer_and_attachment(request, (Chunk, Mapped) if shared else (Chunk,))
        finally:
            self.sock.settimeout(patience)

    def _received(self, first: Chunk, attachment_bytes: int) -> memoryview:
        total = first.total_bytes
        content = bytearray(min(total, TRUSTED_BYTES))
        done = self._receive_part(first, attachment_bytes, content, 0, total)
        while done < total:
            chunk, attachment_bytes = self._answer_and_attachment(first.request, (Chunk,))
            done = self._receive_part(chunk, attachment_bytes, content, done, total)
        return memoryview(content).toreadonly()

    # ---- shared memory

    def shares(self) -> bool:
        """Whether both sides can open what the other has in shared memory. Asked once."""
        if self._links.share is None:
            self._links.share = self._probe()
        return self._links.share

    def _probe(self) -> bool:
        try:
            segment = Segment.make(1)
        except OSError as error:
            return self._no_more_shared(logging.WARNING, f"memory cannot be shared here: {error.strerror}")
        request = next(self._requests)
        self.send(Probe(request, segment.piece(0, 1)))
        try:
            theirs = self._answer(request, Shared).piece
        except _NotShared as error:
            return self._no_more_shared(logging.DEBUG, str(error))
        try:
            Segment.open(theirs)
        except OSError as error:
            return self._no_more_shared(logging.DEBUG, f"what the storage shares cannot be opened: {error.strerror}")
        return True

    def _no_more_shared(self, level: int, why: str) -> bool:
        log.log(level, "objects go to the object storage over the connection: %s", why)
        self._links.share = False
        return False

    def _put_shared(
        self,
        object_id: bytes,
        parts: Sequence[memoryview],
        owner: bytes,
        total: int,
        kept: Callable[[memoryview], None] | None,
    ) -> bool:
        """Raises _NotShared when it cannot be done this way."""
        failed = ""
        for known in (mapped_here, None):
            try:
                written = share(parts, spare_here, known)
            except OSError as error:
                raise _NotShared(f"shared memory cannot be written: {error.strerror}") from None
            request = next(self._requests)
            self.send(Put(request, object_id, owner, total, 0, written.pieces))
            try:
                there = self._answer(request, Stored).already_there
                if kept is not None:
                    with suppress(OSError):  # What was mapped of others may be gone.
                        kept(open_object(written.pieces, total).map().view)
                for segment in written.segments:
                    spare_here.keep(segment)
                return there
            except _NotShared as error:
                # What it was made of may have been freed: then it is copied.
                failed = str(error)
        raise _NotShared(failed)

    def statistics(self) -> Statistics:
        request = next(self._requests)
        self.send(StatisticsRequest(request))
        return self._answer(request, Statistics)

    def _receive_part(self, chunk: Chunk, attachment_bytes: int, content: bytearray, done: int, total: int) -> int:
        """Receive the bytes of a chunk straight to their place; returns how many bytes of the object are here then."""
        end = done + attachment_bytes
        if chunk.total_bytes != total or chunk.offset != done or end > total or (total and not attachment_bytes):
            found = f"chunk of {attachment_bytes} bytes at {chunk.offset} of {chunk.total_bytes}"
            raise ProtocolError(f"{found}; expected one at {done} of {total}")
        if end > len(content):
            content.extend(bytes(min(total - len(content), GROWTH_BYTES)))
        with memoryview(content) as view:
            self._fill(view[done:end])
        return end

    def _answer(self, request: int, kind: type[_Answer]) -> _Answer:
        answer, attachment_bytes = self._answer_and_attachment(request, (kind,))
        if attachment_bytes:
            raise ProtocolError(f"{kind.__name__} with an attachment")
        assert isinstance(answer, kind)
        return answer

    def _answer_and_attachment(self, request: int, kinds: tuple[type[Any], ...]) -> tuple[Any, int]:
        """The next message, which has to answer this request, and how many bytes of attachment follow it."""
        message, attachment_bytes = self._receive()
        while isinstance(message, PutWaits):
            message, attachment_bytes = self._receive()
        if getattr(message, "request", None) != request or not isinstance(message, (*kinds, StorageFailure)):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ProtocolError(f"{type(message).__name__} is no answer to request {request}; expected {expected}")
        if isinstance(message, StorageFailure):
            raise _ERRORS.get(message.reason, ObjectStorageError)(message.text)
        return message, attachment_bytes

    # ---- the connection

    def shut(self) -> None:
        """End the connection, also for a process that was forked and holds a copy of the socket."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def _answered(self) -> bool:
        """Whether there is an answer. That the storage has no room yet is none."""
        while self._unread is None and self.readable():
            self._unread = self._receive()
            if isinstance(self._unread[0], PutWaits):
                self._unread = None
        return self._unread is not None

    def readable(self) -> bool:
        """Whether there is something to read, or the end."""
        return bool(self._poll.poll(0))

    # ---- frames

    def send(self, message: Message, attachment: Sequence[memoryview] = ()) -> None:
        frame = self._says.frame(message, sum(part.nbytes for part in attachment))
        rest = [memoryview(frame), *attachment]
        while rest:
            sent = self._send_some(rest[:MOST_BUFFERS])
            while rest and sent >= len(rest[0]):
                sent -= len(rest.pop(0))
            if sent:
                rest[0] = rest[0][sent:]

    def _send_some(self, parts: list[memoryview]) -> int:
        """Waits for a storage that has no room, as long as it says so. Returns how many bytes were sent."""
        while True:
            try:
                return self.sock.sendmsg(parts)
            except TimeoutError:
                if not self.readable() or self._answered():
                    raise

    def _receive(self) -> tuple[Message, int]:
        """The next message. Its attachment is left unread, for whoever knows where it goes."""
        if self._unread is not None:
            received, self._unread = self._unread, None
            return received
        header = bytearray(framing.HEADER.size)
        self._fill(memoryview(header))
        message_bytes, attachment_bytes = framing.HEADER.unpack(header)
        if (
            not 8 <= message_bytes <= self._max_message_bytes
            or message_bytes % 8
            or attachment_bytes > self._max_attachment_bytes
        ):
            raise ProtocolError(f"a frame of {message_bytes} + {attachment_bytes} bytes is none of Scaler's protocol")
        data = bytearray(message_bytes)
        self._fill(memoryview(data))
        return self._hears.decode(bytes(data)), attachment_bytes

    def _fill(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            received = self.sock.recv_into(view[done:])
            if not received:
                raise ConnectionResetError("the storage closed the connection")
            done += received


def _check_ids(owner: bytes, object_ids: list[bytes]) -> None:
    if len(owner) != IDENTITY_BYTES:
        raise ValueError(f"an owner has {IDENTITY_BYTES} bytes, not {len(owner)}")
    for object_id in object_ids:
        if len(object_id) != OBJECT_ID_BYTES:
            raise ValueError(f"an object id has {OBJECT_ID_BYTES} bytes, not {len(object_id)}")


def _keep_alive(sock: socket.socket) -> None:
    """Have TCP notice within half a minute that the other host is gone, however long nothing is said."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
