"""What becomes of a profile and of a graph in the browser."""

from __future__ import annotations

from array import array

import pytest

from scaler.messages import GraphDescription
from scaler.web.graph_view import MOST_NODES, graph_view
from scaler.web.profile_view import profile_view
from tests.monitor.demo_profile import demo_profile


def description(before: list[list[int]], states: bytes, functions: list[int] | None = None) -> GraphDescription:
    ends, needed = array("I"), array("I")
    for dependencies in before:
        needed.extend(dependencies)
        ends.append(len(needed))
    count = len(before)
    return GraphDescription(
        1, array("Q", range(count)), array("I", functions or [0] * count), ["f", "g"], states, ends, needed, count + 3
    )


def test_nodes_stand_behind_all_that_they_need() -> None:
    view = graph_view(description([[], [], [0, 1], [2, 0]], bytes([6, 4, 1, 1])))
    assert [node["layer"] for node in view["nodes"]] == [0, 0, 1, 2]
    assert [node["state"] for node in view["nodes"]] == ["succeeded", "running", "waiting", "waiting"]
    assert [node["position"] for node in view["nodes"]] == [-0.5, 0.5, 0.0, 0.0]
    assert view["edges"] == [(0, 2), (1, 2), (2, 3), (0, 3)]
    assert (view["shown"], view["total"]) == (4, 7)


def test_nodes_stand_near_what_they_need() -> None:
    view = graph_view(description([[], [], [1], [0]], bytes([1] * 4)))
    assert [node["position"] for node in view["nodes"][2:]] == [0.5, -0.5]


def test_a_large_graph_is_drawn_by_function_layer_and_state() -> None:
    half = MOST_NODES
    before: list[list[int]] = [[] for _ in range(half)] + [[place] for place in range(half)]
    view = graph_view(description(before, bytes([6] * half + [2] * half), [0] * half + [1] * half))
    assert [(n["function"], n["layer"], n["state"], n["count"]) for n in view["nodes"]] == [
        ("f", 0, "succeeded", half),
        ("g", 1, "ready", half),
    ]
    assert view["edges"] == [(0, 1)]


def test_a_graph_that_is_gone_has_no_nodes() -> None:
    assert graph_view(GraphDescription(1)) == {"nodes": [], "edges": [], "shown": 0, "total": 0}


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        graph_view(GraphDescription(1, array("Q", [1]), array("I", [0]), ["f"], b"", array("I", [0])))


def test_a_profile_becomes_columns_for_a_flame_graph() -> None:
    view = profile_view(demo_profile())
    flame = view["flame"]
    assert flame["labels"][:3] == ["all", "price", "load"] and flame["parents"][:3] == ["", "0", "0"]
    assert flame["seconds"][:3] == [37.02, 22.0, 15.02]
    assert flame["where"][flame["labels"].index("solve")] == "curves.py:88"
    assert view["functions"][0] == {"name": "solve", "where": "curves.py:88", "own": 18.0, "total": 18.0}
    assert view["ended"] and view["missing"] == ["1 of 4 executors died"]
