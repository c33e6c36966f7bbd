"""Objects that many calls take, references anywhere, serializers of one's own: against a real local cluster."""

import ctypes
import dataclasses
import functools
import json
import os
import tempfile
import threading
import zlib
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from scaler import Client, ObjectReference, SerializationError
from scaler.errors import LargeFunctionWarning, ObjectLostError
from scaler.storage.mapping import PAGE, address_of
from scaler.worker import executor

pytestmark = pytest.mark.integration

LARGE = 300_000


class Array:
    """Large, can be weakly referenced, and counts how often it is serialized."""

    def __init__(self):
        self.values = list(range(LARGE))
        self.written = 0

    def __getstate__(self):
        self.written += 1
        return self.__dict__


def first_and_change(array):
    before = array.values[0]
    array.values[0] = -1
    return before


def grow(values):
    values.append(0)
    return len(values)


def same(a, b):
    return a is b


def size(*args, **kwargs):
    return sum(len(argument) for argument in (*args, *kwargs.values()))


def fail_with_large(data):
    raise LookupError(len(data))


def put_objects(client):
    return len(client._service.objects.uses)


def until_freed(client):
    """The client's thread has done what it was told before."""
    done = threading.Event()
    client._service.soon(done.set)
    assert done.wait(10)


class TestShared:
    def test_serialized_once_by_submit_and_map(self, client):
        array = Array()
        assert [client.submit(first_and_change, array).result(20) for _ in range(3)] == [0, 0, 0]
        assert client.map(first_and_change, [array] * 50) == [0] * 50
        assert client.submit_verbose(first_and_change, (), {"array": array}).result(20) == 0
        # Once to see that it is large, once by itself.
        assert array.written == 2

    def test_reserialize(self, client):
        array = Array()
        assert client.submit(first_and_change, array).result(20) == 0
        array.values[0] = 7
        assert client.submit(first_and_change, array).result(20) == 0
        assert client.submit_verbose(first_and_change, (array,), {}, reserialize=True).result(20) == 7
        array.values[0] = 8
        before = array.written
        assert client.map(first_and_change, [array] * 20, reserialize=True) == [8] * 20
        assert array.written == before + 1
        assert client.submit(first_and_change, array).result(20) == 8

    @pytest.mark.parametrize("make", [lambda: [1] * LARGE, lambda: set(range(LARGE))], ids=["strong", "weak"])
    def test_freed_with_clear(self, make):
        with Client(n_workers=1) as client:
            value = make()
            assert client.map(len, [value] * 3) == [len(value)] * 3
            client.clear()
            until_freed(client)
            assert put_objects(client) == 0
            assert client.submit(len, value).result(20) == len(value)

    def test_freed_when_it_dies(self):
        with Client(n_workers=1) as client:
            array = Array()
            assert client.submit(first_and_change, array).result(20) == 0
            assert put_objects(client) == 1
            del array
            until_freed(client)
            assert put_objects(client) == 0

    def test_a_task_that_waits_keeps_what_it_takes(self, client):
        futures = [client.submit(first_and_change, Array()) for _ in range(8)]
        assert [future.result(20) for future in futures] == [0] * 8

    def test_each_task_has_its_own(self, client):
        values = [1] * LARGE
        assert client.map(grow, [values] * 4) == [LARGE + 1] * 4

    def test_one_object_twice_in_a_call_is_one_object(self, client):
        values = [1] * LARGE
        assert client.submit(same, values, values).result(20)
        assert client.submit(same, values, b=values).result(20)

    def test_several_and_the_rest_large_too(self, client):
        a, b = b"a" * LARGE, b"b" * LARGE
        small = [b"c" * 60_000 for _ in range(4)]
        for _ in range(2):
            assert client.submit(size, a, *small, b=b).result(20) == 2 * LARGE + 240_000

    def test_a_failure_frees_too(self, client):
        client.clear()
        until_freed(client)
        with pytest.raises(LookupError):
            client.submit(fail_with_large, b"x" * LARGE).result(20)
        client.clear()
        until_freed(client)
        assert put_objects(client) == 0


class Carried:
    """Large, and counts where it was loaded: one file for each process and time."""

    def __init__(self, directory, size):
        self.directory = directory
        self.content = bytes(size)

    def __setstate__(self, state):
        self.__dict__ = state
        handle, _ = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=self.directory)
        os.close(handle)


def size_and_index(carried, index):
    return len(carried.content) + index


def with_default(data=bytes(20 << 20)):
    return len(data)


class TestLargeFunctions:
    def test_a_partial_is_loaded_once_per_executor(self, client, tmp_path):
        function = functools.partial(size_and_index, Carried(str(tmp_path), 50_000_000))
        with pytest.warns(
            LargeFunctionWarning, match=r"size_and_index takes 48 MB.*argument 1 of the partial is 48 MB"
        ):
            assert client.map(function, range(1000)) == [50_000_000 + i for i in range(1000)]
        assert client.map(function, range(10)) == [50_000_000 + i for i in range(10)]
        loads = [path.name.split("-")[0] for path in tmp_path.iterdir()]
        assert len(loads) == len(set(loads)) <= 2

    def test_closure_default_and_method_are_named_once(self, client):
        table = bytes(20 << 20)

        def look_up(index):
            return table[index]

        with pytest.warns(LargeFunctionWarning, match="look_up takes 20 MB.*variable 'table' of its closure") as seen:
            assert client.submit(look_up, 3).result(20) == 0
            assert client.submit_verbose(look_up, (3,), {}, reserialize=True).result(20) == 0
        assert len(seen) == 1
        assert seen[0].filename == __file__
        by_value = cloudpickle.loads(cloudpickle.dumps(lambda data=table, *, other=1: len(data)))
        with pytest.warns(LargeFunctionWarning, match="the default of 'data' is 20 MB"):
            assert client.submit(by_value).result(20) == 20 << 20
        with pytest.warns(LargeFunctionWarning, match="the object of the method, a bytes, is 20 MB"):
            assert client.submit(table.count, b"x").result(20) == 0

    def test_what_is_found_by_its_name_is_not_large(self, client):
        assert client.submit(with_default).result(20) == 20 << 20


@dataclasses.dataclass
class Holder:
    content: object


def unwrap(value, *, more=None):
    """The sum of whatever holds the list."""
    while not isinstance(value, list) or not isinstance(value[0], int):
        value = (
            value.content
            if isinstance(value, Holder)
            else next(iter(value.values() if isinstance(value, dict) else value))
        )
    return sum(value) + (sum(more["k"]) if more else 0)


class TestReferences:
    @pytest.mark.parametrize(
        "wrap",
        [lambda r: r, lambda r: [r], lambda r: (r,), lambda r: {"a": [r]}, Holder, lambda r: [{"b": (Holder(r),)}]],
        ids=["itself", "list", "tuple", "dict", "dataclass", "deep"],
    )
    def test_anywhere_in_arguments(self, client, wrap):
        reference = client.send_object([1, 2, 3], name="three")
        assert client.submit(unwrap, wrap(reference), more={"k": reference}).result(20) == 12
        assert client.map(unwrap, [wrap(reference)] * 3) == [6, 6, 6]
        assert client.get({"x": (unwrap, wrap(reference))}, ["x"]) == {"x": 6}

    def test_in_functions(self, client):
        reference = client.send_object([1, 2, 3])
        assert client.submit(functools.partial(unwrap, reference)).result(20) == 6

    def test_of_a_client_that_left(self, client):
        with Client(client.address) as other:
            reference = other.send_object([1], name="three")
            assert isinstance(reference, ObjectReference)
        with pytest.raises(ObjectLostError, match=r"^object three is gone"):
            client.submit(unwrap, reference).result(20)


class Compressing:
    """All methods static."""

    @staticmethod
    def serialize(obj):
        return zlib.compress(cloudpickle.dumps(obj), 1)

    @staticmethod
    def deserialize(data):
        return cloudpickle.loads(zlib.decompress(data))


class Json:
    """What JSON knows as JSON, the rest pickled; an instance with a setting."""

    def __init__(self, indent):
        self.indent = indent

    def serialize(self, obj):
        try:
            return b"j" + json.dumps(obj, indent=self.indent).encode()
        except TypeError:
            return b"p" + cloudpickle.dumps(obj)

    def deserialize(self, data):
        data = bytes(data)
        return json.loads(data[1:]) if data[:1] == b"j" else cloudpickle.loads(data[1:])


def total(values):
    return sum(values)


def add(a, b):
    return a + b


@pytest.fixture(scope="module", params=[Compressing, Compressing(), Json(2)], ids=["static", "zlib", "json"])
def custom(request, client):
    with Client(client.address, serializer=request.param) as other:
        yield other


class Broken:
    """Arguments and results that cannot be read: which, it is told."""

    def __init__(self, unreadable):
        self.unreadable = unreadable

    def serialize(self, obj):
        return cloudpickle.dumps((type(obj).__name__, obj))

    def deserialize(self, data):
        kind, obj = cloudpickle.loads(data)
        if kind == self.unreadable:
            raise RuntimeError("no such codec")
        return obj


class TestSerializers:
    @pytest.mark.parametrize(
        ("unreadable", "named"), [("tuple", "arguments of add"), ("int", "result"), ("function", "function add")]
    )
    def test_what_cannot_be_read_ends_the_call(self, client, unreadable, named):
        with Client(client.address, serializer=Broken(unreadable)) as other:
            with pytest.raises(SerializationError, match=f"{named}.*cannot be deserialized.*no such codec"):
                other.submit(add, 1, 2).result(20)
            with pytest.raises(SerializationError, match=f"{named}.*cannot be deserialized.*no such codec"):
                other.map(add, [1], [2])

    def test_calls_maps_and_graphs(self, custom):
        values = [os.urandom(1)[0] for _ in range(200_000)]
        reference = custom.send_object(values)
        expected = sum(values)
        assert custom.submit(total, values).result(20) == expected
        assert custom.submit(total, values=values).result(20) == expected
        assert custom.submit(total, reference).result(20) == expected
        assert custom.submit(unwrap, [{"k": reference}]).result(20) == expected
        assert custom.map(total, [values] * 3) == [expected] * 3
        assert custom.map(add, range(1000), range(1000)) == [2 * i for i in range(1000)]
        assert custom.get({"a": 1, "b": (add, "a", 2), "c": (add, "b", "b")}, ["b", "c"]) == {"b": 3, "c": 6}
        assert custom.submit(list, range(200_000)).result(20) == list(range(200_000))
        assert custom.fetch_object(reference) == values

    def test_an_exception_arrives_as_itself(self, custom):
        with pytest.raises(LookupError, match="3"):
            custom.submit(fail_with_large, b"abc").result(20)


def test_equal_arrays_are_stored_once(client):
    arrays = [np.full(1_000_000, 7.0) for _ in range(3)]
    other = np.full(1_000_000, 7.0)
    other[123_456] = 8.0
    service = client._service
    before = service.objects._client().statistics().bytes
    references = [client.send_object(array) for array in (*arrays, other)]
    stored = service.objects._client().statistics().bytes - before
    assert 16_000_000 <= stored < 17_000_000, "the three are one"
    assert client.map(np.sum, references) == [7_000_000.0] * 3 + [7_000_001.0]
    for reference in references[:2]:
        client.free_object(reference)
    assert client.submit(np.sum, references[2]).result() == 7_000_000.0


class TestBytes:
    """They lie in an executor where they were put, without a copy, as long as anything of the task has them."""

    def test_are_where_they_were_put_until_the_task_has_ended(self, client):
        content = os.urandom(LARGE)
        assert "memfd:scaler-" in client.submit(file_at, content).result(20)
        assert client.submit(lent).result(20) == 0
        assert client.submit(bytes, content).result(20) == content

    def test_that_a_task_keeps_stay_whatever_is_put_later(self):
        with Client(n_workers=1) as client:
            content = os.urandom(LARGE)
            assert client.submit(keep, content).result(20) == 1
            others = [os.urandom(LARGE) for _ in range(20)]
            assert client.map(len, others) == [LARGE] * 20
            assert client.submit(kept).result(20) == content
            assert client.submit(lent).result(20) == 1

    @pytest.mark.parametrize("size", [LARGE, LARGE // PAGE * PAGE])
    def test_that_go_through_a_graph_are_the_same_everywhere(self, client, size):
        graph = {
            "a": (os.urandom, "size"),
            "size": size,
            "b": (unchanged, "a"),
            "c": (unchanged, "b"),
            "d": (pair, "a", "c"),
        }
        found = client.get(graph, ["a", "b", "d"])
        assert len(found["a"]) == size and found["a"] == found["b"] and found["d"] == (found["a"], found["a"], 0)


def unchanged(data):
    return data


def pair(a, b):
    return a, b, ctypes.string_at(address_of(b) + len(b), 1)[0]


def file_at(data):
    """The line that tells what the memory is in which a buffer lies."""
    address = address_of(data)
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if begin <= address < end:
            return line
    return ""


def lent():
    return len(executor._lent)


def keep(data):
    executor.kept = data
    return len(executor._lent)


def kept():
    return executor.kept
