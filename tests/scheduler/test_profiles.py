"""Profiles that monitors ask for: who is asked, what is passed on, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.ids import u32
from scaler.messages import (
    Answer,
    BeginSampling,
    EndSampling,
    ProfilePart,
    ProfileTasks,
    Role,
    StackSamples,
    StopProfile,
)
from scaler.scheduler.profiles import GRACE_SECONDS, MOST_PROFILES
from scaler.stacks import Frame, StackCounts

from .builders import Rig, Worker, closed, i, of

FRAME = Frame("f", "f.py", 1)


def monitor_of(rig: Rig) -> int:
    return rig.connect(Role.monitor, bytes([200 + rig._peers]) * 16, "watcher")[0]


def begin(rig: Rig, monitor: int, request: int = 1, milliseconds: int = 2000, **more: Any) -> list[Any]:
    """Asks for a profile that must be allowed."""
    outputs = rig.say(monitor, ProfileTasks(request, milliseconds, **more))
    assert [answer.done for answer in of(outputs, Answer, monitor)] == [True]
    return outputs


def found(profile: int, ended: bool = False, **more: Any) -> StackSamples:
    counts = StackCounts()
    counts.add("f", (FRAME,), 5)
    samples = counts.take(profile)
    samples.ended = ended
    samples.executors = more.pop("executors", 1)
    for name, value in more.items():
        setattr(samples, name, value)
    return samples


def parts(outputs: list[Any]) -> list[ProfilePart]:
    return of(outputs, ProfilePart)


def test_all_workers_are_asked_and_what_they_find_is_passed_on_until_all_have_ended() -> None:
    rig = Rig(protected=False)
    workers = [rig.worker(), rig.worker()]
    monitor = monitor_of(rig)
    outputs = begin(rig, monitor, 7, hertz=50, function_name="f")
    (told,) = of(outputs, BeginSampling, workers[0].peer)
    assert told == BeginSampling(1, 2000, 50, 1000, told.slots, "f") and len(told.slots) == 0
    assert of(outputs, BeginSampling, workers[1].peer) == [told]
    (part,) = parts(workers[0].say(found(1)))
    assert (part.request, part.workers, part.workers_ended, part.executors, part.ended) == (7, 2, 0, 1, False)
    assert part.samples.frame_names == ["f"]
    assert parts(rig.at(rig.now + 2.0)) == []
    (part,) = parts(workers[0].say(found(1, ended=True)))
    assert part.workers_ended == 1
    *_, last = parts(workers[1].say(found(1, ended=True, executors=3)))
    assert (last.ended, last.text, last.workers_ended, last.executors) == (True, "", 2, 4)
    assert not rig.state.profiles and rig.state.profiles.due is None


def test_only_one_worker_and_some_of_its_slots() -> None:
    rig = Rig(protected=False)
    other, worker = rig.worker(identity=b"1" * 16), rig.worker(identity=b"2" * 16)
    outputs = begin(rig, monitor_of(rig), worker=b"2" * 16, slots=i(1, 3))
    assert of(outputs, BeginSampling, other.peer) == []
    (told,) = of(outputs, BeginSampling, worker.peer)
    assert list(u32(told.slots)) == [1, 3] and told.hertz == 100


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (ProfileTasks(1, 0), "up to 600 s"),
        (ProfileTasks(1, 600_001), "up to 600 s"),
        (ProfileTasks(1, 1000, 1001), "up to 1000 times a second"),
        (ProfileTasks(1, 1000, 10, b"short"), "16 bytes"),
        (ProfileTasks(1, 1000, 10, b"9" * 16), "no worker 39393939 is connected"),
        (ProfileTasks(1, 1000, 10, b"", i(1)), "slots are those of one worker"),
    ],
)
def test_what_cannot_be_is_refused(asked: ProfileTasks, why: str) -> None:
    rig = Rig(protected=False)
    rig.worker()
    monitor = monitor_of(rig)
    outputs = rig.say(monitor, asked)
    (answer,) = of(outputs, Answer, monitor)
    assert not answer.done and why in answer.text and of(outputs, BeginSampling) == []


def test_a_protected_scheduler_refuses() -> None:
    rig = Rig()
    rig.worker()
    monitor = monitor_of(rig)
    outputs = rig.say(monitor, ProfileTasks(1, 1000))
    (answer,) = of(outputs, Answer, monitor)
    assert not answer.done and "protected" in answer.text and of(outputs, BeginSampling) == []


def test_so_many_at_a_time_and_no_request_twice() -> None:
    rig = Rig(protected=False)
    monitor = monitor_of(rig)
    for request in range(MOST_PROFILES):
        begin(rig, monitor, request)
    (answer,) = of(rig.say(monitor, ProfileTasks(99, 1000)), Answer)
    assert not answer.done and "8 profiles already" in answer.text
    (answer,) = of(rig.say(monitor, ProfileTasks(0, 1000)), Answer)
    assert not answer.done and "request 0 already" in answer.text


def test_workers_that_come_are_asked_for_the_rest_and_those_that_go_are_missing() -> None:
    rig = Rig(protected=False)
    first = rig.worker()
    monitor = monitor_of(rig)
    begin(rig, monitor)
    rig.at(rig.now + 0.5)
    second = rig.worker()
    (told,) = of(second.outputs, BeginSampling, second.peer)
    assert told.milliseconds == 1500
    assert parts(rig.lose(first.peer)) == []
    assert parts(rig.at(rig.now + 1.5)) == []
    *_, last = parts(second.say(found(1, ended=True)))
    assert last.ended and last.text == "1 worker lost before all was told"
    assert (last.workers, last.workers_ended) == (2, 1)


def test_the_only_worker_that_is_lost_ends_it() -> None:
    rig = Rig(protected=False)
    worker = rig.worker(identity=b"2" * 16)
    begin(rig, monitor_of(rig), worker=b"2" * 16)
    (last,) = parts(rig.lose(worker.peer))
    assert last.ended and "1 worker lost" in last.text


def test_without_workers_it_ends_in_time() -> None:
    rig = Rig(protected=False)
    begin(rig, monitor_of(rig))
    assert rig.state.next_deadline() is not None
    assert parts(rig.at(rig.now + 1.9)) == []
    (last,) = parts(rig.at(rig.now + 0.1))
    assert last.ended and last.text == "no worker was there"


def test_workers_that_do_not_answer_are_not_waited_for_for_ever() -> None:
    rig = Rig(protected=False)
    rig.worker()
    begin(rig, monitor_of(rig))
    assert parts(rig.at(rig.now + 2.0)) == []
    assert rig.state.profiles.due == rig.now + GRACE_SECONDS
    (last,) = parts(rig.at(rig.now + GRACE_SECONDS))
    assert last.ended and last.text == "1 worker did not say all in time"


def test_executors_that_were_missing_are_told() -> None:
    rig = Rig(protected=False)
    worker = rig.worker()
    begin(rig, monitor_of(rig))
    rig.at(rig.now + 2)
    *_, last = parts(worker.say(found(1, ended=True, executors_lost=2, executors_silent=1)))
    lost, silent = last.text.splitlines()
    assert lost.startswith("2 executors ended") and silent.startswith("1 executor not looked at")


def test_it_can_be_stopped_and_only_by_whom_it_is_for() -> None:
    rig = Rig(protected=False)
    worker = rig.worker()
    monitor, other = monitor_of(rig), monitor_of(rig)
    begin(rig, monitor, 5)
    assert of(rig.say(other, StopProfile(5)), EndSampling) == []
    outputs = rig.say(monitor, StopProfile(5))
    assert of(outputs, EndSampling, worker.peer) == [EndSampling(1)] and parts(outputs) == []
    *_, last = parts(worker.say(found(1, ended=True)))
    assert last.ended and last.text == ""
    assert closed(rig.say(monitor, StopProfile(5))) == []


def test_a_monitor_that_is_gone_is_told_nothing_and_its_workers_end() -> None:
    rig = Rig(protected=False)
    worker = rig.worker()
    monitor = monitor_of(rig)
    begin(rig, monitor)
    assert of(rig.lose(monitor), EndSampling, worker.peer) == [EndSampling(1)]
    assert parts(worker.say(found(1, ended=True))) == [] and not rig.state.profiles


def test_too_many_workers_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.scheduler.profiles.MOST_WORKERS", 2)
    rig = Rig(protected=False)
    workers = [rig.worker() for _ in range(3)]
    outputs = begin(rig, monitor_of(rig))
    assert len(of(outputs, BeginSampling)) == 2
    rig.at(rig.now + 2)
    last = [part for worker in workers[:2] for part in parts(worker.say(found(1, ended=True)))][-1]
    assert last.text == "1 worker not asked: a profile is of 2 at most"


def test_a_worker_that_says_nonsense_is_closed_and_missing() -> None:
    rig = Rig(protected=False)
    worker: Worker = rig.worker()
    begin(rig, monitor_of(rig))
    wrong = found(1)
    wrong.stacks = i(4)
    outputs = worker.say(wrong)
    assert closed(outputs) == [worker.peer] and parts(outputs) == []
    (last,) = parts(rig.at(rig.now + 2))
    assert "1 worker lost" in last.text
