"""Output of executors, in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.worker.output import LONGEST_LINE, OutputStream, mark_of

WORKER, ANN, BEN, NOBODY = b"w" * 16, b"A" * 16, b"B" * 16, b""
Pieces = list[tuple[bytes, bytes]]


def joined(pieces: Pieces) -> Pieces:
    """Pieces of the same client that follow each other, as one."""
    whole: Pieces = []
    for client, content in pieces:
        if whole and whole[-1][0] == client:
            whole[-1] = client, whole[-1][1] + content
        else:
            whole.append((client, content))
    return whole


@given(
    st.lists(st.tuples(st.sampled_from([NOBODY, ANN, BEN]), st.text(st.sampled_from("aé€😀\n\r\0s")).map(str.encode))),
    st.lists(st.integers(1, 80)),
)
def test_whatever_the_cuts_each_client_gets_what_its_tasks_printed(printed: Pieces, cuts: list[int]) -> None:
    data, now = b"", NOBODY
    for client, content in printed:
        if client != now:
            data, now = data + mark_of(WORKER, client), client
        data += content
    stream, found = OutputStream(WORKER), []
    for cut in cuts:
        found += list(stream.feed(data[:cut]))
        data = data[cut:]
    found += [*stream.feed(data), *stream.rest(ended=True)]
    assert joined(found) == joined([piece for piece in printed if piece[1]]) and not stream.holds
    for client, content in found:
        assert content and (client == NOBODY or content.decode())


def test_lines_come_whole_and_late_ones_after_a_while() -> None:
    stream = OutputStream(WORKER)
    assert list(stream.feed(mark_of(WORKER, ANN) + b"one\ntw")) == [(ANN, b"one\n")] and stream.holds
    assert list(stream.feed(b"o\rthr")) == [(ANN, b"two\r")]
    assert list(stream.rest()) == [(ANN, b"thr")] and not stream.holds
    assert list(stream.feed("é".encode()[:1])) == list(stream.rest()) == []
    assert list(stream.rest(ended=True)) == [(ANN, b"\xc3")]


def test_what_nobody_wants_to_see_passes_at_once() -> None:
    stream = OutputStream(WORKER)
    assert list(stream.feed(b"no end of line")) == [(NOBODY, b"no end of line")]
    assert list(stream.feed(mark_of(b"x" * 16, ANN))) == [(NOBODY, mark_of(b"x" * 16, ANN))]


@pytest.mark.parametrize("data", [b"x" * 3 * LONGEST_LINE, "é€".encode() * LONGEST_LINE, b"line\n" * LONGEST_LINE])
def test_pieces_are_limited_and_nothing_is_held_without_end(data: bytes) -> None:
    stream = OutputStream(WORKER)
    pieces = list(stream.feed(mark_of(WORKER, ANN) + data))
    assert all(len(content) <= LONGEST_LINE and content.decode() for _, content in pieces)
    assert len(data) - sum(len(content) for _, content in pieces) <= LONGEST_LINE
    pieces += list(stream.rest())
    assert b"".join(content for _, content in pieces) == data
