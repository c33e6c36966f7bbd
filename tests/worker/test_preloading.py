"""Executors with a preload: no tasks before it has ended, no worker where it fails."""

from __future__ import annotations

from scaler.machine import UNFIT, Stop
from scaler.messages import DefineForWorker, Function, Preloaded
from scaler.worker.executors import MAX_FAILED_FORKS, Prepared

from .builders import Rig, of_kind, ran

PRELOAD = "pkg.mod:setup()"


def rig(slots: int = 1) -> Rig:
    return Rig(slots, preload=PRELOAD)


def preloaded(on: Rig, executor: int, error: str = "") -> list[object]:
    on.state.executor_said(executor, Preloaded(error), on.now)
    return on.after()


def test_tasks_come_after_it() -> None:
    worker = rig()
    assert ran(worker.assign(1)) == []
    assert ran(preloaded(worker, 0)) == [(0, 0, [b"1"])]


def test_it_may_be_heard_of_before_the_start() -> None:
    worker = Rig(start=False, preload=PRELOAD)
    worker.connect()
    worker.say(DefineForWorker([Function(0, "s")]))
    preloaded(worker, 0)
    worker.assign(1)
    assert ran(worker.started(0)) == [(0, 0, [b"1"])]


def test_the_worker_is_prepared_when_all_executors_are() -> None:
    worker = rig(2)
    assert of_kind(preloaded(worker, 1), Prepared) == []
    assert of_kind(preloaded(worker, 0), Prepared) == [Prepared()]
    worker.exited(0)
    worker.started(2)
    assert of_kind(preloaded(worker, 2), Prepared) == []


def test_a_worker_whose_preload_raises_is_unfit() -> None:
    worker = rig(2)
    reason = f"the preload {PRELOAD} failed:\nTraceback: no database"
    assert preloaded(worker, 0, "Traceback: no database")[-2:] == [Prepared(reason), Stop(reason, UNFIT)]


def test_one_that_was_prepared_before_may_be_started_again() -> None:
    worker = rig()
    preloaded(worker, 0)
    worker.exited(0)
    worker.started(1)
    outputs = preloaded(worker, 1, "Traceback: no database")
    assert of_kind(outputs, Prepared) == []
    assert [stop.exit_code for stop in of_kind(outputs, Stop)] == [1]


def test_executors_that_die_in_it_are_not_forked_for_ever() -> None:
    worker = rig()
    for number in range(MAX_FAILED_FORKS):
        assert of_kind(worker.exited(number, "signal 11"), Stop) == []
        worker.started(number + 1)
    (stop,) = of_kind(worker.exited(MAX_FAILED_FORKS, "signal 11"), Stop)
    assert stop == Stop("executors do not start: signal 11", UNFIT)


def test_an_executor_that_is_gone_is_not_prepared() -> None:
    worker = rig()
    worker.exited(0)
    assert preloaded(worker, 0) == []
