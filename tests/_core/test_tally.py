"""The tally against a loop in Python."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._core.tally import BUCKETS, CANCELLED, FAILED, GOOD, WIDTH, add_calls, bucket_bounds

NONE = 0xFFFFFFFF
TIMES = st.one_of(st.integers(0, 50), st.integers(0, 10**6), st.integers(0, 2**50))
CALLS = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 2, NONE)),
        st.sampled_from((GOOD, FAILED, CANCELLED)),
        st.integers(1, 9),
        TIMES,
        TIMES,
        TIMES,
    ),
    max_size=30,
)


def bucket_of(value: int) -> int:
    return next(b for b in range(BUCKETS) if bucket_bounds(b)[0] <= min(value, 2**40 - 1) < bucket_bounds(b)[1])


def test_buckets_follow_each_other_and_are_narrow() -> None:
    bounds = [bucket_bounds(bucket) for bucket in range(BUCKETS)]
    assert [low for low, _ in bounds] == [0, *(high for _, high in bounds[:-1])]
    assert bounds[-1][1] == 2**40
    assert all((high - low) / low <= 1 / 8 for low, high in bounds[8:])
    for wrong in (-1, BUCKETS):
        with pytest.raises(IndexError):
            bucket_bounds(wrong)


@settings(max_examples=80, deadline=None)
@given(CALLS, st.booleans(), st.integers(0, 100))
def test_as_a_loop_would(calls: list[tuple[int, int, int, int, int, int]], one_each: bool, slow: int) -> None:
    if one_each:
        calls = [(place, kind, 1, *took) for place, kind, _, *took in calls]  # type: ignore[misc]
    columns = list(zip(*calls, strict=True)) or [()] * 6
    table = array("Q", bytes(8 * 3 * WIDTH))
    places, counts = array("I", columns[0]), array("I", columns[2])
    times = [array("Q", column) for column in columns[3:]]
    slowest = add_calls(table, places, bytes(columns[1]), b"" if one_each else counts, *times, slow)
    heads, walls, cpus = (
        [[0] * 8 for _ in range(3)],
        [Counter[int]() for _ in range(3)],
        [Counter[int]() for _ in range(3)],
    )
    expected = []
    for i, (place, kind, count, wall, cpu, peak) in enumerate(calls):
        if place == NONE:
            continue
        head = heads[place]
        head[0] += count
        head[kind] += count if kind else 0
        if kind and not wall:
            continue
        head[4:] = [head[4] + wall, max(head[5], wall // count), head[6] + cpu, max(head[7], peak)]
        walls[place][bucket_of(wall // count)] += count
        cpus[place][bucket_of(cpu // count)] += count
        if wall // count >= slow:
            expected.append(i)
    assert slowest == expected
    for place in range(3):
        row = table[place * WIDTH : (place + 1) * WIDTH].tolist()
        assert row[:8] == heads[place]
        assert {b: n for b, n in enumerate(row[8 : 8 + BUCKETS]) if n} == walls[place]
        assert {b: n for b, n in enumerate(row[8 + BUCKETS :]) if n} == cpus[place]


def test_what_does_not_fit() -> None:
    table, one = array("Q", bytes(8 * WIDTH)), array("Q", [1])
    with pytest.raises(IndexError, match="place 1 of 1"):
        add_calls(table, array("I", [1]), b"\0", b"", one, one, one, 0)
    with pytest.raises(ValueError, match="different lengths"):
        add_calls(table, array("I", [0]), b"\0\0", b"", one, one, one, 0)
    with pytest.raises(TypeError):
        add_calls(array("I"), array("I"), b"", b"", b"", b"", b"", 0)
    assert not any(table)
