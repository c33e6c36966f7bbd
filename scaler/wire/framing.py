"""Frames: a header of two lengths, one message, and for object chunks an attachment.

    offset 0   u32 little-endian   messageBytes      a multiple of 8, at least 8
    offset 4   u32 little-endian   attachmentBytes   0 in most frames
    offset 8   the message, a Cap'n Proto message in the standard stream encoding
    then       the attachment: bytes that belong to the message

``protocol/README.md`` is the specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from scaler.errors import ProtocolError

HEADER = struct.Struct("<II")
MAX_HANDSHAKE_BYTES = 64 << 10
MAX_MESSAGE_BYTES = 64 << 20
MAX_ATTACHMENT_BYTES = 1 << 20


def frame_header(message_bytes: int, attachment_bytes: int = 0) -> bytes:
    """The 8 bytes before a message. Raises ProtocolError for what no receiver would take."""
    if message_bytes > MAX_MESSAGE_BYTES or attachment_bytes > MAX_ATTACHMENT_BYTES:
        raise ProtocolError(
            f"a frame of {message_bytes} + {attachment_bytes} bytes is larger than the limit "
            f"({MAX_MESSAGE_BYTES} + {MAX_ATTACHMENT_BYTES})"
        )
    return HEADER.pack(message_bytes, attachment_bytes)


class FrameReader:
    """Bytes in, in pieces of any size; whole frames out. Remembers the first error and returns nothing after it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._handshake = True
        self.error: ProtocolError | None = None

    def handshake_done(self) -> None:
        """From here on frames may have their full size, and attachments."""
        self._handshake = False

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what has arrived."""
        if self._start and self._start == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        self._buffer += data

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """The (message, attachment) pairs that are complete. Ends at the first frame that breaks the rules; see error."""
        buffer = self._buffer
        while self.error is None and len(buffer) - self._start >= HEADER.size:
            start = self._start
            message_bytes, attachment_bytes = HEADER.unpack_from(buffer, start)
            self.error = self._judge(message_bytes, attachment_bytes)
            if self.error is not None:
                break
            middle = start + HEADER.size + message_bytes
            end = middle + attachment_bytes
            if len(buffer) < end:
                break
            self._start = end
            with memoryview(buffer) as view:
                frame = bytes(view[start + HEADER.size : middle]), bytes(view[middle:end])
            yield frame
        self._forget_read()

    def _judge(self, message_bytes: int, attachment_bytes: int) -> ProtocolError | None:
        if self._handshake and (message_bytes > MAX_HANDSHAKE_BYTES or attachment_bytes):
            return ProtocolError("the peer does not speak Scaler's protocol: its first bytes are no handshake")
        if message_bytes > MAX_MESSAGE_BYTES or attachment_bytes > MAX_ATTACHMENT_BYTES:
            return ProtocolError(
                f"frame of {message_bytes} + {attachment_bytes} bytes is larger than the limit "
                f"({MAX_MESSAGE_BYTES} + {MAX_ATTACHMENT_BYTES})"
            )
        if message_bytes < 8 or message_bytes % 8:
            return ProtocolError(
                f"frame with a message of {message_bytes} bytes; it has to be a multiple of 8, at least 8"
            )
        return None

    def _forget_read(self) -> None:
        """Drop what was handed out, once it is worth the move."""
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        elif self._start > 1 << 20:
            del self._buffer[: self._start]
            self._start = 0
