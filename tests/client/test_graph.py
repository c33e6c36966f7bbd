"""Graphs in dask's form: what is to be run for the keys asked for."""

from __future__ import annotations

from operator import add
from typing import Any

import pytest

from scaler.client.graph import Node, plan
from scaler.errors import CycleError, GraphError, MissingKeyError
from scaler.serialization import Call, Input, call


def inc(value: int) -> int:
    return value + 1


def compute(graph: dict[Any, Any], keys: list[Any]) -> dict[Any, Any]:
    """Run a plan here, node by node, as workers would."""
    made = plan(graph, keys)
    results: list[Any] = []
    for node in made.nodes:
        assert all(d < len(results) for d in node.dependencies)
        inputs = [results[d] for d in node.dependencies]
        results.append(call(node.function, node.args, node.kwargs, inputs))
    return {key: made.constants[key] if key in made.constants else results[made.places[key]] for key in keys}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": 1}, 1),
        ({"a": None}, None),
        ({"a": (inc, 1)}, 2),
        ({"a": "b", "b": (inc, 1)}, 2),
        ({"a": "b", "b": "c", "c": 7}, 7),
        ({"a": (add, "b", "b"), "b": (inc, 1)}, 4),
        ({"a": (add, "c", "b"), "b": (inc, 1), "c": "b"}, 4),
        ({"a": (sum, ["b", "c", 5]), "b": 1, "c": (inc, 1)}, 8),
        ({"a": (add, (inc, "b"), (add, "b", (inc, 0))), "b": (inc, 1)}, 6),
        ({"a": ["b", ["c", 5]], "b": 1, "c": (inc, 1)}, [1, [2, 5]]),
        ({"a": ["b", 5], "b": 1}, [1, 5]),
        ({"a": [(inc, 1)]}, [2]),
        ({"a": ("f", 1), "f": (lambda: inc,)}, 2),
        ({"a": ("f", 1), "f": inc}, 2),
        ({"a": (inc, ("f", 1)), "f": (lambda: inc,)}, 3),
        ({"a": (1, 2)}, (1, 2)),
        ({"a": ()}, ()),
        ({"a": (list, (1, "b")), "b": 2}, [1, "b"]),
        ({"a": ("x", 0), ("x", 0): (inc, ("x", 1)), ("x", 1): 5}, 6),
        ({"a": (sum, [("x", 0), ("x", 1)]), ("x", 0): 1, ("x", 1): (inc, 1)}, 3),
        ({"a": (dict, [["k", "b"]]), "b": (inc, 1)}, {"k": 2}),
        ({"a": (len, {"b": 1}), "b": (inc, 1)}, 1),
    ],
)
def test_values(graph: dict[Any, Any], expected: Any) -> None:
    assert compute(graph, ["a"]) == {"a": expected}


def test_constants_need_no_task() -> None:
    made = plan({"a": ["b", 1], "b": "c", "c": 3}, ["a", "b"])
    assert made.nodes == [] and made.places == {} and made.constants == {"a": [3, 1], "b": 3}


def test_an_alias_is_no_task_of_its_own() -> None:
    made = plan({"a": "b", "b": (inc, 1)}, ["a", "b"])
    assert made.places == {"a": 0, "b": 0}
    assert made.nodes == [Node("b", inc, [1], {}, [], True)]


def test_templates_name_dependencies_once() -> None:
    made = plan({"a": (add, "b", [(inc, "b"), "c"]), "b": (inc, 1), "c": (inc, 2)}, ["a"])
    last = made.nodes[-1]
    first, (call, other) = last.args
    assert isinstance(call, Call) and isinstance(first, Input) and isinstance(other, Input)
    assert len(last.dependencies) == 2 and (first.index, call.args[0].index, other.index) == (0, 0, 1)
    assert [node.wanted for node in made.nodes] == [False, False, True]


def test_what_nobody_asked_for_is_left_out() -> None:
    made = plan({"a": (inc, "b"), "b": (inc, 1), "z": (inc, "a"), "y": ((1).__truediv__, 0)}, ["a"])
    assert [node.key for node in made.nodes] == ["b", "a"]


def test_a_key_asked_for_twice_and_no_key_at_all() -> None:
    assert compute({"a": (inc, 1)}, ["a", "a"]) == {"a": 2}
    assert plan({"a": (inc, 1)}, []).nodes == []


def test_a_long_chain_needs_no_recursion() -> None:
    graph: dict[Any, Any] = {f"k{n}": (inc, f"k{n - 1}") for n in range(1, 20_000)} | {"k0": 0}
    assert compute(graph, ["k19999"]) == {"k19999": 19_999}


@pytest.mark.parametrize(
    ("graph", "path"),
    [
        ({"a": (inc, "a")}, ["'a' -> 'a'"]),
        ({"a": "a"}, ["'a' -> 'a'"]),
        ({"a": (inc, "b"), "b": [(inc, "c")], "c": "a"}, ["'a' -> 'b'", "'b' -> 'c'", "'c' -> 'a'"]),
    ],
)
def test_a_circle_is_shown(graph: dict[Any, Any], path: list[str]) -> None:
    with pytest.raises(CycleError, match="the graph has a cycle: ") as caught:
        plan(graph, ["a"])
    assert all(step in str(caught.value) for step in path)


def test_a_circle_that_nobody_asked_for_does_no_harm() -> None:
    assert compute({"a": 1, "b": (inc, "c"), "c": (inc, "b")}, ["a"]) == {"a": 1}


def test_keys_that_are_not_there() -> None:
    with pytest.raises(MissingKeyError, match="the key 'z' asked for is not in the graph"):
        plan({"a": 1}, ["z"])
    with pytest.raises(KeyError):
        plan({}, ["z"])
    with pytest.raises(GraphError, match="cannot be hashed"):
        plan({"a": 1}, [["a"]])
    with pytest.raises(GraphError, match="not a list"):
        plan([], [])  # type: ignore[arg-type]
