"""Schedulers whose clients have unequal work, with workers that stay or are lent to where work waits: simulated.

The policy is a pure function, as those of a scheduler's scaling are. A worker that is lent is asked to leave as one that is
too many, finishes what it runs, and connects to another scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.scale.site import Site
from benchmarks.scale.work import Words

SCHEDULERS, WORKERS, CLIENTS = 16, 800, 64
TASKS, SECONDS = 40_000, 0.1
PERIOD_SECONDS = 0.2
"""How often the policy is asked; who has left meanwhile connects elsewhere then."""
CONNECT_SECONDS = 200e-6
"""What a connection that comes takes of a scheduler's processor: see ``connections``."""
SLACK = 0.05
"""A scheduler that has nearly what it should have keeps it."""


def shares(total: int, weights: Sequence[float], wants: Sequence[int]) -> list[int]:
    """Slots for each: as its weight is to those of the others, never more than it wants; what is over goes to the others."""
    given = [0.0] * len(wants)
    open_ = [place for place, want in enumerate(wants) if want > 0 and weights[place] > 0]
    left = float(total)
    while open_ and left > 1e-9:
        part = left / sum(weights[place] for place in open_)
        full = [place for place in open_ if wants[place] - given[place] <= part * weights[place]]
        for place in full or open_:
            more = min(wants[place] - given[place], part * weights[place])
            given[place] += more
            left -= more
        open_ = [place for place in open_ if place not in full] if full else []
    whole = [int(share + 1e-9) for share in given]
    spare = min(total, round(sum(given))) - sum(whole)
    for place in sorted(range(len(given)), key=lambda place: whole[place] - given[place])[:spare]:
        whole[place] += 1
    return whole


def moves(has: Sequence[int], shall: Sequence[int]) -> list[int]:
    """How many slots each is to give up. Nobody gives what nobody else wants, or more than is wanted."""
    missing = sum(max(0, want - have) for have, want in zip(has, shall, strict=True))
    over = [max(0, have - want) for have, want in zip(has, shall, strict=True)]
    over = [more if more > SLACK * want else 0 for more, want in zip(over, shall, strict=True)]
    excess = sum(over)
    return [more if excess <= missing else more * missing // excess for more in over]


@dataclass(slots=True)
class Outcome:
    makespan: float
    client_ends: list[float] = field(default_factory=list)
    moved: int = 0

    @property
    def mean_end(self) -> float:
        return sum(self.client_ends) / len(self.client_ends)


def sizes(tasks: int, clients: int) -> list[int]:
    """What each client has to do: the n-th a n-th part of the first."""
    parts = [1 / (place + 1) for place in range(clients)]
    return [max(1, round(tasks * part / sum(parts))) for part in parts]


def simulate(
    policy: str, schedulers: int = SCHEDULERS, workers: int = WORKERS, tasks: int = TASKS, clients: int = CLIENTS
) -> Outcome:
    """``policy``: "stay", or lend by how many "clients" have work, or by how much "work" there is."""
    sites = [Site() for _ in range(schedulers)]
    for place, site in enumerate(sites):
        site.add_workers(workers // schedulers + (place < workers % schedulers))
    known = []
    for number, count in enumerate(sizes(tasks, clients)):
        site = sites[number * 7 % schedulers]  # as a hash would: not by size
        known.append((site, count, site.add_client(number.to_bytes(16, "big"), [SECONDS], Words().singles(0, count))))
    outcome, now, away = Outcome(0.0), 0.0, 0
    ends: dict[int, float] = {}
    while len(ends) < clients:
        now += PERIOD_SECONDS
        for site in sites:
            site.run(now)
            site.now = max(site.now, now)
            away += sum(site.left)
            site.left.clear()
        for number, (_, count, client) in enumerate(known):
            if number not in ends and client.results >= count:
                ends[number] = now
        if policy != "stay":
            left = [sum(n - c.results for s, n, c in known if s is site) for site in sites]
            busy = [float(sum(c.results < n for s, n, c in known if s is site)) for site in sites]
            has = [sum(worker.slots for worker in site.workers.values() if not worker.leaves) for site in sites]
            shall = shares(workers, busy if policy == "clients" else [float(n) for n in left], left)
            away, outcome.moved = _lend(sites, has, shall, away, outcome.moved)
    outcome.makespan = max(site.ended_at for site in sites)
    outcome.client_ends = list(ends.values())
    return outcome


def _lend(sites: list[Site], has: list[int], shall: list[int], away: int, moved: int) -> tuple[int, int]:
    """Those that have left connect where slots are missing, and others are asked to leave; returns (away, moved)."""
    for site, have, want in zip(sites, has, shall, strict=True):
        came = min(away, max(0, want - have))
        if came:
            site.add_workers(came, connect_seconds=CONNECT_SECONDS)
            away, moved = away - came, moved + came
    now = [sum(worker.slots for worker in site.workers.values() if not worker.leaves) for site in sites]
    for site, count in zip(sites, moves(now, shall), strict=True):
        if count:
            site.take_workers(count)
    return away, moved


def table() -> Iterator[str]:
    """A line for one scheduler, and for several with each policy."""
    yield "| | makespan, s | mean end of a client, s | workers moved |"
    yield "|---|---:|---:|---:|"
    for name, policy, schedulers in (
        ("one scheduler", "stay", 1),
        (f"{SCHEDULERS}, workers stay", "stay", SCHEDULERS),
        (f"{SCHEDULERS}, lent by clients with work", "clients", SCHEDULERS),
        (f"{SCHEDULERS}, lent by work", "work", SCHEDULERS),
    ):
        found = simulate(policy, schedulers)
        yield f"| {name} | {found.makespan:.1f} | {found.mean_end:.1f} | {found.moved:,} |"
