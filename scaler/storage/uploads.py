"""Puts of which not all parts have come, or which wait for room."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.messages import Put
from scaler.storage.buffers import allocate

NOTHING = memoryview(b"")


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
    received_bytes: int = 0
    content: memoryview = NOTHING
    admitted: bool = False
    """There is room for all of it."""
    touched: float = 0.0
    """When its last part came, or it was admitted."""

    def take(self, part: bytes) -> None:
        """Add what arrived. Raises MemoryError where there is no memory for the whole."""
        start = self.received_bytes
        self.received_bytes = end = start + len(part)
        if end - start == self.total_bytes:
            self.content = memoryview(part)
            return
        if not start:
            self.content = allocate(self.total_bytes)
        self.content[start:end] = part

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
