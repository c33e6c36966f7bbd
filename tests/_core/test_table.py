"""Every function of table against a loop in Python."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._core.table import (
    add_at,
    clear_objects,
    fill,
    gather,
    gather_objects,
    join_ids,
    same_high,
    scatter,
    scatter_objects,
    split_ids,
    sum_and_max,
)

INDEXES = st.lists(st.integers(0, 40), max_size=30)
U32 = st.integers(0, 2**32 - 1)
TABLE = st.lists(U32, max_size=20).map(lambda numbers: array("I", numbers))
PAIRS = st.lists(st.tuples(st.integers(0, 40), U32), max_size=30)
FEW = settings(max_examples=80, deadline=None)


def i(*numbers: int) -> array[int]:
    return array("I", numbers)


def same_but_for_room(table: array[int], expected: dict[int, int]) -> None:
    """The table may have more room than is needed, all zeros."""
    assert set(expected) <= set(range(len(table)))
    assert all(number == expected.get(index, 0) for index, number in enumerate(table))


@given(TABLE, INDEXES, U32)
@FEW
def test_fill(table: array[int], indexes: list[int], value: int) -> None:
    expected = dict(enumerate(table)) | dict.fromkeys(indexes, value)
    fill(table, i(*indexes), value)
    same_but_for_room(table, expected)


@given(TABLE, PAIRS)
@FEW
def test_scatter_and_gather(table: array[int], pairs: list[tuple[int, int]]) -> None:
    expected = dict(enumerate(table)) | dict(pairs)
    scatter(table, i(*(index for index, _ in pairs)), i(*(value for _, value in pairs)))
    same_but_for_room(table, expected)
    assert list(gather(table, i(*expected))) == list(expected.values())


@given(TABLE, INDEXES, st.integers(-(2**31), 2**31))
@FEW
def test_add_at(table: array[int], indexes: list[int], amount: int) -> None:
    expected = dict(enumerate(table))
    for index in indexes:
        expected[index] = (expected.get(index, 0) + amount) % 2**32
    add_at(table, i(*indexes), amount)
    same_but_for_room(table, expected)


@given(st.lists(st.text(), max_size=10), st.lists(st.tuples(st.integers(0, 30), st.text())), INDEXES)
@FEW
def test_objects(table: list[Any], pairs: list[tuple[int, str]], cleared: list[int]) -> None:
    expected: dict[int, Any] = dict(enumerate(table)) | dict(pairs)
    scatter_objects(table, i(*(index for index, _ in pairs)), [value for _, value in pairs])
    assert table == [expected.get(index) for index in range(max(expected, default=-1) + 1)]
    assert gather_objects(table, i(*expected)) == list(expected.values())
    clear_objects(table, i(*cleared))
    assert table == [None if index in cleared else expected.get(index) for index in range(len(table))]


@given(st.integers(0, 2**24 - 1), st.lists(st.integers(0, 2**39 - 1)))
@FEW
def test_ids(high: int, low: list[int]) -> None:
    ids = join_ids(high, array("Q", low))
    assert list(ids) == [high << 40 | number for number in low]
    assert list(split_ids(ids)) == low
    assert same_high(ids) == (high if low else -1)


def test_ids_of_different_owners() -> None:
    assert same_high(array("Q", (1 << 40, 2 << 40))) == -1
    with pytest.raises(ValueError):
        join_ids(1, array("Q", (1, 2**39)))
    with pytest.raises(ValueError):
        join_ids(2**24, array("Q", (1,)))


def test_what_is_refused() -> None:
    table = i(1, 2)
    for indexes in (i(0, 2), i(0xFFFFFFFF)):
        with pytest.raises(IndexError):
            gather(table, indexes)
        with pytest.raises(IndexError):
            gather_objects([1, 2], indexes)
    with pytest.raises(IndexError):
        fill(table, i(0, 0xFFFFFFFF), 9)
    with pytest.raises(IndexError):
        scatter_objects([], i(0xFFFFFFFF), [9])
    with pytest.raises(ValueError):
        scatter(table, i(0, 1), i(9))
    with pytest.raises(ValueError):
        scatter_objects([], i(0, 1), [9])
    with pytest.raises(ValueError):
        fill(table, array("Q", (0,)), 9)
    assert table == i(1, 2)


def test_a_table_that_somebody_looks_at_does_not_move() -> None:
    table = i(1, 2)
    with memoryview(table) as seen:
        for grow in (lambda: fill(table, i(99), 9), lambda: scatter(table, i(99, 98), table)):
            with pytest.raises(BufferError):
                grow()
        assert list(seen) == [1, 2]
    fill(table, i(99), 9)
    assert (table[99], len(table)) == (9, 100)


def test_only_arrays_of_the_right_type_are_tables() -> None:
    for table in (array("B", b"1234"), array("Q", (1, 2, 3, 4))):
        for use in (lambda table=table: gather(table, i(3)), lambda table=table: fill(table, i(3), 1)):
            with pytest.raises(TypeError):
                use()


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_sums(values):
    assert sum_and_max(array("Q", values)) == (sum(values) % 2**64, max(values, default=0))
