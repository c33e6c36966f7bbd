"""Shared memory: written once, mapped by others, written again only when nobody reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.storage import segments
from scaler.storage.mapping import PAGE, Mapping, WritableMapping, address_of, same
from scaler.storage.segments import FOREIGN_BYTES, MAX_PIECES, Known, Segment, SharedObject, Spare, open_object, share

BIG = FOREIGN_BYTES + 5


def descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


def views(*parts: bytes) -> list[memoryview]:
    return [memoryview(part) for part in parts]


def opened(shared: SharedObject) -> SharedObject:
    return open_object(shared.pieces, sum(piece.bytes for piece in shared.pieces))


def test_what_is_shared_is_mapped_without_a_copy() -> None:
    parts = views(b"head", os.urandom(3 * PAGE), b"", b"tail")
    shared = share(parts)
    mapping = opened(shared).map()
    assert bytes(mapping.view) == b"".join(parts) and mapping.view.readonly and len(mapping) == 3 * PAGE + 8
    del shared  # The pages live as long as they are mapped.
    assert bytes(mapping.view[-4:]) == b"tail"


def test_another_process_maps_it_and_it_outlives_the_writer() -> None:
    program = (
        "import sys; from scaler.storage.segments import *; s = share([memoryview(b'abc' * 5000)]);"
        "print(s.pieces[0].process, s.pieces[0].descriptor, s.pieces[0].name, flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdin is not None and writer.stdout is not None
    process, descriptor, name = writer.stdout.readline().decode().split()
    piece = replace(share(views(b"x")).pieces[0], process=int(process), descriptor=int(descriptor), name=name)
    mapping = open_object([replace(piece, bytes=15_000)], 15_000).map()
    writer.kill()
    writer.communicate()
    assert bytes(mapping.view) == b"abc" * 5000
    with pytest.raises(OSError):
        open_object([replace(piece, bytes=15_000)], 15_000)


def test_who_opens_a_segment_as_it_is_renewed_does_not_end_its_process() -> None:
    """The system tells who has a lease that it is to be given up, by a signal that ends a process unless it is another one."""
    program = (
        "import os, threading; from scaler.storage.segments import *; segment = Segment.make(1)\n"
        "def open_often():\n"
        "    while not over:\n"
        "        try: Segment.open(segment.piece(0, 1))\n"
        "        except OSError: failed.append(1)\n"
        "over, failed, renewed = [], [], 0; thread = threading.Thread(target=open_often); thread.start()\n"
        "while len(failed) < 100 or renewed < 100: renewed += segment.renew()\n"
        "over.append(1); thread.join(); print(segment.generation - renewed)"
    )
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    assert ran.stdout == b"1\n"


def test_what_is_not_the_file_meant_is_not_opened() -> None:
    shared = share(views(b"x" * PAGE * 2))
    (piece,) = shared.pieces
    for wrong in (
        replace(piece, name="scaler-other"),
        replace(piece, descriptor=99_999),
        replace(piece, generation=2),
        replace(piece, bytes=3 * PAGE),
        replace(piece, offset=PAGE, bytes=2 * PAGE),
    ):
        with pytest.raises(OSError):
            open_object([wrong], wrong.bytes)
    with pytest.raises(OSError, match="do not make up"):
        open_object([piece], 5)
    with pytest.raises(OSError, match="do not make up"):
        open_object([piece] * (MAX_PIECES + 1), (MAX_PIECES + 1) * piece.bytes)


def test_to_be_told_of_a_pipe_is_no_reason_to_wait() -> None:
    read, write = os.pipe()
    os.close(write)
    (piece,) = share(views(b"x")).pieces
    with pytest.raises(OSError, match="another file"):
        Segment.open(replace(piece, descriptor=read))
    os.close(read)


def test_a_file_that_may_shrink_is_not_opened() -> None:
    descriptor = os.memfd_create("scaler-bare")
    os.ftruncate(descriptor, 2 * PAGE)
    (piece,) = share(views(b"x")).pieces
    with pytest.raises(OSError, match="shrink"):
        Segment.open(replace(piece, descriptor=descriptor, name="scaler-bare"))
    os.close(descriptor)


def test_no_descriptor_is_left() -> None:
    before = len(descriptors())
    mapping = opened(share(views(b"x" * BIG))).map()
    assert len(descriptors()) == before
    del mapping


def test_a_segment_is_written_again_when_nobody_reads_it() -> None:
    spare = Spare()
    first = share(views(b"a" * BIG), spare)
    reader = opened(first).map()
    (segment,) = first.segments
    name, pieces = segment.name, first.pieces
    spare.keep(segment)
    del first, segment
    second = share(views(b"b" * BIG), spare)
    assert second.segments[0].name != name and bytes(reader.view) == b"a" * BIG
    del reader
    third = share(views(b"c" * (BIG - 1)), spare)
    assert third.segments[0].name == name and third.segments[0].generation == 2
    # Who was told of it before, and comes too late, is not given the other object.
    with pytest.raises(OSError, match="anew"):
        open_object(pieces, BIG)
    assert bytes(opened(third).map().view) == b"c" * (BIG - 1)


@pytest.mark.parametrize("mappable", [True, False])
def test_what_is_written_again_may_be_mapped_for_that(monkeypatch: pytest.MonkeyPatch, mappable: bool) -> None:
    if not mappable:  # The system has no memory for another mapping.
        monkeypatch.setattr(segments, "WritableMapping", lambda descriptor, size: os.close(-1))
    spare = Spare(maps=True)
    for content in (os.urandom(BIG), os.urandom(BIG - 7), os.urandom(BIG)):
        shared = share(views(content[:5], b"", content[5:]), spare)
        assert bytes(opened(shared).map().view) == content
        spare.keep(shared.segments[0])
    assert shared.pieces[0].generation == 3 and mappable == (segments_mapped_to_write() == 1)
    del shared
    assert spare.drop_unused(0)
    assert segments_mapped_to_write() == 0


def segments_mapped_to_write() -> int:
    return sum(
        "memfd:scaler-" in line and line.split()[1] == "rw-s"
        for line in Path("/proc/self/maps").read_text().splitlines()
    )


def test_without_leases_nothing_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Segment:
        raise OSError(24, "Too many open files")

    spare, segment = Spare(), Segment.make(BIG)
    with monkeypatch.context() as patched:
        patched.setattr(Segment, "open", refuse)
        spare.keep(segment)
    assert spare.take(BIG).name != segment.name


def test_spare_segments_are_limited_and_dropped() -> None:
    spare = Spare(limit=3 * BIG + 3 * PAGE)
    before = len(descriptors())
    for _ in range(10):
        spare.keep(Segment.make(BIG))
    assert len(descriptors()) - before == 3
    assert not spare.drop_unused(seconds=60)
    assert spare.drop_unused(seconds=0) and len(descriptors()) == before


def test_a_much_smaller_object_gets_a_segment_of_its_own() -> None:
    spare = Spare()
    spare.keep(Segment.make(10 * BIG))
    assert spare.take(BIG).size < 2 * BIG


class TestForeign:
    """Parts that other processes have in shared memory are not copied into new objects."""

    def setup_method(self) -> None:
        self.body = os.urandom(BIG)
        source = share(views(b"h" * PAGE, self.body, bytes(-BIG % PAGE), b"t" * BIG))
        self.source, self.known = source, Known()
        self.mapping = opened(source).map()
        self.known.add(self.mapping, source.pieces)
        self.view = self.mapping.view[PAGE : PAGE + BIG]

    def test_whole_pages_stay_where_they_are(self) -> None:
        shared = share([*views(b"H" * PAGE), self.view, *views(bytes(-BIG % PAGE), b"end")], known=self.known)
        assert [piece.name == self.source.pieces[0].name for piece in shared.pieces] == [False, True, False]
        assert bytes(opened(shared).map().view) == b"H" * PAGE + self.body + bytes(-BIG % PAGE) + b"end"

    def test_no_memory_is_taken_for_what_is_elsewhere(self) -> None:
        body = [self.view, *views(bytes(-BIG % PAGE))]
        parts = [*views(b"H" * PAGE), *body, *views(b"T" * PAGE), *body, *views(b"e")]
        shared = share(parts, known=self.known)
        assert shared.segments[0].size == 3 * PAGE
        assert bytes(opened(shared).map().view) == b"".join(parts)

    def test_what_an_older_object_left_behind_the_end_is_no_padding(self) -> None:
        spare, padding = Spare(), bytes(-(2 * BIG - 9) % PAGE)
        spare.keep(share(views(b"o" * 2 * BIG)).segments[0])
        source = share(views(b"n" * (2 * BIG - 9)), spare)
        assert source.segments[0].generation == 2
        mapping = opened(source).map()
        self.known.add(mapping, source.pieces)
        shared = share([mapping.view, *views(padding, b"end")], known=self.known)
        assert bytes(opened(shared).map().view) == b"n" * (2 * BIG - 9) + padding + b"end"

    def test_a_part_of_a_part_again(self) -> None:
        shared = share([self.view], known=self.known)
        assert not shared.segments
        again = opened(shared).map()
        self.known.add(again, shared.pieces)
        third = share([*views(b"x" * PAGE), again.view], known=self.known)
        assert bytes(opened(third).map().view)[PAGE:] == self.body

    @pytest.mark.parametrize("head", [b"", b"x", b"x" * 100])
    def test_what_does_not_fill_its_pages_is_copied(self, head: bytes) -> None:
        shared = share([*views(head), self.view, *views(b"not zeros")], known=self.known)
        assert len(shared.segments) == len(shared.pieces) == 1
        assert bytes(opened(shared).map().view) == head + self.body + b"not zeros"

    def test_what_has_other_bytes_behind_it_is_copied(self) -> None:
        shared = share([self.view[: BIG - 2], *views(bytes((2 - BIG) % PAGE), b"end")], known=self.known)
        assert len(shared.segments) == 1
        assert bytes(opened(shared).map().view).startswith(self.body[:-2] + b"\0\0")

    def test_own_memory_and_forgotten_mappings_are_copied(self) -> None:
        assert share(views(b"x" * BIG), known=self.known).segments
        self.view.release()
        address = self.mapping.address
        del self.mapping
        assert self.known.find(memoryview(b"x" * BIG), 0) is None and address not in self.known._mapped


def test_mapping_lays_pieces_one_after_the_other() -> None:
    segment = Segment.make(4 * PAGE)
    segment.write([memoryview(b"a" * PAGE)])
    segment.write([memoryview(b"b" * PAGE)], 3 * PAGE)
    mapping = Mapping([(segment.descriptor, 3 * PAGE, PAGE), (segment.descriptor, 0, 10)])
    assert bytes(mapping.view) == b"b" * PAGE + b"a" * 10 and address_of(mapping.view[3:]) == mapping.address + 3
    assert same(mapping.view[:2], b"bb") and not same(mapping.view, b"bb") and not same(b"ab", b"bb")


@pytest.mark.parametrize("pieces", [[], [(0, 1, 2)], [(0, 0, 0)], [(0, 0, 5), (0, 0, 5)], [(0, 0, 1 << 60)]])
def test_mapping_of_what_are_no_whole_pages(pieces: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError):
        Mapping(pieces)


def test_writing_outside_of_a_mapping() -> None:
    segment = Segment.make(PAGE)
    mapping = WritableMapping(segment.descriptor, PAGE)
    mapping.write(b"abc", PAGE - 3)
    assert os.pread(segment.descriptor, 3, PAGE - 3) == b"abc"
    for part, offset in ((b"abcd", PAGE - 3), (b"", PAGE + 1), (b"a", PAGE), (bytes(PAGE + 1), 0)):
        with pytest.raises(ValueError, match="more than"):
            mapping.write(part, offset)
    with pytest.raises(ValueError, match="cannot be mapped"):
        WritableMapping(segment.descriptor, 0)
    with pytest.raises(OSError):
        WritableMapping(-1, PAGE)


def test_mapping_of_no_file() -> None:
    with pytest.raises(OSError):
        Mapping([(99_999, 0, 5)])
