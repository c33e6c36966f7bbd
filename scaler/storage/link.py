"""One connection to an object storage: the conversation, shared memory where both sides can use it, and the frames."""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from scaler.errors import (
    ObjectLostError,
    ObjectMissingError,
    ObjectStorageError,
    ObjectStorageFullError,
    ProtocolError,
    RefusedError,
)
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
    Shared,
    Statistics,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage.content import SHARED_BYTES
from scaler.storage.segments import Known, Segment, Spare, Written, open_object, share
from scaler.tls import TlsSession
from scaler.wire import framing
from scaler.wire.codec import codec, struct_codec
from scaler.wire.handshake import Dialer, handshake_codec
from scaler.writing import write_all

if TYPE_CHECKING:
    from scaler.storage.client import Links

TRUSTED_BYTES = 1 << 30
GROWTH_BYTES = 64 << 20
CIPHER_BYTES = 256 << 10
"""How much of a TLS connection is received at once."""
AHEAD_BYTES = 4 << 10
"""Less than that is not received by itself."""
MOST_UNANSWERED = 16
UNANSWERED_BYTES = 16 << 20
"""How many puts are not answered yet when the next one begins, and of how many bytes."""
MOST_UNHEARD = 256
"""How many releases are said before it is asked whether they were heard."""
_Answer = TypeVar("_Answer")
Tell = Callable[[bytes, ObjectStorageError], None]
"""Called with the id of an object that was not stored after all, and why."""

log = logging.getLogger("scaler")
mapped_here = Known()
spare_here = Spare()


class NotShared(ObjectStorageError):
    """The other side cannot open what is in shared memory here."""


_ERRORS: dict[int, type[ObjectStorageError]] = {
    StorageFailureReason.freed: ObjectLostError,
    StorageFailureReason.lost: ObjectMissingError,
    StorageFailureReason.not_shared: NotShared,
    StorageFailureReason.full: ObjectStorageFullError,
}


def _error(failure: StorageFailure) -> ObjectStorageError:
    return _ERRORS.get(failure.reason, ObjectStorageError)(failure.text)


def _mapped(answer: Mapped) -> memoryview:
    """An object that is in shared memory. Raises OSError."""
    mapping = open_object(answer.pieces, answer.total_bytes).map()
    mapped_here.add(mapping, answer.pieces)
    return mapping.view


def place_of(written: Written) -> bytes:
    """Where others on this host can read it, as long as this process keeps it: a Mapped as a message."""
    return struct_codec("storage", "Mapped").encode(Mapped(0, written.total_bytes, written.pieces))


def read_place(place: bytes) -> memoryview | None:
    """An object where place_of() said that it is; None where it is not any more, or cannot be read from here."""
    try:
        return _mapped(struct_codec("storage", "Mapped").decode(place))
    except (OSError, ValueError, ProtocolError):
        return None


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


class Link:
    """One connection, used by one thread at a time. Raises OSError when it is lost, and ProtocolError for nonsense."""

    def __init__(self, sock: socket.socket, links: Links, tls: TlsSession | None = None) -> None:
        self.sock = sock
        self._tls = tls
        self._sealed = bytearray(CIPHER_BYTES if tls is not None else 0)
        self._links = links
        self._requests = 0
        self._unheard: deque[tuple[int, Release]] = deque()
        """What was released, as far as no answer shows that the storage has read so far; after how many requests each."""
        self._ahead = bytearray(AHEAD_BYTES)
        self._begin = self._end = 0
        """Where in it lies what was received with something before it, and is not read yet."""
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._says = self._hears = handshake_codec()
        self._unread: tuple[Message, int] | None = None
        """An answer that was received, and not asked for yet."""
        self._unanswered: dict[int, tuple[bytes, int, Tell]] = {}
        """Puts that nobody waits for, in order: object, its bytes, and who is told when it fails."""
        self._unanswered_bytes = 0
        self._max_message_bytes = framing.MAX_HANDSHAKE_BYTES
        self._max_attachment_bytes = 0

    # ---- conversations

    def shake_hands(self, side: Dialer) -> None:
        if self._tls is not None:
            self._secure(self._tls)
            side.channel = self._tls.channel
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

    def _secure(self, tls: TlsSession) -> None:
        """Make the TLS handshake. What ends it goes with what is sent next."""
        try:
            while not tls.shake_hands():
                self.sock.sendall(tls.outgoing())
                self._receive_sealed(tls)
        except RefusedError:
            with suppress(OSError):
                self.sock.sendall(tls.outgoing())
            raise

    def put(
        self,
        object_id: bytes,
        parts: Sequence[memoryview],
        owner: bytes,
        kept: Callable[[Written], None] | None = None,
        tell: Tell | None = None,
    ) -> bool:
        total = sum(part.nbytes for part in parts)
        if total >= SHARED_BYTES and self.shares():
            try:
                return self._put_shared(object_id, parts, owner, total, kept, tell)
            except NotShared as error:
                self._no_more_shared(logging.WARNING, str(error))
        request = self._new_request()
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
        request = self._new_request()
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
        request = self._new_request()
        self.send(Probe(request, segment.piece(0, 1)))
        try:
            theirs = self._answer(request, Shared).piece
        except NotShared as error:
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
        kept: Callable[[Written], None] | None,
        tell: Tell | None,
    ) -> bool:
        """Raises NotShared when it cannot be done this way."""
        failed = ""
        for known in (mapped_here, None):
            try:
                shared = share(parts, spare_here, known)
            except OSError as error:
                raise NotShared(f"shared memory cannot be written: {error.strerror}") from None
            written = None
            with suppress(OSError):  # What was mapped of others may be gone.
                written = Written(shared, total) if kept is not None else None
            request = self._new_request()
            self.send(Put(request, object_id, owner, total, 0, shared.pieces))
            if tell is not None and written is not None and total <= UNANSWERED_BYTES:
                self._leave_unanswered(request, object_id, total, tell)
                there = False
            else:
                try:
                    there = self._answer(request, Stored).already_there
                except NotShared as error:
                    # What it was made of may have been freed: then it is copied.
                    failed = str(error)
                    continue
            if kept is None:
                for segment in shared.segments:
                    spare_here.keep(segment)
            elif written is not None:
                kept(written)
            return there
        raise NotShared(failed)

    # ---- releases

    def release(self, message: Release) -> None:
        """Say it. The storage reads in order: an answer to a later request shows that it was heard."""
        self.send(message)
        self._unheard.append((self._requests, message))
        if len(self._unheard) > MOST_UNHEARD:
            self.statistics()

    def release_again(self) -> None:
        """What may have been lost with an earlier connection. Before anything is put, since it may be the same object."""
        while self._links.unheard:
            self.release(self._links.unheard[-1])
            self._links.unheard.pop()

    def take_unheard(self) -> list[Release]:
        """The connection is lost."""
        unheard = [message for _, message in self._unheard]
        self._unheard.clear()
        return unheard

    def _note_heard(self, request: int) -> None:
        """This request was answered."""
        while self._unheard and self._unheard[0][0] < request:
            self._unheard.popleft()

    # ---- puts that nobody waits for

    def _leave_unanswered(self, request: int, object_id: bytes, total: int, tell: Tell) -> None:
        """Waits only for earlier ones, where there are too many."""
        self._unanswered[request] = object_id, total, tell
        self._unanswered_bytes += total
        while len(self._unanswered) > MOST_UNANSWERED or self._unanswered_bytes > UNANSWERED_BYTES:
            self._hear_late()

    def _hear_late(self) -> None:
        """Receive a message, which has to be about one of these."""
        message, attachment_bytes = self._receive()
        if not self._settle(message) or attachment_bytes:
            raise ProtocolError(f"{type(message).__name__} without a request that it answers")

    def _settle(self, message: Message) -> bool:
        """Note what it says of one of these; whether it is about one."""
        request = getattr(message, "request", None)
        if request not in self._unanswered:
            return False
        if isinstance(message, Stored | StorageFailure):
            object_id, total, tell = self._unanswered.pop(request)
            self._unanswered_bytes -= total
            if isinstance(message, StorageFailure):
                self._links.failures.append((tell, object_id, _error(message)))
        return isinstance(message, Stored | StorageFailure | PutWaits)

    def is_idle(self) -> bool:
        """Whether it can be used: nothing is under way but these, so what there is to read besides is its end."""
        try:
            while self.readable():
                if not self._unanswered:
                    return False
                self._hear_late()
        except (OSError, ProtocolError):
            return False
        return True

    def statistics(self) -> Statistics:
        request = self._new_request()
        self.send(StatisticsRequest(request))
        return self._answer(request, Statistics)

    # ---- requests and answers

    def _new_request(self) -> int:
        self._requests += 1
        return self._requests

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
        while self._settle(message) or isinstance(message, PutWaits):
            message, attachment_bytes = self._receive()
        if getattr(message, "request", None) != request or not isinstance(message, (*kinds, StorageFailure)):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ProtocolError(f"{type(message).__name__} is no answer to request {request}; expected {expected}")
        if isinstance(message, StorageFailure):
            raise _error(message)
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
            if self._settle(self._unread[0]) or isinstance(self._unread[0], PutWaits):
                self._unread = None
        return self._unread is not None

    def readable(self) -> bool:
        """Whether there is something to read, or the end."""
        waits = self._begin < self._end or (self._tls is not None and self._tls.buffered)
        return waits or bool(self._poll.poll(0))

    # ---- frames

    def send(self, message: Message, attachment: Sequence[memoryview] = ()) -> None:
        frame = self._says.frame(message, sum(part.nbytes for part in attachment))
        rest = [memoryview(frame), *attachment]
        if self._tls is None:
            write_all(rest, self._send_some)
        else:
            for sealed in self._tls.seal(rest):
                write_all([memoryview(sealed)], self._send_some)

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
        message = self._hears.decode(bytes(data))
        self._note_heard(getattr(message, "request", 0))
        return message, attachment_bytes

    def _fill(self, view: memoryview) -> None:
        done = min(len(view), self._end - self._begin)
        if done:
            view[:done] = memoryview(self._ahead)[self._begin : self._begin + done]
            self._begin += done
        while done < len(view):
            rest = view[done:]
            if len(rest) >= AHEAD_BYTES:
                done += self._received_into(rest)
                continue
            # What follows a small part is small, too, most of the time: it comes with it.
            self._begin, self._end = 0, self._received_into(memoryview(self._ahead))
            taken = min(len(rest), self._end)
            rest[:taken] = memoryview(self._ahead)[:taken]
            self._begin = taken
            done += taken

    def _received_into(self, view: memoryview) -> int:
        """As recv_into(), but for the end."""
        received = self.sock.recv_into(view) if self._tls is None else self._unseal(self._tls, view)
        if not received:
            raise ConnectionResetError("the storage closed the connection")
        return received

    def _unseal(self, tls: TlsSession, view: memoryview) -> int:
        """As recv_into()."""
        while True:
            received = tls.read_into(view)
            if received or tls.ended:
                return received
            self._receive_sealed(tls)

    def _receive_sealed(self, tls: TlsSession) -> None:
        received = self.sock.recv_into(self._sealed)
        if not received:
            raise ConnectionResetError("the storage closed the connection")
        tls.feed(memoryview(self._sealed)[:received])
