"""The worker's state with tasks that lend their slots."""

from scaler.messages import LendSlots, Results
from scaler.worker.executors import SPARE_SECONDS, AskForAttention, KillExecutor, StartExecutor

from .builders import Rig, ended, of_kind, q, ran, said

LONG = 100_000


def lend(rig: Rig, *tasks: int) -> list[object]:
    return rig.say(LendSlots(q(*tasks)))


def started(rig: Rig, outputs: list[object]) -> list[int]:
    """The executors that are asked for, which start now."""
    numbers = [o.executor for o in of_kind(outputs, StartExecutor)]
    for number in numbers:
        rig.started(number)
    return numbers


def deep(levels: int) -> Rig:
    """One slot, and so many tasks each of which runs inside the one before: task n in executor n - 1."""
    rig = Rig()
    rig.assign(1)
    rig.take(0, 0)
    for level in range(1, levels):
        assert started(rig, lend(rig, *range(1, level + 1))) == [level]
        rig.assign(level + 1)
        rig.take(0, level)
    return rig


def test_a_lent_slot_is_an_executor_more() -> None:
    rig = deep(3)
    assert rig.state.snapshot()["executors"] == 3
    assert ran(rig.assign(4)) == []  # The third has not lent its slot.


def test_an_executor_is_used_again() -> None:
    rig = deep(2)
    rig.done(0, executor=1, wall=LONG)
    assert of_kind(lend(rig), StartExecutor) == []
    assert ran(rig.assign(3)) == []
    outputs = lend(rig, 1)
    assert of_kind(outputs, StartExecutor) == []
    assert ran(outputs) == [(1, 1, [b"3"])]


def test_what_waits_behind_a_parent_is_given_to_another() -> None:
    rig = Rig()
    rig.assign(1)
    rig.run(0, wall=10)
    rig.assign(2, 3, 4)
    rig.take(1)
    outputs = lend(rig, 2)
    assert ran(outputs) == []
    (number,) = [o.executor for o in of_kind(outputs, StartExecutor)]
    assert ran(rig.started(number))[0] == (number, 0, [b"3"])


def test_results_before_a_parent_do_not_wait_for_it() -> None:
    rig = Rig()
    rig.assign(1)
    rig.run(0, wall=10)
    rig.assign(2, 3)
    rig.take(1)
    rig.claims[0].rest()
    rig.take(2)
    assert of_kind(lend(rig, 3), AskForAttention) == [AskForAttention(0)]


def test_a_spare_executor_ends_when_it_was_not_needed_for_a_while() -> None:
    rig = deep(2)
    rig.done(0, executor=1)
    lend(rig)
    rig.done(0, executor=0)
    deadline = rig.state.next_deadline()
    assert deadline is not None
    rig.at(rig.now + SPARE_SECONDS - 1)
    assert of_kind(rig.at(rig.now + 1.5), KillExecutor) == [KillExecutor(0)]
    assert of_kind(rig.exited(0), StartExecutor) == []
    assert of_kind(rig.at(rig.now + 5 * SPARE_SECONDS), KillExecutor) == []
    assert ran(rig.assign(9)) == [(1, 1, [b"9"])]


def test_a_spare_executor_that_died_is_not_replaced_but_one_that_is_needed_is() -> None:
    rig = deep(3)
    rig.done(0, executor=2)
    lend(rig, 1)
    assert of_kind(rig.exited(2), StartExecutor) == []
    assert started(rig, rig.exited(1)) == [3]


def test_a_parent_that_runs_again_here_may_lend_again() -> None:
    """Its result was not sent when its executor died: the scheduler knows nothing of that."""
    rig = deep(1)
    started(rig, lend(rig, 1))
    rig.claims[0].rest()
    assert ran(rig.exited(0)) == [(1, 0, [b"1"])]
    rig.take(0, 1)
    (another,) = started(rig, rig.assign(5))
    assert rig.state.snapshot()["sent"] == 2
    rig.take(0, another)


def test_without_a_scheduler_nothing_is_lent() -> None:
    rig = deep(3)
    outputs = rig.lose() + rig.connect()
    assert len(of_kind(outputs, KillExecutor)) == 3
    for number in (0, 1, 2):
        outputs += rig.exited(number)
    assert len(of_kind(outputs, StartExecutor)) == 1


def test_the_end_of_a_parent_ends_the_lending() -> None:
    rig = deep(2)
    outputs = rig.done(0, executor=0, wall=LONG)
    assert [task for task, *_ in ended(outputs)] == [1]
    assert ran(rig.assign(3)) == []  # One slot, in which task 2 runs.
    assert len(said(rig.done(0, executor=1), Results)) == 1
