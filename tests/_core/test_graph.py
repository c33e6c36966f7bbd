"""Graph against dicts of lists."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler._core.graph import Graph
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

    def detach(self, tasks: list[int]) -> list[int]:
        unused = []
        for task in tasks:
            before = list(dict.fromkeys(self.dependencies.get(task, ())))
            if before:
                self.dependencies[task] = []
                self.added.remove(task)
            unused += [each for each in before if not self.dependents(each)]
        return unused

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

    @rule(task=st.one_of(TASK, st.integers(0, 100), st.just(NONE)))
    def reopen(self, task: int) -> None:
        self.graph.reopen(task)
        self.oracle.finished.discard(task)

    @rule(tasks=st.lists(st.one_of(st.integers(0, 100), st.just(NONE)), max_size=20))
    def detach(self, tasks: list[int]) -> None:
        if any(task in self.oracle.dependencies and task not in self.oracle.finished for task in tasks):
            with pytest.raises(ValueError):
                self.graph.detach(i(*tasks))
            tasks = [task for task in tasks if task in self.oracle.finished]
        assert list(self.graph.detach(i(*tasks))) == self.oracle.detach(tasks)

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
            assert self.graph.unfinished_users(task) == len(set(dependents) - self.oracle.finished)
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
