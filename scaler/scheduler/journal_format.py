"""How records stand in a journal, and how they are found again in one that is damaged. ``protocol/README.md`` says it, too.

offset  0   4 bytes             "SCJR"
offset  4   u32 little-endian   messageBytes     a multiple of 8
offset  8   u64 little-endian   number           rises from record to record
offset 16   u32 little-endian   checksum         CRC-32 of the 16 bytes before and the message
offset 20   4 bytes             0
offset 24   the message: a JournalRecord in the standard stream encoding
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap

from scaler.errors import ProtocolError
from scaler.messages import JournalRecord
from scaler.wire.codec import UnionCodec, codec

MAGIC = b"SCJR"
_HEADER = struct.Struct("<4sIQII")
_CHECKED = 16
MOST_BYTES = 72 << 20
"""Of a record: more than a message may have."""


def journal_codec() -> UnionCodec:
    """Records to messages and back."""
    return codec("journal", "JournalRecord")


def header(number: int, message: bytes) -> bytes:
    """What stands before the message in the file."""
    head = _HEADER.pack(MAGIC, len(message), number, 0, 0)[:_CHECKED]
    checksum = zlib.crc32(message, zlib.crc32(head))
    return _HEADER.pack(MAGIC, len(message), number, checksum, 0)


@dataclass(slots=True)
class Scan:
    """Where the records are, and what is none."""

    records: list[tuple[int, int]] = field(default_factory=list)
    """(from, to) of messages, in the order of the file."""
    damaged: list[tuple[int, int]] = field(default_factory=list)
    """(from, to) of bytes before the last record that are none, or one again that was there before."""
    end: int = 0
    """Where the last record ends."""
    next_number: int = 0
    torn_bytes: int = 0
    """How many follow it."""

    @property
    def damaged_bytes(self) -> int:
        return sum(end - begin for begin, end in self.damaged)


def scan(data: bytes | mmap) -> Scan:
    """All records that are whole. Damage costs the records that it is in, and no other."""
    found, place, size = Scan(), 0, len(data)
    while place < size:
        record = _record_at(data, place)
        if record is not None and record[0] >= found.next_number:
            number, end = record
            if found.end < place:
                found.damaged.append((found.end, place))
            found.records.append((place + _HEADER.size, end))
            found.next_number, found.end = number + 1, end
            place = end
        else:
            place = data.find(MAGIC, place + 1 if record is None else record[1])
            if place < 0:
                break
    found.torn_bytes = size - found.end
    return found


def _record_at(data: bytes | mmap, place: int) -> tuple[int, int] | None:
    """(number, end) of the record that begins here, if one does."""
    begin = place + _HEADER.size
    if begin > len(data):
        return None
    magic, length, number, checksum, nothing = _HEADER.unpack(data[place:begin])
    if magic != MAGIC or nothing or length > MOST_BYTES or length % 8 or begin + length > len(data):
        return None
    head, message = data[place : place + _CHECKED], data[begin : begin + length]
    return (number, begin + length) if zlib.crc32(message, zlib.crc32(head)) == checksum else None


def decoded(data: bytes | mmap, records: list[tuple[int, int]]) -> Iterator[JournalRecord]:
    """The records at these places; one that means nothing to this version is left out."""
    decode = journal_codec().decode
    for begin, end in records:
        try:
            yield decode(bytes(data[begin:end]))
        except ProtocolError:
            continue
