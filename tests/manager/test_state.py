"""Given these events, exactly these outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scaler.machine import Close, Log, Output, Peer, Send, Stop
from scaler.manager.backend import Phase, Sighting, WorkerOrder
from scaler.manager.state import BACK_OFF_SECONDS, ManagerOptions, ManagerState, StartWorkers, StopWorkers
from scaler.messages import (
    Desired,
    HeartbeatEcho,
    ManagerLeaving,
    ManagerReport,
    RegisterManager,
    Role,
    ShutdownManager,
)

SCHEDULER = 7
REGISTER = RegisterManager("ann", "baremetal_native", 4, ["gpu"], True)


class Rig:
    """A started state, which is checked after each event."""

    def __init__(self, **options: Any) -> None:
        always = ManagerOptions("ann", "baremetal_native", 4, ("gpu",), 2.0, 60.0)
        self.state = ManagerState(replace(always, **options))
        self.state.start(0.0)
        self.first = self.after(0.0)

    def connect(self, now: float, peer: int = SCHEDULER) -> list[Output]:
        self.state.peer_connected(peer, Peer(Role.manager, b"s" * 16), now)
        return self.after(now)

    def started(self, number: int, now: float) -> list[Output]:
        return self.sees(now, Sighting(f"ann-{number}", Phase.RUNNING, label=f"worker {number}"))

    def exited(self, number: int, story: str, now: float, **how: bool) -> list[Output]:
        return self.sees(now, Sighting(f"ann-{number}", Phase.ENDED, story=story, **how))

    def sees(self, now: float, *sightings: Sighting, all_there_are: bool = False) -> list[Output]:
        self.state.sighted(sightings, now, complete=all_there_are)
        return self.after(now)

    def say(self, message: Any, now: float, peer: int = SCHEDULER) -> list[Output]:
        self.state.receive(peer, message, now)
        return self.after(now)

    def lose(self, now: float) -> list[Output]:
        self.state.peer_lost(SCHEDULER, "gone", now)
        return self.after(now)

    def tick(self, now: float) -> list[Output]:
        self.state.tick(now)
        return self.after(now)

    def after(self, now: float) -> list[Output]:
        self.state.check()
        return self.state.drain(now)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def report(starting: int, running: int, failures: int = 0, last: str = "") -> Send:
    return Send(SCHEDULER, ManagerReport(starting, running, failures, last))


def starts(*numbers: int, slots: int = 4) -> StartWorkers:
    return StartWorkers([WorkerOrder(f"ann-{number}", slots) for number in numbers])


def sent(outputs: list[Output]) -> list[Output]:
    return [output for output in outputs if not isinstance(output, Log)]


def test_one_worker_is_started_at_once(rig):
    assert rig.first == [starts(0)]


def test_a_scheduler_hears_who_we_are_and_how_many_run(rig):
    assert sent(rig.connect(1.0)) == [Send(SCHEDULER, REGISTER), report(4, 0)]


def test_a_started_worker_is_reported(rig):
    rig.connect(1.0)
    assert rig.started(0, 1.5) == [Log(20, "started worker 0 with 4 slots"), report(0, 4)]


def test_nothing_new_is_not_reported_before_the_heartbeat(rig):
    rig.connect(1.0)
    assert rig.tick(2.0) == []
    assert rig.state.next_deadline() == 3.0
    assert rig.tick(3.0) == [report(4, 0)]
    assert rig.state.next_deadline() == 5.0


def test_without_a_scheduler_nothing_is_reported(rig):
    assert sent(rig.started(0, 0.5)) == []
    assert sent(rig.exited(0, "worker 12 fell", 0.6)) == []


def test_a_worker_that_ends_unasked_is_counted_and_started_again(rig):
    rig.connect(0.0)
    rig.started(0, 0.1)
    log = Log(30, "worker 12 was killed by SIGKILL; another one starts in 0.1 s")
    assert rig.exited(0, "worker 12 was killed by SIGKILL", 1.0) == [
        log,
        report(4, 0, 1, "worker 12 was killed by SIGKILL"),
    ]
    assert rig.state.next_deadline() == 1.1
    assert rig.tick(1.05) == []
    assert rig.tick(1.1) == [starts(1)]


def test_pauses_grow_from_failure_to_failure(rig):
    now, pauses = 0.0, []
    for number in range(8):
        rig.exited(number, "no", now)
        again = rig.state.next_deadline()
        pauses.append(again - now)
        assert rig.tick(again) == [starts(number + 1)]
        now = again
    assert pauses == pytest.approx([*BACK_OFF_SECONDS, 10, 10])


def test_a_worker_that_lived_for_a_while_makes_the_pause_short_again(rig):
    rig.connect(0.0)
    rig.exited(0, "no", 0.0)
    rig.tick(0.5)
    rig.exited(1, "no", 0.5)
    rig.tick(1.5)
    rig.started(2, 1.6)
    assert rig.exited(2, "no", 3.6)[0] == Log(30, "no; another one starts in 0.1 s")


def test_who_is_killed_is_soon_replaced_however_often_that_happens():
    """Otherwise one that is killed each second would be waited for, and those that are left be killed the sooner."""
    rig = Rig(heartbeat_seconds=100.0)
    rig.connect(0.0)
    now, pauses = 0.1, []
    for number in range(5):
        rig.started(number, now)
        rig.exited(number, "killed", now + 0.1, killed=True)
        again = rig.state.next_deadline()
        pauses.append(again - now - 0.1)
        now = again
        assert starts(number + 1) in rig.tick(now)
    assert pauses == pytest.approx([0.1, 0.5, 0.5, 0.5, 0.5])


def test_what_is_said_of_other_workers_changes_nothing(rig):
    rig.connect(0.0)
    assert rig.exited(5, "who", 0.1) == []


@pytest.mark.parametrize("running", [False, True])
def test_a_scheduler_ends_everything(rig, running):
    rig.connect(0.0)
    if running:
        rig.started(0, 0.1)
    assert rig.say(ShutdownManager("enough"), 1.0) == [
        StopWorkers(["ann-0"]),
        Send(SCHEDULER, ManagerLeaving()),
        Stop("the scheduler ended it: enough"),
    ]
    assert rig.exited(0, "worker 12 ended with exit code 0", 1.1) == []
    assert rig.state.snapshot()["failures"] == 0
    assert rig.state.next_deadline() is None


def test_asked_to_end_between_two_workers(rig):
    rig.exited(0, "no", 0.0)
    rig.state.end("stopped by SIGTERM")
    assert sent(rig.after(0.1)) == [Stop("stopped by SIGTERM")]
    rig.state.end("stopped by SIGTERM")
    assert rig.tick(5.0) == []


def test_workers_stay_when_the_scheduler_is_gone_and_it_hears_all_again_when_it_is_back(rig):
    rig.connect(0.0)
    rig.started(0, 0.1)
    assert rig.lose(1.0) == []
    assert sent(rig.connect(2.0)) == [Send(SCHEDULER, REGISTER), report(0, 4)]


def test_without_a_scheduler_for_too_long_it_ends(rig):
    rig.connect(0.0)
    rig.lose(1.0)
    assert rig.state.next_deadline() == 61.0
    assert rig.tick(60.9) == []
    assert rig.tick(61.0) == [Stop("no scheduler for 60 s (gone); this manager and its workers end", 1)]


def test_a_fixed_manager_keeps_its_slots_whatever_is_desired(rig):
    rig.connect(0.0)
    assert rig.say(Desired(100), 0.1) == []


def test_a_wrong_message_closes_the_connection(rig):
    rig.connect(0.0)
    assert rig.say(HeartbeatEcho(1), 0.1) == [Close(SCHEDULER, "HeartbeatEcho is not a message for a manager")]
    assert rig.say(ShutdownManager("late"), 0.2) == []


def test_an_old_connection_says_nothing_any_more(rig):
    rig.connect(0.0, peer=1)
    rig.connect(1.0)
    assert rig.say(ShutdownManager("old"), 1.1, peer=1) == []


def test_snapshot(rig):
    rig.connect(0.0)
    assert rig.state.snapshot() == {
        "name": "ann",
        "connected": True,
        "desired": 4,
        "workers": 1,
        "starting_slots": 4,
        "running_slots": 0,
        "failures": 0,
        "last_failure": "",
        "ending": False,
    }


def test_after_a_worker_that_was_unfit_there_is_no_other(rig):
    rig.connect(0.0)
    rig.started(0, 0.1)
    outputs = rig.exited(0, "worker 7 ended with exit code 3", 0.5, unfit=True)
    reason = "worker 7 ended with exit code 3: it is not fit to run tasks, as it said above; this manager ends"
    assert outputs == [Send(SCHEDULER, ManagerLeaving()), Stop(reason, 1)]
    assert rig.tick(60.0) == []
