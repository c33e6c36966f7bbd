"""Graph against dicts of lists; critical_path and find_cycle against recursion over all paths."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler._core.graph import Graph, critical_path, find_cycle
from scaler._core.slots import NONE

TASK = st.integers(0, 25)


def i(*numbers: int) -> array[int]:
    return array("I", numbers)


class Oracle:
    def __init__(self) -> None:
        self.dependencies: dict[int, list[int]] = {}
        self.added: list[int] = []
        self.finished: set[int] = set()

    def missing(self, task: int) -> int:
        return len(set(self.dependencies.get(task, ())) - self.finished)

    def dependents(self, task: int) -> list[int]:
        return [user for user in self.added if task in self.dependencies[user]]

    def add(self, task: int, dependencies: list[int]) -> None:
        for each in dependencies:
            self.dependencies.setdefault(each, [])
        self.dependencies[task] = dependencies
        if dependencies:
            self.added.append(task)

    def finish(self, tasks: list[int]) -> list[int]:
        ready = []
        for task in tasks:
            if task in self.dependencies and task not in self.finished:
                self.finished.add(task)
                ready += [user for user in self.dependents(task) if self.missing(user) == 0]
        return ready

    def remove(self, task: int) -> list[int]:
        before = list(dict.fromkeys(self.dependencies.pop(task, ())))
        self.added = [each for each in self.added if each != task]
        self.finished.discard(task)
        return [each for each in before if not self.dependents(each)]

    def descendants(self, task: int) -> list[int]:
        found = [task]
        for each in found:
            found += [user for user in self.dependents(each) if user not in found]
        return found[1:]


class GraphMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.graph = Graph()
        self.oracle = Oracle()

    @rule(task=TASK, dependencies=st.lists(TASK, max_size=5))
    def add(self, task: int, dependencies: list[int]) -> None:
        if task in dependencies or self.oracle.dependencies.get(task):
            with pytest.raises(ValueError):
                self.graph.add(task, i(*dependencies))
        else:
            self.oracle.add(task, dependencies)
            assert self.graph.add(task, i(*dependencies)) == self.oracle.missing(task)

    @rule(tasks=st.lists(st.integers(20, 70), unique=True, max_size=40), on=TASK)
    def add_many_users(self, tasks: list[int], on: int) -> None:
        for task in tasks:
            if task != on and not self.oracle.dependencies.get(task):
                self.add(task, [on])

    @rule(tasks=st.lists(st.one_of(TASK, st.integers(0, 100), st.just(NONE)), max_size=5))
    def finish(self, tasks: list[int]) -> None:
        assert list(self.graph.finish(i(*tasks))) == self.oracle.finish(tasks)

    @rule(task=TASK)
    def mark_finished(self, task: int) -> None:
        self.graph.mark_finished(task)
        self.oracle.dependencies.setdefault(task, [])
        self.oracle.finished.add(task)

    @rule(tasks=st.lists(st.integers(0, 75), max_size=20))
    def remove(self, tasks: list[int]) -> None:
        for task in tasks:
            if self.oracle.dependents(task):
                with pytest.raises(ValueError):
                    self.graph.remove(task)
            else:
                assert list(self.graph.remove(task)) == self.oracle.remove(task)

    @invariant()
    def same(self) -> None:
        assert len(self.graph) == len(self.oracle.dependencies)
        for task in (*self.oracle.dependencies, 99, 5000, NONE):
            dependents = self.oracle.dependents(task)
            assert list(self.graph.dependencies(task)) == self.oracle.dependencies.get(task, [])
            assert list(self.graph.dependents(task)) == dependents
            assert self.graph.users(task) == len(dependents)
            assert self.graph.missing(task) == self.oracle.missing(task)
            assert self.graph.finished(task) == (task in self.oracle.finished)
            assert list(self.graph.descendants(task)) == self.oracle.descendants(task)
        self.graph.check()


TestGraph = GraphMachine.TestCase
TestGraph.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)


def test_what_is_refused() -> None:
    graph = Graph()
    graph.add(1, i(2))
    for task, dependencies, error in ((1, i(3), ValueError), (4, i(5, 4), ValueError), (4, i(5, NONE), IndexError)):
        with pytest.raises(error):
            graph.add(task, dependencies)
    with pytest.raises(IndexError):
        graph.add(NONE, i())
    with pytest.raises(IndexError):
        graph.mark_finished(NONE)
    with pytest.raises(ValueError):
        graph.remove(2)
    assert len(graph) == 2
    graph.check()


def test_a_chain_of_a_million() -> None:
    n = 1_000_000
    graph = Graph()
    for task in range(1, n):
        graph.add(task, array("I", (task - 1,)))
    found = graph.descendants(0)
    assert len(found) == n - 1
    assert (found[0], found[-1]) == (1, n - 1)
    starts, dependencies = array("I", range(n)), array("I", range(n - 1))
    assert critical_path(starts, dependencies) == array("I", range(n, 0, -1))
    assert find_cycle(starts, dependencies) == i()
    ends = array("I", range(1, n + 1))
    around = array("I", (n - 1,)) + dependencies
    assert len(find_cycle(ends, around)) == n
    with pytest.raises(ValueError):
        critical_path(ends, around)


def test_users_removed_in_any_order_are_linear() -> None:
    graph = Graph()
    users = range(1, 100_001)
    for task in users:
        graph.add(task, i(0))
    for task in users[:-1]:
        assert not graph.remove(task)
    assert list(graph.dependents(0)) == [100_000]
    assert list(graph.remove(100_000)) == [0]
    graph.check()


@st.composite
def node_columns(draw: st.DrawFn) -> list[list[int]]:
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


@given(node_columns())
@settings(max_examples=400, deadline=None)
def test_paths_and_cycles(nodes: list[list[int]]) -> None:
    reach = [set(node) for node in nodes]
    for _ in nodes:
        reach = [set(node).union(*(reach[each] for each in node)) for node in nodes]
    columns = as_columns(nodes)
    cycle = list(find_cycle(*columns))
    if any(node in reach[node] for node in range(len(nodes))):
        assert cycle
        assert len(set(cycle)) == len(cycle)
        for node, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            assert following in nodes[node]
        with pytest.raises(ValueError):
            critical_path(*columns)
        return

    @cache
    def length(node: int) -> int:
        return 1 + max((length(user) for user in range(len(nodes)) if node in nodes[user]), default=0)

    assert cycle == []
    assert list(critical_path(*columns)) == [length(node) for node in range(len(nodes))]


@pytest.mark.parametrize("search", [critical_path, find_cycle])
def test_columns_that_are_no_graph(search: Callable[[array[int], array[int]], array[int]]) -> None:
    with pytest.raises(IndexError):
        search(i(1), i(1))
    for ends, dependencies in ((i(1), i()), (i(0), i(0)), (i(1, 0), i(0))):
        with pytest.raises(ValueError):
            search(ends, dependencies)
