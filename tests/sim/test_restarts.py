"""A scheduler is killed and another one starts, which knows nothing: what ran goes on, and what has ended is not run again."""

from __future__ import annotations

import pytest

from scaler.messages import ResultStatus

from .checkers import Kind
from .test_scenarios import array_of, outcomes, parents, plain, quiet, runs, wait


def test_tasks_that_run_go_on_and_others_begin_once() -> None:
    cluster, user = quiet(2, 1)
    jobs = plain(user, 9, 3.0)
    wait(cluster, 0.5)
    cluster.restart_scheduler()
    cluster.finish(5.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert [runs(cluster, job) for job in jobs] == [1] * 9
    assert max(cluster.books.runs[jobs[-1].key][0].began for _ in "1") < 8.0


@pytest.mark.parametrize("seconds", [0.000_2, 0.005, 0.05])
@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.STORED])
def test_what_has_ended_is_not_run_again(seconds: float, kind: Kind) -> None:
    for moment in range(10):
        cluster, user = quiet(2, 2)
        jobs = [user.job(kind, seconds) for _ in range(200)]
        user.submit(*jobs)
        wait(cluster, 0.02 + moment * 0.001)
        cluster.restart_scheduler()
        cluster.finish(10.0)
        assert outcomes(cluster, jobs) <= {ResultStatus.succeeded, ResultStatus.stored}
        assert {runs(cluster, job) for job in jobs} == {1}, moment


def test_items_that_run_go_on_and_those_that_have_ended_are_not_run_again() -> None:
    for moment in range(10):
        cluster, user = quiet(2, 2)
        jobs = array_of(user, 2000, 0.000_1) + array_of(user, 10, 0.3)
        wait(cluster, 0.02 + moment * 0.001)
        cluster.restart_scheduler()
        cluster.finish(10.0)
        assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
        assert {runs(cluster, job) for job in jobs} == {1}, moment


def test_a_worker_that_is_late_is_told_to_stop_what_others_run() -> None:
    cluster, user = quiet(1, 1)
    (job,) = plain(user, 1, 6.0)
    wait(cluster, 0.5)
    busy = next(worker for worker in cluster.workers if cluster.books.running[worker.name])
    cluster.network.link_of(busy).sever(4.0, 0.0)
    cluster.restart_scheduler()
    cluster.finish(20.0)
    assert outcomes(cluster, [job]) == {ResultStatus.succeeded}
    assert runs(cluster, job) == 2
    assert cluster.books.runs[job.key][0].interrupted


@pytest.mark.parametrize("slots", [1, 3])
def test_parents_and_their_children_go_on(slots: int) -> None:
    for moment in range(10):
        cluster, user = quiet(slots)
        jobs = parents(user, 4, children=3)
        user.submit(*jobs)
        wait(cluster, 0.005 + moment * 0.01)
        cluster.restart_scheduler()
        cluster.finish(20.0)
        assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
        assert {runs(cluster, job) for job in jobs} == {1}, moment


def test_a_graph_goes_on() -> None:
    cluster, user = quiet(2)
    first = user.job(Kind.PLAIN, 2.0)
    second = user.job(Kind.PLAIN, 2.0, dependencies=(first,))
    last = user.job(Kind.PLAIN, 0.1, dependencies=(first, second))
    user.submit(first, second, last, grouped=True)
    wait(cluster, 1.0)
    cluster.restart_scheduler()
    cluster.finish(10.0)
    assert outcomes(cluster, [first, second, last]) == {ResultStatus.succeeded}
    assert runs(cluster, first) == runs(cluster, second) == 1


def test_what_nobody_asks_for_any_more_is_stopped() -> None:
    cluster, user = quiet(1)
    other = cluster.add_user()
    wait(cluster, 0.1)
    (job,) = plain(user, 1, 1000.0)
    wait(cluster, 0.5)
    cluster.left_early = True
    cluster.restart_scheduler()
    user.client.vanish()
    (after,) = plain(other, 1, 0.001)
    cluster.finish(30.0)
    assert outcomes(cluster, [after]) == {ResultStatus.succeeded}
    assert cluster.books.runs[job.key][0].interrupted


def test_twice_in_a_row() -> None:
    cluster, user = quiet(2, 1)
    jobs = plain(user, 9, 4.0) + plain(user, 100, 0.01)
    wait(cluster, 0.5)
    cluster.restart_scheduler()
    wait(cluster, 4.5)
    cluster.restart_scheduler()
    cluster.finish(10.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert {runs(cluster, job) for job in jobs} == {1}
