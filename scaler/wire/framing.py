"""Frames: a header of two lengths, one message, and for object chunks an attachment.

    offset 0   u32 little-endian   messageBytes      a multiple of 8, at least 8
    offset 4   u32 little-endian   attachmentBytes   0 in most frames
    offset 8   the message, a Cap'n Proto message in the standard stream encoding
    then       the attachment: bytes that belong to the message

``protocol/README.md`` is the specification.
"""

from __future__ import annotations

import struct

from scaler.errors import ProtocolError

HEADER = struct.Struct("<II")
MAX_HANDSHAKE_BYTES = 64 << 10
MAX_MESSAGE_BYTES = 64 << 20
MAX_ATTACHMENT_BYTES = 1 << 20
MAX_STRUCTS = 1 << 17
"""In one list: each becomes an object, however few bytes it has."""


def frame_header(message_bytes: int, attachment_bytes: int = 0) -> bytes:
    """The 8 bytes before a message. Raises ProtocolError for what no receiver would take."""
    if message_bytes > MAX_MESSAGE_BYTES or attachment_bytes > MAX_ATTACHMENT_BYTES:
        raise ProtocolError(
            f"a frame of {message_bytes} + {attachment_bytes} bytes is larger than the limit "
            f"({MAX_MESSAGE_BYTES} + {MAX_ATTACHMENT_BYTES})"
        )
    return HEADER.pack(message_bytes, attachment_bytes)


def wrong_frame(message_bytes: int, attachment_bytes: int, handshake: bool) -> ProtocolError | None:
    """What is wrong with a frame of these lengths, before the handshake is over or after it."""
    if handshake and (message_bytes > MAX_HANDSHAKE_BYTES or attachment_bytes):
        return ProtocolError("the peer does not speak Scaler's protocol: its first bytes are no handshake")
    if message_bytes > MAX_MESSAGE_BYTES or attachment_bytes > MAX_ATTACHMENT_BYTES:
        return ProtocolError(
            f"frame of {message_bytes} + {attachment_bytes} bytes is larger than the limit "
            f"({MAX_MESSAGE_BYTES} + {MAX_ATTACHMENT_BYTES})"
        )
    if message_bytes < 8 or message_bytes % 8:
        return ProtocolError(f"frame with a message of {message_bytes} bytes; it has to be a multiple of 8, at least 8")
    return None
