"""A thread that looks at the stacks of another one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from scaler._core.claims import PAGE_BYTES, Claims
from scaler.messages import BeginSampling, StackSamples
from scaler.stacks import DEEPER, MOST_FRAMES, Stack, StackCounts
from scaler.worker.sampling import Sampling

HERTZ = 200
SECONDS = 0.3


def outside(task: Callable[[], object]) -> None:
    """What an executor does around a task."""
    task()


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def deep(frames: int, seconds: float) -> None:
    deep(frames - 1, seconds) if frames else time.sleep(seconds)


def big_power(seconds: float) -> None:
    """Holds the interpreter, a tenth of the time or so in one go."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pow(3, 400_000)


class Watched:
    """This thread, as an executor that runs a task, and what is found of it."""

    def __init__(self, function_name: str = "", milliseconds: int = int(SECONDS * 1000)) -> None:
        self.claims = Claims(bytearray(PAGE_BYTES))
        self.parts: list[StackSamples] = []
        self.ended = threading.Event()
        asked = BeginSampling(1, milliseconds, HERTZ, 100, b"", function_name)
        thread = threading.get_ident()
        self.sampling = Sampling(asked, thread, outside.__code__, self.claims, lambda: "job", self._said)

    def _said(self, samples: StackSamples) -> None:
        self.parts.append(samples)
        if samples.ended:
            self.ended.set()

    def run(self, task: Callable[[], object]) -> dict[tuple[str, Stack], int]:
        """What was found while the task ran, and until the end of the profile."""
        self.claims.offer(0)
        assert self.claims.take(0, time.monotonic_ns() // 1000)
        self.sampling.start()
        outside(task)
        assert self.ended.wait(10)
        counts = StackCounts()
        for part in self.parts:
            counts.merge(part)
        return counts.counts


def wait_for_threads(count: int) -> None:
    """Until there are so many that the interpreter knows."""
    deadline = time.monotonic() + 10
    while len(sys._current_frames()) != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def seen(counts: dict[tuple[str, Stack], int], name: str) -> float:
    """For how many seconds a function was seen."""
    return sum(count for (_, stack), count in counts.items() if name in [frame.name for frame in stack]) / HERTZ


def test_where_a_task_is_and_for_how_long() -> None:
    watched = Watched()
    counts = watched.run(lambda: (spin(SECONDS / 2), time.sleep(SECONDS)))
    assert 0.2 * SECONDS < seen(counts, "spin") < 0.8 * SECONDS
    assert {function for function, _ in counts} == {"job"}
    (frame,) = {stack[1] for _, stack in counts if len(stack) > 1}
    assert frame == ("spin", __file__, spin.__code__.co_firstlineno)
    assert all(stack[0].name.endswith("<lambda>") for _, stack in counts)
    assert sum(counts.values()) / HERTZ <= SECONDS * 1.1
    assert len(watched.parts) >= 3 and [part.ended for part in watched.parts].count(True) == 1


def test_what_keeps_the_interpreter_counts_for_the_time_in_which_it_could_not_be_seen() -> None:
    begin = time.monotonic()
    counts = Watched(milliseconds=1000).run(lambda: big_power(1.2))
    spent = time.monotonic() - begin
    assert 0.5 < seen(counts, "big_power") <= spent


def test_a_task_that_has_just_begun_does_not_count_for_what_was_before() -> None:
    watched = Watched()
    watched.sampling._counts.add = lambda function, stack, count: found.append(count)  # type: ignore[method-assign]
    found: list[int] = []
    watched.claims.offer(0)
    watched.claims.take(0, time.monotonic_ns() // 1000)
    outside(lambda: watched.sampling._look(time.monotonic(), 1000, 1.0))
    assert found == [1]


def test_nothing_is_counted_while_nothing_runs_or_something_else_does() -> None:
    assert Watched().run(lambda: None) == {}
    assert Watched("another").run(lambda: time.sleep(SECONDS)) == {}


def test_very_deep_stacks_are_cut() -> None:
    (key,) = Watched().run(lambda: deep(MOST_FRAMES + 20, SECONDS * 2))
    _, stack = key
    assert len(stack) == MOST_FRAMES and stack[-1] == DEEPER and stack[1].name == "deep"


def test_it_can_be_ended_and_leaves_no_thread() -> None:
    watched = Watched(milliseconds=600_000)
    before = len(sys._current_frames())
    watched.sampling.start()
    wait_for_threads(before + 1)
    assert threading.active_count() <= before
    watched.sampling.end()
    watched.sampling.end()
    assert watched.ended.wait(10)
    wait_for_threads(before)
    assert watched.parts[-1].ended


def test_with_its_worker_gone_it_ends() -> None:
    watched = Watched(milliseconds=30)
    before = len(sys._current_frames())

    def gone(samples: StackSamples) -> None:
        watched.ended.set()
        raise BrokenPipeError

    watched.sampling._said = gone
    watched.sampling.start()
    assert watched.ended.wait(10)
    wait_for_threads(before)
