"""Lifecycle against dicts of states and attempts."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler._core.lifecycle import Lifecycle
from scaler._core.slots import NONE

STATES = 4
EVENTS = 3
TASKS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 300)), max_size=15)
TABLES = st.lists(st.sampled_from([255, 255, *range(STATES)]), min_size=STATES * EVENTS, max_size=STATES * EVENTS)


def i(*numbers: int) -> array[int]:
    return array("I", numbers)


class LifecycleMachine(RuleBasedStateMachine):
    @initialize(table=TABLES)
    def begin(self, table: list[int]) -> None:
        self.table = table
        self.lifecycle = Lifecycle(bytes(table), STATES, EVENTS)
        self.state: dict[int, int] = {}
        self.attempt: dict[int, int] = {}

    @rule(tasks=TASKS, state=st.integers(1, STATES - 1))
    def open(self, tasks: list[int], state: int) -> None:
        if len(set(tasks)) < len(tasks) or any(self.state.get(task) for task in tasks):
            with pytest.raises(ValueError):
                self.lifecycle.open(i(*tasks), state)
        else:
            self.lifecycle.open(i(*tasks), state)
            self.state.update(dict.fromkeys(tasks, state))
            self.attempt.update(dict.fromkeys(tasks, 0))

    @rule(tasks=TASKS, event=st.integers(0, EVENTS - 1))
    def apply(self, tasks: list[int], event: int) -> None:
        moved = []
        for task in tasks:
            after = self.table[self.state.get(task, 0) * EVENTS + event]
            if after != 255:
                self.state[task] = after
                moved.append(task)
        assert list(self.lifecycle.apply(event, i(*tasks))) == moved

    @rule(tasks=TASKS)
    def bump(self, tasks: list[int]) -> None:
        expected = []
        for task in tasks:
            self.attempt[task] = self.attempt.get(task, 0) + 1
            expected.append(self.attempt[task])
        assert list(self.lifecycle.bump(i(*tasks))) == expected

    @rule(tasks=TASKS)
    def close(self, tasks: list[int]) -> None:
        self.lifecycle.close(i(*tasks))
        self.state.update(dict.fromkeys(tasks, 0))

    @rule(named=st.lists(st.tuples(st.one_of(st.integers(0, 12), st.just(NONE)), st.integers(0, 2)), max_size=15))
    def stale(self, named: list[tuple[int, int]]) -> None:
        seen: set[int] = set()
        expected = []
        for position, (task, attempt) in enumerate(named):
            if not self.state.get(task) or self.attempt.get(task, 0) != attempt or task in seen:
                expected.append(position)
            seen.add(task)
        tasks, attempts = i(*(task for task, _ in named)), i(*(attempt for _, attempt in named))
        assert list(self.lifecycle.stale(tasks, attempts)) == expected

    @invariant()
    def same(self) -> None:
        for task in (*self.state, 5000):
            assert self.lifecycle.state(task) == self.state.get(task, 0)
            assert self.lifecycle.attempt(task) == self.attempt.get(task, 0)
        assert list(self.lifecycle.attempts(i(*self.attempt))) == list(self.attempt.values())
        for state in range(1, STATES):
            assert self.lifecycle.count(state) == list(self.state.values()).count(state)
        self.lifecycle.check()


TestLifecycle = LifecycleMachine.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("table", "states", "events"),
    [(b"\xff\xff\xff", 2, 2), (b"\xff\x02", 2, 1), (b"", 0, 0), (b"", 1, -1), (b"\xff" * 200, 200, 1)],
)
def test_a_table_that_cannot_be(table: bytes, states: int, events: int) -> None:
    with pytest.raises(ValueError):
        Lifecycle(table, states, events)


def test_what_is_refused() -> None:
    lifecycle = Lifecycle(bytes([255, 255, 255, 0]), 2, 2)
    lifecycle.open(i(3), 1)
    with pytest.raises(ValueError):
        lifecycle.open(i(1, 2, 3), 1)
    assert [lifecycle.state(task) for task in (1, 2, 3)] == [0, 0, 1]
    for state in (-1, 0, 2):
        with pytest.raises(ValueError):
            lifecycle.open(i(1), state)
    for event in (-1, 2):
        with pytest.raises(ValueError):
            lifecycle.apply(event, i(3))
    with pytest.raises(ValueError):
        lifecycle.stale(i(3), i())
    for refuse in (lifecycle.bump, lifecycle.close, lifecycle.attempts):
        with pytest.raises(IndexError):
            refuse(i(3, NONE))
    with pytest.raises(IndexError):
        lifecycle.open(i(4, NONE), 1)
    with pytest.raises(IndexError):
        lifecycle.apply(1, i(3, NONE))
    assert (lifecycle.state(3), lifecycle.attempt(3), lifecycle.count(1)) == (1, 0, 1)
    lifecycle.check()
