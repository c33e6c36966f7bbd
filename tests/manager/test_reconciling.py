"""A dynamic manager: what the scheduler wants, and what there is."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.machine import Log, Output, Send, Stop
from scaler.manager.backend import Phase, Sighting
from scaler.manager.state import StopWorkers
from scaler.messages import ConnectedWorker, Desired, ManagerReport, RegisterManager, ShutdownManager

from .test_state import SCHEDULER, Rig, report, sent, starts


def dynamic(now: float = 0.0, **options: Any) -> Rig:
    """Of eight slots, two for each worker; connected, and asked for nothing yet."""
    rig = Rig(**{"fixed": False, "slots": 8, "worker_slots": 2, "death_timeout_seconds": 60.0, **options})
    assert rig.first == []
    rig.connect(now)
    return rig


def desired(slots: int, *connected: int, draining: tuple[int, ...] = ()) -> Desired:
    workers = [ConnectedWorker(f"ann-{n}", 2, n in draining) for n in (*connected, *draining)]
    return Desired(slots, [], workers)


def kinds(outputs: list[Output], *wanted: type) -> list[Output]:
    return [output for output in outputs if isinstance(output, wanted)]


def pending(*numbers: int) -> list[Sighting]:
    return [Sighting(f"ann-{n}", Phase.PENDING) for n in numbers]


def running(*numbers: int) -> list[Sighting]:
    return [Sighting(f"ann-{n}", Phase.RUNNING) for n in numbers]


def test_it_says_what_it_is():
    rig = Rig(fixed=False, slots=8, cost_tier=3)
    registration = RegisterManager("ann", "baremetal_native", 8, ["gpu"], False, 3, 60_000)
    assert sent(rig.connect(0.0)) == [Send(SCHEDULER, registration), report(0, 0)]


def test_what_is_missing_is_started_in_one_step():
    rig = dynamic()
    assert sent(rig.say(desired(5), 1.0)) == [starts(0, 1, 2, slots=2), report(6, 0)]


def test_what_is_starting_is_not_started_again():
    rig = dynamic()
    rig.say(desired(4), 1.0)
    for again in (desired(4), desired(4, 0), desired(4, 0, 1), desired(3)):
        assert kinds(rig.say(again, 1.1), type(starts())) == []
    rig.sees(2.0, *running(0, 1), all_there_are=True)
    assert kinds(rig.say(desired(6, 0, 1), 2.1), type(starts())) == [starts(2, slots=2)]


def test_slots_are_at_work_when_the_scheduler_has_them():
    rig = dynamic()
    rig.say(desired(4), 1.0)
    assert sent(rig.sees(1.1, *running(0, 1))) == []
    assert sent(rig.say(desired(4, 0), 1.2)) == [report(2, 2)]


def test_never_more_than_the_limit_whatever_is_wanted():
    rig = dynamic()
    assert sent(rig.say(desired(100), 1.0))[0] == starts(0, 1, 2, 3, slots=2)
    rig = dynamic(slots=5)
    (started, _) = sent(rig.say(desired(5), 1.0))
    assert [order.slots for order in started.orders] == [2, 2, 1]


def test_a_limit_of_workers_is_told_and_kept():
    rig = dynamic(max_workers=2)
    outputs = sent(rig.say(desired(8), 1.0))
    assert outputs == [starts(0, 1, slots=2), Send(SCHEDULER, ManagerReport(4, 0, 0, "", 4))]


def test_workers_that_drain_are_neither_counted_nor_failures_but_need_their_place():
    rig = dynamic(slots=4)
    rig.say(desired(4), 1.0)
    rig.sees(1.1, *running(0, 1))
    assert sent(rig.say(desired(2, 0, draining=(1,)), 2.0)) == [report(0, 4)]
    assert kinds(rig.say(desired(4, 0, draining=(1,)), 2.1), type(starts())) == [], "there is no room yet"
    rig.say(desired(4, 0), 2.2)
    outputs = sent(rig.exited(1, "worker 1 ended with exit code 0", 2.3, orderly=True))
    assert outputs == [starts(2, slots=2), report(2, 2)]
    assert rig.state.snapshot()["failures"] == 0


def test_the_end_of_a_worker_that_drained_may_be_seen_before_it_is_told():
    rig = dynamic()
    rig.say(desired(2), 1.0)
    rig.sees(1.1, *running(0))
    rig.say(desired(2, 0), 1.2)
    rig.exited(0, "worker 0 ended with exit code 0", 2.0, orderly=True)
    assert rig.state.snapshot()["failures"] == 0


def test_nothing_that_runs_is_stopped_for_being_too_much():
    rig = dynamic()
    rig.say(desired(8), 1.0)
    rig.sees(1.1, *running(0, 1, 2, 3))
    assert kinds(rig.say(desired(0, 0, 1, 2, 3), 2.0), StopWorkers) == []


def test_what_does_not_run_yet_is_taken_back_the_newest_first():
    rig = dynamic()
    rig.say(desired(8), 1.0)
    rig.sees(1.1, *running(0), *pending(1, 2, 3))
    assert kinds(rig.say(desired(3, 0), 2.0), StopWorkers) == [StopWorkers(["ann-3", "ann-2"])]
    outputs = rig.sees(2.1, Sighting("ann-2", Phase.ENDED), Sighting("ann-3", Phase.ENDED))
    assert sent(outputs) == []
    assert rig.state.snapshot()["failures"] == 0


def test_what_was_only_asked_for_cannot_be_taken_back_before_the_backend_answers():
    rig = dynamic()
    rig.say(desired(8), 1.0)
    assert kinds(rig.say(desired(0), 1.1), StopWorkers) == []
    assert kinds(rig.sees(1.2, *pending(0, 1, 2, 3)), StopWorkers)


def test_failures_are_counted_and_tried_again_later():
    rig = dynamic()
    rig.say(desired(4), 1.0)
    failed = [Sighting(f"ann-{n}", Phase.ENDED, story="no room") for n in (0, 1)]
    outputs = rig.sees(1.1, *failed)
    assert outputs == [
        Log(30, "no room; another one starts in 0.1 s"),
        Send(SCHEDULER, ManagerReport(0, 0, 2, "no room")),
    ]
    assert rig.state.next_deadline() == pytest.approx(1.2)
    assert kinds(rig.tick(1.15), type(starts())) == []
    assert kinds(rig.tick(1.6), type(starts())) == [starts(2, 3, slots=2)]
    rig.sees(1.7, *(Sighting(f"ann-{n}", Phase.ENDED, story="no room") for n in (2, 3)))
    assert rig.state.next_deadline() == 2.0, "the heartbeat"
    assert kinds(rig.tick(2.1), type(starts())) == []
    assert kinds(rig.tick(2.2), type(starts())) == [starts(4, 5, slots=2)]


def test_a_limit_that_is_reached_is_no_reason_to_wake_up():
    rig = dynamic()
    rig.say(desired(100), 1.0)
    assert rig.state.next_deadline() == 2.0


def test_a_worker_that_is_gone_without_a_word_is_a_failure():
    rig = dynamic()
    rig.say(desired(2), 1.0)
    rig.sees(1.1, *running(0))
    outputs = rig.sees(5.0, all_there_are=True)
    assert rig.state.snapshot()["last_failure"] == "ann-0 is gone" and outputs


def test_who_is_connected_is_there_whatever_the_backend_says():
    rig = dynamic()
    rig.say(desired(2), 1.0)
    rig.sees(1.1, *running(0))
    rig.say(desired(2, 0), 1.2)
    assert sent(rig.sees(5.0, all_there_are=True)) == []
    rig.say(desired(2), 6.0)
    rig.sees(7.0, all_there_are=True)
    assert rig.state.snapshot()["failures"] == 1


def test_a_manager_that_comes_back_finds_its_workers():
    rig = Rig(fixed=False, slots=8, worker_slots=2, instance="new")
    rig.sees(0.1, Sighting("ann-old-7", Phase.RUNNING, 2, "worker 4711"), all_there_are=True)
    assert report(2, 0) in rig.connect(0.2)
    connected = [ConnectedWorker("ann-old-7", 2), ConnectedWorker("ann-old-8", 2)]
    outputs = rig.say(Desired(6, [], connected), 0.3)
    (started,) = kinds(outputs, type(starts()))
    assert [order.name for order in started.orders] == ["ann-new-0"]


def test_without_a_scheduler_nothing_is_started():
    rig = dynamic()
    rig.say(desired(4), 1.0)
    rig.lose(2.0)
    rig.exited(0, "fell", 2.1)
    assert rig.tick(10.0) == []
    assert kinds(rig.connect(11.0), type(starts())) == []
    assert kinds(rig.say(desired(4), 11.1), type(starts())) == [starts(2, slots=2)]


def test_a_worker_that_never_connects_is_stopped():
    rig = dynamic(start_timeout_seconds=30.0)
    rig.say(desired(4), 1.0)
    rig.sees(1.1, *running(0, 1))
    rig.say(desired(4, 0), 2.0)
    outputs = rig.tick(32.0)
    assert kinds(outputs, StopWorkers) == [StopWorkers(["ann-1"])]
    assert rig.state.snapshot()["last_failure"] == "ann-1 runs and is not connected to the scheduler"


def test_hours_are_a_hard_limit():
    rig = dynamic(max_hours=1.0)
    rig.say(desired(4), 0.0)
    rig.sees(0.0, *running(0, 1))
    rig.say(desired(4, 0, 1), 1.0)
    assert Log(30, "the workers have had their 1 hours; no more are started") not in rig.tick(1799.0)
    outputs = rig.tick(1800.0)
    assert outputs[0] == Log(30, "the workers have had their 1 hours; no more are started")
    assert Send(SCHEDULER, ManagerReport(0, 4, 0, "", 8)) in outputs
    assert kinds(rig.say(desired(8, 0, 1), 1801.0), type(starts())) == []


def test_what_the_backend_cannot_offer_is_withheld():
    rig = dynamic()
    rig.state.offered = 2
    outputs = sent(rig.say(desired(8), 1.0))
    assert outputs == [starts(0, slots=2), Send(SCHEDULER, ManagerReport(2, 0, 0, "", 6))]


def test_the_end_takes_all_with_it_also_what_was_just_being_started():
    rig = dynamic()
    rig.say(desired(4), 1.0)
    rig.sees(1.1, *running(0))
    outputs = rig.say(ShutdownManager("enough"), 2.0)
    assert kinds(outputs, StopWorkers, Stop) == [
        StopWorkers(["ann-0", "ann-1"]),
        Stop("the scheduler ended it: enough"),
    ]


def test_a_worker_whose_machine_is_taken_away_is_told_and_replaced_and_its_end_is_no_failure():
    rig = dynamic()
    rig.say(desired(2), 1.0)
    rig.sees(1.1, *running(0))
    rig.say(desired(2, 0), 1.2)
    taken = Sighting("ann-0", Phase.RUNNING, leaving=True)
    outputs = sent(rig.sees(2.0, taken, all_there_are=True))
    assert outputs == [starts(1, slots=2), Send(SCHEDULER, ManagerReport(2, 2, 0, "", 0, ["ann-0"]))]
    assert kinds(rig.sees(2.1, taken, *running(1), all_there_are=True), type(starts()), Log) == [
        Log(20, "started ann-1 with 2 slots")
    ]
    rig.exited(0, "instance i-0 was taken away", 3.0)
    assert rig.state.snapshot()["failures"] == 0


def test_one_that_is_found_again_may_be_about_to_be_taken_away():
    rig = dynamic()
    outputs = sent(rig.sees(1.0, Sighting("old", Phase.RUNNING, 2, leaving=True)))
    assert outputs == [Send(SCHEDULER, ManagerReport(0, 0, 0, "", 0, ["old"]))]
