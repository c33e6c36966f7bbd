"""What a state is: told what happened and when, asked what to do. Every daemon and the client have one.

A state never waits, reads no clock, opens nothing. ``scaler.net.driver`` runs it over sockets; ``tests/sim`` runs it over a
seeded network. Handlers record; ``drain`` decides, in one pass over all that was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from scaler.messages import Message, Role


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, as the handshake told."""

    role: Role
    """The role of the side that dialed. It names the conversation, whichever side we are."""
    identity: bytes
    name: str = ""
    protocol_version: int = 1
    software: str = ""
    """See scaler.software."""


@dataclass(slots=True)
class Send:
    """Send a message to a peer. Sending to one that is gone does nothing."""

    peer: int
    message: Message
    attachment: bytes | memoryview = b""


@dataclass(slots=True)
class Close:
    """Close the connection after what was sent before. The state hears no ``peer_lost`` for it."""

    peer: int
    reason: str


@dataclass(slots=True)
class Pause:
    """Read nothing more from a peer, so that it has to wait. What was read before is still told."""

    peer: int


@dataclass(slots=True)
class Resume:
    """Read from a peer again."""

    peer: int


@dataclass(slots=True)
class Log:
    """A line for the log: level as in the standard library (20 info, 30 warning, 40 error)."""

    level: int
    text: str


UNFIT = 3
"""The exit code of a worker whose executors cannot start: another one would do no better."""


@dataclass(slots=True)
class Stop:
    """The service ends, after what was sent before."""

    reason: str
    exit_code: int = 0


Output: TypeAlias = Any
"""Send, Close, Pause, Resume, Log, Stop, or what is peculiar to one state (its module defines it, its service carries it out)."""


@dataclass(slots=True)
class Outbox:
    """What a state wants done, in order."""

    outputs: list[Output] = field(default_factory=list)

    def send(self, peer: int, message: Message, attachment: bytes | memoryview = b"") -> None:
        self.outputs.append(Send(peer, message, attachment))

    def close(self, peer: int, reason: str) -> None:
        self.outputs.append(Close(peer, reason))

    def log(self, level: int, text: str) -> None:
        self.outputs.append(Log(level, text))

    def add(self, output: Output) -> None:
        self.outputs.append(output)

    def take(self) -> list[Output]:
        """All outputs, which are forgotten here."""
        outputs, self.outputs = self.outputs, []
        return outputs


class State(Protocol):
    """The shape of every state. Times are seconds of a monotonic clock."""

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        """A handshake is over. ``peer`` is a number that the driver never uses again."""

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        """A peer said something. A wrong message closes that peer with a reason and harms nobody else."""

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """The connection is gone, not by our Close."""

    def tick(self, now: float) -> None:
        """The time that next_deadline() named has come (or passed)."""

    def drain(self, now: float) -> list[Output]:
        """One pass of decisions over all that was recorded; what to do about it."""

    def next_deadline(self) -> float | None:
        """When tick() should come next; None for never."""

    def snapshot(self) -> dict[str, Any]:
        """The state in numbers and short texts, for monitors and tests."""

    def check(self) -> None:
        """Recompute every derived fact; raises AssertionError where it differs. For tests."""
