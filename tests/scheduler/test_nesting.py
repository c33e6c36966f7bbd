"""The scheduler's state with clients that run inside tasks."""

from array import array

import pytest

from scaler.machine import Output
from scaler.messages import (
    Cancel,
    ClientGoodbye,
    ExecutorDeaths,
    LendSlots,
    Results,
    ResultStatus,
    RunningInside,
    SubmitArray,
    TaskOptions,
    WorkerHeartbeat,
)
from scaler.scheduler.ranks import MAX_PRIORITY

from .builders import ANN, BEN, Client, Rig, Worker, cancelled, closed, i, of, q, results, sent, tasks

WILL = b"W" * 16
CEE, DEE = b"C" * 16, b"D" * 16


def lent(outputs: list[Output], peer: int | None = None) -> list[list[int]]:
    return [list(message.tasks) for message in of(outputs, LendSlots, peer)]


def inside(client: Client, task: int, first: int = 0, worker: bytes = WILL) -> list[Output]:
    return client.say(RunningInside(task, first, worker))


class Family:
    """One slot, a task of Ann that runs on it, and Ben, who runs inside it."""

    def __init__(self, slots: int = 1, **settings: float) -> None:
        self.rig = Rig(**settings)
        self.worker: Worker = self.rig.worker(slots, identity=WILL)
        self.ann = self.rig.client(ANN)
        ((self.parent, self.attempt),) = tasks(self.ann.submit(0))
        self.ben = self.rig.client(BEN)
        inside(self.ben, self.parent)


def test_a_task_with_unfinished_children_lends_its_slot() -> None:
    family = Family()
    outputs = family.ben.submit(0)
    assert lent(outputs) == [[family.parent]]
    assert tasks(outputs) == [(family.ben.id(0), 1)]
    assert next(type(message) for peer, message in sent(outputs) if peer == family.worker.peer) is LendSlots
    outputs = family.worker.ends((family.ben.id(0), 1))
    assert lent(outputs) == [[]]
    assert results(outputs, family.ben.peer) == [(0, ResultStatus.succeeded, b"result")]
    assert family.rig.state.board.loads.idle_slots == 0


def test_a_client_inside_an_attempt_that_is_over_is_not_inside_the_next_one() -> None:
    family = Family()
    assert tasks(family.worker.death(family.parent, family.attempt)) == [(family.parent, family.attempt + 1)]
    family.ben.say(RunningInside(family.parent, 0, WILL, family.attempt))
    assert lent(family.ben.submit(0)) == []
    assert lent(family.ben.say(RunningInside(family.parent, 1, WILL, family.attempt + 1))) == [[family.parent]]


def test_clients_inside_tasks_take_no_turn_of_their_own() -> None:
    family = Family()
    dee = family.rig.client(DEE)
    ((prefetched, attempt),) = tasks(dee.submit(*range(6)))
    given, order = [*tasks(family.ben.submit(*range(4))), (prefetched, attempt)], []
    while given:
        order += [id for id, _ in given]
        given = tasks(family.worker.ends(*given))
    ben, dee = family.ben.id, dee.id
    assert order == [ben(0), dee(0), dee(1), ben(1), dee(2), ben(2), dee(3), ben(3), dee(4), dee(5)]


def test_what_was_lent_is_not_said_again() -> None:
    family = Family()
    assert lent(family.ben.submit(0)) == [[family.parent]]
    assert lent(family.ben.submit(1)) == []
    assert lent(family.worker.ends((family.ben.id(0), 1))) == []
    assert lent(family.worker.ends((family.ben.id(1), 1))) == [[]]


def test_each_level_lends_once_and_the_deepest_goes_first() -> None:
    family = Family()
    family.ben.submit(0, 1, 2, 3)  # One runs on the lent slot, one waits at the worker, two in the queue.
    cee = family.rig.client(CEE)
    inside(cee, family.ben.id(0))
    outputs = cee.submit(0, 1, 2)
    assert lent(outputs) == [[family.parent, family.ben.id(0)]]
    assert tasks(outputs) == [(cee.id(0), 1)]
    assert tasks(family.worker.ends((cee.id(0), 1))) == [(cee.id(1), 1)]
    assert tasks(family.worker.ends((cee.id(1), 1))) == [(cee.id(2), 1)]


def test_children_of_tasks_of_less_priority_do_not_overtake() -> None:
    family = Family()
    family.ann.submit(1, 2)
    family.ann.submit(3, options=TaskOptions(priority=1))
    assert [id for id, _ in tasks(family.ben.submit(0))] == [family.ann.id(3)]


@pytest.mark.parametrize("priority", [MAX_PRIORITY + 1, 2**31 - 1])
def test_priorities_beyond_the_limit_count_as_the_limit(priority: int) -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(0, options=TaskOptions(priority=MAX_PRIORITY))
    ann.submit(1, options=TaskOptions(priority=priority))
    ann.submit(2, options=TaskOptions(priority=-priority))
    ann.submit(3, options=TaskOptions(priority=-MAX_PRIORITY))
    ann.submit(4)
    worker = rig.worker(1, identity=WILL)
    assert [id & 7 for id, _ in tasks(worker.outputs)] == [0, 1]
    assert [tasks(worker.ends((ann.id(n), 1)))[0][0] & 7 for n in (0, 1)] == [4, 3]


def test_functions_whose_tasks_have_children_are_given_out_one_by_one() -> None:
    family = Family()
    family.worker.ends((family.parent, 1), wall=1)
    assert len(tasks(family.ann.submit(*range(1, 100)))) == 2


def test_a_client_inside_a_range_lends_the_slot_of_the_range() -> None:
    rig = Rig()
    rig.worker(1, identity=WILL)
    ann, ben = rig.client(ANN), rig.client(BEN)
    ((piece, _), _) = tasks(ann.say(SubmitArray(0, 0, b"abc", array("I", [1, 2, 3]), TaskOptions())))
    inside(ben, piece)
    assert lent(ben.submit(0)) == [[piece]]


def test_a_parent_that_ends_leaves_its_children_running() -> None:
    family = Family()
    family.ben.submit(0)
    outputs = family.worker.ends((family.parent, 1))
    assert (lent(outputs), cancelled(outputs)) == ([[]], [])
    assert family.rig.state.task_counts().assigned == 1


def test_a_cancelled_parent_takes_its_children_and_theirs_along() -> None:
    family = Family()
    family.ben.submit(0, 1)
    cee = family.rig.client(CEE)
    inside(cee, family.ben.id(0))
    cee.submit(0)
    outputs = family.ann.say(Cancel(q(0)))
    assert set(cancelled(outputs)) == {
        (family.parent, 1),
        (family.ben.id(0), 1),
        (family.ben.id(1), 1),
        (cee.id(0), 1),
    }
    assert lent(outputs) == [[]]
    assert len(family.rig.state.board) == 0


def test_only_what_was_submitted_inside_the_parent_goes_with_it() -> None:
    family = Family(slots=4)
    family.ben.submit(0)
    family.worker.ends((family.parent, 1))
    family.ann.submit(1)
    inside(family.ben, family.ann.id(1), first=1)
    family.ben.submit(1)
    family.ben.say(SubmitArray(2, 0, b"ab", array("I", [1, 2]), TaskOptions()))
    outputs = family.ann.say(Cancel(q(1)))
    assert {id for id, _ in cancelled(outputs)} >= {family.ann.id(1), family.ben.id(1)}
    assert (family.ben.id(0), 1) not in cancelled(outputs)
    assert len(family.rig.state.board) == 1


def test_a_parent_that_runs_too_long_takes_its_children_along() -> None:
    family = Family()
    family.ben.submit(0)
    outputs = family.worker.ends((family.parent, 1), status=ResultStatus.timed_out)
    assert cancelled(outputs) == [(family.ben.id(0), 1)]


def test_a_parent_that_dies_takes_its_children_along_and_runs_again() -> None:
    family = Family()
    family.ben.submit(0)
    outputs = family.worker.death(family.parent, 1)
    assert cancelled(outputs) == [(family.ben.id(0), 1)]
    assert (lent(outputs), tasks(outputs)) == ([[]], [(family.parent, 2)])


def test_news_of_an_old_death_changes_nothing() -> None:
    family = Family()
    family.ben.submit(0)
    assert cancelled(family.worker.say(ExecutorDeaths(q(family.parent), i(7), ["signal 11"]))) == []
    assert family.rig.state.task_counts().assigned == 2


def test_a_lost_worker_takes_the_children_of_its_tasks_along() -> None:
    family = Family()
    other = family.rig.worker(1)
    family.ben.submit(0)
    outputs = family.rig.lose(family.worker.peer)
    assert tasks(outputs, other.peer) == [(family.parent, 2)]
    assert family.rig.state.board.count_of(family.ben.number) == 0


def test_what_is_submitted_inside_a_task_that_was_stopped_ends_with_the_connection() -> None:
    family = Family()
    other = family.rig.worker(1)
    family.ann.say(Cancel(q(0)))
    family.rig.now += 3  # Later than a parent may still come back from another scheduler.
    inside(family.ben, family.parent)
    placed = tasks(family.ben.submit(0))
    assert placed == [(family.ben.id(0), 1)]
    outputs = family.rig.lose(family.ben.peer)
    assert cancelled(outputs, other.peer) + cancelled(outputs, family.worker.peer) == placed
    # It may come back all the same, and own objects: it is not forgotten.
    assert family.rig.client(BEN).number == family.ben.number


def test_a_client_that_leaves_takes_the_children_of_its_tasks_along() -> None:
    family = Family()
    family.ben.submit(0)
    outputs = family.ann.say(ClientGoodbye())
    assert {id for id, _ in cancelled(outputs)} == {family.parent, family.ben.id(0)}


def test_a_parent_that_is_not_here_is_none() -> None:
    family = Family()
    family.rig.now += 3
    for task, worker in ((family.ann.id(9), WILL), (family.parent, b"X" * 16)):
        dee = family.rig.client(DEE)
        inside(dee, task, worker=worker)
        assert lent(dee.submit(0)) == []
        assert family.rig.state.board.has_tasks(dee.number)
        dee.say(ClientGoodbye())
    assert family.rig.state.clients.sessions[family.ann.number].inside is None


def test_a_client_whose_task_is_waited_for_is_not_silent() -> None:
    family = Family(client_timeout_seconds=10.0)
    family.ben.submit(0)
    family.rig.until(family.rig.now + 9)
    family.ann.submit(1)
    family.worker.say(WorkerHeartbeat(0))
    assert closed(family.rig.until(family.rig.now + 5)) == []
    family.worker.ends((family.parent, 1))
    assert closed(family.rig.until(family.rig.now + 1)) == [family.ben.peer]


def test_a_client_that_is_back_runs_where_it_did() -> None:
    family = Family()
    family.ben.submit(0)
    assert lent(family.rig.lose(family.ben.peer)) == [[]]
    again = family.rig.client(BEN)
    assert again.number == family.ben.number
    assert lent(inside(again, family.parent)) == [[family.parent]]
    assert lent(again.submit(0, 1)) == []
    assert lent(family.worker.ends((again.id(0), 1), (again.id(1), 1))) == [[]]
    assert of(family.rig.after(), Results) == []
