"""Which objects are in memory, next to a slow and obvious twin that keeps them in one list."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler.storage.content import Content
from scaler.storage.residency import AHEAD, Held, Residency


def held(key: int, size: int) -> Held:
    return Held(key, b"", size, Content(memoryview(bytes(size))))


def filled(limit: int, *sizes: int) -> tuple[Residency, list[Held]]:
    residency, objects = Residency(limit), [held(key, size) for key, size in enumerate(sizes)]
    for one in objects:
        residency.enter(one)
    return residency, objects


def test_nothing_is_written_below_seven_eighths() -> None:
    residency, _ = filled(80, 10, 10, 50)
    assert residency.to_write() == []


def test_least_recently_used_is_written_first_and_dropped_when_its_room_is_needed() -> None:
    residency, (a, b, c) = filled(80, 10, 10, 55)
    residency.pin(a)
    residency.unpin(a)
    assert residency.to_write() == [b]
    assert not residency.claim(10) and b.content is not None
    residency.written(b)
    assert residency.claim(5) and b.content is not None, "it stays while there is room"
    assert residency.claim(10) and b.content is None and residency.spilled_bytes == 10
    assert residency.to_write() == [c]
    residency.check([a, b, c])


def test_what_is_in_use_is_not_written() -> None:
    residency, (a, b) = filled(16, 8, 8)
    residency.pin(a)
    assert residency.to_write() == [b]
    residency.written(b)
    residency.pin(b)
    assert not residency.claim(1) and b.content is not None
    residency.unpin(b)
    assert residency.claim(0) and residency.to_write() == [], "its copy is there, so it can be dropped at once"
    assert residency.claim(8)


def test_failing_disk_is_tried_with_one_object_until_it_works() -> None:
    residency, (a, b, c) = filled(8, 8, 8, 8)
    assert residency.to_write() == [a, b, c]
    residency.write_failed(a)
    residency.written(b)
    residency.write_failed(c)
    assert residency.failing, "a write that began before says nothing"
    assert residency.to_write() == []
    assert residency.probe() is c
    residency.write_failed(c)
    residency.remove(c)
    assert residency.probe() is a
    residency.written(a)
    assert not residency.failing
    residency.check([a, b])


def test_probe_without_anything_to_write_ends_the_failure() -> None:
    residency, (a,) = filled(8, 8)
    residency.to_write()
    residency.write_failed(a)
    residency.remove(a)
    assert residency.probe() is None and not residency.failing


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_without_need_nothing_moves(limit: int) -> None:
    residency, objects = filled(limit, 1 << 20, 1 << 20)
    assert residency.to_write() == [] and residency.claim(1 << 30)
    residency.check(objects)


def shared(key: int, *files: tuple[str, int]) -> Held:
    return Held(key, b"", 4, Content(memoryview(bytes(4)), object(), files))


def test_a_file_of_several_objects_counts_once_and_until_the_last() -> None:
    residency = Residency(16)
    a, b = shared(1, ("x", 8)), shared(2, ("x", 8), ("y", 2))
    for one in (a, b):
        residency.enter(one)
    assert (a.charge, b.charge, residency.used_bytes) == (8, 2, 10)
    residency.remove(a)
    assert (a.charge, b.charge, residency.used_bytes) == (0, 10, 10)
    residency.check([b])
    residency.remove(b)
    assert residency.used_bytes == 0


def test_room_in_a_file_that_another_object_holds_is_not_counted_on() -> None:
    residency = Residency(16)
    a, b = shared(1, ("x", 12)), shared(2, ("x", 12))
    for one in (a, b):
        residency.enter(one)
    assert residency.to_write(8) == [a]
    residency.written(a)
    assert residency.cold_bytes == 12 and not residency.claim(8)
    assert a.content is None and residency.cold_bytes == 0, "dropping it made no room"
    assert residency.to_write(8) == [b]
    residency.check([a, b])
    residency.written(b)
    assert residency.claim(8) and residency.used_bytes == 8
    residency.check([a, b])


class Twin(RuleBasedStateMachine):
    """The order of use is one list; what should happen is computed from it anew each time."""

    LIMIT = 64

    def __init__(self) -> None:
        super().__init__()
        self.residency = Residency(self.LIMIT)
        self.key = 0
        self.order: list[Held] = []
        """All objects in memory, the least recently used first."""
        self.disk: list[Held] = []
        """Only there."""
        self.writing: list[Held] = []
        self.reading: list[Held] = []
        self.claimed = 0

    def used(self) -> int:
        return sum(one.size for one in self.order) + self.claimed + sum(one.size for one in self.reading)

    def drop(self, size: int) -> None:
        """What the twin drops: copied, not in use, oldest first, no more than needed. It has to agree with what was done."""
        gone = [one for one in self.order if one.content is None]
        self.order = [one for one in self.order if one.content is not None]
        self.disk += gone
        assert all(one.copied and not one.pins for one in gone)
        assert not gone or self.used() + size + gone[-1].size > self.LIMIT or len(gone) > 1

    @rule(size=st.integers(0, 40))
    def put(self, size: int) -> None:
        fits = self.residency.claim(size)
        self.drop(size)
        assert fits == (self.used() + size <= self.LIMIT)
        if fits:
            self.residency.unclaim(size)
            self.key += 1
            self.order.append(held(self.key, size))
            self.residency.enter(self.order[-1])

    @rule(need=st.integers(0, 40))
    def choose(self, need: int) -> None:
        idle = [one for one in self.order if not (one.pins or one.busy or one.copied)]
        chosen = self.residency.to_write(need)
        assert chosen == idle[: len(chosen)] or self.residency.failing
        soon = sum(one.size for one in self.order if one.busy or (one.copied and not one.pins))
        soon += self.LIMIT - self.used()
        if len(chosen) < len(idle) and not self.residency.failing:
            assert soon >= need + self.LIMIT // AHEAD, "it stops when enough can be had"
        assert not (chosen and self.residency.failing)
        self.writing += chosen

    @precondition(lambda self: self.writing)
    @rule(data=st.data(), works=st.booleans())
    def write_ends(self, data: st.DataObject, works: bool) -> None:
        one = data.draw(st.sampled_from(self.writing))
        self.writing.remove(one)
        (self.residency.written if works else self.residency.write_failed)(one)
        self.free_if_gone(one)

    @precondition(lambda self: self.residency.failing and not self.writing)
    @rule()
    def probe(self) -> None:
        one = self.residency.probe()
        if one is not None:
            assert not (one.copied or one.pins or one.gone)
            self.writing.append(one)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.order))
        self.residency.pin(one)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def use_shortly(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.order))
        self.residency.use(one)
        if not one.pins:
            self.order.remove(one)
            self.order.append(one)

    @rule(data=st.data())
    def use_ends(self, data: st.DataObject) -> None:
        used = [one for one in self.order if one.pins]
        if used:
            one = data.draw(st.sampled_from(used))
            self.residency.unpin(one)
            if not one.pins:
                self.order.remove(one)
                self.order.append(one)
                self.free_if_gone(one)

    @precondition(lambda self: self.disk)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.disk))
        if not self.residency.claim(one.size):
            self.residency.overdraw(one.size)
        self.drop(one.size)
        self.residency.read(one)
        self.disk.remove(one)
        self.reading.append(one)

    @precondition(lambda self: self.reading)
    @rule(data=st.data(), works=st.booleans())
    def read_ends(self, data: st.DataObject, works: bool) -> None:
        one = data.draw(st.sampled_from(self.reading))
        self.reading.remove(one)
        if works:
            self.residency.was_read(one, Content(memoryview(bytes(one.size))))
            self.order.append(one)
        else:
            self.residency.read_failed(one)
            self.disk.append(one)
        self.free_if_gone(one)

    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        everything = self.order + self.disk + self.reading
        if everything:
            one = data.draw(st.sampled_from(everything))
            one.gone = True
            self.free_if_gone(one)

    def free_if_gone(self, one: Held) -> None:
        if one.gone and not one.busy and not one.pins:
            self.residency.remove(one)
            (self.order if one in self.order else self.disk).remove(one)

    @invariant()
    def agrees(self) -> None:
        self.residency.check(self.order + self.disk + self.reading)
        assert self.residency.used_bytes == self.used()


Twin.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestTwin = Twin.TestCase
