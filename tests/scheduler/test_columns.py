from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler import messages
from scaler.errors import ProtocolError
from scaler.messages import Inputs, Results, Submit, TaskOptions
from scaler.scheduler.columns import (
    assignments,
    checked_results,
    checked_submit,
    cut_results,
    select_results,
    select_submit,
)
from scaler.scheduler.placement import Placement

from .builders import i, q

WHOLE = Results(q(7, 8, 9), i(1, 2, 3), b"\1\2\3", [b"a", b"b", b"c"], q(10, 11, 12), q(4, 5, 6), q(0, 1, 2))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages.packing, "MESSAGE_BYTES", 10)


def placement(
    *sizes: int, functions: tuple[int, ...] = (), inputs: Inputs | None = None, limits: bool = False
) -> Placement:
    n = len(sizes)
    return Placement(
        0,
        q(*range(n)),
        i(*range(1, n + 1)),
        i(*(functions or (5,) * n)),
        [bytes(size) for size in sizes],
        q(*range(n)) if limits else None,
        inputs or Inputs(),
    )


def test_select_results() -> None:
    assert select_results(WHOLE, [2, 0]) == Results(
        q(9, 7), i(3, 1), b"\3\1", [b"c", b"a"], q(12, 10), q(6, 4), q(2, 0)
    )
    assert select_results(replace(WHOLE, attempts=b""), [1]).attempts == b""
    assert select_results(WHOLE, []).payloads == []


def from_wire(message: Results) -> Results:
    names = ("tasks", "attempts", "wall_microseconds", "cpu_microseconds", "peak_memory_bytes")
    return replace(message, **{name: bytes(getattr(message, name)) for name in names})


def test_checked_results() -> None:
    good = from_wire(WHOLE)
    assert checked_results(good) is good
    for name in ("tasks", "attempts", "statuses", "wall_microseconds", "cpu_microseconds", "peak_memory_bytes"):
        for wrong in (getattr(good, name)[:-1], getattr(good, name) * 2, b""):
            with pytest.raises(ProtocolError, match="different lengths"):
                checked_results(replace(good, **{name: wrong}))


def test_results_are_cut_where_they_are_large(small: None) -> None:
    message = replace(WHOLE, payloads=[b"a" * 6, b"b" * 5, b"c" * 5])
    assert [piece.payloads for piece in cut_results(message)] == [[b"a" * 6], [b"b" * 5, b"c" * 5]]
    assert [list(piece.tasks) for piece in cut_results(message)] == [[7], [8, 9]]
    assert list(cut_results(WHOLE)) == [WHOLE]


def test_one_payload_larger_than_the_limit_goes_alone(small: None) -> None:
    message = replace(WHOLE, payloads=[b"a", b"b" * 50, b"c"])
    assert [len(piece.payloads) for piece in cut_results(message)] == [1, 1, 1]


@given(st.lists(st.integers(0, 15), max_size=20))
def test_cuts_cover_all_in_order_and_are_as_few_as_they_can(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages.packing, "MESSAGE_BYTES", 10)
        cuts = list(messages.runs(sizes))
    assert [n for first, last in cuts for n in range(first, last)] == list(range(len(sizes)))
    for first, last in cuts:
        assert sum(sizes[first:last]) <= 10 or last - first == 1
    for (first, _), (_, last) in pairwise(cuts):
        assert sum(sizes[first:last]) > 10


def test_select_submit_with_all_columns() -> None:
    options = [TaskOptions(), TaskOptions(priority=1)]
    whole = Submit(q(1, 2, 3), i(4, 5, 6), [b"a", b"b", b"c"], options, i(0, 1, 0), i(1, 1, 3), q(9, 8, 7), b"\1\0\1")
    assert select_submit(whole, [0, 2]) == Submit(
        q(1, 3), i(4, 6), [b"a", b"c"], options, i(0, 0), i(1, 3), q(9, 8, 7), b"\1\1"
    )
    assert select_submit(whole, [1]) == Submit(q(2), i(5), [b"b"], options, i(1), i(0), q(), b"\0")


def test_select_submit_keeps_what_stands_for_all() -> None:
    whole = Submit(q(1, 2), i(4), [b"a", b"b"], [TaskOptions()], i(0))
    assert select_submit(whole, [1]) == Submit(q(2), i(4), [b"b"], [TaskOptions()], i(0), i(), q(), b"")


edges = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8)


@given(st.permutations(range(6)), edges)
def test_tasks_that_need_each_other_are_found_whatever_their_order(
    order: list[int], pairs: list[tuple[int, int]]
) -> None:
    needs = {task: [b for a, b in pairs if a == task] for task in range(6)}
    ends, dependencies = i(), q()
    for task in order:
        dependencies.extend(needs[task])
        ends.append(len(dependencies))
    message = Submit(q(*order), i(0), [b""] * 6, dependency_ends=ends, dependencies=dependencies)

    def reaches(start: int, seen: frozenset[int] = frozenset()) -> set[int]:
        found = set(needs[start]) - seen
        return found.union(*(reaches(n, seen | found) for n in found)) if found else set()

    if any(task in reaches(task) for task in range(6)):
        with pytest.raises(ProtocolError, match="circle"):
            checked_submit(message)
    else:
        assert checked_submit(message) is message


def test_a_placement_is_one_message_with_one_function_once() -> None:
    (message,) = assignments(placement(1, 2, 3, limits=True))
    assert list(message.functions) == [5] and message.timeout_milliseconds == q(0, 1, 2) and message.inputs == Inputs()
    (message,) = assignments(placement(1, 2, functions=(5, 6)))
    assert list(message.functions) == [5, 6] and message.timeout_milliseconds == b""


def test_a_large_placement_is_cut_with_its_inputs(small: None) -> None:
    inputs = Inputs(i(1, 1, 3), b"\1\1\2", [b"x" * 6, b"y" * 4, b"z" * 4])
    first, second = assignments(placement(1, 1, 1, functions=(5, 6, 6), inputs=inputs, limits=True))
    assert (first.tasks, first.attempts, first.functions, first.timeout_milliseconds) == (
        q(0, 1),
        i(1, 2),
        i(5, 6),
        q(0, 1),
    )
    assert first.inputs == Inputs(i(1, 1), b"\1", [b"x" * 6])
    assert (second.tasks, second.attempts, second.functions) == (q(2), i(3), i(6))
    assert second.inputs == Inputs(i(2), b"\1\2", [b"y" * 4, b"z" * 4])
