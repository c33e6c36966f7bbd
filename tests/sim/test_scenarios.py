"""Particular sequences, one a test, on a quiet network: what is drawn by chance elsewhere is laid down here."""

from __future__ import annotations

import pytest

from scaler.messages import ResultStatus, TaskOptions
from scaler.scheduler.life import TaskState

from . import executors
from .checkers import MAX_DEATHS, Job, Kind
from .cluster import TIMEOUT_SECONDS, Cluster
from .network import Quality
from .workload import User

LATENCY = 0.001
READY_SECONDS = 0.1
"""By then everybody is connected and executors run."""


def quiet(*slots: int, capabilities: tuple[str, ...] = ()) -> tuple[Cluster, User]:
    """A cluster with a worker for each number of slots, one user, and an even network; all connected."""
    cluster = Cluster(1, Quality(LATENCY, 0.0))
    for count in slots:
        cluster.add_worker(count, capabilities)
    user = cluster.add_user()
    cluster.clock.run(READY_SECONDS)
    return cluster, user


def plain(user: User, count: int, seconds: float = 0.001, **more: object) -> list[Job]:
    jobs = [user.job(Kind.PLAIN, seconds, **more) for _ in range(count)]  # type: ignore[arg-type]
    user.submit(*jobs)
    return jobs


def wait(cluster: Cluster, seconds: float) -> None:
    cluster.clock.run(cluster.clock.now + seconds)


def outcomes(cluster: Cluster, jobs: list[Job]) -> set[ResultStatus | None]:
    return {cluster.books.outcomes.get(job.key) for job in jobs}


def runs(cluster: Cluster, job: Job) -> int:
    return len(cluster.books.runs[job.key])


def counts(cluster: Cluster) -> object:
    return cluster.scheduler.state.snapshot()["tasks"]


def test_a_burst_runs_once_each() -> None:
    cluster, user = quiet(2, 1)
    jobs = plain(user, 300)
    cluster.finish(1.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert all(runs(cluster, job) == 1 for job in jobs)


def test_a_worker_is_lost_while_it_is_asked_to_give_back() -> None:
    cluster, user = quiet(1)
    plain(user, 20, 0.000_1)  # After these many tasks of the function are given to one worker.
    wait(cluster, 0.1)
    jobs = plain(user, 10, 0.2)
    wait(cluster, 0.05)
    busy = cluster.workers[0]
    cluster.add_worker(4)
    assert cluster.clock.run(cluster.clock.now + 5, lambda: counts_retracting(cluster) > 0)
    cluster.books.disturbances += 1
    cluster.network.link_of(busy).sever(0.3, 0.1)
    cluster.finish()
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def counts_retracting(cluster: Cluster) -> int:
    board = cluster.scheduler.state.board
    tasks = [task for number in cluster.scheduler.state.clients.sessions for task in board.of_client(number)]
    return sum(board.life.state(task) == TaskState.RETRACTING for task in tasks)


def test_a_result_that_comes_after_the_cancellation_is_counted_and_dropped() -> None:
    cluster, user = quiet(1)
    job = user.job(Kind.PLAIN, 0.020)
    user.submit(job)
    began = cluster.clock.run(1.0, lambda: runs(cluster, job) == 1)
    assert began
    # The cancellation reaches the scheduler while the result is on its way there.
    wait(cluster, 0.020 - LATENCY / 2)
    user.cancel([job])
    cluster.finish(1.0)
    assert outcomes(cluster, [job]) == {ResultStatus.cancelled}
    assert cluster.books.runs[job.key][0].status == ResultStatus.succeeded
    assert cluster.scheduler.state.snapshot()["tasks"].stale == 1


def test_a_scheduler_restarts_in_the_middle_of_a_burst() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 200, 0.005)
    wait(cluster, 0.1)
    delivered = len(cluster.books.outcomes)
    assert 0 < delivered < len(jobs)
    cluster.restart_scheduler()
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert sum(runs(cluster, job) > 1 for job in jobs) < len(jobs) - delivered


def test_a_cancelled_task_that_runs_is_stopped_and_makes_room() -> None:
    cluster, user = quiet(1)
    endless, after = user.job(Kind.PLAIN, 1000.0), user.job(Kind.PLAIN, 0.001)
    user.submit(endless)
    wait(cluster, 0.1)
    user.submit(after)
    user.cancel([endless])
    wait(cluster, 0.2)
    assert outcomes(cluster, [endless]) == {ResultStatus.cancelled}
    assert outcomes(cluster, [after]) == {ResultStatus.succeeded}
    cluster.finish()


def test_a_client_that_comes_back_gets_the_results_it_missed() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 20, 0.1)
    wait(cluster, 0.15)
    cluster.network.link_of(user.client).sever(2.0, 0.0)
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert all(runs(cluster, job) == 1 for job in jobs)


def test_results_that_were_sent_to_nobody_are_made_again() -> None:
    """The scheduler hears of the loss late: it has forgotten the tasks when they are offered again."""
    cluster, user = quiet(2)
    jobs = plain(user, 20, 0.1)
    wait(cluster, 0.15)
    cluster.books.disturbances += 1
    cluster.network.link_of(user.client).sever(1.0, 2.0)
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def test_a_result_that_was_sent_to_nobody_and_is_kept_for_a_dependent_is_delivered_again() -> None:
    """It is passed over as known when it is offered again, and its result has to be sent again."""
    cluster, user = quiet(2)
    first = user.job(Kind.PLAIN, 0.1)
    second = user.job(Kind.PLAIN, 3.0, dependencies=(first,))
    user.submit(first, second, grouped=True)
    wait(cluster, 0.05)
    cluster.network.link_of(user.client).sever(0.5, 2.0)
    wait(cluster, 2.0)
    assert outcomes(cluster, [first]) == {ResultStatus.succeeded}
    assert outcomes(cluster, [second]) == {None}
    cluster.finish()
    assert runs(cluster, first) == 1


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.STORED])
def test_a_wanted_result_is_an_input_after_it_was_delivered(kind: Kind) -> None:
    """The user has it and a new scheduler knows nothing of it: it is made again, for its dependent."""
    cluster, user = quiet(2)
    first = user.job(kind, 0.01)
    slow = user.job(Kind.PLAIN, 1.0)
    last = user.job(Kind.PLAIN, 0.01, dependencies=(first, slow))
    user.submit(first, slow, last, grouped=True)
    wait(cluster, 0.5)
    assert None not in outcomes(cluster, [first])
    cluster.restart_scheduler()
    cluster.finish(5.0)
    assert outcomes(cluster, [last]) == {ResultStatus.succeeded}


def test_a_stored_result_that_its_user_fetched_stays_for_its_dependents() -> None:
    cluster, user = quiet(2)
    first, slow = user.job(Kind.STORED, 0.01), user.job(Kind.PLAIN, 1.0)
    last = user.job(Kind.PLAIN, 0.01, dependencies=(first, slow))
    user.submit(first, slow, last, grouped=True)
    cluster.finish(0.5)
    assert outcomes(cluster, [first]) == {ResultStatus.stored}
    assert outcomes(cluster, [last]) == {ResultStatus.succeeded}


def test_clear_without_a_connection_spares_what_is_submitted_later() -> None:
    cluster, user = quiet(1)
    before = plain(user, 5, 0.1)
    cluster.network.link_of(user.client).sever(0.0, 0.0)
    wait(cluster, 0.001)
    user.clear()
    after = plain(user, 5)
    cluster.finish(5.0)
    assert ResultStatus.cancelled in outcomes(cluster, before)
    assert outcomes(cluster, after) == {ResultStatus.succeeded}


def test_a_cancellation_that_was_lost_is_said_again() -> None:
    cluster, user = quiet(1)
    job = user.job(Kind.PLAIN, 1000.0)
    user.submit(job)
    wait(cluster, 0.1)
    user.cancel([job])
    wait(cluster, LATENCY / 2)
    cluster.network.link_of(user.client).sever(0.1, 0.1)
    cluster.finish(5.0)
    assert outcomes(cluster, [job]) == {ResultStatus.cancelled}


def test_a_poison_task_takes_so_many_executors_and_no_more() -> None:
    cluster, user = quiet(2)
    poison, bystanders = user.job(Kind.POISON, 0.05), [user.job(Kind.PLAIN, 0.02) for _ in range(50)]
    user.submit(poison, *bystanders)
    cluster.finish(1.0)
    assert outcomes(cluster, [poison]) == {ResultStatus.crashed}
    assert runs(cluster, poison) == MAX_DEATHS + 1
    assert outcomes(cluster, bystanders) == {ResultStatus.succeeded}
    assert all(runs(cluster, job) == 1 for job in bystanders)


def test_a_task_waits_for_a_worker_that_offers_what_it_asks_for() -> None:
    cluster, user = quiet(1)
    job = user.job(Kind.PLAIN, 0.01, options=TaskOptions(["gpu"]))
    others = plain(user, 5)
    user.submit(job)
    wait(cluster, 1.0)
    assert outcomes(cluster, others) == {ResultStatus.succeeded}
    assert outcomes(cluster, [job]) == {None}
    cluster.add_worker(1, ("gpu",))
    cluster.finish()
    assert outcomes(cluster, [job]) == {ResultStatus.succeeded}


def test_a_failure_is_told_to_all_that_depend_on_it() -> None:
    cluster, user = quiet(2)
    bad = user.job(Kind.FAILS, 0.01, wanted=False, options=TaskOptions(retries=2))
    middle = user.job(Kind.PLAIN, 0.01, dependencies=(bad,), wanted=False)
    last = user.job(Kind.PLAIN, 0.01, dependencies=(middle,))
    user.submit(bad, middle, last, grouped=True)
    cluster.finish(1.0)
    assert outcomes(cluster, [last]) == {ResultStatus.failed}
    assert runs(cluster, bad) == 3
    assert runs(cluster, middle) == runs(cluster, last) == 0


def test_a_worker_that_leaves_in_order_harms_nobody() -> None:
    cluster, user = quiet(2, 2)
    jobs = plain(user, 40, 0.05)
    wait(cluster, 0.1)
    cluster.dismiss_worker()
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def test_a_silent_worker_is_given_up_and_comes_back() -> None:
    cluster, user = quiet(1, 1)
    jobs = plain(user, 20, 0.5)
    wait(cluster, 0.1)
    cluster.books.disturbances += 1
    cluster.network.link_of(cluster.workers[0]).freeze(2 * TIMEOUT_SECONDS)
    cluster.finish(3 * TIMEOUT_SECONDS)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert cluster.scheduler.state.snapshot()["workers"] == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_large_results_of_a_client_that_was_forgotten_and_is_back(restarted: bool) -> None:
    cluster, user = quiet(2)
    before = [user.job(Kind.STORED, 0.5) for _ in range(10)]
    user.submit(*before)
    wait(cluster, 0.1)
    cluster.books.disturbances += 1
    cluster.books.silenced.add(user.client.identity)
    cluster.network.link_of(user.client).freeze(3 * TIMEOUT_SECONDS)
    wait(cluster, 2 * TIMEOUT_SECONDS)
    assert cluster.storage.state.snapshot()["objects"] == 0
    if restarted:
        cluster.restart_scheduler()
    after = [user.job(Kind.STORED, 0.01) for _ in range(10)]
    user.submit(*after)
    cluster.finish(4 * TIMEOUT_SECONDS)
    assert outcomes(cluster, [*before, *after]) == {ResultStatus.stored}


def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    cluster, user = quiet(2)
    gone = cluster.add_user()
    wait(cluster, 0.1)
    jobs = [gone.job(Kind.STORED, 0.05) for _ in range(100)]
    gone.submit(*jobs)
    mine = plain(user, 10, 0.1)
    wait(cluster, 0.3)
    assert cluster.storage.state.snapshot()["objects"] + len(cluster.books.outcomes) > 0
    gone.client.vanish()
    cluster.finish(2 * TIMEOUT_SECONDS)
    assert outcomes(cluster, mine) == {ResultStatus.succeeded}
    assert cluster.storage.state.snapshot()["objects"] == 0


def test_a_result_that_waited_for_its_client_is_made_again_where_a_lost_dependent_needs_it() -> None:
    """The dependent ended unheard, before the loss was known; what it depends on ended after, and its result was kept."""
    cluster, user = quiet(2)
    slow = user.job(Kind.PLAIN, 0.6)
    bad = user.job(Kind.FAILS, 0.05, wanted=False)
    last = user.job(Kind.PLAIN, 0.01, dependencies=(slow, bad))
    user.submit(slow, bad, last, grouped=True)
    wait(cluster, 0.02)
    cluster.network.link_of(user.client).sever(1.0, 0.3)
    cluster.finish(2.0)
    assert outcomes(cluster, [slow]) == {ResultStatus.succeeded}
    assert outcomes(cluster, [last]) == {ResultStatus.failed}
    assert runs(cluster, slow) == 2


def test_a_task_comes_again_to_a_worker_whose_executor_still_dies_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped with the last that needed it, that outcome is lost, and all is offered again."""
    cluster, user = quiet(2)
    monkeypatch.setattr(executors, "LONG_EXITS", 1.0)
    monkeypatch.setattr(executors, "LONG_EXIT_SECONDS", 5.0)
    side = user.job(Kind.PLAIN, 1.0, wanted=False)
    bad = user.job(Kind.FAILS, 0.05, wanted=False)
    last = user.job(Kind.PLAIN, 0.01, dependencies=(side, bad))
    user.submit(side, bad, last, grouped=True)
    wait(cluster, 0.02)
    cluster.books.disturbances += 1
    cluster.network.link_of(user.client).sever(0.2, 1.0)
    cluster.finish(10.0)
    assert outcomes(cluster, [last]) == {ResultStatus.failed}
    assert runs(cluster, side) == 2


def test_the_object_of_a_result_that_comes_too_late_is_freed() -> None:
    cluster, user = quiet(1)
    job = user.job(Kind.STORED, 0.020)
    user.submit(job)
    assert cluster.clock.run(1.0, lambda: runs(cluster, job) == 1)
    wait(cluster, 0.020 - LATENCY / 2)
    user.cancel([job])
    wait(cluster, 1.0)
    assert cluster.books.runs[job.key][0].status == ResultStatus.stored
    assert outcomes(cluster, [job]) == {ResultStatus.cancelled}
    assert cluster.storage.state.snapshot()["objects"] == 0
    cluster.finish()


def test_a_task_that_ran_while_its_workers_died_is_given_up() -> None:
    """The worker that is killed tells nobody what it ran: that it was reported as started has to be enough."""
    cluster, user = quiet(1)
    job = user.job(Kind.PLAIN, 3.0)
    user.submit(job)
    for death in range(MAX_DEATHS + 1):
        assert cluster.clock.run(cluster.clock.now + 10.0, lambda: runs(cluster, job) > death)  # noqa: B023
        wait(cluster, 0.1)
        cluster.kill_worker()
    cluster.finish(5.0)
    assert outcomes(cluster, [job]) == {ResultStatus.crashed}
    assert runs(cluster, job) == MAX_DEATHS + 1


# ---- arrays


def array_of(user: User, count: int, seconds: float = 0.001, **more: object) -> list[Job]:
    jobs = [user.job(Kind.PLAIN, seconds, options=TaskOptions(), **more) for _ in range(count)]  # type: ignore[arg-type]
    return user.submit_array(jobs)


def test_an_array_of_long_items_keeps_every_slot_busy() -> None:
    cluster, user = quiet(4, 4)
    jobs = array_of(user, 16, 1.0)
    cluster.finish(3.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    last = max(run.ended or 0.0 for job in jobs for run in cluster.books.runs[job.key])
    assert last < READY_SECONDS + 2.2  # two after each other, and a little to find out


def test_items_that_turn_out_long_are_taken_from_the_range_that_runs() -> None:
    """The first thousand take nothing, so the last ones are given out in one range; each takes a second."""
    cluster, user = quiet(2, 2)
    jobs = [user.job(Kind.PLAIN, 0.000_01 if n < 1000 else 1.0, options=TaskOptions()) for n in range(1008)]
    user.submit_array(jobs)
    cluster.finish(10.0)
    last = max(run.ended or 0.0 for job in jobs for run in cluster.books.runs[job.key])
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert last < READY_SECONDS + 3.5  # eight items, four slots


def test_a_poisonous_item_harms_no_other() -> None:
    cluster, user = quiet(2)
    jobs = [user.job(Kind.POISON if n == 50 else Kind.PLAIN, 0.000_1, options=TaskOptions()) for n in range(200)]
    user.submit_array(jobs)
    cluster.finish(5.0)
    assert runs(cluster, jobs[50]) == MAX_DEATHS + 1
    assert cluster.books.outcomes[jobs[50].key] == ResultStatus.crashed
    assert outcomes(cluster, jobs[:50] + jobs[51:]) == {ResultStatus.succeeded}


def test_a_worker_is_lost_in_the_middle_of_its_ranges() -> None:
    cluster, user = quiet(2, 2)
    jobs = array_of(user, 2000, 0.000_1)
    wait(cluster, 0.02)
    cluster.workers[0].kill()
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def test_an_array_outlives_the_scheduler() -> None:
    cluster, user = quiet(2)
    jobs = array_of(user, 2000, 0.000_1)
    wait(cluster, 0.03)
    cluster.restart_scheduler()
    cluster.finish(10.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def parents(user: User, count: int, children: int, levels: int = 0, **more: object) -> list[Job]:
    jobs = [user.job(Kind.PARENT, 0.001, **more) for _ in range(count)]  # type: ignore[arg-type]
    for job in jobs:
        job.children, job.levels = children, levels
    return jobs


@pytest.mark.parametrize("slots", [1, 3])
def test_tasks_inside_tasks_end_with_any_number_of_slots(slots: int) -> None:
    cluster, user = quiet(slots)
    jobs = parents(user, 10, 4, levels=3)
    user.submit(*jobs)
    cluster.finish(1.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert len(cluster.books.jobs) > 50


def test_few_tasks_wait_for_others_at_a_time() -> None:
    cluster, user = quiet(1)
    user.submit(*parents(user, 30, 4, levels=2))
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(cluster.workers[0].executors))
        return cluster.books.missing == 0

    assert cluster.clock.run(100.0, done)
    assert most <= 8  # Three levels, each with one that was under way when the level above began to wait.
    cluster.finish()


def test_an_array_of_parents_is_given_out_item_by_item() -> None:
    cluster, user = quiet(1)
    jobs = user.submit_array(parents(user, 20, 2))
    cluster.finish(1.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert max(map(len, (cluster.books.runs[job.key] for job in jobs))) == 1


def test_a_cancelled_parent_leaves_nothing_behind() -> None:
    cluster, user = quiet(2)
    (job,) = parents(user, 1, 4)
    user.submit(job)
    assert cluster.clock.run(5.0, lambda: len(cluster.books.jobs) == 5)
    user.cancel([job])  # Before its children can have ended: they have not even reached the scheduler.
    cluster.finish()
    assert outcomes(cluster, [job]) == {ResultStatus.cancelled}
    assert all(child.dropped for child in cluster.books.jobs.values() if child.parent is job)


def test_a_parent_whose_worker_is_lost_begins_anew() -> None:
    cluster, user = quiet(1, 1)
    jobs = parents(user, 4, 4, levels=2)
    user.submit(*jobs)
    wait(cluster, 0.03)
    cluster.kill_worker()
    cluster.finish(3.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def test_stored_inputs_are_made_again_after_the_storage_was_lost() -> None:
    cluster, user = quiet(2)
    first = [user.job(Kind.STORED, 0.001, wanted=False) for _ in range(3)]
    second = [user.job(Kind.STORED, 0.001, dependencies=(job,), wanted=False) for job in first]
    gate = user.job(Kind.PLAIN, 0.1, wanted=False)
    last = user.job(Kind.PLAIN, 0.001, dependencies=(*second, gate))
    user.submit(*first, *second, gate, last, grouped=True)
    wait(cluster, 0.05)
    assert all(runs(cluster, job) == 1 for job in (*first, *second))
    cluster.restart_storage()
    cluster.finish(1.0)
    assert outcomes(cluster, [last]) == {ResultStatus.succeeded}
    assert all(runs(cluster, job) == 2 for job in (*first, *second)) and runs(cluster, gate) == runs(cluster, last) == 1


def test_an_object_that_a_client_has_put_is_put_again() -> None:
    cluster, user = quiet(2)
    name = user.client.put(b"an argument")
    jobs = [user.job(Kind.PLAIN, 0.05) for _ in range(8)]
    for job in jobs:
        job.takes = name
    user.submit(*jobs)
    wait(cluster, 0.06)
    cluster.restart_storage()
    cluster.finish(1.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded} and all(runs(cluster, job) == 1 for job in jobs)
    # Not once for each task: once more at most, for one that missed it before, and says so after it is there.
    assert cluster.storage.state.snapshot()["puts"] <= 2


def test_a_storage_that_is_lost_again_and_again_ends_what_needs_it_at_last() -> None:
    cluster, user = quiet(1)
    first = user.job(Kind.STORED, 0.001, wanted=False)
    gate = user.job(Kind.PLAIN, 0.010, wanted=False)
    last = user.job(Kind.PLAIN, 0.001, dependencies=(first, gate))
    user.submit(first, gate, last, grouped=True)
    lost = 0
    while runs(cluster, last) == 0 and lost < 10 and not outcomes(cluster, [last]) - {None}:
        if cluster.storage.state.snapshot()["objects"]:
            lost += 1
            cluster.restart_storage()
        wait(cluster, 0.000_5)
    cluster.finish(1.0)
    assert outcomes(cluster, [last]) == {ResultStatus.object_lost}
    assert runs(cluster, first) == 4
