"""Given this snapshot, exactly these slots."""

from __future__ import annotations

import pytest

from scaler.scheduler.policy import Policy
from scaler.scheduler.scaling.waterfall import UNLIMITED, Rule

from .builders import Manager, Tasks, Worker, snapshot

NO, VANILLA, CAPABILITY = Policy(scaling="no"), Policy(), Policy(scaling="capability")


def target(seconds: float) -> Policy:
    return Policy(scaling="target_time", target_seconds=seconds)


def falls(*rules: tuple[int, str, int]) -> Policy:
    return Policy(scaling="waterfall", rules=tuple(Rule(*rule) for rule in rules))


@pytest.mark.parametrize("policy", [VANILLA, CAPABILITY, target(12.0), falls((1, "m", UNLIMITED))])
def test_what_is_needed_is_asked_for_in_one_step(policy):
    # 15 tasks of six seconds on 8 slots take 12 seconds.
    assert policy.wanted(snapshot(Tasks(15, seconds=6), Manager("m", 8))).slots == (8,)


@pytest.mark.parametrize("policy", [VANILLA, CAPABILITY, target(60.0), falls((1, "m", UNLIMITED))])
def test_nothing_to_do_wants_nothing(policy):
    assert policy.wanted(snapshot(Worker(4, manager="m"), Manager("m", 8, desired=4))).slots == (0,)


@pytest.mark.parametrize("policy", [NO, VANILLA, CAPABILITY, target(60.0), falls((1, "m", UNLIMITED))])
def test_without_managers_there_is_nobody_to_ask(policy):
    assert policy.wanted(snapshot(Tasks(100), Worker(2, 2, 2))).slots == ()


def test_no_keeps_what_was_asked_for():
    assert NO.wanted(snapshot(Tasks(1000), Manager("m", 8, desired=3))).slots == (3,)


@pytest.mark.parametrize(
    ("waiting", "busy", "slots", "wanted"),
    [
        (37, 4, 4, 8),  # 41 tasks on 4 slots: more than ten each
        (36, 4, 4, 4),  # ten each
        (1, 4, 4, 4),
        (0, 3, 4, 3),  # fewer tasks than slots
        (0, 4, 4, 4),
        (1, 0, 4, 1),
    ],
)
def test_vanilla_grows_above_ten_tasks_a_slot_and_shrinks_below_one(waiting, busy, slots, wanted):
    seen = snapshot(Tasks(waiting), Worker(slots, busy, manager="m"), Manager("m", 8, desired=slots))
    assert VANILLA.wanted(seen).slots == (wanted,)


def test_vanilla_does_not_leave_tasks_alone_that_no_slot_can_run():
    seen = snapshot(Tasks(2, "gpu"), Tasks(6), Worker(4, 4), Manager("g", 8, offers="gpu"), Manager("m", 8))
    assert VANILLA.wanted(seen).slots == (2, 0)


@pytest.mark.parametrize(
    ("waiting", "busy", "wanted"), [(17, 4, 8), (16, 4, 4), (0, 2, 4), (0, 1, 1), (1, 0, 1), (0, 0, 0)]
)
def test_capability_grows_above_five_and_shrinks_below_a_half(waiting, busy, wanted):
    seen = snapshot(Tasks(waiting, "gpu"), Worker(4, busy, manager="g"), Manager("g", 8, desired=4, offers="gpu"))
    assert CAPABILITY.wanted(seen).slots == (wanted,)


def test_capability_judges_each_set_by_itself():
    seen = snapshot(
        Tasks(30, "gpu"),
        Tasks(3),
        Worker(2, 2, manager="g"),
        Worker(4, 4, manager="m"),
        Manager("g", 8, desired=2, offers="gpu"),
        Manager("m", 8, desired=4),
    )
    wanted = CAPABILITY.wanted(seen)
    assert wanted.slots == (8, 4)
    assert wanted.sets == ({0: 6}, {})


def test_starting_slots_are_not_asked_for_again():
    seen = snapshot(Tasks(15), Manager("m", 40, starting=15, desired=15))
    for policy in (VANILLA, CAPABILITY, target(1.0), falls((1, "m", UNLIMITED))):
        assert policy.wanted(seen).slots == (15,)


def test_idle_slots_that_nobody_pays_for_come_first():
    seen = snapshot(Tasks(10), Worker(4, 1), Manager("m", 40))
    assert target(1.0).wanted(seen).slots == (7,)


def test_cheap_managers_come_first_and_special_ones_last():
    managers = [Manager("a", 4, tier=1), Manager("b", 4, offers="gpu"), Manager("c", 4)]
    assert VANILLA.wanted(snapshot(Tasks(3), *managers)).slots == (0, 0, 3)
    assert VANILLA.wanted(snapshot(Tasks(7), *managers)).slots == (0, 3, 4)
    assert VANILLA.wanted(snapshot(Tasks(10), *managers)).slots == (2, 4, 4)


def test_tasks_that_ask_for_most_choose_first():
    seen = snapshot(Tasks(4), Tasks(4, "gpu"), Manager("g", 4, offers="gpu"), Manager("m", 4, tier=1))
    wanted = VANILLA.wanted(seen)
    assert wanted.slots == (4, 4)
    assert wanted.sets == ({1: 4}, {0: 4})


@pytest.mark.parametrize(
    ("count", "seconds", "goal", "wanted"),
    [
        (100, 0.1, 60, 1),  # ten seconds of work
        (1_000_000, 0.001, 60, 17),
        (15, 6, 60, 2),
        (15, 100, 60, 15),  # each is longer than the target
        (1, 0, 60, 1),
    ],
)
def test_target_time_asks_for_what_ends_in_time(count, seconds, goal, wanted):
    assert target(goal).wanted(snapshot(Tasks(count, seconds=seconds), Manager("m", 100))).slots == (wanted,)


def test_target_time_counts_on_slots_that_work():
    # Each has ended its present task after six seconds, and then nine more until the minute is over.
    working = Worker(2, 2, manager="m"), Manager("m", 100, desired=2)
    assert target(60).wanted(snapshot(Tasks(18, seconds=6), *working)).slots == (2,)
    assert target(60).wanted(snapshot(Tasks(19, seconds=6), *working)).slots == (3,)
    assert target(60).wanted(snapshot(Tasks(3, seconds=100), *working)).slots == (5,)


def test_a_waterfall_is_filled_in_order_and_drained_in_reverse():
    policy = falls((2, "cloud", 100), (1, "here", 8))
    full = []
    for tasks in (3, 8, 12, 200):
        seen = snapshot(Tasks(tasks), Manager("cloud", 50), Manager("here", 10), Manager("other", 10))
        full.append(policy.wanted(seen).slots)
    assert full == [(0, 3, 0), (0, 8, 0), (4, 8, 0), (50, 8, 0)]
    # Six tasks run, four of them in the cloud: there is room for all of them here.
    seen = snapshot(
        Tasks(0),
        Worker(4, 4, manager="cloud"),
        Worker(8, 2, manager="here"),
        Manager("cloud", 50, desired=4),
        Manager("here", 10, desired=8),
    )
    assert policy.wanted(seen).slots == (0, 6)
