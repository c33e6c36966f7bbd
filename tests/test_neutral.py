from __future__ import annotations

import builtins
import json
import math
import struct
import threading
from datetime import UTC, datetime
from typing import Any

import msgpack
import numpy as np
import pytest

from scaler import serialization
from scaler.errors import ExtraMissingError, FunctionNotFoundError, ObjectMissingError, SerializationError
from scaler.named import AllowedFunctions, NamedFunction
from scaler.neutral import JsonSerializer, MessagePackSerializer, NeutralSerializer, neutral
from scaler.serialization import read_failure, read_function, write, write_failure, write_function, write_parts

BOTH = pytest.mark.parametrize("serializer", [MessagePackSerializer(), JsonSerializer()], ids=lambda s: s.tag)
ARRAYS = [
    np.arange(6, dtype="<f8").reshape(2, 3),
    np.arange(6, dtype=">i4").reshape(3, 2).T,
    np.array(3.5, dtype="<f4"),
    np.zeros((0, 4), dtype="<u2"),
    np.array([True, False]),
    np.array([1 + 2j], dtype="<c16"),
    np.array(["2026-11-24", "NaT"], dtype="<M8[D]"),
    np.array(["ä", "bcd"]),
]


def no_objects(name: bytes) -> bytes:
    raise ObjectMissingError("gone", name)


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1, 2**63, 1.5, math.inf, -math.inf, "", "ä\U0001f600", b"", b"\0\xff"),
        *([1, [2]], {"a": {"b": [None]}}, {"$bytes": "x"}, {"$plain": {"$array": 1}}, {"$": 1, "b": 2}),
    ],
    ids=repr,
)
def test_values_come_back(serializer: NeutralSerializer, value: Any) -> None:
    assert serializer.deserialize(serializer.serialize(value)) == value


@BOTH
def test_what_comes_back_as_something_alike(serializer: NeutralSerializer) -> None:
    written = serializer.serialize([(1, 2), bytearray(b"x"), np.float64(0.5), np.int64(7), np.bool_(True)])
    assert serializer.deserialize(written) == [[1, 2], b"x", 0.5, 7, True]
    assert math.isnan(serializer.deserialize(serializer.serialize(math.nan)))


@BOTH
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_arrays_come_back_little_endian_and_can_be_changed(serializer: NeutralSerializer, array: Any) -> None:
    for written in (serializer.serialize({"a": [array]}), b"".join(write_parts(serializer, array, "it"))):
        found = serializer.deserialize(written)
        found = found["a"][0] if isinstance(found, dict) else found
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("<")
        found[...] = found


def test_the_bytes_are_those_of_the_specification() -> None:
    array = np.array([[1, 2, 3]], dtype="<i2")
    data = b"\x03<i2" + b"\x02" + struct.pack("<QQ", 1, 3) + struct.pack("<3h", 1, 2, 3)
    assert MessagePackSerializer().serialize(array) == msgpack.packb(msgpack.ExtType(1, data))
    reference = msgpack.packb(msgpack.ExtType(3, bytes(range(16)) + struct.pack("<Q", 1000)))
    assert MessagePackSerializer().reference(bytes(range(16)), 1000) == reference
    written = json.loads(JsonSerializer().serialize([array, b"ab", math.nan, {"$x": 1}]))
    told = {"dtype": "<i2", "shape": [1, 3], "data": "AQACAAMA"}
    assert written == [{"$array": told}, {"$bytes": "YWI="}, {"$float": "nan"}, {"$plain": {"$x": 1}}]


def test_times_have_a_zone() -> None:
    serializer, now = MessagePackSerializer(), datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    assert serializer.deserialize(serializer.serialize(now)) == now


@BOTH
@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"fine": 1, "lock": threading.Lock()}, r"the result\['lock'\] \(a _thread.lock\)"),
        ([1, {2}], r"the result\[1\] \(a set\)"),
        (np.array([None]), r"the result \(a numpy.ndarray\) cannot be serialized: TypeError: an array of dtype object"),
        (np.ma.masked_array([1], [True]), r"the result \(a numpy.ma.*\)"),
        (datetime(2026, 11, 24), r"the result \(a datetime.datetime\)"),
        (1j, r"the result \(a complex\)"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_named(serializer: NeutralSerializer, value: Any, part: str) -> None:
    with pytest.raises(SerializationError, match=part):
        write(serializer, value, "the result")


def test_what_only_one_of_them_has() -> None:
    with pytest.raises(SerializationError, match=r"result\[0\] \(a int\) .* 64 bits"):
        write(MessagePackSerializer(), [2**64], "the result")
    assert JsonSerializer().deserialize(JsonSerializer().serialize(2**64)) == 2**64
    with pytest.raises(SerializationError, match="JSON has only texts as keys"):
        write(JsonSerializer(), {1: 2}, "the result")
    assert MessagePackSerializer().deserialize(MessagePackSerializer().serialize({1: 2})) == {1: 2}


# ---- arguments


def written(tag: str, value: Any) -> bytes:
    return json.dumps(value).encode() if tag == "json" else msgpack.packb(value)  # type: ignore[no-any-return]


def placeholder(tag: str, index: int) -> Any:
    return {"$input": index} if tag == "json" else msgpack.ExtType(2, struct.pack("<I", index))


def reference(tag: str, name: bytes) -> Any:
    return {"$object": name.hex()} if tag == "json" else msgpack.ExtType(3, name + bytes(8))


@BOTH
def test_inputs_and_objects_stand_anywhere_in_arguments(serializer: NeutralSerializer) -> None:
    tag, name = serializer.tag, bytes(range(16))
    content = written(tag, [1, {"x": placeholder(tag, 1)}])
    payload = written(tag, [[placeholder(tag, 0), {"deep": [reference(tag, name)]}], {"k": 2}])
    found = serializer.arguments(payload, ["zero", "one"], {name: content}.__getitem__, "the arguments of f")
    assert found == (["zero", {"deep": [[1, {"x": "one"}]]}], {"k": 2})
    # All of the arguments may be an object.
    other = b"o" * 16
    whole, stored = written(tag, reference(tag, other)), {name: content, other: payload}
    assert serializer.arguments(whole, ["zero", "one"], stored.__getitem__, "the arguments of f") == found
    with pytest.raises(SerializationError, match="input 1 of a task that has 1"):
        serializer.arguments(whole, ["zero"], stored.__getitem__, "the arguments of f")


@BOTH
@pytest.mark.parametrize("value", [None, 5, [], [[]], [[], {}, 1], [{}, []], [[], [1]], [1, {}]], ids=repr)
def test_arguments_have_one_form(serializer: NeutralSerializer, value: Any) -> None:
    with pytest.raises(SerializationError, match="the arguments of f have to be an array of two"):
        serializer.arguments(written(serializer.tag, value), [], no_objects, "the arguments of f")


@BOTH
@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x92\x90", b"[[]", b"\xff\xfe", b"[[NaN], {}]", b"[[],{}]\0"])
def test_other_bytes_are_refused(serializer: NeutralSerializer, payload: bytes) -> None:
    with pytest.raises(SerializationError, match="the arguments of f"):
        serializer.arguments(payload, [], no_objects, "the arguments of f")


@BOTH
def test_a_lost_object_is_told_as_itself(serializer: NeutralSerializer) -> None:
    payload = written(serializer.tag, [[reference(serializer.tag, b"x" * 16)], {}])
    with pytest.raises(ObjectMissingError):
        serializer.arguments(payload, [], no_objects, "the arguments of f")


@BOTH
def test_an_object_that_contains_itself_is_an_error(serializer: NeutralSerializer) -> None:
    payload = written(serializer.tag, [[reference(serializer.tag, b"x" * 16)], {}])
    with pytest.raises(SerializationError, match="the arguments of f cannot be read"):
        serializer.arguments(payload, [], lambda name: payload, "the arguments of f")


@BOTH
def test_results_contain_neither_inputs_nor_references(serializer: NeutralSerializer) -> None:
    for part in (placeholder(serializer.tag, 0), reference(serializer.tag, bytes(16))):
        with pytest.raises(SerializationError, match="the result cannot be deserialized"):
            serialization.read(serializer, written(serializer.tag, [part]), "the result")


@pytest.mark.parametrize(
    "told",
    [
        {"dtype": ">i2", "shape": [1], "data": "AQA="},
        {"dtype": "|O", "shape": [1], "data": "AQAAAAAAAAA="},
        {"dtype": "<i2", "shape": [2], "data": "AQA="},
        {"dtype": "<i2", "shape": [-1, -1], "data": "AQA="},
        {"dtype": "<i2", "shape": "1", "data": "AQA="},
        {"dtype": "<i2", "shape": [1], "data": "?"},
        {"shape": [1], "data": "AQA="},
        {"dtype": "<i2,<i2", "shape": [1], "data": "AQAAAA=="},
        {"dtype": "<i9", "shape": [1], "data": "AQA="},
    ],
    ids=str,
)
def test_arrays_that_are_none(told: Any) -> None:
    with pytest.raises(SerializationError):
        serialization.read(JsonSerializer(), json.dumps({"$array": told}).encode(), "the result")


@pytest.mark.parametrize("content", [b"", b"\x03<i2", b"\x03<i2\x02" + bytes(8), b"\x03<i2\x01" + bytes(8) + b"x"])
def test_extensions_that_are_no_arrays(content: bytes) -> None:
    for code in (1, 2, 3, 77):
        with pytest.raises(SerializationError):
            serialization.read(MessagePackSerializer(), msgpack.packb(msgpack.ExtType(code, content)), "the result")
        with pytest.raises(ValueError):
            MessagePackSerializer().deserialize(msgpack.packb(msgpack.ExtType(code, content)))


def test_what_is_nested_without_end_is_refused() -> None:
    for serializer, payload in ((MessagePackSerializer(), b"\x91" * 100_000), (JsonSerializer(), b"[" * 100_000)):
        with pytest.raises(ValueError):
            serializer.deserialize(payload)


# ---- functions and failures


@pytest.mark.parametrize("tag", ["msgpack", "json"])
def test_a_function_is_its_name(tag: str) -> None:
    assert write_function(serialization.DefaultSerializer(), NamedFunction("math:sqrt", tag)) == (tag, [b"math:sqrt"])
    serializer, function = read_function(tag, b"math:sqrt", "root", AllowedFunctions(["math:sqrt"]))
    assert (type(serializer), function) == (type(neutral(tag)), math.sqrt)
    with pytest.raises(FunctionNotFoundError, match="names no function"):
        read_function(tag, b"\xff", "root")


def test_a_pickled_function_stays_pickled_where_only_names_are_allowed() -> None:
    for tag in ("cloudpickle", "custom"):
        with pytest.raises(PermissionError, match="function f was sent as code"):
            read_function(tag, b"no pickle", "f", AllowedFunctions(["math:sqrt"]))


@pytest.mark.parametrize("serializer", [None, MessagePackSerializer(), JsonSerializer()])
def test_a_failure_is_texts(serializer: NeutralSerializer | None) -> None:
    failure = read_failure(write_failure(serializer, ValueError("no")))
    assert (failure.type_name, failure.message, failure.exception) == ("builtins.ValueError", "no", b"")
    assert failure.traceback.endswith("ValueError: no\n")
    assert failure.types[1] == "builtins.Exception"


def test_without_the_package_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "msgpack":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraMissingError, match="pip install msgpack"):
        read_function("msgpack", b"math:sqrt", "root")
    assert read_function("json", b"math:sqrt", "root")[1] is math.sqrt
