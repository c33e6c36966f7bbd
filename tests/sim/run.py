"""One simulation from one seed: a cluster, its users and its faults are drawn, then all is let run and judged."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.scheduler.policy import Policy

from .checkers import Kind, Violation
from .clock import Clock
from .cluster import Cluster
from .network import UNLIMITED, Quality
from .workload import Mix, script

KINDS = (
    (Kind.PLAIN, 80),
    (Kind.STORED, 8),
    (Kind.FAILS, 2),
    (Kind.FLAKY, 4),
    (Kind.POISON, 1),
    (Kind.ENDLESS, 1),
)
CALM_KINDS = ((Kind.PLAIN, 85), (Kind.STORED, 8), (Kind.FAILS, 2), (Kind.FLAKY, 5))
NESTED_KINDS = (*KINDS, (Kind.PARENT, 15))
CALM_NESTED_KINDS = (*CALM_KINDS, (Kind.PARENT, 15))
CAPABILITIES = ("gpu", "big")
FAULT_SECONDS = 4.0
RESTART_SECONDS = 3.0
"""By then all that were started again are there, and have said what they want."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left of a simulation."""

    trace: str
    story: list[str]
    tasks: int
    runs: int
    frames: int
    faults: int


def simulate(seed: int, verbose: bool = False) -> Outcome:
    """Run one seed to its end. Raises AssertionError at the first broken promise."""
    # To look at everything after each step takes half of the time; most seeds do so now and then.
    cluster = Cluster(seed, verbose=verbose, check_every=1 if seed % 4 == 0 else 7, policy=policy(seed))
    clock = cluster.clock
    calm = clock.chance(0.2)
    cluster.network.quality = quality(clock)
    populate(cluster, calm)
    faults = 0 if calm else plan_faults(cluster)
    cluster.finish(FAULT_SECONDS + RESTART_SECONDS)
    if calm:
        cluster.books.check_calm()
        stuck = [line for line in clock.story if ": stuck: " in line]
        if stuck:
            raise Violation(f"seed {seed}: nothing happened, and something is said to be stuck: {stuck[0]}")
    for manager in cluster.managers:
        manager.check_limits()
    runs = sum(map(len, cluster.books.runs.values()))
    return Outcome(clock.trace, clock.story, len(cluster.books.jobs), runs, clock.frames, faults)


def policy(seed: int) -> Policy:
    return Policy(
        scaling=("vanilla", "capability", "target_time", "no")[seed % 4], idle_seconds=0.5, target_seconds=0.2
    )


def quality(clock: Clock) -> Quality:
    """Of all links: fast or slow, and more or less ragged."""
    random = clock.random
    latency = random.choice((0.000_05, 0.000_1, 0.001, 0.02))
    buffer = 5000 if clock.chance(0.2) else UNLIMITED
    return Quality(
        latency,
        latency * random.choice((0.1, 1, 5)),
        random.choice((0.0, 0.1, 0.5)),
        random.choice((0.0, 0.2, 0.6)),
        buffer,
    )


def populate(cluster: Cluster, calm: bool) -> None:
    random = cluster.clock.random
    for i in range(random.randint(1, 4)):
        # The first one can run everything.
        offers = CAPABILITIES if i == 0 else tuple(name for name in CAPABILITIES if random.random() < 0.3)
        worker = cluster.add_worker(random.randint(1, 4), offers, queue_limit=random.choice((1, 10, 1000)))
        _maybe_slow(cluster, worker.name)
    for name in ("here", "there")[: random.choice((0, 0, 0, 1, 2))]:
        manager = cluster.add_manager(name, random.randint(1, 6), random.choice((1, 1, 2)), CAPABILITIES)
        manager.site.start_seconds = random.choice((0.01, 0.1, 0.5))
        manager.site.failing = random.choice((0.0, 0.0, 0.2))
    total = random.choice((20, 50, 100, 200))
    users = random.randint(1, 3)
    for _ in range(users):
        mix = Mix(
            random.choice(
                (CALM_KINDS, CALM_NESTED_KINDS) if calm else (KINDS, KINDS, CALM_KINDS, NESTED_KINDS, CALM_NESTED_KINDS)
            ),
            random.choice((0.000_1, 0.001, 0.005)),
            random.choice((0.0, 0.02, 0.1)),
            CAPABILITIES,
            random.choice((0.0, 0.1, 0.5)),
            random.choice((0.0, 0.1, 0.5)),
        )
        user = cluster.add_user(mix)
        _maybe_slow(cluster, user.client.name)
        script(user, total // users, random.choice((0.1, 1.0, FAULT_SECONDS)))


def _maybe_slow(cluster: Cluster, name: str) -> None:
    if cluster.clock.chance(0.1):
        cluster.network.slow[name] = Quality(0.05, 0.1, 0.1, 0.3)


def plan_faults(cluster: Cluster) -> int:
    """Enter faults into the clock; returns how many."""
    random = cluster.clock.random
    kinds = (
        (cluster.lose_link, 6),
        (cluster.freeze_link, 3),
        (cluster.reconnect, 3),
        (cluster.partition, 2),
        (cluster.stop_process, 4),
        (cluster.jump_clock, 2),
        (cluster.slow_reader, 2),
        (cluster.kill_executor, 6),
        (cluster.kill_worker, 3),
        (cluster.dismiss_worker, 1),
        (cluster.restart_scheduler, 2),
        (cluster.restart_storage, 3),
        (cluster.vanish_client, 1),
        (cluster.restart_client, 1),
        (cluster.dismiss_client, 1),
    )
    if cluster.managers:
        kinds += ((cluster.restart_manager, 4), (cluster.take_machine, 2))
    count = random.choice((1, 2, 4, 10))
    faults, weights = zip(*kinds, strict=True)
    for fault in random.choices(faults, weights, k=count):
        cluster.clock.at(random.random() * random.choice((0.1, 1.0, FAULT_SECONDS)), fault)
    return count
