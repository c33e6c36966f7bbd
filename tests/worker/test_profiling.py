"""The worker's part in profiles: which executors it asks, and what it tells of what they find."""

from __future__ import annotations

from typing import Any

from scaler.ids import u64
from scaler.messages import BeginSampling, EndSampling, StackSamples
from scaler.stacks import Frame, StackCounts
from scaler.worker.executors import AskForAttention, KillExecutor, StartExecutor
from scaler.worker.profiling import GRACE_SECONDS

from .builders import Rig, i, of_kind, said, told

FRAME = Frame("f", "f.py", 1)


def found(rig: Rig, executor: int, count: int = 1, ended: bool = False) -> list[Any]:
    """An executor tells."""
    counts = StackCounts()
    counts.add("f", (FRAME,), count)
    samples = counts.take(4)
    samples.ended = ended
    rig.state.executor_said(executor, samples, rig.now)
    return rig.after()


def begin(rig: Rig, milliseconds: int = 3000, **more: Any) -> list[Any]:
    return rig.say(BeginSampling(4, milliseconds, 100, 1000, **more))


def total(samples: StackSamples) -> int:
    return sum(u64(samples.counts))


def test_executors_are_asked_and_the_scheduler_is_told_in_intervals_what_is_new() -> None:
    rig = Rig(2)
    outputs = begin(rig)
    for executor in (0, 1):
        (asked,) = told(outputs, BeginSampling, executor)
        assert (asked.profile, asked.milliseconds, asked.hertz, asked.tell_milliseconds) == (4, 3000, 100, 500)
    assert [o.executor for o in of_kind(outputs, AskForAttention)] == [0, 1]
    assert said(found(rig, 0, 2) + found(rig, 1, 3), StackSamples) == []
    (samples,) = said(rig.at(rig.now + 1.0), StackSamples)
    assert (samples.profile, total(samples), samples.executors, samples.ended) == (4, 5, 2, False)
    (samples,) = said(rig.at(rig.now + 1.0), StackSamples)
    assert total(samples) == 0
    assert rig.state.next_deadline() <= rig.now + 1.0


def test_it_ends_when_all_executors_have_told_all() -> None:
    rig = Rig(2)
    begin(rig)
    rig.at(rig.now + 3.0)
    assert not any(samples.ended for samples in said(found(rig, 0, ended=True), StackSamples))
    (last,) = said(found(rig, 1, ended=True), StackSamples)
    assert last.ended and (last.executors_lost, last.executors_silent) == (0, 0)
    assert said(rig.at(rig.now + 5), StackSamples) == []


def test_only_some_slots() -> None:
    rig = Rig(3)
    outputs = begin(rig, slots=i(1))
    assert [o.executor for o in of_kind(outputs, AskForAttention)] == [1]
    assert len(told(outputs, BeginSampling)) == 1


def test_an_executor_that_replaces_one_that_died_is_asked_for_the_rest() -> None:
    rig = Rig()
    begin(rig)
    found(rig, 0)
    rig.now += 1.0
    (start,) = of_kind(rig.exited(0), StartExecutor)
    (asked,) = told(rig.started(start.executor), BeginSampling, start.executor)
    assert asked.milliseconds == 2000
    rig.at(rig.now + 2.0)
    (last,) = said(found(rig, start.executor, ended=True), StackSamples)
    assert last.ended and (last.executors, last.executors_lost, last.executors_silent) == (2, 1, 0)


def test_executors_that_never_begin_or_stop_telling_are_not_waited_for() -> None:
    rig = Rig(3)
    begin(rig)
    found(rig, 0, ended=True)
    found(rig, 1)
    assert not any(samples.ended for samples in said(rig.at(rig.now + 3.0), StackSamples))
    outputs = rig.at(rig.now + GRACE_SECONDS)
    (last,) = said(outputs, StackSamples)
    assert last.ended and (last.executors_lost, last.executors_silent) == (1, 1)
    assert told(outputs, EndSampling, 1) and told(outputs, EndSampling, 2) and not told(outputs, EndSampling, 0)
    assert said(found(rig, 2, ended=True), StackSamples) == []


def test_the_scheduler_may_end_it() -> None:
    rig = Rig()
    begin(rig)
    found(rig, 0, 3)
    outputs = rig.say(EndSampling(4))
    assert told(outputs, EndSampling, 0) == [EndSampling(4)] and len(of_kind(outputs, AskForAttention)) == 1
    (last,) = said(found(rig, 0, 2, ended=True), StackSamples)
    assert last.ended and total(last) == 5
    assert rig.say(EndSampling(4)) == []


def test_with_the_scheduler_goes_the_profile() -> None:
    rig = Rig()
    begin(rig)
    assert told(rig.lose(), EndSampling, 0) == [EndSampling(4)]
    rig.connect()
    assert said(found(rig, 0, ended=True) + rig.at(rig.now + 9), StackSamples) == []


def test_an_executor_that_is_being_killed_is_not_asked() -> None:
    rig = Rig()
    rig.assign(1)
    rig.take(0)
    rig.now += 0.05
    rig.lose()
    assert of_kind(rig.connect(), KillExecutor)
    assert told(begin(rig), BeginSampling) == []
