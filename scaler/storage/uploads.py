"""Puts of which not all parts have come, or which wait for room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from scaler.messages import Piece, Put
from scaler.storage.content import SHARED_BYTES, Content, Room


class WrongMessageError(Exception):
    """A peer said what it may not say; the text is the reason it is closed with."""


@dataclass(slots=True, eq=False)
class Upload:
    """A put under way."""

    peer: int
    request: int
    object: bytes
    owner: bytes
    total_bytes: int
    pieces: list[Piece] = field(default_factory=list)
    """Where its bytes are in shared memory. None of them is sent."""
    received_bytes: int = 0
    admitted: bool = False
    """There is room for all of it."""
    touched: float = 0.0
    """When its last part came, or it was admitted."""
    _room: Room | None = None
    _whole: Content | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no part is missing."""
        return self.received_bytes == self.total_bytes

    def take(self, part: bytes | bytearray, allocate: Callable[[int], Room]) -> None:
        """Add what arrived. Raises OSError where there is no memory for it."""
        start = self.received_bytes
        self.received_bytes += len(part)
        if self.is_complete and not start and self.total_bytes < SHARED_BYTES:
            self._whole = Content(memoryview(part).toreadonly())
            return
        if self._room is None:
            self._room = allocate(self.total_bytes)
        self._room.write(start, part)

    def content(self) -> Content:
        """All bytes, of a complete one that is not in shared memory."""
        if self._whole is None:
            assert self._room is not None
            self._whole = self._room.content()
        return self._whole

    def drop_content(self) -> None:
        """Give back what its bytes take."""
        self._room = self._whole = None

    def check_part(self, put: Put, attachment_bytes: int) -> None:
        """Raises WrongMessageError where a part does not follow the ones before it."""
        if (put.object, put.owner, put.total_bytes) != (self.object, self.owner, self.total_bytes):
            raise WrongMessageError(f"put {put.request} changed its object, owner or total between parts")
        if put.offset != self.received_bytes:
            raise WrongMessageError(
                f"put {put.request} has a part at offset {put.offset}; expected {self.received_bytes}"
            )
        end = put.offset + attachment_bytes
        if end > self.total_bytes:
            raise WrongMessageError(
                f"put {put.request} has a part up to byte {end} of an object of {self.total_bytes} bytes"
            )
        if not attachment_bytes and self.total_bytes:
            raise WrongMessageError(
                f"put {put.request} has a part without bytes, of an object of {self.total_bytes} bytes"
            )
