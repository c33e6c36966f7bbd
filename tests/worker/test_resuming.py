"""The scheduler dies, and another one takes its place: what runs goes on, and is told of."""

from __future__ import annotations

from array import array

from scaler.ids import RANGE_BIT, task_id, u32, u64
from scaler.machine import Output
from scaler.messages import (
    Assign,
    CancelAssigned,
    DefineForWorker,
    ExecutorDeaths,
    ForgetForExecutor,
    Function,
    RegisterWorker,
    Results,
    ResultStatus,
    Survived,
    WorkerHeartbeatEcho,
)
from scaler.worker.executors import KillExecutor
from scaler.worker.reports import UNACKNOWLEDGED_RESULTS

from .builders import Rig, ended, i, q, ran, said, told

OK, RUNS = ResultStatus.succeeded, ResultStatus.unspecified
ANN, BEN = b"A" * 16, b"B" * 16
NEXT = b"T" * 16
FIRST, SECOND = task_id(1, 10), task_id(1, 11)
RANGE = task_id(1, RANGE_BIT + 3)


def rig(slots: int = 1) -> Rig:
    made = Rig(slots)
    made.say(DefineForWorker([Function(7, "s", owner=ANN, name="seven"), Function(8, "s", owner=BEN)]))
    return made


def survivors(outputs: list[Output]) -> list[tuple[int, int, int, int, int, bytes]]:
    """(task, attempt, status, sequence, count, owner) of all that is told."""
    entries = []
    for m in said(outputs, Survived):
        counts = u32(m.results.counts) or array("I", [1]) * len(m.results.payloads)
        owners = [m.owners[place] for place in u32(m.owner_of)]
        columns = u64(m.results.tasks), u32(m.results.attempts), m.results.statuses, u64(m.sequences), counts, owners
        entries += list(zip(*columns, strict=True))
    (register,) = said(outputs, RegisterWorker)
    assert register.survivors == len(entries)
    return entries


def test_what_runs_goes_on_and_what_waits_is_forgotten() -> None:
    worker = rig()
    worker.assign(FIRST, SECOND, function=7, attempt=4)
    worker.take(0)
    assert worker.lose() == []
    outputs = worker.connect(NEXT)
    assert survivors(outputs) == [(FIRST, 4, RUNS, 10, 1, ANN)]
    assert told(outputs, ForgetForExecutor) == [ForgetForExecutor(i(7))]
    assert worker.state.snapshot()["queued"] == 0
    assert ended(worker.done(0)) == [(FIRST, 4, OK, b"r")]


def test_results_that_nobody_acknowledged_are_told_again() -> None:
    worker = rig()
    worker.assign(FIRST, function=7)
    assert ended(worker.run(0)) == [(FIRST, 1, OK, b"r")]
    worker.lose()
    assert survivors(worker.connect(NEXT)) == [(FIRST, 1, OK, 10, 1, ANN)]
    worker.lose()
    assert survivors(worker.connect(b"U" * 16)) == []


def test_an_answered_heartbeat_acknowledges_what_was_told_before() -> None:
    worker = rig()
    worker.assign(FIRST, function=7)
    worker.run(0)
    sent = int(worker.now * 1e6)
    worker.now += 1
    worker.assign(SECOND, function=7)
    worker.run(1)
    worker.say(WorkerHeartbeatEcho(sent))
    worker.lose()
    assert survivors(worker.connect(NEXT)) == [(SECOND, 1, OK, 11, 1, ANN)]


def test_what_ends_without_a_scheduler_is_told_to_the_next() -> None:
    worker = rig(2)
    worker.assign(FIRST, function=7)
    worker.assign(task_id(2, 5), function=8)
    worker.take(0)
    worker.take(0, executor=1)
    worker.lose()
    assert worker.done(0, status=ResultStatus.failed, payload=b"why") == []
    told_of = survivors(worker.connect(NEXT))
    assert told_of == [(task_id(2, 5), 1, RUNS, 5, 1, BEN), (FIRST, 1, ResultStatus.failed, 10, 1, ANN)]


def test_of_a_range_the_item_that_runs_goes_on() -> None:
    worker = rig()
    ends = i(1, 2, 3, 4).tobytes()
    worker.say(Assign(q(RANGE), i(2), i(7), [b"abcd"], item_ends=[ends], sequences=q(20)))
    claims = worker.claims[0]
    worker.take(0)
    claims.open_range(0, 4)
    assert claims.take_item(0) and claims.take_item(0)
    one = Results(q(0), b"", bytes([OK]), [b"a"], q(5), q(0), q(0))
    worker.state.executor_said(0, one, worker.now)
    worker.lose()
    assert not claims.take_item(0)
    assert survivors(worker.connect(NEXT)) == [(RANGE, 2, RUNS, 21, 1, ANN), (RANGE, 2, OK, 20, 1, ANN)]
    assert ended(worker.done(0, payload=b"b")) == [(RANGE, 2, OK, b"b")]
    assert worker.state.snapshot()["sent"] == 0


def test_an_executor_that_dies_meanwhile_is_not_told_of_and_one_that_dies_later_is() -> None:
    worker = rig(2)
    worker.assign(FIRST, SECOND, function=7)
    worker.take(0)
    worker.take(0, executor=1)
    worker.lose()
    assert said(worker.exited(0), ExecutorDeaths) == []
    assert survivors(worker.connect(NEXT)) == [(SECOND, 1, RUNS, 11, 1, ANN)]
    assert said(worker.exited(1, "signal 9"), ExecutorDeaths) == [ExecutorDeaths(q(SECOND), i(1), ["signal 9"])]


def test_what_had_ended_in_an_executor_that_dies_later_is_not_blamed() -> None:
    worker = rig()
    worker.assign(task_id(1, 9), function=7)
    worker.take(0)
    worker.done(0)
    worker.assign(FIRST, SECOND, function=7, attempt=2)
    worker.take(1)
    worker.claims[0].rest()
    worker.take(2)
    worker.lose()
    worker.connect(NEXT)
    crashed, innocent = ResultStatus.crashed, ResultStatus.unspecified
    assert said(worker.exited(0, "signal 9"), ExecutorDeaths) == [
        ExecutorDeaths(q(FIRST, SECOND), i(2, 2), ["signal 9"] * 2, i(0, 0), bytes([innocent, crashed]))
    ]


def test_functions_of_the_next_scheduler_are_others() -> None:
    worker = rig(2)
    worker.assign(FIRST, function=7)
    worker.take(0)
    worker.lose()
    worker.connect(NEXT)
    worker.say(DefineForWorker([Function(7, "s", name="another", owner=BEN)]))
    assert [executor for executor, *_ in ran(worker.assign(task_id(2, 0), function=7))] == [1]
    running = worker.state._executors.facts(worker.now, lambda number: (0, 0.0, 0))
    assert [facts.function_name for facts in running if facts.task == FIRST] == ["seven"]


def test_what_the_next_scheduler_does_not_want_is_stopped() -> None:
    worker = rig()
    worker.assign(FIRST, function=7, attempt=4)
    worker.take(0)
    worker.lose()
    worker.connect(NEXT)
    assert worker.say(CancelAssigned(q(FIRST), i(4))) == [KillExecutor(0)]


def test_not_more_results_are_kept_than_so_many() -> None:
    worker = rig()
    reports = worker.state._executors.reports
    done = (FIRST, 1, OK, b"", 0, 0, 0, 1, b"", 0, 0)
    for turn in range(12):
        reports.done = [done] * (UNACKNOWLEDGED_RESULTS // 10)
        reports.take(float(turn))
    assert sum(len(message.payloads) for message, _ in reports.unacknowledged()) == UNACKNOWLEDGED_RESULTS
