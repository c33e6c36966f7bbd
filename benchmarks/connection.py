"""A blocking connection that speaks the real protocol at little cost, for what has to be faster than what it measures."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from scaler.errors import ProtocolError
from scaler.ids import Address
from scaler.messages import Role
from scaler.wire.codec import codec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import Dialer, handshake_codec

UNIONS = {
    Role.client: ("client", "ClientToScheduler", "SchedulerToClient"),
    Role.worker: ("worker", "WorkerToScheduler", "SchedulerToWorker"),
}
READ_BYTES = 1 << 20


class Connection:
    """A connection to a scheduler as a client or a worker. The handshake is over when the constructor returns."""

    def __init__(self, address: str, role: Role, name: str) -> None:
        where = Address.parse(address)
        self.socket = socket.create_connection((where.host, where.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._frames = FrameReader()
        self._buffer = bytearray(READ_BYTES)
        file, outgoing, incoming = UNIONS[role]
        self._shake_hands(Dialer(role, os.urandom(16), name))
        self._outgoing, self.incoming = codec(file, outgoing), codec(file, incoming)

    def _shake_hands(self, side: Dialer) -> None:
        shake = handshake_codec()
        self._outgoing = self.incoming = shake
        self.send(self.frame(side.hello))
        # One frame and no more: the listener may say something else right after its welcome.
        while side.peer is None and side.error is None:
            header = self._exactly(8)
            for answer in side.receive(shake.decode(self._exactly(int.from_bytes(header[:4], "little")))):
                self.send(self.frame(answer))
        if side.error is not None:
            raise side.error
        self._frames.handshake_done()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the scheduler closed the connection")
            data += piece
        return data

    def frame(self, message: Any) -> bytes:
        """The bytes of a message, for ``send``."""
        return bytes(self._outgoing.frame(message))

    def send(self, data: bytes) -> None:
        """Blocks until the kernel took all of it."""
        self.socket.sendall(data)

    def turns(self) -> Iterator[list[Any]]:
        """The messages of each read; ends when the scheduler closes. What this conversation does not know is left out."""
        while True:
            try:
                count = self.socket.recv_into(self._buffer)
            except ConnectionResetError:
                return
            if not count:
                return
            self._frames.feed(self._buffer, count)
            yield [
                message for message in map(self._decode, (data for data, _ in iter(self._frames.take, None))) if message
            ]

    def _decode(self, data: bytes) -> Any:
        try:
            return self.incoming.decode(data)
        except ProtocolError:
            return None
