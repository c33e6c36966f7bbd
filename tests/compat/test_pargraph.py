"""pargraph as its registry serves it, with the programs that its documentation shows, on our cluster."""

import numpy
import pytest
from pargraph import GraphEngine, delayed, graph

from scaler.compat.executor import ScalerExecutor

pytestmark = pytest.mark.integration


@delayed
def filter_array(array: numpy.ndarray, low: float, high: float) -> numpy.ndarray:
    return array[(array >= low) & (array <= high)]


@delayed
def sort_array(array: numpy.ndarray) -> numpy.ndarray:
    return numpy.sort(array)


@delayed
def reduce_arrays(*arrays: numpy.ndarray) -> numpy.ndarray:
    return numpy.concatenate(arrays)


@graph
def map_reduce_sort(array: numpy.ndarray, partition_count: int) -> numpy.ndarray:
    return reduce_arrays(
        *(
            sort_array(filter_array(array, i / partition_count, (i + 1) / partition_count))
            for i in range(partition_count)
        )
    )


@graph
def map_reduce_sort_recursive(
    array: numpy.ndarray, partition_counts: list[int], _low: float = 0, _high: float = 1
) -> numpy.ndarray:
    if not partition_counts:
        return sort_array(array)
    count, *rest = partition_counts
    parts = []
    for i in range(count):
        low = _low + (_high - _low) * (i / count)
        high = _low + (_high - _low) * ((i + 1) / count)
        parts.append(map_reduce_sort_recursive(filter_array(array, low, high), rest, low, high))
    return reduce_arrays(*parts)


def inc(i):
    return i + 1


def add(a, b):
    return a + b


def fail(i):
    raise LookupError(f"no {i}")


GRAPH = {"x": 1, "y": (inc, "x"), "z": (add, "y", 10)}


@pytest.fixture(params=["client", "executor"])
def engine(request, client):
    """Its engine over a client, and over an executor: it takes whatever has submit()."""
    if request.param == "client":
        yield GraphEngine(client)
    else:
        with ScalerExecutor(client) as executor:
            yield GraphEngine(executor)


@pytest.fixture
def array():
    return numpy.random.default_rng(7).random(200)


class TestEngine:
    def test_one_key_and_several(self, engine):
        assert engine.get(GRAPH, "z") == 12
        assert engine.get(GRAPH, ["x", "y", "z"]) == [1, 2, 12]

    def test_a_failure(self, engine):
        with pytest.raises(LookupError, match="no 1"):
            engine.get({"x": 1, "y": (fail, "x"), "z": (add, "y", 10)}, "z")

    def test_a_graph_function(self, engine, array):
        [result] = engine.get(*map_reduce_sort.to_graph(partition_count=4).to_dict(array=array))
        assert numpy.array_equal(result, numpy.sort(array))


class TestGraphs:
    """Its graphs on our client's own graph scheduler."""

    def test_the_dict_of_its_documentation(self, client):
        assert client.get(GRAPH, ["x", "y", "z"]) == {"x": 1, "y": 2, "z": 12}

    def test_map_reduce(self, client, array):
        tasks, keys = map_reduce_sort.to_graph(partition_count=4).to_dict(array=array)
        assert numpy.array_equal(client.get(tasks, keys)[keys[0]], numpy.sort(array))

    def test_recursive(self, client, array):
        tasks, keys = map_reduce_sort_recursive.to_graph(partition_counts=[2, 3]).to_dict(array=array)
        assert numpy.array_equal(client.get(tasks, keys)[keys[0]], numpy.sort(array))
