"""Many workers or clients in one process that only connect and send heartbeats: real sockets, handshakes and messages."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from scaler.ids import Address
from scaler.messages import ClientHeartbeat, ClientSettings, RegisterWorker, Role, WorkerHeartbeat, WorkerSettings
from scaler.net.driver import conversation
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import Dialer, handshake_codec

AT_A_TIME = 500
"""How many are in the middle of connecting: the listener's backlog has more room than that."""
PATIENCE_SECONDS = 60.0
READ_BYTES = 64 << 10


class _Bird:
    """One connection. Connected when it has been told its settings."""

    def __init__(self, flock: Flock, number: int) -> None:
        self.flock = flock
        self.frames = FrameReader()
        self.side: Dialer | None = Dialer(flock.role, os.urandom(16), f"bird {number}")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(flock.where)
        self.socket.setblocking(False)
        self.socket.send(handshake_codec().frame(self.side.hello))

    def read(self) -> None:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the scheduler closed a connection; has it enough descriptors?")
        self.frames.feed(data)
        for message, _ in iter(self.frames.take, None):
            self._told(message)

    def _told(self, message: bytes) -> None:
        if self.side is None:
            if isinstance(self.flock.hears.decode(message), WorkerSettings | ClientSettings):
                self.flock.connected += 1
            return
        self.side.receive(handshake_codec().decode(message))
        if self.side.error is not None:
            raise self.side.error
        self.side = None
        self.frames.handshake_done()
        if self.flock.role == Role.worker:
            self.socket.send(self.flock.says.frame(RegisterWorker(1, 1000, [], "here", 0, "", "")))


class Flock:
    """Connections of one role to one scheduler."""

    def __init__(self, address: str, role: Role) -> None:
        where = Address.parse(address)
        self.where = where.host, where.port
        self.role = role
        self.says, self.hears = conversation(role)
        self.connected = 0
        self._birds: list[_Bird] = []
        self._selector = selectors.DefaultSelector()

    def grow(self, count: int) -> float:
        """Connect so many more; returns the seconds until the last one has been told its settings."""
        began = time.perf_counter()
        wanted = len(self._birds) + count
        while self.connected < wanted:
            if time.perf_counter() - began > PATIENCE_SECONDS:
                raise TimeoutError(f"{self.connected} of {wanted} connected within {PATIENCE_SECONDS:g} s")
            for _ in range(min(wanted - len(self._birds), AT_A_TIME - (len(self._birds) - self.connected))):
                bird = _Bird(self, len(self._birds))
                self._birds.append(bird)
                self._selector.register(bird.socket, selectors.EVENT_READ, bird)
            self._read(1.0)
        return time.perf_counter() - began

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            key.data.read()

    def live(self, seconds: float, interval: float) -> int:
        """Send heartbeats for so long, each bird one every ``interval`` seconds; returns how many were sent."""
        beat: Callable[[int], Any] = WorkerHeartbeat if self.role == Role.worker else ClientHeartbeat
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed / interval * len(self._birds))
            for number in range(sent, due):
                self._birds[number % len(self._birds)].socket.send(self.says.frame(beat(number)))
            sent = max(sent, due)
            self._read(0.002)
        return sent

    def close(self) -> None:
        """All leave."""
        for bird in self._birds:
            bird.socket.close()
        self._birds.clear()
        self.connected = 0
        self._selector.close()
