"""Objects in shared memory: sealed memfds that processes of one host and user open by their place in /proc.

Nobody else can open them, and there is nothing to clean up: memory is freed with its last descriptor and mapping.
"""

from __future__ import annotations

import bisect
import errno
import fcntl
import os
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from scaler.messages import Piece
from scaler.storage.mapping import PAGE, Mapping, address_of

MAX_PIECES = 1024
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
FOREIGN_BYTES = 64 << 10
"""Smaller parts are copied, also when they are in shared memory already."""
_ZEROS = memoryview(bytes(PAGE))


class Segment:
    """An open file in shared memory. It is closed with its last reference.

    Raises OSError where the system has no memfds, or no memory or descriptor left.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name

    def __del__(self) -> None:
        os.close(self.descriptor)

    @classmethod
    def make(cls, size: int, parts: Iterable[tuple[int, memoryview]]) -> Segment:
        """A sealed one of this size in bytes, with parts at their offsets and zeros between."""
        name = f"scaler-{secrets.token_hex(16)}"
        segment = cls(os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), name)
        os.ftruncate(segment.descriptor, size)
        for offset, part in parts:
            # Not through a mapping: it costs a fault for each page, and memory is zeroed before it is written.
            while part:
                written = os.pwrite(segment.descriptor, part, offset)
                part, offset = part[written:], offset + written
        fcntl.fcntl(segment.descriptor, fcntl.F_ADD_SEALS, SEALS)
        return segment

    @classmethod
    def open(cls, piece: Piece) -> Segment:
        """Another process's. Raises OSError where it is gone or of another host or user, or not sealed."""
        segment = cls(os.open(f"/proc/{piece.process}/fd/{piece.descriptor}", os.O_RDONLY | os.O_CLOEXEC), piece.name)
        if os.readlink(f"/proc/self/fd/{segment.descriptor}") != f"/memfd:{piece.name} (deleted)":
            raise OSError(errno.ESTALE, "the descriptor is another file's")
        if fcntl.fcntl(segment.descriptor, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise OSError(errno.EPERM, "the file is not sealed")
        return segment

    def piece(self, offset: int, size: int) -> Piece:
        """Part of it, as others can open it."""
        return Piece(os.getpid(), self.descriptor, self.name, offset, size)


@dataclass(eq=False)
class SharedObject:
    """The bytes of an object in shared memory."""

    pieces: list[Piece]
    """As others can open them while the segments are held."""
    segments: list[Segment]

    def map(self) -> Mapping:
        """All of it, read-only. Raises OSError."""
        descriptors = {segment.name: segment.descriptor for segment in self.segments}
        return Mapping([(descriptors[piece.name], piece.offset, piece.bytes) for piece in self.pieces])


def open_object(pieces: Sequence[Piece], total_bytes: int) -> SharedObject:
    """What another process has. Raises OSError where it cannot be had."""
    if len(pieces) > MAX_PIECES or sum(piece.bytes for piece in pieces) != total_bytes:
        raise OSError(errno.EINVAL, "the pieces do not make up the object")
    segments: dict[str, Segment] = {}
    sizes: dict[str, int] = {}
    for piece in pieces:
        if piece.name not in segments:
            segment = segments[piece.name] = Segment.open(piece)
            sizes[piece.name] = -(-os.fstat(segment.descriptor).st_size // PAGE) * PAGE
        # Who reads behind the last page of a file is killed.
        if piece.offset + piece.bytes > sizes[piece.name]:
            raise OSError(errno.EINVAL, "a piece ends behind its file")
    ours = [replace(piece, process=os.getpid(), descriptor=segments[piece.name].descriptor) for piece in pieces]
    return SharedObject(ours, list(segments.values()))


class Known:
    """What this process has mapped of other processes' objects: parts of it need not be copied into new ones.

    Safe for use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begins: list[int] = []
        """The addresses of the mappings, in order."""
        self._mapped: dict[int, tuple[Sequence[Piece], weakref.ref[Mapping]]] = {}
        """By address."""
        self._dead: deque[int] = deque()
        """Told by the garbage collector, which must not wait for the lock. An address is told before it is used again."""

    def add(self, mapping: Mapping, pieces: Sequence[Piece]) -> None:
        """``pieces`` as their owner named them."""
        address, dead = mapping.address, self._dead
        reference = weakref.ref(mapping, lambda _: dead.append(address))
        with self._lock:
            self._bury()
            bisect.insort(self._begins, address)
            self._mapped[address] = pieces, reference

    def find(self, part: memoryview, padding: int) -> Piece | None:
        """Where this part and so many zeros behind it lie in the file of another process, from the begin of a page."""
        address = address_of(part)
        with self._lock:
            self._bury()
            place = bisect.bisect_right(self._begins, address)
            if not place:
                return None
            begin = self._begins[place - 1]
            pieces, reference = self._mapped[begin]
        mapping, offset = reference(), address - begin
        end = offset + part.nbytes
        if mapping is None or offset % PAGE or end > len(mapping):
            return None
        behind = memoryview(mapping)[end : end + padding]
        if behind != _ZEROS[: len(behind)]:
            return None
        for piece in pieces:
            if offset < piece.bytes:
                inside = end <= -(-piece.bytes // PAGE) * PAGE
                return replace(piece, offset=piece.offset + offset, bytes=part.nbytes + padding) if inside else None
            offset, end = offset - piece.bytes, end - piece.bytes
        return None

    def _bury(self) -> None:
        while self._dead:
            address = self._dead.popleft()
            del self._begins[bisect.bisect_left(self._begins, address)], self._mapped[address]


def share(parts: Sequence[memoryview], known: Known | None = None) -> SharedObject:
    """Put the bytes of an object, the parts one after the other, into shared memory.

    Large parts that begin with a page, and end with one or are followed by zeros up to its end, are not copied when
    ``known`` has them. Raises OSError.
    """
    total = sum(part.nbytes for part in parts)
    foreign = list(_foreign(parts, total, known)) if known is not None else []
    if len(foreign) > MAX_PIECES // 2:
        foreign = []
    ends = [0, *(place + piece.bytes for place, piece in foreign)]
    gaps = [
        (begin, end) for begin, end in zip(ends, [*(place for place, _ in foreign), total], strict=True) if begin < end
    ]
    if not gaps:
        return SharedObject([piece for _, piece in foreign], [])
    own = Segment.make(total, _within(parts, gaps))
    places = foreign + [(begin, own.piece(begin, end - begin)) for begin, end in gaps]
    return SharedObject([piece for _, piece in sorted(places, key=itemgetter(0))], [own])


def _foreign(parts: Sequence[memoryview], total: int, known: Known) -> Iterator[tuple[int, Piece]]:
    """(place in the object, piece) of what is in shared memory already."""
    place = 0
    for i, part in enumerate(parts):
        end = place + part.nbytes
        if part.nbytes >= FOREIGN_BYTES and place % PAGE == 0:
            padding = min(-(-end // PAGE) * PAGE, total) - end
            if not padding or (i + 1 < len(parts) and parts[i + 1][:padding] == _ZEROS[:padding]):
                piece = known.find(part, padding)
                if piece is not None:
                    yield place, piece
        place = end


def _within(parts: Sequence[memoryview], ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """(place, bytes) of what lies in these ranges of the object."""
    place = 0
    for part in parts:
        end = place + part.nbytes
        for first, last in ranges:
            if max(first, place) < min(last, end):
                yield max(first, place), part[max(first - place, 0) : last - place]
        place = end
