"""Processes that are stopped and wake late, clocks that jump, networks that carry one way only, peers that do not read."""

from __future__ import annotations

import pytest

from scaler.messages import ResultStatus
from scaler.scheduler.state import HOUSEKEEPING_SECONDS

from .checkers import Job
from .cluster import TIMEOUT_SECONDS
from .test_scenarios import outcomes, plain, quiet, runs, wait


@pytest.mark.parametrize("moment", [0.1, 0.4, 0.9])
def test_a_scheduler_that_was_stopped_takes_nobody_for_silent(moment: float) -> None:
    """What its peers said meanwhile is still to be read: it was the scheduler that was silent."""
    cluster, user = quiet(2, 1)
    jobs = plain(user, 6, 2 * TIMEOUT_SECONDS)
    wait(cluster, moment)
    cluster.scheduler.sleep(3 * TIMEOUT_SECONDS)
    cluster.finish(4 * TIMEOUT_SECONDS)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert {runs(cluster, job) for job in jobs} == {1}
    assert not any("was silent for" in line or "was gone for" in line for line in cluster.clock.story)


def test_a_scheduler_whose_clock_jumps_takes_nobody_for_silent() -> None:
    cluster, user = quiet(2, 1)
    jobs = plain(user, 6, 2.0)
    wait(cluster, 0.5)
    cluster.scheduler.jump(100 * TIMEOUT_SECONDS)
    cluster.finish(10.0)
    assert {runs(cluster, job) for job in jobs} == {1}
    assert not any("was silent for" in line or "was gone for" in line for line in cluster.clock.story)


def test_a_zombie_is_found_in_time_and_changes_nothing_when_it_wakes() -> None:
    """Others have its tasks by then; the results in its hands are of attempts that are over."""
    cluster, user = quiet(1, 1)
    jobs = plain(user, 4, 1.0)
    wait(cluster, 0.9)
    zombie = cluster.workers[0]
    began = cluster.clock.now
    zombie.sleep(4 * TIMEOUT_SECONDS)
    cluster.books.disturbances += 1
    assert cluster.clock.run(began + 100, lambda: len(cluster.scheduler.state.workers.sessions) == 1)
    assert cluster.clock.now - began <= TIMEOUT_SECONDS + HOUSEKEEPING_SECONDS
    cluster.finish(5 * TIMEOUT_SECONDS)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert cluster.scheduler.state.snapshot()["workers"] == 2


def test_a_client_whose_clock_jumps_does_not_take_the_scheduler_for_silent() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 4, 2.0)
    wait(cluster, 0.5)
    user.client.jump(1000.0)
    cluster.finish(10.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert not any("was silent for" in line for line in cluster.clock.story)


@pytest.mark.parametrize("ways", [(True, False), (False, True)])
def test_a_network_that_carries_one_way_only(ways: tuple[bool, bool]) -> None:
    """A worker that is not heard is given up in time; one that hears nothing, and is heard, keeps what it has."""
    cluster, user = quiet(1, 1)
    jobs = plain(user, 4, 2.0)
    wait(cluster, 1.0)
    cluster.books.disturbances += 1
    inward, outward = ways
    cluster.network.cut({cluster.workers[0].name}, 4 * TIMEOUT_SECONDS, inward, outward)
    began = cluster.clock.now
    lost = cluster.clock.run(
        began + TIMEOUT_SECONDS + HOUSEKEEPING_SECONDS, lambda: len(cluster.scheduler.state.workers.sessions) == 1
    )
    assert lost == outward
    cluster.finish(5 * TIMEOUT_SECONDS)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert sum(runs(cluster, job) for job in jobs) <= len(jobs) + 1 + outward


def test_what_comes_by_an_old_connection_after_the_new_one_harms_nobody() -> None:
    cluster, user = quiet(2)
    jobs = plain(user, 100, 0.05)
    for _ in range(5):
        wait(cluster, 0.3)
        cluster.books.disturbances += 2
        cluster.network.link_of(cluster.workers[0]).leave(0.5)
        cluster.network.link_of(user.client).leave(0.5)
    cluster.finish(20.0)
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}


def test_peers_that_do_not_read_and_say_much_do_not_wait_for_each_other() -> None:
    """With 5000 bytes unread a peer is slow: what both say at once is more by far."""
    cluster, user = quiet(4)
    cluster.network.quality.buffer = 5000
    user = cluster.add_user()
    wait(cluster, 0.1)
    jobs: list[Job] = []
    for _ in range(40):
        jobs += plain(user, 50, 0.000_1)
        wait(cluster, 0.001)
    began = cluster.clock.now
    assert cluster.clock.run(began + 20.0, lambda: not cluster.books.missing)
    cluster.finish()
    assert outcomes(cluster, jobs) == {ResultStatus.succeeded}
    assert {runs(cluster, job) for job in jobs} == {1}
