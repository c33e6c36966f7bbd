"""Objects in shared memory: memfds that processes of one host and user open by their place in /proc.

Nobody else can open them, and there is nothing to clean up: memory is freed with its last descriptor and mapping.
"""

from __future__ import annotations

import bisect
import errno
import fcntl
import os
import secrets
import signal
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from operator import itemgetter

from scaler.messages import Piece
from scaler.storage.mapping import PAGE, Mapping, WritableMapping, address_of
from scaler.writing import write_at

MAX_PIECES = 1024
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
FOREIGN_BYTES = 64 << 10
"""Smaller parts are copied, also when they are in shared memory already."""
SPARE_SEGMENTS = 128
SPARE_BYTES = 256 << 20
SPARE_SECONDS = 2.0
"""How many segments that were written last, how large, a process holds to write them again, and for how long after."""
SPARE_TRIES = 4
LARGEST_EXCESS = 1.25
"""A segment is used again for an object that needs nearly all of it."""
_GENERATION = struct.Struct("<Q")
_ZEROS = memoryview(bytes(PAGE))


def close_now(descriptor: int, size: int) -> None:
    """How the file of a segment, of so many bytes, is closed where nobody wants it otherwise."""
    os.close(descriptor)


_close: Callable[[int, int], None] = close_now


def set_close(close: Callable[[int, int], None]) -> None:
    """Say how files of segments are closed in this process."""
    global _close
    _close = close


class Segment:
    """An open file in shared memory. It is closed with its last reference.

    The last page tells its generation, how often it was written. Raises OSError where the system has no memfds, or no
    memory or descriptor left.
    """

    def __init__(self, descriptor: int, name: str, size: int = 0, generation: int = 1) -> None:
        self.descriptor = descriptor
        self.name = name
        self.size = size
        """In bytes, whole pages, without the last one."""
        self.generation = generation
        self._memory: WritableMapping | None = None

    def __del__(self) -> None:
        _close(self.descriptor, self.size)

    @classmethod
    def make(cls, size: int) -> Segment:
        """One for so many bytes, that only this process has open."""
        name, size = f"scaler-{secrets.token_hex(16)}", -(-size // PAGE) * PAGE
        made = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(made, size + PAGE)
            fcntl.fcntl(made, fcntl.F_ADD_SEALS, SEALS)
            # What memfd_create() opened is not counted as open, which is_alone() needs.
            segment = cls(os.open(f"/proc/self/fd/{made}", os.O_RDWR | os.O_CLOEXEC), name, size)
        finally:
            os.close(made)
        os.pwrite(segment.descriptor, _GENERATION.pack(segment.generation), size)
        return segment

    @classmethod
    def open(cls, piece: Piece) -> Segment:
        """Another process's, to be read. Raises OSError where it is gone, written anew, or of another host or user."""
        path = f"/proc/{piece.process}/fd/{piece.descriptor}"
        # Before it is opened as well: to open a device or a pipe may do something.
        _check_name(path, piece.name)
        segment = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), piece.name)
        _check_name(f"/proc/self/fd/{segment.descriptor}", piece.name)
        if fcntl.fcntl(segment.descriptor, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise OSError(errno.EPERM, "the file may shrink")
        segment.size = os.fstat(segment.descriptor).st_size - PAGE
        # From here on it is open, so it is not written any more: what is true now stays true.
        if os.pread(segment.descriptor, _GENERATION.size, segment.size) != _GENERATION.pack(piece.generation):
            raise OSError(errno.ESTALE, "the file was written anew")
        segment.generation = piece.generation
        return segment

    def renew(self) -> bool:
        """Take it for other content. False where another process may still read what it has.

        The system knows: it grants a lease for writing only to who alone has a file open or mapped. Who opens it meanwhile
        fails, or waits and finds another generation than the one it was told of.
        """
        try:
            # Who opens it meanwhile has a signal sent here: SIGIO, which ends a process, unless another one is named each time.
            fcntl.fcntl(self.descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
        try:
            self.generation += 1
            os.pwrite(self.descriptor, _GENERATION.pack(self.generation), self.size)
        finally:
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    def write(self, parts: Iterable[memoryview], offset: int = 0) -> None:
        """Parts, one after the other, from this offset on.

        Not through a mapping the first time: that costs a fault a page, and zeros before the bytes.
        """
        if self._memory is None:
            write_at(self.descriptor, parts, offset)
            return
        for part in parts:
            self._memory.write(part, offset)
            offset += part.nbytes

    def map_to_write(self) -> None:
        """It has been written, and will be often: so it is mapped for that, if it can be."""
        if self._memory is None:
            with suppress(OSError):
                self._memory = WritableMapping(self.descriptor, self.size)

    def piece(self, offset: int, size: int) -> Piece:
        """Part of it, as others can open it."""
        return Piece(os.getpid(), self.descriptor, self.name, self.generation, offset, size)


def _check_name(path: str, name: str) -> None:
    if os.readlink(path) != f"/memfd:{name} (deleted)":  # noqa: PTH115
        raise OSError(errno.ESTALE, "the descriptor is another file's")


class Spare:
    """The segments that this process wrote last: pages that are there already are written three times as fast.

    With ``maps`` they are mapped as well, which is faster still; they count as memory of this process then.
    Safe for use from several threads.
    """

    def __init__(self, limit: int = SPARE_BYTES, maps: bool = False) -> None:
        self.maps = maps
        self._limit = limit
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._segments: deque[Segment] = deque()
        self._bytes = 0
        self._used = 0.0
        self._watched = False
        self._works: bool | None = None

    def take(self, size: int) -> Segment:
        """One for so many bytes, whose other content nobody reads."""
        with self._lock:
            self._check_process()
            most = max(size * LARGEST_EXCESS, size + PAGE)
            fitting = (spare for spare in self._segments if size <= spare.size <= most)
            for segment in list(islice(fitting, SPARE_TRIES)):
                self._segments.remove(segment)
                self._bytes -= segment.size
                if segment.renew():
                    if self.maps:
                        segment.map_to_write()
                    return segment
                # Still read: it goes to the end, behind those that were freed meanwhile.
                self._keep(segment)
        return Segment.make(size)

    def keep(self, segment: Segment) -> None:
        """Use it again when nobody reads it any more."""
        with self._lock:
            self._check_process()
            if self._leases_work():
                self._keep(segment)
                self._used = time.monotonic()
            if self._segments and not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, daemon=True).start()

    def drop_unused(self, seconds: float = SPARE_SECONDS) -> bool:
        """Let all of them go if none was used for so long; False while some are left."""
        with self._lock:
            if time.monotonic() - self._used >= seconds:
                self._segments.clear()
                self._bytes = 0
            self._watched = bool(self._segments)
            return not self._watched

    def _watch(self) -> None:
        while True:
            time.sleep(SPARE_SECONDS)
            if self.drop_unused():
                return

    def _check_process(self) -> None:
        """After a fork, what the process before wrote stays its own."""
        if self._process != os.getpid():
            self._process, self._bytes, self._watched = os.getpid(), 0, False
            self._segments.clear()

    def _keep(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._bytes += segment.size
        while self._bytes > self._limit or len(self._segments) > SPARE_SEGMENTS:
            self._bytes -= self._segments.popleft().size

    def _leases_work(self) -> bool:
        """Whether this system knows who reads a segment, as it should. Tried once."""
        if self._works is None:
            try:
                self._works = _leases_tell_readers()
            except OSError:
                self._works = False
        return self._works


def _leases_tell_readers() -> bool:
    segment = Segment.make(1)
    alone = segment.renew()
    reader = Segment.open(segment.piece(0, 1))
    opened = not segment.renew()
    mapping = Mapping([(reader.descriptor, 0, 1)])
    del reader
    mapped = not segment.renew()
    del mapping
    return alone and opened and mapped


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


class Written:
    """An object that this process has put into shared memory, and may read again."""

    def __init__(self, shared: SharedObject, total_bytes: int) -> None:
        """Raises OSError where a piece is another process's, and gone."""
        self.pieces = shared.pieces
        self.total_bytes = total_bytes
        self._segments = shared.segments
        names = {segment.name for segment in shared.segments}
        self._view = None if all(piece.name in names for piece in shared.pieces) else self._opened()
        """What is another process's has to be held; what is ours can be had again as long as it is not spare."""

    def view(self) -> memoryview:
        """Its bytes, as long as they are used. Raises OSError."""
        return self._view if self._view is not None else self._opened()

    def end(self, spare: Spare) -> None:
        """It is not needed any more; its memory is, as soon as nobody else reads it."""
        segments, self._segments, self._view = self._segments, [], None
        for segment in segments:
            spare.keep(segment)

    def _opened(self) -> memoryview:
        # Opened like another process's, so that whoever has the memory knows of this reader.
        return open_object(self.pieces, self.total_bytes).map().view


def open_object(pieces: Sequence[Piece], total_bytes: int) -> SharedObject:
    """What another process has. Raises OSError where it cannot be had."""
    if len(pieces) > MAX_PIECES or sum(piece.bytes for piece in pieces) != total_bytes:
        raise OSError(errno.EINVAL, "the pieces do not make up the object")
    segments: dict[str, Segment] = {}
    for piece in pieces:
        if piece.name not in segments:
            segments[piece.name] = Segment.open(piece)
        # Who reads behind the last page of a file is killed.
        if piece.offset + piece.bytes > segments[piece.name].size:
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
        if mapping.view[end : end + padding] != _ZEROS[:padding]:
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


def share(parts: Sequence[memoryview], spare: Spare | None = None, known: Known | None = None) -> SharedObject:
    """Put the bytes of an object, the parts one after the other, into shared memory: a spare segment, if there are any.

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
    # All but the last gap end with a page, so that they lie one after the other in whole pages.
    size = sum(end - begin for begin, end in gaps)
    own = spare.take(size) if spare is not None else Segment.make(size)
    own.write(_within(parts, gaps))
    offsets = accumulate((end - begin for begin, end in gaps), initial=0)
    places = foreign + [
        (begin, own.piece(offset, end - begin)) for (begin, end), offset in zip(gaps, offsets, strict=False)
    ]
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


def _within(parts: Sequence[memoryview], ranges: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
    """What lies in these ranges of the object."""
    place = 0
    for part in parts:
        end = place + part.nbytes
        for first, last in ranges:
            if max(first, place) < min(last, end):
                yield part[max(first - place, 0) : last - place]
        place = end
