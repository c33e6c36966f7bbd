"""What is fuzzed: each takes any bytes, and raises where the code under it does what it must not.

``python -m tests.fuzz.guided`` looks for such bytes, led by what they reach; ``test_corpus.py`` replays those that it kept.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from scaler import buffers
from scaler.errors import ProtocolError, SerializationError
from scaler.machine import Peer
from scaler.messages import Role
from scaler.neutral import JsonSerializer, MessagePackSerializer, NeutralSerializer
from scaler.wire import framing, schema
from scaler.wire.codec import StructCodec, UnionCodec
from scaler.wire.dynamic import DynamicStruct, DynamicUnion
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import Dialer, Listener, handshake_codec
from tests.wire.random_messages import UNIONS

from .nonsense import IDENTITIES, Babbler
from .states import SUBJECTS, Subject, Talk

# ---- framing


def frames(data: bytes) -> None:
    """A stream cut into pieces gives the frames that are in it, whatever the pieces; nothing is kept without end."""
    if len(data) < 3:
        return
    handshake, sizes, stream = data[0] & 1, data[1:3], data[3:]
    reader = FrameReader()
    if not handshake:
        reader.handshake_done()
    got: list[tuple[bytes, bytes]] = []
    buffer = bytearray(256)
    at = turn = 0
    while at < len(stream):
        piece = stream[at : at + max(1, sizes[turn % 2])]
        turn += 1
        rest = reader.rest
        if rest is None:
            buffer[: len(piece)] = piece
            reader.feed(buffer, len(piece))
        else:
            piece = piece[: len(rest)]
            rest[: len(piece)] = piece
            rest.release()
            reader.received(len(piece))
        at += len(piece)
        got += ((bytes(message), bytes(attachment)) for message, attachment in iter(reader.take, None))
    expected, wrong = _frames_of(stream, bool(handshake))
    assert got == expected, (got, expected)
    assert (reader.error is not None) == wrong, reader.error
    assert reader.kept <= len(stream)


def _frames_of(stream: bytes, handshake: bool) -> tuple[list[tuple[bytes, bytes]], bool]:
    found, at = [], 0
    while len(stream) - at >= 8:
        message_bytes, attachment_bytes = struct.unpack_from("<II", stream, at)
        if framing.wrong_frame(message_bytes, attachment_bytes, handshake):
            return found, True
        end = at + 8 + message_bytes + attachment_bytes
        if end > len(stream):
            break
        found.append((stream[at + 8 : at + 8 + message_bytes], stream[at + 8 + message_bytes : end]))
        at = end
    return found, False


# ---- codec


class _Unusual:
    """Stands where the library is asked for what is unusual."""

    def __init__(self, *_: Any) -> None:
        pass

    def encode(self, message: Any) -> bytes:
        raise AssertionError(f"written by nobody: {message!r:.200}")

    def decode(self, data: bytes) -> Any:
        raise _NotReadError


class _NotReadError(Exception):
    pass


def _alone(make: Callable[[], Any]) -> Any:
    """A codec without the library behind it."""
    from scaler.wire import codec as codecs

    before = codecs.DynamicUnion, codecs.DynamicStruct
    codecs.DynamicUnion = codecs.DynamicStruct = _Unusual  # type: ignore[assignment,misc]
    try:
        return make()
    finally:
        codecs.DynamicUnion, codecs.DynamicStruct = before  # type: ignore[misc]


CODECS: list[tuple[Any, Any]] = [
    *(
        (_alone(partial(UnionCodec, file, name)), DynamicUnion(name, getattr(schema.load(file), name)))
        for file, name in UNIONS
    ),
    (_alone(partial(StructCodec, "task", "Failure")), DynamicStruct(schema.load("task").Failure)),
]
"""Each conversation by our own reading, and by the library's."""


def messages(data: bytes) -> None:
    """What our own reader takes, the library takes for the same; and it is written again as the same."""
    if not data:
        return
    ours, library = CODECS[data[0] % len(CODECS)]
    try:
        message = ours.decode(data[1:])
    except _NotReadError:
        try:
            library.decode(data[1:])  # What neither can read is told by an error of ours.
        except ProtocolError as error:
            assert str(error)
        return
    theirs = library.decode(data[1:])
    assert repr(message) == repr(theirs), (message, theirs)
    written = ours.encode(message)
    again = ours.decode(written)
    if "nan" not in repr(message):
        assert again == message, (again, message)


# ---- handshake

SECRET = b"the secret of the cluster"


def handshake(data: bytes) -> None:
    """Whatever is said, nobody is let in who cannot prove the secret; and no answer without a question."""
    if not data:
        return
    dials, nonce = data[0] & 1, bytes(range(32))
    side: Dialer | Listener
    if dials:
        side = Dialer(Role.client, IDENTITIES[0], "x", SECRET, nonce)
    else:
        side = Listener({Role.client, Role.worker}, IDENTITIES[1], SECRET if data[0] & 2 else b"", nonce)
    union = handshake_codec()
    for message in _messages(data[1:], union):
        for answer in side.receive(message):
            union.encode(answer)
        assert not (side.peer and side.error)
        if side.peer or side.error:
            break
    if dials or data[0] & 2:
        assert side.peer is None, "let in without a proof"
    elif side.peer is not None:
        assert isinstance(side.peer, Peer) and len(side.peer.identity) == 16


def _messages(stream: bytes, union: UnionCodec) -> Iterator[Any]:
    reader = FrameReader()
    reader.feed(stream)
    for message, _ in iter(reader.take, None):
        try:
            yield union.decode(message)
        except ProtocolError:
            return


# ---- states

PAUSES = (0.0, 0.001, 0.5, 6.0)
_STEP = struct.Struct("<BBH")
"""What is done, by whom, and how many bytes of message follow."""
CONNECT, LOSE, WAIT = 0, 1, 2
"""The first three of 16 things to do; all others say something."""


def steps(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(what, who, message) as they are written one after the other."""
    at = 0
    while at + _STEP.size <= len(data):
        what, who, size = _STEP.unpack_from(data, at)
        at += _STEP.size
        yield what, who, data[at : at + size]
        at += size


def written(told: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The opposite of steps()."""
    return b"".join(_STEP.pack(what, who, len(message)) + message for what, who, message in told)


def state(subject: Subject, data: bytes) -> None:
    """A state is told what its peers' frames say; those that cannot be read end their connection, as in a daemon."""
    talk = Talk(subject)
    for count, (what, who, message) in enumerate(steps(data)):
        if count == 100:
            break
        kind = what % 16
        if kind == CONNECT or not talk.peers:
            talk.connect(subject.roles[who % len(subject.roles)], IDENTITIES[(who >> 4) % len(IDENTITIES)])
        elif kind == LOSE:
            talk.lose(list(talk.peers)[who % len(talk.peers)])
        elif kind != WAIT:
            peer = list(talk.peers)[who % len(talk.peers)]
            attachment = message[:2] if subject.attachments and what & 0x80 else b""
            try:
                said = subject.hears(talk.peers[peer]).decode(message)
            except ProtocolError:
                talk.lose(peer)
            else:
                talk.tell(peer, said, attachment)
        talk.decide(PAUSES[what >> 4 & 3])


def mutated(subject: Subject, data: bytes, seed: int) -> bytes:
    """The same with a step more, less, moved or changed; what is said makes sense to a reader."""
    chance = random.Random(seed)
    told = list(steps(data))[:100]
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(told) + 1)
        change = chance.randrange(6)
        if change <= 2 or not told:
            message = Babbler(chance).message(subject.hears(chance.choice(subject.roles)))
            role = next(role for role in subject.roles if type(message) in subject.hears(role).vocabulary)
            encoded = subject.hears(role).encode(message)
            if len(encoded) < 1 << 16:
                told.insert(place, (chance.randrange(256) | 8, chance.randrange(256), encoded))
        elif change == 3:
            told.insert(place, (CONNECT, chance.randrange(256), b""))
        elif change == 4:
            del told[place - 1]
        else:
            what, _, message = told[place - 1]
            told[place - 1] = (chance.choice((what, chance.randrange(256))), chance.randrange(256), message)
    return written(told)


# ---- values


def neutral(serializer: NeutralSerializer, data: bytes) -> None:
    """Arguments in the neutral serializers: read as something that is written and read again as the same, or refused."""
    inputs = [1, "two"]

    def fetch(name: bytes) -> bytes:
        return data[1:] if name[:1] < b"\x80" else b""

    try:
        serializer.arguments(data, inputs, fetch, "arguments")
    except SerializationError as error:
        assert str(error)
    try:
        value = serializer.deserialize(data)
    except (ValueError, TypeError) as error:
        assert isinstance(error, ValueError | TypeError)
        return
    try:
        again = serializer.serialize(value)
    except (ValueError, TypeError, OverflowError):
        return  # Keys that are no texts, for instance.
    assert repr(serializer.deserialize(again)) == repr(value), (again, value)


def layouts(data: bytes) -> None:
    """Pickles with buffers beside them: what is dumped is loaded; a damaged head is an error, and nothing else.

    The pickle itself is never damaged: reading another one would run whatever it says.
    """
    if len(data) < 4:
        return
    sizes = [buffers.LARGE_BYTES + size % 5000 if size & 1 else size for size in data[1 : 1 + data[0] % 4]]
    values = [bytes(size) for size in sizes]

    def pickled(obj: Any, beside: Callable[[pickle.PickleBuffer], bool], start_again: Callable[[], None]) -> bytes:
        return pickle.dumps(obj, 5, buffer_callback=beside)

    dumped = b"".join(buffers.dump([pickle.PickleBuffer(value) for value in values], pickled))
    assert [bytes(value) for value in buffers.load(dumped)] == values
    if dumped[0] == 0x42:
        places = range(4, 16 + 16 * sum(size >= buffers.LARGE_BYTES for size in sizes))
        damaged = bytearray(dumped)
        for place, change in zip(data[4::2], data[5::2], strict=False):
            damaged[places[place % len(places)]] ^= change
        # Out of the pickle's way: its size and the number of buffers, by which it is found, stay as they are.
        damaged[4:16] = dumped[4:16]
        for value in buffers.load(bytes(damaged)):
            assert len(value) <= len(dumped)


def numbers(data: bytes) -> None:
    """JSON as anybody else writes it is read as anybody else reads it, where it has no members with ``$``."""
    try:
        known = json.loads(data)
    except (ValueError, RecursionError):
        return
    if "$" in repr(known) or not _finite(known):
        return
    assert repr(JsonSerializer().deserialize(data)) == repr(known)


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "messages": messages,
    "handshake": handshake,
    "msgpack": partial(neutral, MessagePackSerializer()),
    "json": partial(neutral, JsonSerializer()),
    "layouts": layouts,
    **{name: partial(state, subject) for name, subject in SUBJECTS.items()},
}
MUTATORS: dict[str, Callable[[bytes, int], bytes]] = {
    name: partial(mutated, subject) for name, subject in SUBJECTS.items()
}
