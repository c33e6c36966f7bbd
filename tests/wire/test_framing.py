"""Frames: bytes in pieces of any size, whole frames out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.errors import ProtocolError
from scaler.wire import framing
from scaler.wire.frame_reader import FrameReader
from scaler.wire.framing import HEADER, frame_header

FRAMES = [(b"12345678", b""), (b"a" * 16, b"attached"), (b"b" * 24, b"x")]
STREAM = b"".join(frame_header(len(m), len(a)) + m + a for m, a in FRAMES)


def reader(handshake: bool = False) -> FrameReader:
    frames = FrameReader()
    if not handshake:
        frames.handshake_done()
    return frames


def read(frames: FrameReader, data: bytes) -> list[tuple[bytes, bytes]]:
    frames.feed(data)
    return list(iter(frames.take, None))


@pytest.mark.parametrize("split", range(len(STREAM) + 1))
def test_a_stream_cut_anywhere_gives_the_same_frames(split: int) -> None:
    frames = reader()
    first = read(frames, STREAM[:split])
    ends = [16, 16 + 32, 16 + 32 + 33]
    assert len(first) == sum(end <= split for end in ends)
    assert first + read(frames, STREAM[split:]) == FRAMES
    assert frames.error is None


def test_byte_by_byte() -> None:
    frames = reader()
    assert [frame for i in range(len(STREAM)) for frame in read(frames, STREAM[i : i + 1])] == FRAMES


@given(
    st.lists(st.tuples(st.integers(1, 5).map(lambda n: bytes(8 * n)), st.binary(max_size=20)), max_size=8),
    st.lists(st.integers(1, 40)),
)
def test_any_frames_in_any_pieces(wanted: list[tuple[bytes, bytes]], pieces: list[int]) -> None:
    stream = b"".join(frame_header(len(m), len(a)) + m + a for m, a in wanted)
    frames, got, begin = reader(), [], 0
    for size in [*pieces, len(stream)]:
        got += read(frames, stream[begin : begin + size])
        begin += size
    assert got == wanted


def test_one_buffer_used_again_and_again() -> None:
    """As a connection reads: what is not whole is kept when the buffer is overwritten."""
    frames, buffer = reader(), bytearray(24)
    got: list[tuple[bytes, bytes]] = []
    for begin in range(0, len(STREAM), len(buffer)):
        piece = STREAM[begin : begin + len(buffer)]
        buffer[: len(piece)] = piece
        frames.feed(buffer, len(piece))
        got += iter(frames.take, None)
    assert got == FRAMES
    buffer.clear()  # which no reader holds any more


def test_what_was_not_taken_is_kept_for_later() -> None:
    frames = reader()
    frames.feed(STREAM)
    assert frames.take() == FRAMES[0]
    frames.feed(STREAM)
    assert list(iter(frames.take, None)) == [*FRAMES[1:], *FRAMES]
    assert frames.kept == 0


def test_what_was_handed_out_is_dropped_from_a_long_stream() -> None:
    frames = reader()
    big = bytes(1 << 20)
    one = frame_header(len(big)) + big
    for _ in range(3):
        assert read(frames, one + one[:100]) == [(big, b"")]
        assert read(frames, one[100:]) == [(big, b"")]
    assert frames.kept < 2 * len(one)


@pytest.mark.parametrize(
    ("message_bytes", "attachment_bytes"),
    [(framing.MAX_MESSAGE_BYTES + 8, 0), (8, framing.MAX_ATTACHMENT_BYTES + 1), (0xFFFFFFF8, 0)],
)
def test_a_frame_over_the_limit_is_refused_by_its_header(message_bytes: int, attachment_bytes: int) -> None:
    frames = reader()
    assert read(frames, HEADER.pack(message_bytes, attachment_bytes)) == []
    assert "limit" in str(frames.error)
    with pytest.raises(ProtocolError, match="larger than the limit"):
        frame_header(message_bytes, attachment_bytes)


def test_the_limits_themselves_are_allowed() -> None:
    frames = reader()
    assert read(frames, frame_header(framing.MAX_MESSAGE_BYTES, framing.MAX_ATTACHMENT_BYTES)) == []
    assert frames.error is None


@pytest.mark.parametrize("message_bytes", [0, 1, 7, 9, 12, 65])
def test_a_message_is_a_multiple_of_eight(message_bytes: int) -> None:
    frames = reader()
    assert read(frames, HEADER.pack(message_bytes, 0) + bytes(message_bytes)) == []
    assert "multiple of 8" in str(frames.error)


def test_frames_before_a_wrong_one_are_read_and_none_after_it() -> None:
    frames = reader()
    assert read(frames, STREAM + HEADER.pack(7, 0) + STREAM) == FRAMES
    error = frames.error
    assert read(frames, STREAM) == []
    assert frames.error is error


def test_the_handshake_has_a_limit_of_its_own() -> None:
    frames = reader(handshake=True)
    fits = bytes(framing.MAX_HANDSHAKE_BYTES)
    assert read(frames, frame_header(len(fits)) + fits) == [(fits, b"")]
    assert read(frames, frame_header(len(fits) + 8)) == []
    assert "no handshake" in str(frames.error)


def test_the_handshake_has_no_attachment() -> None:
    frames = reader(handshake=True)
    assert read(frames, frame_header(8, 1) + bytes(9)) == []
    assert "no handshake" in str(frames.error)


def test_after_the_handshake_a_frame_may_be_large() -> None:
    frames = reader(handshake=True)
    frames.handshake_done()
    large = bytes(framing.MAX_HANDSHAKE_BYTES + 8)
    assert read(frames, frame_header(len(large), 1) + large + b"a") == [(large, b"a")]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"SSH-2.0-OpenSSH_9"]
)
def test_other_protocols_are_no_handshake(data: bytes) -> None:
    frames = reader(handshake=True)
    assert read(frames, data) == []
    assert "does not speak Scaler's protocol" in str(frames.error)


@pytest.mark.parametrize("attachment_bytes", [(64 << 10) - 1, 64 << 10, 1 << 20])
@pytest.mark.parametrize("first", [1, 8, 20, 24, 25, 60_000])
def test_the_rest_of_a_large_attachment_is_received_where_it_stays(attachment_bytes: int, first: int) -> None:
    reader = FrameReader()
    reader.handshake_done()
    frame = frame_header(16, attachment_bytes) + b"m" * 16 + bytes(range(256)) * (attachment_bytes // 256 + 1)
    stream = frame[: 24 + attachment_bytes] + frame_header(8) + b"n" * 8
    reader.feed(stream[:first])
    assert reader.take() is None
    done, frames = first, []
    while done < len(stream):
        rest = reader.rest
        if rest is None:
            piece = stream[done : done + 50_000]
            reader.feed(piece)
        else:
            piece = stream[done : done + min(50_000, len(rest))]
            rest[: len(piece)] = piece
            rest.release()
            reader.received(len(piece))
        done += len(piece)
        frames += list(iter(reader.take, None))
    assert frames == [(b"m" * 16, stream[24 : 24 + attachment_bytes]), (b"n" * 8, b"")] and reader.rest is None


def test_more_than_the_rest_is_refused() -> None:
    reader = FrameReader()
    reader.handshake_done()
    reader.feed(frame_header(8, 1 << 20) + b"m" * 8)
    assert reader.take() is None and reader.rest is not None and len(reader.rest) == 1 << 20
    with pytest.raises(ValueError):
        reader.received((1 << 20) + 1)
