"""100,000 workers and 10^8 tasks, by one scheduler and by several that share clients and workers evenly: simulated.

Most tasks are items of maps, some are single ones, some are in graphs; each kind is about a third of the work. The schedulers
say nothing to each other, so one is simulated after the other.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.scale.site import Site
from benchmarks.scale.work import FRAME, SUMS, Words, in_turns

SCHEDULERS = (1, 4, 16, 64)
WORKERS = 100_000
TASKS = 100_000_000
CLIENTS = 64
ITEM, SINGLE, NODE = 20e-6, 10e-3, 20e-3
"""Seconds of an item, a single task and a task of a graph."""
SINGLE_PART, NODE_PART = 0.002, 0.001
"""What part of the tasks they are; the others are items."""


@dataclass(frozen=True, slots=True)
class Shared:
    schedulers: int
    tasks: int
    makespan: float
    """Seconds until the last client has its last result."""
    bound: float
    """All work divided by all slots."""
    processor: float
    """Seconds of all schedulers together."""
    messages: int
    took: float
    """Seconds of processor time that the simulation took."""
    peak_bytes: int
    """The most that this process has had so far."""


def measure(schedulers: int, tasks: int = TASKS, workers: int = WORKERS, clients: int = CLIENTS) -> Shared:
    """Each client has as much to do. Raises RuntimeError if a result is missing."""
    began = time.process_time()
    singles = max(1, int(tasks * SINGLE_PART / clients))
    nodes = max(1, int(tasks * NODE_PART / clients / FRAME)) * FRAME
    items = tasks // clients - singles - nodes
    work = (items * ITEM + singles * SINGLE + nodes * NODE) * clients
    makespan = processor = 0.0
    messages = 0
    for number in range(schedulers):
        site = Site()
        for client in range(number, clients, schedulers):
            words = Words()
            said = in_turns(words.singles(1, singles), words.graphs(2, nodes), words.arrays(0, items))
            site.add_client(client.to_bytes(16, "little"), (ITEM, SINGLE, NODE), said)
        site.add_workers(_part(workers, schedulers, number))
        site.run(float("inf"))
        _check(site, items + singles + nodes // FRAME * SUMS)
        makespan, processor = max(makespan, site.ended_at), processor + site.spent
        messages += site.messages
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    took = time.process_time() - began
    total = (items + singles + nodes) * clients
    return Shared(schedulers, total, makespan, work / workers, processor, messages, took, peak)


def _part(whole: int, parts: int, number: int) -> int:
    return whole // parts + (number < whole % parts)


def _check(site: Site, results: int) -> None:
    for client in site.clients.values():
        if client.results != results or not client.done:
            raise RuntimeError(f"a client has {client.results} results, not {results}")


def table(
    schedulers: Sequence[int] = SCHEDULERS, tasks: int = TASKS, workers: int = WORKERS, clients: int = CLIENTS
) -> Iterator[str]:
    """A line for each number of schedulers."""
    yield "| schedulers | makespan, s | bound, s | tasks/s | us a task | messages | simulated in, s | peak memory, MB |"
    yield "|---:|" + "---:|" * 7
    for count in schedulers:
        found = measure(count, tasks, workers, clients)
        yield (
            f"| {count} | {found.makespan:.2f} | {found.bound:.3f} | {found.tasks / found.makespan:,.0f} "
            f"| {found.processor / found.tasks * 1e6:.3f} | {found.messages:,} | {found.took:.0f} "
            f"| {found.peak_bytes / 1e6:,.0f} |"
        )
