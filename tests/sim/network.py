"""The network: links whose bytes come split, merged, late or never, always in order.

``Connection`` stands where ``scaler.net.connection`` stands in a real process: frames, codec and handshake are the real
ones. ``Link`` is what TCP is to that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
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

UNLIMITED = 1 << 30
STALL_SECONDS = 30.0
"""As scaler.net.connection: a slow peer that reads less in this time than it is sent is dropped."""


@dataclass(slots=True)
class Quality:
    """How a link treats bytes. Times in seconds."""

    latency: float = 0.000_1
    jitter: float = 0.000_1
    split: float = 0.0
    """The chance that a write is cut into pieces."""
    merge: float = 0.0
    """The chance that a write arrives together with the one before it."""
    buffer: int = UNLIMITED
    """With so many bytes unread a peer is taken for slow."""


class Owner(Protocol):
    """Who has a connection: a node."""

    name: str
    alive: bool
    asleep_until: float

    def connected(self, connection: Connection, peer: Peer) -> None: ...

    def received(self, connection: Connection, message: Message, attachment: bytes) -> None: ...

    def disconnected(self, connection: Connection, reason: str) -> None: ...

    def paused(self, connection: Connection, paused: bool) -> None: ...

    def wake(self) -> None: ...


class _Flow:
    """One direction of a link: pieces under way, first in, first out. None is the end of the stream."""

    def __init__(self, clock: Clock, quality: Quality) -> None:
        self.receiver: Connection
        self.sender: Connection
        self.unread = 0
        self.held = 0
        """Arrivals that wait until the receiver reads again."""
        self._clock = clock
        self._quality = quality
        self._pending: deque[bytearray | None] = deque()
        self._last = 0.0
        self._frozen_until = 0.0
        self._open = True

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        self.unread += len(data)
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
            piece = self._pending[place]
            if piece is not None:
                self.unread -= len(piece)
                self._pending[place] = bytearray()

    def freeze(self, until: float) -> None:
        self._frozen_until = max(self._frozen_until, until)

    @property
    def under_way(self) -> int:
        return len(self._pending)

    @property
    def limit(self) -> int:
        return self._quality.buffer

    def _push(self, piece: bytearray | None, delay: float) -> None:
        self._last = max(self._last, self._clock.now + delay)
        self._pending.append(piece)
        self._clock.at(self._last, self._arrive)

    def _arrive(self) -> None:
        # Every event hands over the oldest piece, whichever one it was made for: order is kept whatever is delayed.
        if self._clock.now < self._frozen_until:
            self._clock.at(self._frozen_until, self._arrive)
            return
        if self.receiver.holds and self.receiver.open:
            self.held += 1
            return
        piece = self._pending.popleft()
        if piece is None:
            self.receiver.ended("the peer closed the connection")
        elif piece:
            self.unread -= len(piece)
            self.receiver.arrived(bytes(piece))
            self.sender.look_at_reader()

    def read_on(self) -> None:
        """The receiver reads again."""
        held, self.held = self.held, 0
        for _ in range(held):
            self._clock.at(self._clock.now, self._arrive)


class Link:
    """Two flows. ``ends`` are the dialing and the accepting connection."""

    def __init__(self, clock: Clock, quality: Quality, dialing: Connection, accepting: Connection) -> None:
        self.ends = dialing, accepting
        self._clock = clock
        self._flows = _Flow(clock, quality), _Flow(clock, quality)
        for flow, sender, receiver in zip(self._flows, self.ends, self.ends[::-1], strict=True):
            flow.receiver, flow.sender = receiver, sender
            sender.link, sender.flow, receiver.incoming_flow = self, flow, flow
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

    def leave(self, listener_hears: float) -> None:
        """The dialer gives it up now. All that it has sent arrives, but only later, when it may have come by another one."""
        self.broken = True
        to_listener, to_dialer = self._flows
        to_listener.freeze(self._clock.now + listener_hears)
        to_listener.end(0.0)
        to_dialer.drop(0)
        to_dialer.end(0.0)

    def freeze(self, seconds: float, ways: tuple[bool, bool] = (True, True)) -> None:
        """Nothing arrives for a while, at the listener and at the dialer; then all does."""
        for flow, frozen in zip(self._flows, ways, strict=True):
            if frozen:
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
    behind: bool = False
    """Whether the peer does not read what it is sent."""
    link: Link = field(init=False)
    flow: _Flow = field(init=False)
    incoming_flow: _Flow = field(init=False)
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
            self.look_at_reader()
        self._pending = []

    @property
    def holds(self) -> bool:
        """Whether it does not read from a peer that does not read; who dialed always reads."""
        return self.behind and isinstance(self.side, Listener)

    def look_at_reader(self) -> None:
        """A peer that does not read is not read from, up to a time; scaler.net.connection is the model."""
        unread, limit = self.flow.unread, self.flow.limit
        if not self.behind and unread > limit:
            self.behind = True
            self.clock.after(STALL_SECONDS, lambda: self._judge_reader(unread))
            self.owner.paused(self, True)
        elif self.behind and unread <= limit // 4:
            self.behind = False
            self.incoming_flow.read_on()
            if self.open:
                self.owner.paused(self, False)

    def _judge_reader(self, unread: int) -> None:
        if not self.open or not self.behind:
            return
        if self.flow.unread < unread:
            unread = self.flow.unread
            self.clock.after(STALL_SECONDS, lambda: self._judge_reader(unread))
        else:
            self.clock.tell(f"{self.owner.name}: {self.link} is dropped, {unread} bytes are not read")
            self.link.lose()
            self.ended("it read nothing for too long")

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


def host_of(node: Owner) -> str:
    """Clients inside tasks are on the host of their worker."""
    return node.name.removeprefix("inside ").partition("/")[0]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Hosts that are cut off from the others."""

    hosts: frozenset[str]
    until: float
    inward: bool
    outward: bool

    def apply(self, link: Link, now: float) -> None:
        dialer_in, listener_in = (host_of(end.owner) in self.hosts for end in link.ends)
        if dialer_in != listener_in:
            to_listener, to_dialer = (self.outward, self.inward) if dialer_in else (self.inward, self.outward)
            link.freeze(self.until - now, (to_listener, to_dialer))


class Network:
    """Who listens where, and all links."""

    def __init__(self, clock: Clock, quality: Quality) -> None:
        self.clock = clock
        self.quality = quality
        self.slow: dict[str, Quality] = {}
        """By the name of the dialing node."""
        self._cuts: list[_Cut] = []
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
        link = Link(self.clock, quality, dialing, accepting)
        self._links.append(link)
        for connection in link.ends:
            connection.incoming_flow.freeze(connection.owner.asleep_until)
        self._cuts = [cut for cut in self._cuts if cut.until > self.clock.now]
        for cut in self._cuts:
            cut.apply(link, self.clock.now)
        dialing.begin()
        return True

    def cut(self, hosts: Collection[str], seconds: float, inward: bool = True, outward: bool = True) -> None:
        """Nothing reaches these hosts, or nothing they send reaches others, or both: also on connections to come."""
        cut = _Cut(frozenset(hosts), self.clock.now + seconds, inward, outward)
        self._cuts.append(cut)
        for link in self._links:
            cut.apply(link, self.clock.now)

    def connections_of(self, node: Owner) -> list[Connection]:
        """All ends that it has, also those whose handshake is not over."""
        return [end for link in self._links for end in link.ends if end.owner is node]

    def link_of(self, dialer: Owner) -> Link:
        """The link that this node dialed, which is up."""
        return next(link for link in self.links() if link.ends[0].owner is dialer)

    def links(self) -> list[Link]:
        """Those that are up."""
        return [link for link in self._links if link.up]


class Accepting(Protocol):
    """A node that listens."""

    def accept(self) -> Connection: ...
