"""Slots against a dict and a list."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler._core.slots import NONE, Slots

IDS = st.one_of(st.integers(0, 40), st.integers(0, 40).map(lambda n: n << 40), st.integers(0, 2**64 - 1))


def q(*numbers: int) -> array[int]:
    return array("Q", numbers)


def i(*numbers: int) -> array[int]:
    return array("I", numbers)


class Oracle:
    def __init__(self) -> None:
        self.used: dict[int, int] = {}
        self.spare: list[int] = []
        self.top = 0

    def add(self, ids: list[int]) -> list[int]:
        out = []
        for each in ids:
            if self.spare:
                index = self.spare.pop()
            else:
                index, self.top = self.top, self.top + 1
            self.used[each] = index
            out.append(index)
        return out

    def remove(self, indexes: list[int]) -> None:
        self.used = {each: index for each, index in self.used.items() if index not in indexes}
        self.spare.extend(indexes)


class SlotsMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.slots = Slots()
        self.oracle = Oracle()

    @rule(ids=st.lists(IDS, max_size=60))
    def add(self, ids: list[int]) -> None:
        if len(set(ids)) < len(ids) or any(each in self.oracle.used for each in ids):
            with pytest.raises(KeyError):
                self.slots.add(q(*ids))
        else:
            assert list(self.slots.add(q(*ids))) == self.oracle.add(ids)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        indexes = data.draw(st.lists(st.sampled_from(sorted(self.oracle.used.values()) or [0]), max_size=20))
        indexes += data.draw(st.sampled_from([[], [], [], [], [NONE], [self.oracle.top]]))
        if len(set(indexes)) < len(indexes) or not set(indexes) <= set(self.oracle.used.values()):
            with pytest.raises(IndexError):
                self.slots.remove(i(*indexes))
        else:
            self.slots.remove(i(*indexes))
            self.oracle.remove(indexes)

    @rule(ids=st.lists(IDS, max_size=20))
    def find(self, ids: list[int]) -> None:
        assert list(self.slots.find(q(*ids))) == [self.oracle.used.get(each, NONE) for each in ids]

    @invariant()
    def same(self) -> None:
        used = self.oracle.used
        assert len(self.slots) == len(used)
        assert self.slots.capacity == self.oracle.top
        assert list(self.slots.find(q(*used))) == list(used.values())
        assert list(self.slots.ids(i(*used.values()))) == list(used)
        self.slots.check()


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_refused_column_changes_nothing() -> None:
    slots = Slots()
    slots.add(q(1, 2, 3, 4))
    slots.remove(i(1, 2))
    for ids in (q(9, 8, 7, 9), q(9, 8, 7, 6, 5, 4)):
        with pytest.raises(KeyError):
            slots.add(ids)
        slots.check()
        assert (len(slots), slots.capacity) == (2, 4)
    with pytest.raises(IndexError):
        slots.remove(i(0, 3, 0))
    with pytest.raises(IndexError):
        slots.ids(i(0, 1))
    slots.check()
    assert list(slots.add(q(5, 6, 7))) == [2, 1, 4]


def test_many_ids_that_share_low_bits() -> None:
    slots = Slots()
    ids = array("Q", [n << 44 for n in range(100_000)])
    indexes = slots.add(ids)
    assert list(indexes) == list(range(100_000))
    slots.remove(indexes[::2])
    slots.check()
    assert set(slots.find(ids[::2])) == {NONE}
    assert slots.find(ids[1::2]) == indexes[1::2]


def test_a_column_of_the_wrong_width() -> None:
    with pytest.raises(ValueError):
        Slots().add(i(1, 2))
    with pytest.raises(ValueError):
        Slots().add(b"1234567")


def test_columns_that_begin_anywhere() -> None:
    ids = q(*range(1, 50))
    slots = Slots()
    for offset in range(8):
        moved = memoryview(bytes(offset) + ids.tobytes())[offset:]
        indexes = slots.add(moved)
        assert slots.ids(memoryview(bytes(offset) + indexes.tobytes())[offset:]) == ids
        assert slots.find(moved) == indexes
        slots.remove(indexes)
