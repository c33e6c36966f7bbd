"""Messages to bytes and back, held to the schemas."""

from __future__ import annotations

import inspect
import struct
from array import array
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler import messages
from scaler.errors import ProtocolError
from scaler.messages import ClearTasks, Failure, Function, Inputs, Results, TaskOptions, Update
from scaler.wire import schema
from scaler.wire.codec import StructCodec, UnionCodec, codec, snake, struct_codec

from .random_messages import ARMS, CLASSES, FILES, NESTED, STRUCTS, UNIONS, arms, default, values


def test_each_struct_has_its_class_and_each_class_its_struct() -> None:
    assert STRUCTS.keys() == CLASSES.keys()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_fields_are_the_same_in_the_same_order(name: str) -> None:
    assert [f.name for f in fields(CLASSES[name])] == [snake(str(f.name)) for f in STRUCTS[name].node.struct.fields]


@pytest.mark.parametrize(
    "name", sorted(n for n, c in vars(messages).items() if inspect.isclass(c) and issubclass(c, int))
)
def test_enumerations_are_the_same(name: str) -> None:
    if name == "IntEnum":
        return
    (found,) = [e for e in (getattr(schema.load(file), name, None) for file in FILES) if e is not None]
    assert {snake(k): v for k, v in found.schema.enumerants.items()} == {m.name: m.value for m in vars(messages)[name]}


def test_every_message_can_be_said_somewhere() -> None:
    assert {kind.__name__ for _, kind in ARMS} == CLASSES.keys() - NESTED


def test_snake() -> None:
    assert snake("wallMicroseconds") == "wall_microseconds" and snake("pid") == "pid"


@arms
def test_defaults_come_back(union: UnionCodec, kind: type) -> None:
    message = default(kind.__name__)
    assert union.decode(union.encode(message)) == message


@arms
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_values_come_back(union: UnionCodec, kind: type, data: st.DataObject) -> None:
    message = data.draw(values(kind.__name__))
    encoded = union.encode(message)
    assert len(encoded) % 8 == 0
    assert union.decode(encoded) == message


@given(values("Failure"))
def test_a_struct_of_its_own_comes_back(failure: Failure) -> None:
    alone = struct_codec("task", "Failure")
    assert alone.decode(alone.encode(failure)) == failure


def test_columns_are_written_from_arrays_and_read_as_bytes() -> None:
    ids = array("Q", [1, 2**40])
    union = codec("worker", "WorkerToScheduler")
    message = Results(ids, array("I", [1, 2]), b"\1\1", [b"", b"x"], ids, ids, ids)
    read = union.decode(union.encode(message))
    assert isinstance(read, Results)
    assert read.tasks == ids.tobytes() and read.attempts == struct.pack("<II", 1, 2) and read.payloads == [b"", b"x"]


# ---- what must not be read or said


@pytest.mark.parametrize(
    ("file", "there", "back"),
    [
        ("client", "ClientToScheduler", "SchedulerToClient"),
        ("worker", "WorkerToScheduler", "SchedulerToWorker"),
        ("manager", "ManagerToScheduler", "SchedulerToManager"),
        ("monitor", "MonitorToScheduler", "SchedulerToMonitor"),
        ("executor", "WorkerToExecutor", "ExecutorToWorker"),
    ],
)
def test_the_other_direction_is_refused(file: str, there: str, back: str) -> None:
    for one, other in ((codec(file, there), codec(file, back)), (codec(file, back), codec(file, there))):
        for kind in one.vocabulary - other.vocabulary:
            with pytest.raises(ProtocolError, match=f"{kind.__name__} cannot be said in {other.name}"):
                other.encode(default(kind.__name__))


def test_an_arm_that_is_not_there_is_refused() -> None:
    """What a newer peer may say: a number of the union that this side does not know."""
    union = codec("client", "ClientToScheduler")
    encoded = bytearray(union.encode(ClearTasks()))
    place = encoded.index(struct.pack("<H", 5), 16)
    encoded[place : place + 2] = struct.pack("<H", 999)
    with pytest.raises(ProtocolError):
        union.decode(bytes(encoded))


@pytest.mark.parametrize(("file", "union"), UNIONS)
def test_unspecified_is_no_message(file: str, union: str) -> None:
    empty = getattr(schema.load(file), union).new_message()
    with pytest.raises(ProtocolError, match="unspecified"):
        codec(file, union).decode(empty.to_bytes())


READERS: list[UnionCodec | StructCodec] = [*(codec(*union) for union in UNIONS), struct_codec("task", "Failure")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(READERS), st.binary(max_size=200))
def test_garbage_raises_protocol_error_only(reader: UnionCodec | StructCodec, data: bytes) -> None:
    try:
        reader.decode(data)
    except ProtocolError as error:
        assert str(error)


SAMPLES = [
    (
        codec("client", "SchedulerToClient"),
        Results(b"12345678", b"", b"\1", [b"payload"], bytes(8), bytes(8), bytes(8)),
    ),
    (codec("worker", "SchedulerToWorker"), messages.DefineForWorker([Function(1, "s", b"c", b"", "näme", b"o")])),
    (codec("client", "ClientToScheduler"), messages.Submit(bytes(8), bytes(4), [b"p"], [TaskOptions(["gpu"], 1)])),
    (codec("worker", "SchedulerToWorker"), messages.Assign(bytes(8), bytes(4), bytes(4), [b"p"], b"", Inputs(b"1234"))),
    (codec("monitor", "SchedulerToMonitor"), Update(True, 1, messages.TaskCounts(), [], [b"a"], [], [])),
]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_damage_raises_protocol_error_only(sample: tuple[UnionCodec, Any], data: st.DataObject) -> None:
    union, message = sample
    encoded = bytearray(union.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(0, len(encoded)))
    try:
        union.decode(bytes(encoded[:keep]))
        union.decode(bytes(encoded))
    except ProtocolError as error:
        assert str(error)


def test_a_small_frame_cannot_be_read_as_a_huge_message() -> None:
    """All pointers of a list to one long text: 7 KB of frame that would be read as 700 KB."""
    union = codec("worker", "WorkerToScheduler")
    count, length = 300, 2400 - 1
    encoded = bytearray(union.encode(messages.RegisterWorker(1, 1, ["a" * length] + ["b"] * (count - 1))))
    text = encoded.index(b"aaaaaaaa")
    first = next(
        at
        for at in range(0, text, 8)
        if encoded[at] & 3 == 1 and at + 8 + 8 * (struct.unpack_from("<i", encoded, at)[0] >> 2) == text
    )
    words = struct.unpack_from("<I", encoded, first + 4)[0]
    for i in range(count):
        at = first + 8 * i
        struct.pack_into("<iI", encoded, at, (text - at - 8) // 8 << 2 | 1, words)
    with pytest.raises(ProtocolError, match="limit"):
        union.decode(bytes(encoded))
