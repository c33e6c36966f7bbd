"""The snapshot that policies see."""

from __future__ import annotations

from array import array

import pytest

from scaler.messages import RunningInside, SubmitArray, TaskOptions
from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot
from scaler.scheduler.survey import Survey

from .builders import ANN, BEN, Rig, tasks

WILL = b"W" * 16


def snapshot(rig: Rig) -> Snapshot:
    state = rig.state
    managers = [session for session in state.capacity.sessions.values() if session.desired is not None]
    return Survey(state.board).take(state.workers.sessions.values(), managers, rig.now)


def test_nobody_is_here():
    assert snapshot(Rig()) == Snapshot()


def test_tasks_by_what_they_ask_for():
    rig = Rig()
    client = rig.client()
    client.submit(0, 1, 2)
    client.submit(3, options=TaskOptions(["gpu"]))
    client.submit(4, needs={4: [0]})
    seen = snapshot(rig)
    assert dict(zip(seen.needs, seen.waiting, strict=True)) == {frozenset(): 3, frozenset(["gpu"]): 1}


def test_items_of_an_array_are_tasks():
    rig = Rig()
    client = rig.client()
    client.say(SubmitArray(0, 0, b"abcdefg", array("I", range(1, 8)), TaskOptions()))
    assert snapshot(rig).waiting == (7,)


def test_workers_and_their_managers():
    rig = Rig()
    rig.worker(2, manager="m", name="m-1", offers=["gpu"])
    rig.worker(1)
    rig.manager("m", 8, starting=3, running=2, capabilities=["gpu"], cost_tier=2)
    rig.manager("f", 8, running=1, fixed=True)
    client = rig.client()
    client.submit(*range(5))
    seen = snapshot(rig)
    assert seen.worker_manager == (0, UNMANAGED)
    assert seen.worker_slots == (2, 1) and seen.worker_busy == (2, 1)
    assert sum(seen.worker_queued) + sum(seen.waiting) == 2
    assert seen.worker_offers == (frozenset(["gpu"]), frozenset())
    assert (seen.manager_names, seen.manager_most, seen.manager_starting) == (("m",), (8,), (3,))
    assert (seen.manager_desired, seen.manager_tiers) == ((5,), (2,))


def test_a_report_that_is_late_counts_nothing_twice():
    rig = Rig()
    rig.manager("m", 8, starting=3)
    rig.worker(1, manager="m", name="m-1")
    assert snapshot(rig).manager_starting == (2,)


def test_draining_workers_are_left_out():
    rig = Rig()
    rig.worker(1)
    (session,) = rig.state.workers.sessions.values()
    rig.state.workers.ask_to_leave(session, "enough")
    assert snapshot(rig).worker_slots == ()


def test_a_slot_that_is_lent_is_not_in_use():
    rig = Rig()
    rig.worker(1, identity=WILL)
    ann, ben = rig.client(ANN), rig.client(BEN)
    ((parent, _),) = tasks(ann.submit(0))
    ben.say(RunningInside(parent, 0, WILL))
    ben.submit(0, options=TaskOptions(["gpu"]))
    assert snapshot(rig).worker_busy == (0,)


def test_measured_time_is_weighed_by_how_many_wait():
    rig = Rig()
    worker, client = rig.worker(1), rig.client(functions=(0, 1))
    worker.ends(*tasks(client.submit(0, function=0)), wall=1_000_000)
    worker.ends(*tasks(client.submit(1, function=1)), wall=3_000_000)
    rig.lose(worker.peer)
    client.submit(2, function=0)
    client.submit(3, 4, 5, function=1)
    assert snapshot(rig).seconds == (pytest.approx(2.5),)


def test_of_several_classes_each_has_the_time_of_its_next_task():
    rig = Rig()
    worker, client = rig.worker(1), rig.client(functions=(0, 1))
    worker.ends(*tasks(client.submit(0, function=0)), wall=1_000_000)
    worker.ends(*tasks(client.submit(1, function=1)), wall=3_000_000)
    rig.lose(worker.peer)
    client.submit(2, 3, function=0)
    client.submit(4, function=1, options=TaskOptions(["gpu"]))
    seen = snapshot(rig)
    times = dict(zip(seen.needs, seen.seconds, strict=True))
    assert times == {frozenset(): pytest.approx(1.0), frozenset(["gpu"]): pytest.approx(3.0)}


def test_what_never_ended_takes_at_least_as_long_as_it_has_run():
    rig = Rig()
    survey = Survey(rig.state.board)
    rig.client().submit(0, 1, 2)
    sessions = rig.state.workers.sessions.values()
    assert survey.take(sessions, [], rig.now).seconds == (0.0,) and not survey.guesses
    rig.worker(1)
    assert survey.take(sessions, [], rig.now + 5).seconds == (0.0,) and survey.guesses
    assert survey.take(sessions, [], rig.now + 8).seconds == (3.0,)
