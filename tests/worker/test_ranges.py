"""Ranges of task arrays in a worker; the pages of claims are real ones."""

from __future__ import annotations

from array import array

from scaler.ids import u32
from scaler.machine import Output
from scaler.messages import (
    Assign,
    CancelAssigned,
    ExecutorDeaths,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    RunTasks,
    Trimmed,
)
from scaler.worker.executors import STARTED_SECONDS, AskForAttention, KillExecutor

from .builders import Rig, i, q, said, told

OK = ResultStatus.succeeded


def assign(rig: Rig, task: int, items: int, timeout: int = 0) -> list[Output]:
    ends = array("I", range(1, items + 1)).tobytes()
    timeouts = q(timeout) if timeout else b""
    payload = bytes(range(items))
    return rig.say(Assign(q(task), i(1), i(0), [payload], timeouts, item_ends=[ends]))


def begin(rig: Rig, position: int, items: int, taken: int, executor: int = 0) -> None:
    """The executor begins a range, and so many of its items."""
    rig.take(position, executor)
    rig.claims[executor].open_range(position, items)
    for _ in range(taken):
        assert rig.claims[executor].take_item(int(rig.now * 1e6))


def items_done(rig: Rig, position: int, count: int, executor: int = 0, wall: int = 10) -> list[Output]:
    """Results of the next items of a range."""
    cuts = array("I", range(1, count + 1)).tobytes() if count > 1 else b""
    column = q(wall * count), q(0), q(0)
    results = Results(q(position), b"", bytes([OK]), [b"r" * count], *column, i(count), [cuts])
    rig.state.executor_said(executor, results, rig.now)
    return rig.after()


def forwarded(outputs: list[Output]) -> list[tuple[int, int]]:
    """(task, items) of the results that the scheduler is told."""
    return [
        entry
        for m in said(outputs, Results)
        for entry in zip(array("Q", m.tasks), list(u32(m.counts)) or [1] * len(m.payloads), strict=True)
    ]


def test_a_range_goes_to_an_executor_as_one() -> None:
    rig = Rig()
    (run,) = told(assign(rig, 7, 3), RunTasks)
    assert run.payloads == [bytes(range(3))]
    assert list(u32(run.item_ends[0])) == [1, 2, 3]


def test_results_of_items_are_passed_on_until_the_range_has_ended() -> None:
    rig = Rig()
    assign(rig, 7, 5)
    begin(rig, 0, 5, 5)
    assert forwarded(items_done(rig, 0, 3)) == [(7, 3)]
    assert rig.state.snapshot()["sent"] == 1
    assert forwarded(items_done(rig, 0, 2)) == [(7, 2)]
    assert rig.state.snapshot()["sent"] == 0


def test_a_range_that_runs_for_long_is_trimmed() -> None:
    rig = Rig()
    assign(rig, 7, 100)
    begin(rig, 0, 100, 4)
    assert said(rig.at(rig.now + STARTED_SECONDS), Trimmed) == []  # It may have begun just now.
    outputs = rig.at(rig.now + STARTED_SECONDS)
    (trimmed,) = said(outputs, Trimmed)
    assert (list(trimmed.tasks), list(trimmed.kept)) == ([7], [4])
    assert not rig.claims[0].take_item(0)
    items_done(rig, 0, 4)
    assert rig.state.snapshot()["sent"] == 0


def test_results_go_before_the_news_of_a_trim() -> None:
    rig = Rig()
    assign(rig, 7, 100)
    begin(rig, 0, 100, 4)
    rig.at(rig.now + STARTED_SECONDS)
    rig.state.executor_said(0, Results(q(0), b"", bytes([OK]), [b"rr"], q(9), q(0), q(0), i(2), [i(1, 2).tobytes()]), 0)
    kinds = [type(o.message) for o in rig.at(rig.now + STARTED_SECONDS) if hasattr(o, "peer")]
    assert kinds.index(Results) < kinds.index(Trimmed)


def test_a_range_that_ended_meanwhile_is_not_trimmed() -> None:
    rig = Rig()
    assign(rig, 7, 3)
    begin(rig, 0, 3, 3)
    rig.at(rig.now + STARTED_SECONDS)
    assert said(rig.at(rig.now + STARTED_SECONDS), Trimmed) == []


def test_the_item_that_ran_is_told_when_its_executor_dies() -> None:
    rig = Rig()
    assign(rig, 7, 10)
    begin(rig, 0, 10, 6)
    items_done(rig, 0, 2)
    (deaths,) = said(rig.exited(0), ExecutorDeaths)
    assert (list(deaths.tasks), list(deaths.items), list(deaths.statuses)) == ([7], [5], [ResultStatus.crashed])


def test_a_range_behind_the_one_that_died_runs_again_whole() -> None:
    rig = Rig()
    rig.assign(1)
    rig.run(0, wall=1)
    assign(rig, 7, 10)
    assign(rig, 8, 10)
    begin(rig, 1, 10, 1)
    rig.exited(0)
    outputs = rig.started(1)
    runs = told(outputs, RunTasks, 1)
    assert runs[0].payloads == [bytes(range(10))]


def test_what_had_ended_of_a_survivor_does_not_run_again() -> None:
    """A range of which some results arrived, in an executor that died in the next task."""
    rig = Rig()
    rig.assign(1)
    rig.run(0, wall=1)
    assign(rig, 7, 10)
    assign(rig, 8, 10)
    begin(rig, 1, 10, 10)
    items_done(rig, 1, 4)
    rig.claims[0].rest()
    begin(rig, 2, 10, 1)
    outputs = rig.exited(0) + rig.started(1)
    runs = told(outputs, RunTasks, 1)
    assert runs[0].payloads[0] == bytes(range(4, 10))
    assert list(u32(runs[0].item_ends[0])) == [1, 2, 3, 4, 5, 6]
    # Items are counted from the assignment on, also now.
    begin(rig, 0, 6, 2, executor=1)
    (deaths,) = said(rig.exited(1), ExecutorDeaths)
    assert (list(deaths.tasks), list(deaths.items)) == ([7], [5])


def test_an_item_that_runs_too_long_is_told_by_its_number() -> None:
    rig = Rig()
    assign(rig, 7, 10, timeout=50)
    begin(rig, 0, 10, 3)
    outputs = rig.at(rig.now + 0.06)
    assert [o.executor for o in outputs if isinstance(o, KillExecutor)] == [0]
    (deaths,) = said(rig.exited(0), ExecutorDeaths)
    assert (list(deaths.items), list(deaths.statuses)) == ([2], [ResultStatus.timed_out])
    assert "limit" in deaths.stories[0]


def test_a_range_that_has_not_begun_is_given_back() -> None:
    rig = Rig()
    assign(rig, 7, 10)
    (answer,) = said(rig.say(Retract(q(7), i(1))), Retracted)
    assert list(answer.returned) == [7]
    assert not rig.claims[0].take(0, 0)


def test_a_cancelled_range_is_stopped() -> None:
    rig = Rig()
    assign(rig, 7, 10)
    begin(rig, 0, 10, 1)
    outputs = rig.say(CancelAssigned(q(7), i(1)))
    assert [o.executor for o in outputs if isinstance(o, KillExecutor)] == [0]
    assert said(rig.exited(0), ExecutorDeaths) == []


def test_an_executor_is_asked_once_for_results_that_wait_behind_a_long_item() -> None:
    rig = Rig()
    assign(rig, 7, 10)
    begin(rig, 0, 10, 4)
    asked = [rig.at(rig.now + STARTED_SECONDS) for _ in range(3)]
    assert [AskForAttention(0) in outputs for outputs in asked] == [True, False, False]


def test_an_executor_that_keeps_nothing_is_not_asked() -> None:
    rig = Rig()
    assign(rig, 7, 10)
    begin(rig, 0, 10, 4)
    items_done(rig, 0, 3)
    assert AskForAttention(0) not in rig.at(rig.now + STARTED_SECONDS)
