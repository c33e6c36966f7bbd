"""Clusters that grow and shrink with the work: whatever the policy, no task is lost, and none runs twice because of it."""

from __future__ import annotations

import pytest

from scaler.scheduler.policy import Policy
from scaler.scheduler.scaling.waterfall import Rule

from .checkers import Kind
from .cluster import Cluster
from .network import Quality
from .workload import Mix, User

SEEDS_IN_CHUNK, CHUNKS = 10, 5
CYCLES = 10
IDLE_SECONDS = 0.5
MORE_SECONDS = 2.0
"""Beside the idle time, what it may take to be back at nothing."""
FAULT_SECONDS = 4.0
CALM = ((Kind.PLAIN, 85), (Kind.STORED, 10), (Kind.PARENT, 5))
POLICIES = (
    Policy(idle_seconds=IDLE_SECONDS),
    Policy(scaling="capability", idle_seconds=IDLE_SECONDS),
    Policy(scaling="target_time", target_seconds=0.2, idle_seconds=IDLE_SECONDS),
    Policy(scaling="waterfall", rules=(Rule(1, "here", 4), Rule(2, "there", -1)), idle_seconds=IDLE_SECONDS),
)


def elastic(seed: int) -> Cluster:
    """Two managers, no worker, and a user."""
    cluster = Cluster(seed, check_every=5, policy=POLICIES[seed % len(POLICIES)])
    clock, random = cluster.clock, cluster.clock.random
    latency = random.choice((0.000_1, 0.001, 0.02))
    cluster.network.quality = Quality(latency, latency, random.choice((0.0, 0.3)), random.choice((0.0, 0.3)))
    for name, offers in (("here", ("gpu", "big")), ("there", ("gpu", "big") if clock.chance(0.5) else ())):
        manager = cluster.add_manager(name, random.randint(2, 10), random.choice((1, 1, 2)), offers)
        manager.site.start_seconds = random.choice((0.01, 0.1, 0.5))
    mix = Mix(CALM, random.choice((0.001, 0.01, 0.05)), random.choice((0.0, 0.05)), ("gpu", "big"), 0.3)
    cluster.add_user(mix)
    return cluster


def alive(cluster: Cluster) -> int:
    return sum(worker.alive for worker in cluster.workers)


def load(cluster: Cluster, user: User, seconds: float) -> None:
    """Some bursts within this time."""
    random = cluster.clock.random
    for _ in range(random.randint(1, 3)):
        submit, count = random.choice((user.burst, user.array, user.graph)), random.choice((1, 5, 20, 40))
        cluster.clock.after(random.random() * seconds, lambda submit=submit, count=count: submit(count))


def run_cycle(cluster: Cluster, user: User) -> None:
    """From no worker to as many as the load asks for, and back."""
    clock, books = cluster.clock, cluster.books
    load(cluster, user, 0.3)
    clock.run(clock.now + 0.3)
    assert clock.run(clock.now + 60, lambda: not books.missing), [
        cluster._explain(job) for job in books.unfinished()[:3]
    ]
    assert clock.run(clock.now + 60, lambda: not +books.running and not cluster.scheduler.state.board)
    assert clock.run(clock.now + IDLE_SECONDS + MORE_SECONDS, lambda: not alive(cluster)), (
        cluster.scheduler.state.snapshot()
    )


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_up_and_down_again(chunk: int) -> None:
    for seed in range(chunk * SEEDS_IN_CHUNK, (chunk + 1) * SEEDS_IN_CHUNK):
        cluster = elastic(seed)
        (user,) = cluster.users
        for _ in range(CYCLES):
            run_cycle(cluster, user)
        assert all(len(runs) == 1 for runs in cluster.books.runs.values()), seed
        assert cluster.workers and not cluster.books.deaths
        cluster.finish()
        for manager in cluster.managers:
            manager.check_limits()
            # One that was asked to leave before its manager had heard that it is connected is taken for one that did not start.
            assert manager.state.snapshot()["failures"] <= 1


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_happens_nothing_is_lost(chunk: int) -> None:
    for seed in range(1000 + chunk * SEEDS_IN_CHUNK, 1000 + (chunk + 1) * SEEDS_IN_CHUNK):
        cluster = elastic(seed)
        clock, random = cluster.clock, cluster.clock.random
        for manager in cluster.managers:
            manager.site.failing = random.choice((0.0, 0.2))
        faults = (
            cluster.restart_manager,
            cluster.restart_scheduler,
            cluster.kill_worker,
            cluster.take_machine,
            cluster.lose_link,
            cluster.freeze_link,
        )
        for fault in random.choices(faults, k=random.choice((1, 2, 4))):
            clock.at(random.random() * FAULT_SECONDS, fault)
        for _ in range(3):
            load(cluster, cluster.users[0], FAULT_SECONDS)
        cluster.finish(FAULT_SECONDS)
        for manager in cluster.managers:
            manager.check_limits()


def test_a_machine_that_is_taken_away_is_left_before() -> None:
    """What its worker has begun ends there, what it has not begun runs elsewhere, and nothing runs twice."""
    cluster = Cluster(1, Quality(0.001, 0.0), policy=Policy(idle_seconds=IDLE_SECONDS))
    manager, user, clock = cluster.add_manager("spot", 4, 2), cluster.add_user(), cluster.clock
    clock.run(0.2)
    user.submit(*(user.job(Kind.PLAIN, 1.0) for _ in range(12)))
    assert clock.run(clock.now + 5, lambda: len(cluster.executors) == 4 and all(e.run for e in cluster.executors))
    first, *_ = manager.site.workers
    lost = manager.site.workers[first]
    manager.site.taken.add(first)
    assert clock.run(clock.now + 5, lambda: not lost.alive) and lost.orderly
    assert clock.run(clock.now + 30, lambda: not cluster.books.missing)
    assert all(len(runs) == 1 for runs in cluster.books.runs.values())
    assert len(set(manager.state.names) - {first}) == 2
    assert not manager.state.snapshot()["failures"]


def test_two_managers_are_filled_in_order_and_drained_in_reverse() -> None:
    rules = Rule(1, "near", 4), Rule(2, "far", 8)
    cluster = Cluster(
        1, Quality(0.001, 0.0), policy=Policy(scaling="waterfall", rules=rules, idle_seconds=IDLE_SECONDS)
    )
    near, far = cluster.add_manager("near", 10), cluster.add_manager("far", 20)
    user = cluster.add_user()
    cluster.clock.run(0.2)

    def desired() -> tuple[int, int]:
        return near.state.snapshot()["desired"], far.state.snapshot()["desired"]

    seen = []
    for count, seconds in ((3, 1.0), (4, 1.0), (30, 1.0), (2, 3.0)):
        user.submit(*(user.job(Kind.PLAIN, seconds) for _ in range(count)))
        cluster.clock.run(cluster.clock.now + 0.9)
        seen.append(desired())
    assert seen[0] == (3, 0) and seen[2] == (4, 8)
    while any(desired()):
        cluster.clock.run(cluster.clock.now + 0.01)
        seen.append(desired())
    assert all(far_wants == 0 for near_wants, far_wants in seen if near_wants < 4), seen
    assert any(0 < near_wants < 4 for near_wants, _ in seen[3:])
    cluster.finish()
