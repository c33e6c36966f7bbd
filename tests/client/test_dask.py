"""dask's task objects in graphs: what becomes of them, and what dask's collections compute on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from operator import add
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef, Tuple

from scaler import Client
from scaler.client.graph import plan
from scaler.errors import GraphError, MissingKeyError
from scaler.serialization import call


def compute(graph: dict[Any, Any], key: Any) -> Any:
    made = plan(graph, [key])
    results: list[Any] = []
    for node in made.nodes:
        inputs = [results[position] for position in node.dependencies]
        results.append(call(node.function, node.args, node.kwargs, inputs))
    return made.constants[key] if key in made.constants else results[made.places[key]]


def keyword(first: Any, *, second: Any = 0) -> Any:
    return first, second


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Task("k", add, TaskRef("one"), TaskRef("two")), 3),
        (Task("k", keyword, TaskRef("one"), second=TaskRef("two")), (1, 2)),
        (Task("k", keyword, 1, second=Task(None, add, TaskRef("one"), 5)), (1, 6)),
        (Task("k", keyword, "one", second=["two"]), ("one", ["two"])),
        (Task("k", sum, List(TaskRef("one"), TaskRef("two"), 3)), 6),
        (Task("k", keyword, Dict({"a": TaskRef("two")}), second=Tuple(TaskRef("one"), 0)), ({"a": 2}, (1, 0))),
        (Alias("k", "two"), 2),
        (DataNode("k", (add, 1, 2)), (add, 1, 2)),
        (DataNode("k", ["one"]), ["one"]),
        (List(TaskRef("one"), Alias("two")), [1, 2]),
        ((add, TaskRef("one"), "two"), 3),
    ],
)
def test_objects(value: Any, expected: Any) -> None:
    graph = {"k": value, "one": DataNode("one", 1), "two": Task("two", add, TaskRef("one"), 1)}
    assert compute(graph, "k") == expected


def test_a_reference_to_nothing_is_shown_with_its_path() -> None:
    graph = {"a": (abs, "b"), "b": Task("b", abs, TaskRef("nothing")), "other": 1}
    with pytest.raises(MissingKeyError, match="not in the graph: 'a' -> 'b' -> 'nothing'"):
        plan(graph, ["other", "a"])
    assert plan(graph, ["other"]).constants == {"other": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(n_workers=2, timeout_seconds=20) as client:
        yield client


def test_arrays(client: Client) -> None:
    x = da.arange(400, chunks=50).reshape(20, 20).rechunk(7)
    y = (x + x.T - x.mean(axis=0)) @ x
    np.testing.assert_array_equal(y.compute(scheduler=client.dask_get), y.compute(scheduler="sync"))


def test_bags(client: Client) -> None:
    bag = db.from_sequence(range(50), npartitions=4).map(lambda n: n % 3)
    assert dict(bag.frequencies().compute(scheduler=client.dask_get)) == {0: 17, 1: 17, 2: 16}


def test_dataframes(client: Client) -> None:
    frame = dd.from_pandas(pd.DataFrame({"k": [*"abcab"], "v": range(5)}), npartitions=2)
    assert frame.groupby("k").v.sum().compute(scheduler=client.dask_get).to_dict() == {"a": 3, "b": 5, "c": 2}


def test_delayed_and_several_at_once(client: Client) -> None:
    total = dask.delayed(sum)([dask.delayed(abs)(n) for n in range(-3, 0)])
    found = dask.compute(total, {"inside": [total + 1]}, da.ones(5, chunks=2).sum(), scheduler=client.dask_get)
    assert found == (6, {"inside": [7]}, 5.0)


def test_an_error_is_the_task_s(client: Client) -> None:
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        dask.delayed(add)(1, "2").compute(scheduler=client.dask_get)
    assert "in outcome" not in str(caught.value.__cause__)


def test_keys_in_nested_lists(client: Client) -> None:
    graph = {("x", 0): 1, ("x", 1): (add, ("x", 0), 10)}
    assert client.dask_get(graph, [[("x", 0)], [[("x", 1)], ("x", 0)], []]) == [[1], [[11], 1], []]
    assert client.dask_get(graph, ("x", 1), num_workers=4, pool=None) == 11
    with pytest.raises(GraphError, match="not a int"):
        client.dask_get(5, "x")
