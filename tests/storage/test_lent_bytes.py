"""Bytes objects that lie in shared memory: like any others, and let go only when nobody has them."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaler import buffers
from scaler.serialization import DefaultSerializer
from scaler.storage.lent_bytes import LentBytes
from scaler.storage.mapping import PAGE, Mapping, address_of
from scaler.storage.segments import Known, Segment, SharedObject, share

LEAST = 1000


@pytest.fixture
def lent() -> LentBytes:
    return LentBytes(LEAST, 3)


def mapped(content: bytes, before: bytes = bytes(PAGE), behind: bytes = b"") -> memoryview:
    """Content in a mapping, after ``before``, with ``behind`` in the file where the mapping has ended."""
    segment = Segment.make(len(before + content + behind))
    segment.write([memoryview(before + content + behind)])
    whole = Mapping([(segment.descriptor, 0, len(before + content))])
    return whole.view[len(before) :]


def lies_in(content: bytes, view: memoryview) -> bool:
    return address_of(content) == address_of(view)


@pytest.mark.parametrize("size", [LEAST, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 1 << 20, (1 << 20) + 77])
@pytest.mark.parametrize("behind", [b"", b"what was in the file before"])
def test_they_are_like_others_and_not_copied(lent: LentBytes, size: int, behind: bytes) -> None:
    content = os.urandom(size)
    view = mapped(content, behind=behind)
    made = lent.copy(view)
    assert type(made) is bytes and lies_in(made, view) and len(made) == size and made == content
    assert hash(made) == hash(content) and {made: 1}[content] == 1 and bytes(view) == content
    assert made + b"!" == content + b"!" and made[5:] == content[5:] and made.hex() == content.hex()
    assert sys.getsizeof(made) == sys.getsizeof(content)
    assert ctypes.string_at(address_of(made) + size, 1) == bytes(1)  # by which C code knows the end


def test_what_somebody_has_stays(lent: LentBytes) -> None:
    made = lent.copy(mapped(b"a" * PAGE))
    numbers = memoryview(lent.copy(mapped(b"b" * PAGE)))
    lent.sweep()
    gc.collect()
    assert len(lent) == 2 and made == b"a" * PAGE and numbers == b"b" * PAGE
    del made, numbers
    lent.sweep()
    assert len(lent) == 0


def test_its_memory_is_free_again_when_nobody_has_it(lent: LentBytes) -> None:
    segment = Segment.make(2 * PAGE)
    reader = Segment.open(segment.piece(0, 2 * PAGE))
    made = lent.copy(Mapping([(reader.descriptor, 0, 2 * PAGE)]).view[PAGE:])
    del reader
    lent.sweep()
    assert not segment.renew() and made == bytes(PAGE)
    del made
    lent.sweep()
    assert segment.renew()


def test_the_same_memory_is_the_same_object_as_long_as_somebody_has_it(lent: LentBytes) -> None:
    view = mapped(b"a" * PAGE)
    made = lent.copy(view)
    assert lent.copy(view) is made and len(lent) == 1
    shorter = lent.copy(view[:LEAST])
    assert shorter == b"a" * LEAST and not lies_in(shorter, view)
    del made
    lent.sweep()
    again = lent.copy(view)
    assert again == b"a" * PAGE and lies_in(again, view)


def test_what_cannot_be_made_where_it_is_is_copied(lent: LentBytes) -> None:
    head = mapped(b"a" * PAGE, before=bytes(PAGE - 1) + b"!")
    begin = mapped(b"a" * PAGE, before=b"")
    cut = mapped(b"a" * PAGE + b"more")[:PAGE]
    odd = mapped(b"a" * PAGE, before=bytes(PAGE + 1))
    small = mapped(b"a" * (LEAST - 1))
    steps = mapped(b"ab" * PAGE)[::2]
    for view in (head, begin, cut, odd, small, steps):
        made = lent.copy(view)
        assert made == b"a" * len(made) == bytes(view)
    assert bytes(cut) == b"a" * PAGE and lent.copy(memoryview(b"c" * PAGE)) == b"c" * PAGE
    assert lent.copy(memoryview(bytearray(b"d" * PAGE))) == b"d" * PAGE
    assert len(lent) == 0


def test_a_head_may_lie_in_two_pages(lent: LentBytes) -> None:
    made = lent.copy(view := mapped(b"a" * PAGE, before=bytes(PAGE + 8)))
    assert made == b"a" * PAGE and hash(made) == hash(b"a" * PAGE) and lies_in(made, view)


def test_there_are_not_too_many(lent: LentBytes) -> None:
    made = [lent.copy(mapped(bytes([i]) * PAGE)) for i in range(5)]
    assert len(lent) == 3 and made == [bytes([i]) * PAGE for i in range(5)]
    del made[0]
    assert lies_in(lent.copy(view := mapped(b"z" * PAGE)), view) and len(lent) == 3


def test_the_file_stays_as_it_is(lent: LentBytes) -> None:
    segment = Segment.make(3 * PAGE)
    segment.write([memoryview(bytes(PAGE) + b"a" * PAGE + b"b" * PAGE)])
    made = lent.copy(Mapping([(segment.descriptor, 0, 2 * PAGE - 5)]).view[PAGE:])
    assert hash(made) == hash(b"a" * (PAGE - 5)) and len(lent) == 1
    assert os.pread(segment.descriptor, 3 * PAGE, 0) == bytes(PAGE) + b"a" * PAGE + b"b" * PAGE


def test_one_that_is_returned_becomes_part_of_the_result_where_it_is(
    lent: LentBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(20 * PAGE)
    argument = share([memoryview(part) for part in DefaultSerializer.serialize_parts(content)])
    mapping = argument.map()
    known = Known()
    known.add(mapping, argument.pieces)
    monkeypatch.setattr(buffers, "_copy", lent.copy)
    made = DefaultSerializer.deserialize(mapping.view)  # type: ignore[arg-type]
    result = share([memoryview(part) for part in DefaultSerializer.serialize_parts(made)], None, known)
    assert [piece.name for piece in result.pieces][1:] == [argument.pieces[0].name] and len(lent) == 1
    both = SharedObject(result.pieces, [*argument.segments, *result.segments])
    assert DefaultSerializer.deserialize(bytes(both.map().view)) == content


def test_a_process_may_fork_and_end_with_them() -> None:
    """Also when a module has them, which is taken down after everything else."""
    program = (
        "import gc, os, sys; from tests.storage.test_lent_bytes import *; lent = LentBytes(LEAST, 9)\n"
        "made = sys.kept = lent.copy(mapped(b'a' * PAGE)); child = os.fork(); del lent; gc.collect()\n"
        "sys.exit(made != b'a' * PAGE or (os.waitstatus_to_exitcode(os.wait()[1]) if child else 0))"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-X", "dev", "-c", program], check=True, cwd=root, timeout=60)
