"""How many of its workers' slots one scheduler keeps busy, by the number of workers and how long tasks take: simulated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.scale.site import Site
from benchmarks.scale.work import ARRAY, Words
from scaler.scheduler.board import TARGET_US

WORKERS = (100, 1_563, 6_250, 25_000, 100_000)
"""The last four are 100,000 shared by 64, 16, 4 schedulers and one."""
HOSTS = (16, 98, 391, 1_563)
"""The same slots on workers that have 64 each."""
KINDS: tuple[tuple[str, float], ...] = (
    ("arrays", 100e-6),
    ("arrays", 1e-3),
    ("singles", 10e-3),
    ("singles", 100e-3),
    ("singles", 1.0),
    ("singles", 10.0),
)
"""How tasks are submitted, and how many seconds each takes."""
LEAST = 10_000
"""So many results (of tasks, or of ranges of items) are measured; before that each slot has ended a task, on average."""


@dataclass(frozen=True, slots=True)
class Found:
    tasks_a_second: float
    busy: float
    """The part of all slots."""
    task_us: float
    """Processor time of the scheduler for a task."""


def measure(kind: str, seconds: float, workers: int, slots: int = 1, least: int = LEAST) -> Found:
    """In the steady state: always enough tasks wait, and the first task of each slot has been there for a while already."""
    site, words = Site(stagger=random.Random(1).random), Words()
    ahead = 2 + TARGET_US / 1e6 / seconds
    at_once = int(workers * slots * ahead) + 20_000 + (2 * ARRAY if kind == "arrays" else 0)
    site.add_client(b"c" * 16, [seconds], getattr(words, kind)(0), at_once)
    site.add_workers(workers, slots)
    step = min(0.05, seconds)
    _until(site, max(least, workers * slots), step)
    before = site.now, site.ended, site.spent
    _until(site, site.told + least, step)
    passed, ended, spent = (
        after - then for after, then in zip((site.now, site.ended, site.spent), before, strict=True)
    )
    return Found(ended / passed, min(1.0, ended * seconds / passed / workers / slots), spent / ended * 1e6)


def _until(site: Site, told: int, step: float) -> None:
    while site.told < told:
        site.run(site.now + step)


def table(
    kinds: Sequence[tuple[str, float]] = KINDS, workers: Sequence[int] = WORKERS, slots: int = 1
) -> Iterator[str]:
    """Lines: for each kind the part of the slots that is busy, and the tasks a second, by workers."""
    yield f"| {slots} slots a worker | " + " | ".join(f"{count:,}" for count in workers) + " |"
    yield "|---|" + "---:|" * len(workers)
    for kind, seconds in kinds:
        found = [measure(kind, seconds, count, slots) for count in workers]
        cells = (f"{one.busy:.1%}, {one.tasks_a_second:,.0f}/s, {one.task_us:.3g} us" for one in found)
        yield f"| {kind}, {duration(seconds)} | " + " | ".join(cells) + " |"


def duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"
