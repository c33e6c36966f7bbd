"""Schedulers with a journal die, clients die, both die; whoever comes back under the name has what was accepted."""

from __future__ import annotations

import pytest

from scaler.messages import ResultStatus

from .checkers import Kind
from .journaled import JournaledCluster
from .network import Quality
from .run import CALM_KINDS
from .test_scenarios import LATENCY, array_of, outcomes, plain, runs, wait
from .workload import Mix, User, script


def quiet(*slots: int) -> tuple[JournaledCluster, User]:
    cluster = JournaledCluster(1, Quality(LATENCY, 0.0))
    for count in slots:
        cluster.add_worker(count)
    user = cluster.add_user()
    cluster.clock.run(0.1)
    return cluster, user


def both_die(cluster: JournaledCluster, user: User) -> None:
    cluster.restart_scheduler()
    cluster.kill_client(user, 12.0)


def test_tasks_go_on_without_their_client_and_are_collected() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 4, 0.5) + array_of(user, 20, 0.1) + plain(user, 4, 4.0)
    wait(cluster, 0.7)
    both_die(cluster, user)
    wait(cluster, 10.0)
    assert sum(bool(cluster.books.runs[job.key]) for job in jobs) > 20, "they go on"
    cluster.finish(30.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert {runs(cluster, job) for job in jobs} == {1}


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.STORED])
def test_nodes_of_a_graph_that_have_ended_do_not_run_again(kind: Kind) -> None:
    cluster, user = quiet(2)
    first = user.job(kind, 0.1)
    second = user.job(kind, 0.1, dependencies=(first,))
    third = user.job(kind, 2.0, dependencies=(first, second))
    last = user.job(kind, 0.1, dependencies=(second, third))
    first.wanted = second.wanted = third.wanted = False
    user.submit(first, second, third, last, grouped=True)
    wait(cluster, 1.0)
    both_die(cluster, user)
    cluster.finish(30.0)
    assert len(outcomes(cluster, [last])) == 1
    assert [runs(cluster, job) for job in (first, second, third, last)] == [1, 1, 1, 1]


def test_nothing_runs_again_where_the_workers_are_gone_too() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 20, 0.1)
    graph = [user.job(Kind.PLAIN, 0.1)]
    graph.append(user.job(Kind.PLAIN, 100.0, dependencies=(graph[0],)))
    graph[0].wanted = False
    user.submit(*graph, grouped=True)
    wait(cluster, 2.0)
    cluster.scheduler.kill()
    for worker in cluster.workers:
        worker.kill()
    cluster.scheduler = cluster._new_scheduler()
    cluster.books.disturbances += 1
    cluster.add_worker(2)
    cluster.finish(120.0)
    assert {runs(cluster, job) for job in [*jobs, graph[0]]} == {1}
    assert outcomes(cluster, [*jobs, graph[1]]) == {ResultStatus.succeeded}


def test_a_client_that_lives_goes_on_as_without_a_journal() -> None:
    for moment in range(10):
        cluster, user = quiet(2, 2)
        jobs = plain(user, 200, 0.002) + array_of(user, 200, 0.000_1) + plain(user, 4, 2.0)
        wait(cluster, 0.02 + moment * 0.02)
        cluster.restart_scheduler()
        cluster.finish(10.0)
        assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
        assert {runs(cluster, job) for job in jobs} == {1}, moment


def test_many_seeds() -> None:
    for seed in range(30):
        simulate(seed)


def simulate(seed: int, verbose: bool = False) -> JournaledCluster:
    """Named clients on a cluster with faults, some of which kill them, too."""
    cluster = JournaledCluster(seed, verbose=verbose)
    clock = cluster.clock
    random = clock.random
    latency = random.choice((0.000_05, 0.001, 0.02))
    cluster.network.quality = Quality(latency, latency, random.choice((0.0, 0.5)), random.choice((0.0, 0.6)))
    for _ in range(random.randint(1, 3)):
        cluster.add_worker(random.randint(1, 3))
    for _ in range(random.randint(1, 2)):
        user = cluster.add_user(Mix(CALM_KINDS, random.choice((0.000_1, 0.005)), random.choice((0.0, 0.1))))
        script(user, random.choice((20, 100)), random.choice((0.1, 1.0)))
    faults = (
        (cluster.restart_scheduler, 4),
        (cluster.kill_client, 4),
        (cluster.lose_link, 3),
        (cluster.kill_worker, 2),
        (cluster.kill_executor, 2),
        (cluster.freeze_link, 1),
    )
    kinds, weights = zip(*faults, strict=True)
    for fault in random.choices(kinds, weights, k=random.choice((1, 2, 4, 8))):
        clock.at(1.0 + random.random() * random.choice((0.1, 4.0)), fault)
    cluster.finish(6.0)
    return cluster
