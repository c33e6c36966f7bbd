"""What the storage's state asks its service to do, besides what every state may ask."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.messages import Piece
from scaler.storage.content import Content


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
    counted: bool = field(default=False, compare=False)
    """``transmitted`` has to be told when it is over, or a moment after the peer was told of shared memory."""


@dataclass(slots=True)
class StopTransmit:
    """The peer does not want the rest of this transmission. One that is over, or never was, is passed over."""

    peer: int
    request: int


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
class Spill:
    """Write this to disk; told by ``spilled`` or ``spill_failed``. ``key`` names the copy, and is never used again."""

    key: int
    content: memoryview
    name: bytes = b""
    """The object's id, and who owns it: of use to a copy that outlives this server."""
    owners: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Mark:
    """Record with a copy that somebody owns its object now, or does not any more. Only where objects are durable."""

    key: int
    owner: bytes
    owns: bool


@dataclass(slots=True)
class Restore:
    """Read a copy of so many bytes from disk; told by ``restored`` or ``restore_failed``."""

    key: int
    size: int


@dataclass(slots=True)
class Forget:
    """Delete a copy from disk."""

    key: int


@dataclass(slots=True)
class Fetch:
    """Get an object from the storage at this address (empty: the center) and put it here, as nobody's; or ``fetch_failed``."""

    name: bytes
    address: str


@dataclass(slots=True)
class Adopted:
    """No order: a copy that an earlier server left, of an object that is durable, which ``adopt`` is told of."""

    key: int
    name: bytes
    size: int
    owners: tuple[bytes, ...]
