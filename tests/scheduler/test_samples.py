"""A bounded sample of however many tasks."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.ids import u32, u64
from scaler.messages import Results
from scaler.scheduler.clock import Clock
from scaler.scheduler.samples import A_WINDOW, KEPT, Samples

from .builders import i, q

NAMES = ["f", "g", "h"]


def message(first: int, count: int) -> Results:
    tasks = q(*range(first, first + count))
    return Results(tasks, i(*[1] * count), b"\1" * count, [b""] * count, tasks, tasks, tasks, slots=i(*[3] * count))


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 0.7)), max_size=25))
@settings(max_examples=60, deadline=None)
def test_columns_stay_together_and_bounded(batches: list[tuple[int, float]]) -> None:
    clock = Clock(100.0)
    samples = Samples(clock)
    total = 0
    for count, pause in batches:
        samples.add(bytes([count % 256]) * 16, [(total + k) % 3 for k in range(count)], message(total, count))
        total += count
        clock.now += pause
    ended = samples.since(0, NAMES)
    tasks = list(u64(ended.tasks))
    assert tasks == sorted(set(tasks)) and samples.total == total and len(tasks) <= KEPT + A_WINDOW
    if total <= A_WINDOW:
        assert tasks == list(range(total))
    assert [ended.function_names[f] for f in u32(ended.functions)] == [NAMES[task % 3] for task in tasks]
    assert list(u64(ended.wall_microseconds)) == list(u64(ended.peak_memory_bytes)) == tasks
    assert len(ended.statuses) == len(u32(ended.counts)) == len(u32(ended.slots)) == len(tasks)
    assert all(w < len(ended.worker_identities) for w in u32(ended.workers))


def test_of_many_every_nth_is_kept_over_the_whole_time() -> None:
    clock = Clock(0.0)
    samples = Samples(clock)
    for n in range(600):
        samples.add(b"w" * 16, [0] * 100, message(100 * n, 100))
    tasks = list(u64(samples.since(0, NAMES).tasks))
    assert A_WINDOW // 2 <= len(tasks) <= A_WINDOW
    assert len({b - a for a, b in pairwise(tasks)}) == 1 and tasks[-1] > 59_000


def test_what_was_told_is_not_told_again_though_it_was_thinned() -> None:
    samples = Samples(Clock(0.0))
    samples.add(b"w" * 16, [0] * 400, message(0, 400))
    told = samples.entries
    samples.add(b"w" * 16, [0] * 400, message(400, 400))
    assert min(u64(samples.since(told, NAMES).tasks)) >= 400
    samples.clear()
    assert len(samples) == 0 and len(u64(samples.since(0, NAMES).tasks)) == 0
