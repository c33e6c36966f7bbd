"""One TCP or Unix connection, with TLS or without: bytes to frames to messages, and back, with limits on both sides."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

from scaler.errors import ProtocolError
from scaler.liveness import notice_dead_machines, refuse_itself
from scaler.machine import Peer
from scaler.messages import Message, Role
from scaler.tls import PlainPeerError, TlsSession
from scaler.wire.codec import UnionCodec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import Dialer, Listener, handshake_codec

HANDSHAKE_SECONDS = 10.0
READ_BYTES = 256 << 10
TURN_BYTES = 1 << 20
"""After so many bytes of one peer the others have their turn. Some loops read on and on as long as more arrives."""
PAUSE_BYTES = 4 << 20
DROP_BYTES = 1 << 30
STALL_SECONDS = 30.0
LEAST_BYTES = 64 << 10
"""Who is behind and reads less in STALL_SECONDS is dropped."""


class _Buffers(threading.local):
    """Where all connections of a thread's event loop read to, and what they read of TLS.

    What is in it is taken before anybody reads again, so there need not be one for each: a quarter of a megabyte would be
    most of what a connection costs.
    """

    @cached_property
    def read(self) -> bytearray:
        return bytearray(READ_BYTES)

    @cached_property
    def plain(self) -> bytearray:
        return bytearray(READ_BYTES)


_buffers = _Buffers()


class _Duplicate:
    """A socket's second descriptor, closed when the last one who uses it is done: no other file gets its number before."""

    def __init__(self, descriptor: int) -> None:
        self.number = os.dup(descriptor)

    def __del__(self) -> None:
        os.close(self.number)


_NOBODY = Peer(Role.unspecified, b"")


class Connection(asyncio.BufferedProtocol):
    """Speaks for one peer. Tells its owner what happened through the callbacks given.

    ``side`` is the handshake to make, or None between a worker and its own executors, who need none. ``tls`` is this end of the
    TLS session in which all that is made and said, if it is to be one.

    Who listens reads a peer's frames until that has 4 MiB of answers that it did not read: then reading stops until it reads.
    A peer with more than 1 GiB unread, or that gets no 64 KiB further in 30 s while more than 4 MiB wait, is dropped.

    Who dialed always reads: if both stopped, each would wait for the other. It drops only who reads nothing at all for 30 s:
    what it has to say is as much as its user wants. A worker always reads, too, and executors read when their task has ended.
    """

    def __init__(
        self,
        side: Dialer | Listener | None,
        codecs: Callable[[Peer], tuple[UnionCodec, UnionCodec]],
        ready: Callable[[Connection, Peer], None],
        received: Callable[[Connection, Message, bytes | bytearray], None],
        lost: Callable[[Connection, str], None],
        paused: Callable[[Connection, bool], None] | None = None,
        read_all: Callable[[], None] | None = None,
        tls: TlsSession | None = None,
    ) -> None:
        self.number = 0
        self.peer: Peer | None = None
        self._side = side
        self._codecs = codecs
        self._ready = ready
        self._received = received
        self._lost = lost
        self._paused = paused
        self._read_all = read_all
        self._frames = FrameReader()
        self._rest: memoryview | None = None
        self._tls = tls
        self._failure: ProtocolError | OSError | None = None
        """Why there was no TLS session, or nobody to have it with."""
        self._transport: Any = None
        self._incoming = self._outgoing = handshake_codec()
        self._timer: asyncio.TimerHandle | None = None
        self._pending: list[bytes | memoryview] = []
        self._unsent: memoryview | None = None
        """Goes out before what is pending, as it is."""
        self._duplicate: _Duplicate | None = None
        self._reason = ""
        self._closing = False
        self._held = False
        """The owner wants nothing more read."""
        self._behind = False
        """The peer does not read what it is sent."""
        self._listens = isinstance(side, Listener)
        self._written = 0
        """Bytes, since the peer is behind."""
        self._read_in_turn = 0
        self._others_turn = False
        self._over = False
        self._finished = False
        self.remote = "?"

    # ---- asyncio.BufferedProtocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._closing:  # closed before it was made
            transport.abort()
            return
        if self._side is None:
            self._frames.handshake_done()
            self._incoming, self._outgoing = self._codecs(_NOBODY)
            self.peer = _NOBODY
            transport.set_write_buffer_limits(high=PAUSE_BYTES)
            return
        self.remote = str(transport.get_extra_info("peername") or "local")
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            try:
                refuse_itself(sock)
            except ConnectionRefusedError as error:
                self._failure = error
                self.abort(str(error))
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_dead_machines(sock)
        transport.set_write_buffer_limits(high=PAUSE_BYTES)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HANDSHAKE_SECONDS, self.abort, "no handshake within 10 s")
        if self._tls is not None:
            self._tls.shake_hands()
            transport.write(self._tls.outgoing())
        elif isinstance(self._side, Dialer):
            self.send(self._side.hello)
            self.flush()

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:
        if self._tls is not None:
            return _buffers.read
        self._rest = self._frames.rest
        return _buffers.read if self._rest is None else self._rest

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        if self._tls is not None:
            self._unseal(self._tls, nbytes)
        else:
            if self._rest is None:
                self._frames.feed(_buffers.read, nbytes)
            else:
                self._frames.received(nbytes)
            self._take_frames()
        if self._read_all is not None:
            self._read_all()
        self._read_in_turn += nbytes
        if self._read_in_turn >= TURN_BYTES and not self._others_turn:
            self._others_turn = True
            self._read_or_not()
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _take_frames(self) -> None:
        frames = self._frames
        for message, attachment in iter(frames.take, None):
            if self._closing:
                break
            try:
                self._frame(self._incoming.decode(message), attachment)
            except ProtocolError as error:
                self._unreadable(str(error))
        if frames.error is not None and not self._closing:
            self._unreadable(str(frames.error))

    def _begin_turn(self) -> None:
        self._read_in_turn, self._others_turn = 0, False
        self._read_or_not()

    def eof_received(self) -> bool:
        self._wait_for_reader()
        return False

    def pause_writing(self) -> None:
        self._behind, self._written = True, 0
        self._read_or_not()
        self._watch_reader(self._transport.get_write_buffer_size())
        if self._paused is not None:
            self._paused(self, True)

    def _watch_reader(self, unread: int) -> None:
        """Drop a peer that reads nothing for a while; who listens also one that reads hardly more than it is sent."""
        if self._side is None:
            return

        def look() -> None:
            now_unread = self._transport.get_write_buffer_size()
            written, self._written = self._written, 0
            if now_unread > unread - LEAST_BYTES if self._listens else now_unread >= unread + written:
                self.abort(
                    f"it read nothing for {STALL_SECONDS:.0f} s, or too little, and has {now_unread} bytes to read"
                )
            else:
                self._watch_reader(now_unread)

        self._set_timer(None, "")
        self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS, look)

    def resume_writing(self) -> None:
        self._set_timer(None, "")
        self._behind = False
        self._read_or_not()
        if self._paused is not None:
            self._paused(self, False)

    def hold(self, held: bool) -> None:
        """Read nothing more from the peer, or go on. What is read already is told all the same."""
        self._held = held
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._closing or self._transport.is_closing():
            return
        if self._held or (self._behind and self._listens) or self._others_turn:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._set_timer(None, "")
        self._finished = True
        self._duplicate = None
        if self._over:
            return
        self._over = True
        if not self._reason and self.peer is None and self.refusal is not None:
            self._reason = str(self.refusal)
        self._lost(self, self._reason or (str(error) if error else "the peer closed the connection"))

    # ---- for the driver

    @property
    def refusal(self) -> ProtocolError | OSError | None:
        """Why the handshake failed, where the peer or our side of it said so; ConnectionRefusedError if there was no peer."""
        return self._failure or (self._side.error if self._side is not None else None)

    @property
    def finished(self) -> bool:
        """Whether the transport is done with all that was written."""
        return self._finished

    @property
    def left(self) -> bool:
        """Whether the peer ended it, in order or not, while this side had nothing against it."""
        return self._finished and not self._reason

    def send(self, message: Message, attachment: bytes | memoryview = b"") -> bytes:
        """Queue a message; flush() writes all that is queued at once. Raises ProtocolError if it is too large to send.

        Returns the frame, up to its attachment; empty on a connection that is being closed.
        """
        if self._closing:
            return b""
        frame = self._outgoing.frame(message, len(attachment))
        self._pending.append(frame)
        if attachment:
            self._pending.append(attachment)
        return frame

    def send_frame(self, frame: bytes) -> None:
        """Queue what another connection of the same conversation has sent."""
        if not self._closing:
            self._pending.append(frame)

    def flush(self) -> None:
        """Write what is queued."""
        if (self._pending or self._unsent) and not self._closing:
            if self._transport.is_closing():
                self._pending, self._unsent = [], None  # The other end is gone, of which connection_lost() tells next.
                return
            if self._behind:
                self._written += sum(map(len, self._pending)) + len(self._unsent or b"")
            if self._unsent:
                self._transport.write(self._unsent)
                self._unsent = None
            if self._tls is not None:
                for sealed in self._tls.seal(self._pending):
                    self._transport.write(sealed)
            elif len(self._pending) == 1:
                self._transport.write(self._pending[0])
            elif self._pending:
                self._transport.writelines(self._pending)
            self._pending = []
            if self._listens and self._transport.get_write_buffer_size() > DROP_BYTES:
                self.abort("it has more than 1 GiB of messages that it did not read")

    def let_threads_flush(self) -> None:
        """From here on other threads may flush, too. To be called when the handshake is over."""
        if self._duplicate is None and not self._transport.is_closing():
            self._duplicate = _Duplicate(self._transport.get_extra_info("socket").fileno())

    def flush_in_thread(self) -> bool:
        """As flush(), for another thread, while nobody else uses this connection. False when the loop has to do it.

        Event loops are not made for that, so it writes to the socket itself, after everything that the loop had to write.
        """
        duplicate = self._duplicate
        if (
            duplicate is None
            or self._closing
            or self._unsent
            or self._transport.is_closing()
            or self._transport.get_write_buffer_size()
        ):
            return False
        data = b"".join(self._pending if self._tls is None else self._tls.seal(self._pending))
        self._pending = []
        try:
            sent = os.write(duplicate.number, data)
        except OSError:
            sent = 0  # the socket is full, or broken: the loop finds out
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
        return sent == len(data)

    def close(self, reason: str) -> None:
        """Close after what is queued; the owner is not told."""
        if self._closing:
            return
        self.flush()
        self._reason = reason
        self._closing = self._over = True
        if self._transport is None:
            self._finished = True
            return
        if self._tls is not None and not self._transport.is_closing():
            self._transport.write(self._tls.goodbye())
        self._transport.close()
        self._set_timer(STALL_SECONDS, reason)

    def abort(self, reason: str) -> None:
        """Close at once; the owner hears of it as lost."""
        self._reason = self._reason or reason
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # ---- inside

    def _set_timer(self, seconds: float | None, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.abort, reason)

    def _unseal(self, tls: TlsSession, nbytes: int) -> None:
        """Take what came of a TLS session."""
        try:
            tls.feed(memoryview(_buffers.read)[:nbytes])
            if tls.established or self._secured(tls):
                self._take_unsealed(tls)
        except PlainPeerError as error:
            self._refuse_plain(error)
        except ProtocolError as error:
            self._fail(error, tls.outgoing())

    def _secured(self, tls: TlsSession) -> bool:
        """Go on with the TLS handshake; whether it is over, and ours can be made."""
        established = tls.shake_hands()
        if established:
            assert self._side is not None
            self._side.channel = tls.channel
            if isinstance(self._side, Dialer):
                self.send(self._side.hello)
                self.flush()  # With it goes what ends the TLS handshake, so that an answer to that finds us reading.
                return True
        self._transport.write(tls.outgoing())
        return established

    def _take_unsealed(self, tls: TlsSession) -> None:
        while not self._closing:
            rest = self._frames.rest
            if rest is None:
                received = tls.read_into(_buffers.plain)
                if received:
                    self._frames.feed(_buffers.plain, received)
            else:
                received = tls.read_into(rest)
                self._frames.received(received)
            if received:
                self._take_frames()
            if not received or not tls.buffered:
                break
        if tls.ended and not self._closing:
            self._close_soon()

    def _refuse_plain(self, error: PlainPeerError) -> None:
        """Say it in a way that the peer understands."""
        self._tls = None
        assert isinstance(self._side, Listener)
        for answer in self._side.refuse_plain():
            self.send(answer)
        self.flush()
        self._fail(error)

    def _fail(self, error: ProtocolError, last: bytes = b"") -> None:
        """There is no TLS session, or no more; ``last`` says so to the peer."""
        self._failure = error
        self._reason = str(error)
        if last:
            self._transport.write(last)
        self._close_soon()

    def _frame(self, message: Message, attachment: bytes | bytearray) -> None:
        if self.peer is not None:
            self._received(self, message, attachment)
            return
        assert self._side is not None
        for answer in self._side.receive(message):
            self.send(answer)
        self.flush()
        if self._side.error is not None:
            self._reason = str(self._side.error)
            self._close_soon()
        elif self._side.peer is not None:
            self._set_timer(None, "")
            self.peer = self._side.peer
            self._frames.handshake_done()
            self._incoming, self._outgoing = self._codecs(self.peer)
            self._ready(self, self.peer)

    def _close_soon(self) -> None:
        """Read no more, and close when the peer has read what was said to it, or does not do so; the owner is told then."""
        self._closing = True
        self._transport.close()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        """It is closed when all that was written is read. Not for ever; in the handshake there is a timer already."""
        if self.peer is not None:
            self._set_timer(STALL_SECONDS, f"it read nothing for {STALL_SECONDS:.0f} s")

    def _unreadable(self, reason: str) -> None:
        """The peer sent what nobody can read: say so if it may understand it, and close."""
        if self.peer is None and isinstance(self._side, Listener):
            for answer in self._side.refuse_unreadable():
                self.send(answer)
            self.flush()
        self._reason = reason
        self._close_soon()
