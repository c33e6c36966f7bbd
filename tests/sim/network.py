"""The network: links whose bytes come split, merged, late or never, always in order.

``Connection`` stands where ``scaler.net.connection`` stands in a real process: frames, codec and handshake are the real
ones. ``Link`` is what TCP is to that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from scaler.errors import ProtocolError
from scaler.machine import Peer
from scaler.messages import Message, Role
from scaler.net.driver import conversation
from scaler.wire.codec import UnionCodec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import Dialer, Listener, handshake_codec

from .clock import Clock


@dataclass(slots=True)
class Quality:
    """How a link treats bytes. Times in seconds."""

    latency: float = 0.000_1
    jitter: float = 0.000_1
    split: float = 0.0
    """The chance that a write is cut into pieces."""
    merge: float = 0.0
    """The chance that a write arrives together with the one before it."""


class Owner(Protocol):
    """Who has a connection: a node."""

    name: str

    def connected(self, connection: Connection, peer: Peer) -> None: ...

    def received(self, connection: Connection, message: Message, attachment: bytes) -> None: ...

    def disconnected(self, connection: Connection, reason: str) -> None: ...

    def wake(self) -> None: ...


class _Flow:
    """One direction of a link: pieces under way, first in, first out. None is the end of the stream."""

    def __init__(self, clock: Clock, quality: Quality) -> None:
        self.receiver: Connection
        self._clock = clock
        self._quality = quality
        self._pending: deque[bytearray | None] = deque()
        self._last = 0.0
        self._frozen_until = 0.0
        self._open = True

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        if self._pending and self._pending[-1] is not None and self._clock.chance(self._quality.merge):
            self._pending[-1] += data
            return
        for piece in self._pieces(data):
            self._push(bytearray(piece), self._quality.latency + self._clock.random.random() * self._quality.jitter)

    def _pieces(self, data: bytes) -> list[bytes]:
        if len(data) < 2 or not self._clock.chance(self._quality.split):
            return [data]
        cuts = sorted({self._clock.random.randrange(1, len(data)) for _ in range(self._clock.random.randint(1, 3))})
        return [data[first:last] for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def end(self, delay: float) -> None:
        """The receiver hears of the end after what is under way. Nothing can be written any more."""
        if self._open:
            self._open = False
            self._push(None, delay)

    def drop(self, keep: int) -> None:
        """Lose all but the first pieces that are under way."""
        for place in range(keep, len(self._pending)):
            if self._pending[place] is not None:
                self._pending[place] = bytearray()

    def freeze(self, until: float) -> None:
        self._frozen_until = max(self._frozen_until, until)

    @property
    def under_way(self) -> int:
        return len(self._pending)

    def _push(self, piece: bytearray | None, delay: float) -> None:
        self._last = max(self._last, self._clock.now + delay)
        self._pending.append(piece)
        self._clock.at(self._last, self._arrive)

    def _arrive(self) -> None:
        # Every event hands over the oldest piece, whichever one it was made for: order is kept whatever is delayed.
        if self._clock.now < self._frozen_until:
            self._clock.at(self._frozen_until, self._arrive)
            return
        piece = self._pending.popleft()
        if piece is None:
            self.receiver.ended("the peer closed the connection")
        elif piece:
            self.receiver.arrived(bytes(piece))


class Link:
    """Two flows. ``ends`` are the dialing and the accepting connection."""

    def __init__(self, clock: Clock, quality: Quality, dialing: Connection, accepting: Connection) -> None:
        self.ends = dialing, accepting
        self._clock = clock
        self._flows = _Flow(clock, quality), _Flow(clock, quality)
        for flow, sender, receiver in zip(self._flows, self.ends, self.ends[::-1], strict=True):
            flow.receiver = receiver
            sender.link, sender.flow = self, flow
        self.broken = False

    @property
    def up(self) -> bool:
        """Whether both sides believe in it, and are right."""
        return not self.broken and all(end.open and end.peer is not None for end in self.ends)

    def lose(self, longest: float = 0.5) -> None:
        """Break it: some of what is under way is lost, and each side hears of it at some later time."""
        if self.broken:
            return
        self.broken = True
        for flow in self._flows:
            keep = self._clock.random.randint(0, flow.under_way) if self._clock.chance(0.5) else 0
            flow.drop(keep)
            flow.end(self._clock.random.random() * longest)

    def sever(self, dialer_hears: float, listener_hears: float) -> None:
        """Break it now, with nothing more to arrive; each side hears of it so many seconds later."""
        self.broken = True
        for flow, delay in zip(self._flows, (listener_hears, dialer_hears), strict=True):
            flow.drop(0)
            flow.end(delay)

    def freeze(self, seconds: float) -> None:
        """Nothing arrives for a while, on either side; then all does."""
        for flow in self._flows:
            flow.freeze(self._clock.now + seconds)

    def __str__(self) -> str:
        return f"{self.ends[0].owner.name} - {self.ends[1].owner.name}"


@dataclass(eq=False, slots=True)
class Connection:
    """One end of a link, as a node holds it."""

    clock: Clock
    owner: Owner
    side: Dialer | Listener
    number: int = 0
    peer: Peer | None = None
    open: bool = True
    dialed: tuple[str, Role] | None = None
    """Where the owner dialed, and as what, if it did."""
    link: Link = field(init=False)
    flow: _Flow = field(init=False)
    _frames: FrameReader = field(default_factory=FrameReader)
    _pending: list[bytes] = field(default_factory=list)
    _incoming: UnionCodec = field(default_factory=handshake_codec)
    _outgoing: UnionCodec = field(default_factory=handshake_codec)

    def begin(self) -> None:
        """The link is there: the dialer speaks first."""
        if isinstance(self.side, Dialer):
            self.send(self.side.hello)
            self.flush()

    def send(self, message: Message, attachment: bytes | memoryview = b"") -> None:
        self._pending += [self._outgoing.frame(message, len(attachment)), bytes(attachment)]

    def flush(self) -> None:
        if self._pending and self.open:
            self.flow.write(b"".join(self._pending))
        self._pending = []

    def close(self) -> None:
        """Close after what is queued. The owner is not told; the other side is."""
        if self.open:
            self.flush()
            self.open = False
            self.flow.end(0.0)

    def vanish(self) -> None:
        """The process is gone, and nothing of its end is left."""
        self.open = False
        self.link.lose()

    def arrived(self, data: bytes) -> None:
        if not self.open:
            return
        self._frames.feed(data)
        for message, attachment in iter(self._frames.take, None):
            if not self.open:
                return
            self.clock.frame(str(self.link), self.owner.name, message)
            self._frame(self._incoming.decode(message), attachment)
        if self._frames.error is not None:
            raise AssertionError(f"unreadable bytes at {self.owner.name}: {self._frames.error}")
        self.owner.wake()

    def ended(self, reason: str) -> None:
        if self.open:
            self.open = False
            self.flow.end(0.0)
            self.owner.disconnected(self, reason)

    def _frame(self, message: Message, attachment: bytes) -> None:
        if self.peer is not None:
            self.owner.received(self, message, attachment)
            return
        for answer in self.side.receive(message):
            self.send(answer)
        self.flush()
        if self.side.error is not None:
            raise ProtocolError(f"the handshake between {self.link} failed: {self.side.error}")
        if self.side.peer is not None:
            self.peer = self.side.peer
            self._frames.handshake_done()
            dialer_says, listener_says = conversation(self.peer.role)
            dialing = isinstance(self.side, Dialer)
            self._outgoing, self._incoming = (dialer_says, listener_says) if dialing else (listener_says, dialer_says)
            self.owner.connected(self, self.peer)


class Network:
    """Who listens where, and all links."""

    def __init__(self, clock: Clock, quality: Quality) -> None:
        self.clock = clock
        self.quality = quality
        self.slow: dict[str, Quality] = {}
        """By the name of the dialing node."""
        self._listeners: dict[str, Accepting] = {}
        self._links: list[Link] = []

    def listen(self, address: str, node: Accepting) -> None:
        self._listeners[address] = node

    def unlisten(self, address: str) -> None:
        self._listeners.pop(address, None)

    def connect(self, dialing: Connection, address: str) -> bool:
        """Whether somebody listens there; the handshake has begun then."""
        listener = self._listeners.get(address)
        if listener is None:
            return False
        accepting = listener.accept()
        quality = self.slow.get(dialing.owner.name, self.quality)
        self._links = [link for link in self._links if link.ends[0].open or link.ends[1].open]
        self._links.append(Link(self.clock, quality, dialing, accepting))
        dialing.begin()
        return True

    def link_of(self, dialer: Owner) -> Link:
        """The link that this node dialed, which is up."""
        return next(link for link in self.links() if link.ends[0].owner is dialer)

    def links(self) -> list[Link]:
        """Those that are up."""
        return [link for link in self._links if link.up]


class Accepting(Protocol):
    """A node that listens."""

    def accept(self) -> Connection: ...
