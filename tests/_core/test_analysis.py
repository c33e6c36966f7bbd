"""Analysis of whole graphs against recursion over all paths."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._core.analysis import critical_path, find_cycle, levels, needed, run_order


def i(*numbers: int) -> array[int]:
    return array("I", numbers)


@st.composite
def node_columns(draw: st.DrawFn) -> list[list[int]]:
    """For each node its dependencies: any, or earlier ones only."""
    n = draw(st.integers(0, 9))
    back = draw(st.booleans())
    return [
        draw(st.lists(st.integers(0, n - 1 if back else node - 1), max_size=3)) if back or node else []
        for node in range(n)
    ]


def as_columns(nodes: list[list[int]]) -> tuple[array[int], array[int]]:
    ends, dependencies = i(), i()
    for node in nodes:
        dependencies.extend(node)
        ends.append(len(dependencies))
    return ends, dependencies


def reach_of(nodes: list[list[int]]) -> list[set[int]]:
    """All that each node depends on."""
    reach = [set(node) for node in nodes]
    for _ in nodes:
        reach = [set(node).union(*(reach[each] for each in node)) for node in nodes]
    return reach


@given(node_columns())
@settings(max_examples=400, deadline=None)
def test_paths_levels_order_and_cycles(nodes: list[list[int]]) -> None:
    reach = reach_of(nodes)
    columns = as_columns(nodes)
    cycle = list(find_cycle(*columns))
    if any(node in reach[node] for node in range(len(nodes))):
        assert cycle
        assert len(set(cycle)) == len(cycle)
        for node, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            assert following in nodes[node]
        for refuses in (critical_path, levels, run_order):
            with pytest.raises(ValueError, match="cycle"):
                refuses(*columns)
        return

    @cache
    def length(node: int) -> int:
        return 1 + max((length(user) for user in range(len(nodes)) if node in nodes[user]), default=0)

    @cache
    def level(node: int) -> int:
        return max((level(each) + 1 for each in nodes[node]), default=0)

    everything = range(len(nodes))
    assert cycle == []
    assert list(critical_path(*columns)) == [length(node) for node in everything]
    assert list(levels(*columns)) == [level(node) for node in everything]
    order = list(run_order(*columns))
    assert order == sorted(everything, key=lambda node: (-length(node), level(node), node))
    assert all(order.index(each) < order.index(node) for node in everything for each in nodes[node])


@given(node_columns(), st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_needed(nodes: list[list[int]], data: st.DataObject) -> None:
    targets = data.draw(st.lists(st.sampled_from(range(len(nodes))), max_size=3)) if nodes else []
    reach = reach_of(nodes)
    expected = set(targets).union(*(reach[target] for target in targets))
    assert list(needed(*as_columns(nodes), i(*targets))) == sorted(expected)


def test_a_chain_of_a_million() -> None:
    n = 1_000_000
    starts, dependencies = array("I", range(n)), array("I", range(n - 1))
    assert critical_path(starts, dependencies) == array("I", range(n, 0, -1))
    assert levels(starts, dependencies) == run_order(starts, dependencies) == array("I", range(n))
    assert needed(starts, dependencies, i(n // 2)) == array("I", range(n // 2 + 1))
    assert find_cycle(starts, dependencies) == i()
    ends = array("I", range(1, n + 1))
    around = array("I", (n - 1,)) + dependencies
    assert len(find_cycle(ends, around)) == n
    with pytest.raises(ValueError):
        critical_path(ends, around)


@pytest.mark.parametrize(
    "search", [critical_path, find_cycle, levels, run_order, lambda ends, dependencies: needed(ends, dependencies, i())]
)
def test_columns_that_are_no_graph(search: Callable[[array[int], array[int]], array[int]]) -> None:
    with pytest.raises(IndexError):
        search(i(1), i(1))
    for ends, dependencies in ((i(1), i()), (i(0), i(0)), (i(1, 0), i(0))):
        with pytest.raises(ValueError):
            search(ends, dependencies)


def test_targets_that_are_no_nodes() -> None:
    with pytest.raises(IndexError, match="target 1 of 1 nodes"):
        needed(i(0), i(), i(1))
