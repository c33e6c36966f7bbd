from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from scaler import serialization
from scaler.errors import ProtocolError, SerializationError
from scaler.serialization import (
    Call,
    DefaultSerializer,
    Input,
    evaluate,
    name_of,
    read,
    read_failure,
    read_function,
    write,
    write_failure,
    write_function,
)

S = DefaultSerializer()


class Holder:
    def __init__(self) -> None:
        self.fine = 1
        self.lock = threading.Lock()


class Custom:
    @staticmethod
    def serialize(obj: Any) -> bytes:
        return b"custom" + DefaultSerializer.serialize(obj)

    @staticmethod
    def deserialize(data: bytes) -> Any:
        return DefaultSerializer.deserialize(data.removeprefix(b"custom"))


class Unreadable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), r"argument 1 \(a _thread.lock\)"),
        ({"fine": 1, "lock": threading.Lock()}, r"argument 1\['lock'\] \(a _thread.lock\)"),
        ([1, (2, {"k": threading.Lock()})], r"argument 1\[1\]\[1\]\['k'\] \(a _thread.lock\)"),
        (Holder(), r"argument 1\.lock \(a _thread.lock\)"),
    ],
    ids=str,
)
def test_the_offending_part_is_named(value: Any, path: str) -> None:
    with pytest.raises(SerializationError, match=f"^{path} cannot be serialized: TypeError: "):
        write(S, value, "argument 1")


def test_the_offending_variable_of_a_closure_is_named() -> None:
    lock, fine = threading.Lock(), 1

    def work() -> Any:
        return lock, fine

    with pytest.raises(SerializationError, match=r"\(variable 'lock' of its closure\) \(a _thread.lock\)"):
        write_function(S, work)


def test_functions_of_main_and_lambdas_are_written_by_value() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def work(x): return x + 1", space)
    for function in (space["work"], lambda x: x + 1):
        tag, content = write_function(S, function)
        assert read_function(tag, b"".join(content), "f")[1](1) == 2


def test_code_keeps_the_name_of_its_file() -> None:
    """Or tracebacks and profiles of tasks show no lines."""
    function = DefaultSerializer.deserialize(DefaultSerializer.serialize(lambda: [lambda: 1]))
    assert function.__code__.co_filename == __file__
    assert function()[0].__code__.co_filename == __file__


def test_a_custom_serializer_travels_with_the_function() -> None:
    tag, content = write_function(Custom(), len)
    serializer, function = read_function(tag, b"".join(content), "len")
    assert tag == "custom" and function is len and serializer.serialize(1).startswith(b"custom")


def test_what_cannot_be_read() -> None:
    with pytest.raises(SerializationError, match="the result cannot be deserialized"):
        read(S, b"garbage", "the result")
    with pytest.raises(SerializationError, match="written by 'java'"):
        read_function("java", b"", "f")
    with pytest.raises(ProtocolError):
        read_failure(b"garbage!")


@pytest.mark.parametrize("error", [Unreadable(1, 2), ValueError(threading.Lock())], ids=["read", "written"])
def test_a_failure_that_does_not_pickle_keeps_its_text(error: Exception) -> None:
    failure = read_failure(write_failure(S, error))
    assert failure.exception == b"" and failure.message == str(error)
    assert failure.type_name.endswith(type(error).__name__)


def test_a_failure_that_does_comes_back_as_itself() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        failure = read_failure(write_failure(S, error))
    back = S.deserialize(failure.exception)
    assert isinstance(back, KeyError) and back.args == ("k",) and "raise KeyError" in failure.traceback
    assert failure.type_name == "builtins.KeyError"


def test_templates() -> None:
    template = [1, Input(1), [Input(0), Call(max, [Input(0), Call(len, [[1, 2, Input(0)]])])], (Input,)]
    for one in (template, S.deserialize(S.serialize(template))):
        assert evaluate(one, [2, "b"]) == [1, "b", [2, 3], (Input,)]
    assert evaluate(Call(Input(0), [[3, 4]]), [sum]) == 7


def test_names() -> None:
    from functools import partial

    assert (name_of(len), name_of(partial(len)), name_of(Holder)) == ("len", "len", "Holder")
    assert name_of(Custom()) == "Custom" and serialization.PROTOCOL == 5


class OfMain:
    """Looks as if the script that runs had defined it."""


OfMain.__module__ = "__main__"


@pytest.mark.parametrize("between", [lambda: 1, OfMain()], ids=["lambda", "main"])
def test_large_arrays_around_what_pickle_cannot_write(between: object) -> None:
    arrays = [np.full(20_000, n) for n in range(3)]
    parts = S.serialize_parts([arrays[0], between, arrays[1], arrays[2]])
    found = S.deserialize(b"".join(parts))
    assert all(map(np.array_equal, [found[0], *found[2:]], arrays))
    assert sum(memoryview(part).nbytes for part in parts) < 4 * arrays[0].nbytes
