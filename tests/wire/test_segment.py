"""Messages read and written over their bytes, beside the Cap'n Proto library that reads and writes the same ones."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import capnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler import messages
from scaler.errors import ProtocolError
from scaler.messages import Assign, ClearTasks, Function, Inputs, Results, Submit, TaskCounts, TaskOptions, Update
from scaler.wire import codec as codecs
from scaler.wire import framing, schema
from scaler.wire.codec import UnionCodec, codec, struct_codec
from scaler.wire.dynamic import DynamicStruct, DynamicUnion
from scaler.wire.framing import frame_header

from .random_messages import UNIONS, arms, default, values

FILE_OF = {union: file for file, union in UNIONS}


class Nobody:
    """Stands where the library is asked for what is unusual, in tests of what is usual."""

    def __init__(self, *_: Any) -> None:
        pass

    def encode(self, message: Any) -> bytes:
        raise AssertionError(f"the library was asked to write {message}")

    def decode(self, data: bytes) -> Any:
        raise AssertionError(f"the library was asked to read {data!r}")


def made_alone() -> dict[str, UnionCodec]:
    """The codecs, without the library behind them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codecs, "DynamicUnion", Nobody)
        return {union: UnionCodec(file, union) for file, union in UNIONS}


ALONE = made_alone()
LIBRARY = {union: DynamicUnion(union, getattr(schema.load(file), union)) for file, union in UNIONS}


def said(read: Callable[[bytes], Any], data: bytes) -> str:
    """What was read, with the types of all values, or that it is refused."""
    try:
        return repr(read(data))
    except ProtocolError as error:
        assert str(error)
        return "refused"


@arms
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_library_reads_what_is_written_and_the_other_way_round(
    union: UnionCodec, kind: type, data: st.DataObject
) -> None:
    message = data.draw(values(kind.__name__))
    alone, library = ALONE[union.name], LIBRARY[union.name]
    ours, theirs = alone.encode(message), library.encode(message)
    assert repr(library.decode(ours)) == repr(alone.decode(theirs)) == repr(alone.decode(ours)) == repr(message)
    assert len(ours) <= len(theirs)


@arms
def test_defaults(union: UnionCodec, kind: type) -> None:
    message = default(kind.__name__)
    alone, library = ALONE[union.name], LIBRARY[union.name]
    assert repr(alone.decode(library.encode(message))) == repr(library.decode(alone.encode(message))) == repr(message)


@given(values("Failure"))
def test_a_struct_of_its_own(failure: messages.Failure) -> None:
    alone = struct_codec("task", "Failure")
    library = DynamicStruct(schema.load("task").Failure)
    assert alone.decode(library.encode(failure)) == library.decode(alone.encode(failure)) == failure


@arms
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_frame_is_a_header_and_the_message(union: UnionCodec, kind: type, data: st.DataObject) -> None:
    message, attachment = data.draw(values(kind.__name__)), data.draw(st.integers(0, framing.MAX_ATTACHMENT_BYTES))
    encoded = union.encode(message)
    assert ALONE[union.name].frame(message, attachment) == frame_header(len(encoded), attachment) + encoded


def test_a_frame_that_nobody_would_take_is_not_made() -> None:
    payload = bytes(1 << 20)
    with pytest.raises(ProtocolError, match="larger than the limit"):
        ALONE["ClientToScheduler"].frame(Submit(b"", b"", [payload] * 64))
    with pytest.raises(ProtocolError, match="larger than the limit"):
        ALONE["ClientToScheduler"].frame(ClearTasks(), framing.MAX_ATTACHMENT_BYTES + 1)


@pytest.mark.parametrize("size", [*range(20), 400, 447, 448, 449, 4095, 4096, 100_000])
def test_sizes_around_those_of_words_and_buffers(size: int) -> None:
    alone, library = ALONE["SchedulerToClient"], LIBRARY["SchedulerToClient"]
    data = bytes(i % 251 for i in range(size))
    message = Results(data, b"", data, [data, b"", data])
    assert alone.decode(alone.encode(message)) == library.decode(alone.encode(message)) == message
    ending = messages.ClusterEnding("ä" * (size // 2))
    assert alone.decode(alone.encode(ending)) == library.decode(alone.encode(ending)) == ending


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda data: array("Q", data)])
def test_anything_that_has_bytes_is_data(make: Callable[[bytes], Any]) -> None:
    alone = ALONE["WorkerToScheduler"]
    data, empty = make(bytes(range(16))), make(b"")
    read = alone.decode(alone.encode(Results(data, empty, b"", [data, empty])))
    assert read == Results(bytes(range(16)), b"", b"", [bytes(range(16)), b""])


# ---- what is left to the library


@pytest.mark.parametrize(
    "message",
    [
        messages.RegisterWorker(-1, 0),
        messages.RegisterWorker(2**32, 0),
        messages.RegisterWorker(2**64, 0),
        messages.RegisterWorker("one", 0),  # type: ignore[arg-type]
        messages.RegisterWorker(1, 0, ["\ud800"]),
        messages.RegisterWorker(1, 0, 5),  # type: ignore[arg-type]
        messages.Retract(3, b""),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_written_raises_as_the_library_does(message: Any) -> None:
    union = "WorkerToScheduler" if isinstance(message, messages.RegisterWorker) else "SchedulerToWorker"
    errors = []
    for one in (codec("worker", union), LIBRARY[union]):
        with pytest.raises(Exception) as raised:
            one.encode(message)
        errors.append(raised.type)
    assert errors[0] is errors[1]


def test_signed_numbers_have_their_range() -> None:
    alone = ALONE["ClientToScheduler"]
    for priority in (-(2**31), 2**31 - 1):
        message = Submit(b"", b"", [], [TaskOptions(priority=priority)])
        assert alone.decode(alone.encode(message)) == message
    for priority in (-(2**31) - 1, 2**31):
        with pytest.raises(AssertionError, match="asked to write"):
            alone.encode(Submit(b"", b"", [], [TaskOptions(priority=priority)]))


def test_a_message_in_several_segments_is_read_all_the_same() -> None:
    message = Results(bytes(8000), b"", bytes(1000), [bytes(9000), b"x"] * 500)
    data = LIBRARY["SchedulerToClient"].encode(message)
    assert data[:4] != bytes(4)
    assert codec("client", "SchedulerToClient").decode(data) == message


def new_schema_id() -> str:
    """The library cannot load two schemas of one id in one process."""
    return hex(random.getrandbits(63) | 1 << 63)


def versions(tmp_path: Path, assign: str) -> Any:
    """A schema like worker.capnp's SchedulerToWorker, with another Assign."""
    path = tmp_path / "other.capnp"
    path.write_text(
        f"@{new_schema_id()};\nstruct Other {{ union {{ unspecified @0 :Void; a @1 :Void; b @2 :Void; c @3 :Void; "
        f"assign @4 :Assign; d @5 :Void; define @6 :Define; }} }}\n{assign}\n"
        "struct Define { functions @0 :List(Function); extra @1 :UInt16; }\n"
        "struct Function { number @0 :UInt32; serializer @1 :Text; more @2 :UInt64; evenMore @3 :UInt64; }\n"
    )
    return capnp.load(str(path)).Other


def test_a_shorter_struct_of_an_older_peer_has_defaults(tmp_path: Path) -> None:
    other = versions(tmp_path, "struct Assign { tasks @0 :Data; attempts @1 :Data; }")
    data = other.new_message(assign={"tasks": b"12345678", "attempts": b"1234"}).to_bytes()
    assert ALONE["SchedulerToWorker"].decode(data) == Assign(b"12345678", b"1234", b"", [], b"", Inputs())


def test_a_longer_struct_of_a_newer_peer_is_read_as_far_as_known(tmp_path: Path) -> None:
    fields = ("functions", "p", "timeouts", "i", "e", "sequences", "contexts", "extra")
    more = " ".join(f"{name} @{i + 2} :Data;" for i, name in enumerate(fields))
    other = versions(tmp_path, f"struct Assign {{ tasks @0 :Data; attempts @1 :Data; {more} count @10 :UInt64; }}")
    data = other.new_message(assign={"tasks": b"1", "extra": b"unknown", "count": 5}).to_bytes()
    assert ALONE["SchedulerToWorker"].decode(data) == Assign(b"1", b"", b"", [], b"", Inputs())


def test_a_list_of_longer_and_shorter_structs(tmp_path: Path) -> None:
    kind = versions(tmp_path, "struct Assign {}").schema.node.struct
    assert kind.discriminantCount == 7
    other = capnp.load(str(tmp_path / "other.capnp"))
    entries = [{"number": 1, "serializer": "s", "more": 2}, {"number": 3, "evenMore": 4}]
    data = bytearray(other.Other.new_message(define={"functions": entries, "extra": 9}).to_bytes())
    place = data.index(struct.pack("<H", 6), 16)
    data[place] = 2  # the number of `define` in the schema itself
    read = ALONE["SchedulerToWorker"].decode(bytes(data))
    assert read == messages.DefineForWorker([Function(1, "s"), Function(3, "")])


# ---- damage: the same message as the library reads, or refused by both

SAMPLES = [
    ("SchedulerToClient", Results(b"12345678", b"", b"\1", [b"payload", b"", b"x"], bytes(8), bytes(8), bytes(8))),
    ("SchedulerToWorker", messages.DefineForWorker([Function(1, "s", b"c", b"", "näme", b"o"), Function(2, "t")])),
    ("ClientToScheduler", Submit(bytes(8), bytes(4), [b"p"], [TaskOptions(["gpu", "x"], -1), TaskOptions(retries=1)])),
    ("SchedulerToWorker", Assign(bytes(8), bytes(4), bytes(4), [b"p"], b"", Inputs(b"1234", b"1", [b"input"]))),
    (
        "SchedulerToMonitor",
        Update(True, 1, TaskCounts(1, 2), [], [b"a"], [messages.ClientFacts(b"i", "n", True, 1)], []),
    ),
    ("WorkerToScheduler", messages.WorkerHeartbeat(1, 2.5, 3, 4)),
    ("FromStorage", messages.StorageFailure(1, 2, "text")),
]


def refuses_alike(union: str, data: bytes) -> None:
    assert said(codec(FILE_OF[union], union).decode, data) == said(LIBRARY[union].decode, data)


@pytest.mark.parametrize(("union", "message"), SAMPLES)
def test_every_byte_changed(union: str, message: Any) -> None:
    encoded = ALONE[union].encode(message)
    for place in range(len(encoded)):
        for flipped in (0x01, 0x04, 0x80, 0xFF):
            damaged = bytearray(encoded)
            damaged[place] ^= flipped
            refuses_alike(union, bytes(damaged))


@pytest.mark.parametrize(("union", "message"), SAMPLES)
def test_every_length(union: str, message: Any) -> None:
    encoded = ALONE[union].encode(message)
    for length in range(len(encoded) + 1):
        refuses_alike(union, encoded[:length])
        segment = encoded[8:length]
        refuses_alike(union, struct.pack("<II", 0, len(segment) // 8) + segment)
    refuses_alike(union, encoded + bytes(8))


pointers = st.builds(
    lambda kind, offset, low, high: struct.pack("<II", (offset << 2 | kind) & 0xFFFFFFFF, (high << 16 | low)),
    st.integers(0, 3),
    st.integers(-12, 12) | st.sampled_from([-(1 << 29), (1 << 29) - 1]),
    st.integers(0, 40) | st.integers(0, 0xFFFF),
    st.integers(0, 8) | st.integers(0, 0xFFFF),
)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_damage(sample: tuple[str, Any], data: st.DataObject) -> None:
    union, message = sample
    encoded = bytearray(ALONE[union].encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        if data.draw(st.booleans()):
            word = 8 * data.draw(st.integers(1, len(encoded) // 8 - 1))
            encoded[word : word + 8] = data.draw(pointers)
        else:
            encoded[data.draw(st.integers(8, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    refuses_alike(union, bytes(encoded))


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(sorted(LIBRARY)), st.lists(pointers | st.binary(min_size=8, max_size=8), max_size=20))
def test_any_words(union: str, words: list[bytes]) -> None:
    refuses_alike(union, struct.pack("<II", 0, len(words)) + b"".join(words))


def test_words_that_are_read_twice_are_counted_by_the_library() -> None:
    """Two columns of one place: allowed, and bounded by the limit of the specification."""
    encoded = bytearray(ALONE["WorkerToScheduler"].encode(messages.Started(b"a" * 80, b"b" * 8)))
    upper = struct.pack("<I", 80 << 3 | 2)
    first = encoded.index(upper) - 4
    offset = struct.unpack_from("<I", encoded, first)[0]
    encoded[first + 8 : first + 16] = struct.pack("<I", offset - (1 << 2)) + upper
    with pytest.raises(AssertionError, match="asked to read"):
        ALONE["WorkerToScheduler"].decode(bytes(encoded))
    assert codec("worker", "WorkerToScheduler").decode(bytes(encoded)) == messages.Started(b"a" * 80, b"a" * 80)


def test_structs_of_no_size_are_not_many() -> None:
    encoded = bytearray(ALONE["SchedulerToWorker"].encode(messages.DefineForWorker([Function(1, "s")])))
    tag = encoded.index(struct.pack("<IHH", 1 << 2, 1, 5))
    struct.pack_into("<IHH", encoded, tag, (1 << 28) << 2, 0, 0)
    with pytest.raises(AssertionError, match="asked to read"):
        ALONE["SchedulerToWorker"].decode(bytes(encoded))
    with pytest.raises(ProtocolError):
        codec("worker", "SchedulerToWorker").decode(bytes(encoded))


def test_only_bytes_are_read() -> None:
    with pytest.raises(TypeError):
        codec("worker", "SchedulerToWorker").decode(bytearray(16))  # type: ignore[arg-type]


def test_a_type_that_no_plan_knows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "more.capnp"
    path.write_text(
        f"@{new_schema_id()};\nstruct Drain {{ numbers @0 :List(UInt32); }}\nstruct Retract {{ a @0 :UInt8 = 3; }}"
    )
    loaded = capnp.load(str(path))
    with pytest.raises(KeyError, match="list of uint32"):
        codecs._plan(loaded.Drain.schema)
    with pytest.raises(KeyError, match="defaults"):
        codecs._plan(loaded.Retract.schema)


def many_structs(count: int) -> bytes:
    """DefineFunctions of so many functions of one word each."""
    words = [
        1 << 48 | 1 << 32,  # the union: a word of data, one pointer
        1,  # its arm define
        1 << 48,  # the struct, with the list's pointer
        1 | 7 << 32 | count << 35,
        count << 2 | 1 << 32,
        *[0] * count,
    ]
    return struct.pack(f"<II{len(words)}Q", 0, len(words), *words)


def test_so_many_structs_may_be_in_a_list() -> None:
    """A word of a message would become a hundred bytes."""
    for codec_ in (codec("client", "ClientToScheduler"), LIBRARY["ClientToScheduler"]):
        read = codec_.decode(many_structs(1000))
        assert isinstance(read, messages.DefineFunctions) and len(read.functions) == 1000
        with pytest.raises(ProtocolError, match="longer than the limit"):
            codec_.decode(many_structs(framing.MAX_STRUCTS + 1))
