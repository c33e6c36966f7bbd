"""Stacks, counted."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.errors import ProtocolError
from scaler.ids import u32, u64
from scaler.messages import StackSamples
from scaler.stacks import Frame, StackCounts, check

A, B, C = Frame("a", "a.py", 1), Frame("b", "a.py", 9), Frame("b", "b.py", 9)
FRAMES = st.builds(Frame, st.sampled_from("abc"), st.sampled_from(["a.py", "b.py"]), st.integers(0, 3))
COUNTS = st.dictionaries(
    st.tuples(st.sampled_from(["f", "g", ""]), st.lists(FRAMES, max_size=5).map(tuple)), st.integers(1, 2**40)
)


def test_columns() -> None:
    counts = StackCounts()
    for stack in ((A, B), (A, C), (A, B), ()):
        counts.add("f", stack, 2)
    told = counts.take(7)
    assert told.profile == 7 and told.function_names == ["f"] and told.frame_files == ["a.py", "a.py", "b.py"]
    assert (told.frame_names, list(u32(told.frame_lines))) == (["a", "b", "b"], [1, 9, 9])
    assert list(u32(told.stacks)) == [0, 1, 0, 2] and list(u32(told.stack_ends)) == [2, 4, 4]
    assert list(u64(told.counts)) == [4, 2, 2] and not counts


@given(st.lists(COUNTS, max_size=4))
def test_parts_together_are_the_whole(parts: list[dict[tuple[str, tuple[Frame, ...]], int]]) -> None:
    whole, merged = StackCounts(), StackCounts()
    for part in parts:
        one = StackCounts()
        for (function, stack), count in part.items():
            whole.add(function, stack, count)
            one.add(function, stack, count)
        merged.merge(one.take(1))
    assert merged.counts == whole.counts


def test_those_that_are_too_many_are_counted() -> None:
    counts, other = StackCounts(most=1), StackCounts(most=1)
    counts.add("f", (A,), 1)
    counts.add("f", (B,), 2)
    counts.add("f", (A,), 4)
    assert counts.counts == {("f", (A,)): 5} and counts.left_out == 2
    other.add("f", (B,), 1)
    other.merge(counts.take(1))
    assert other.counts == {("f", (B,)): 1} and other.left_out == 7


GOOD = StackSamples(1, ["f"], ["a"], ["a.py"], array("I", [1]), array("I", [0]), array("I", [1]), array("I", [0]))
GOOD.counts = array("Q", [3])


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_files": []},
        {"frame_lines": array("I")},
        {"functions": array("I")},
        {"functions": array("I", [1])},
        {"stacks": array("I", [1])},
        {"stack_ends": array("I", [2])},
        {"stack_ends": array("I", [])},
        {"counts": array("Q", [1, 2])},
        {"stack_ends": array("I", [5, 1]), "functions": array("I", [0, 0]), "counts": array("Q", [1, 1])},
        {"counts": b"123"},
    ],
)
def test_what_does_not_fit_together_is_refused(wrong: dict[str, object]) -> None:
    check(GOOD)
    with pytest.raises((ProtocolError, ValueError)):
        check(replace(GOOD, **wrong))
