"""The memory of executors, as the test says it is: who is stopped, who has to tidy up."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.machine import Log, Output
from scaler.messages import ExecutorDeaths, ResultStatus, Tidy
from scaler.worker.executors import KillExecutor
from scaler.worker.memory import LOOK_SECONDS, TIDY_SECONDS, TRIM_SECONDS

from .builders import Rig, ended, of_kind, ran, said, told
from .test_ranges import assign

MB = 1 << 20
LIMIT = 500 * MB


def rig(slots: int = 1, **options: Any) -> tuple[Rig, dict[int, int]]:
    """A worker, and the resident bytes of its executors."""
    made = Rig(slots, host="h", pid=7, **options)
    resident = dict.fromkeys(range(10), 60 * MB)
    made.state.memory.resident = resident.__getitem__
    return made, resident


def look(on: Rig) -> list[Output]:
    return on.at(on.now + LOOK_SECONDS)


def later(on: Rig, seconds: float) -> list[Output]:
    """All that is asked for until then, second by second."""
    end, outputs = on.now + seconds, []
    while on.now < end:
        outputs += on.at(on.now + TIDY_SECONDS)
    return outputs


class TestLimit:
    def test_a_task_that_takes_too_much_is_stopped_and_says_why(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        worker.assign(1)
        worker.take(0)
        resident[0] = LIMIT
        assert not of_kind(look(worker), KillExecutor)
        resident[0] = LIMIT + 100 * MB
        assert of_kind(look(worker), KillExecutor) == [KillExecutor(0)]
        assert not of_kind(look(worker), KillExecutor)
        ((task, attempt, status, text),) = ended(worker.exited(0, "signal 9"))
        assert (task, attempt, status) == (1, 1, ResultStatus.out_of_memory)
        assert text.decode() == (
            "took its executor to 600 MiB of memory; the limit is 500 MiB for each executor of worker h:7. "
            "Have each task do less at a time, or give workers a greater --memory-limit-bytes"
        )

    def test_what_waits_behind_it_runs_elsewhere(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        worker.assign(1, 2)
        worker.take(0)
        resident[0] = 2 * LIMIT
        look(worker)
        worker.exited(0)
        assert ran(worker.started(1)) == [(1, 0, [b"2"])]

    def test_an_item_of_a_range_is_stopped_alone(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        assign(worker, 7, 10)
        worker.take(0)
        worker.claims[0].open_range(0, 10)
        for _ in range(3):
            worker.claims[0].take_item(int(worker.now * 1e6))
        resident[0] = 2 * LIMIT
        look(worker)
        (deaths,) = said(worker.exited(0), ExecutorDeaths)
        assert (list(deaths.items), list(deaths.statuses)) == ([2], [ResultStatus.out_of_memory])

    def test_a_task_is_not_blamed_for_what_others_left(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        worker.assign(1)
        worker.take(0)
        resident[0] = LIMIT - MB
        look(worker)
        worker.done(0)
        worker.assign(2)
        worker.take(1)
        resident[0] = LIMIT + MB
        outputs = look(worker)
        assert of_kind(outputs, KillExecutor) == [KillExecutor(0)]
        assert "most of it since before" in of_kind(outputs, Log)[0].text
        assert ended(worker.exited(0)) == []
        assert ran(worker.started(1)) == [(1, 0, [b"2"])]
        worker.take(0, executor=1)
        resident[1] = LIMIT + MB
        look(worker)
        assert [(task, status) for task, _, status, _ in ended(worker.exited(1))] == [(2, ResultStatus.out_of_memory)]

    def test_an_idle_executor_that_has_too_much_is_replaced(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        worker.assign(1)
        worker.run(0)
        resident[0] = LIMIT + MB
        assert of_kind(look(worker), KillExecutor) == [KillExecutor(0)]
        assert worker.state.next_deadline() == worker.state._heartbeat_at

    def test_between_two_tasks_nobody_is_blamed(self) -> None:
        worker, resident = rig(memory_limit_bytes=LIMIT)
        worker.assign(1)
        resident[0] = LIMIT + MB
        assert not of_kind(look(worker), KillExecutor)

    @pytest.mark.parametrize("limit", [0, LIMIT])
    def test_nobody_looks_without_limit_or_without_work(self, limit: int) -> None:
        worker, _ = rig(memory_limit_bytes=limit)
        worker.state.memory.resident = lambda executor: pytest.fail("nothing to look at")
        assert worker.state.memory.due is None
        if not limit:
            worker.assign(1)
            worker.take(0)
            assert worker.state.memory.due is None
            worker.at(worker.now + 1)


class TestTidying:
    def test_an_idle_executor_collects_now_and_then(self) -> None:
        worker, _ = rig(garbage_collect_seconds=30)
        worker.assign(1)
        worker.run(0)
        assert told(later(worker, 30), Tidy) == []
        assert told(later(worker, 2), Tidy) == [Tidy(False)]
        assert worker.state.memory.due is None
        assert told(later(worker, 100), Tidy) == []
        worker.assign(2)
        worker.run(1)
        assert told(later(worker, 2), Tidy) == [Tidy(False)]

    def test_a_busy_executor_does_not(self) -> None:
        worker, _ = rig(garbage_collect_seconds=5)
        worker.assign(1)
        worker.take(0)
        assert told(later(worker, 20), Tidy) == []
        worker.done(0)
        assert told(later(worker, 1), Tidy) == [Tidy(False)]

    def test_one_that_has_much_memory_trims_it_after_its_task(self) -> None:
        worker, resident = rig(2, trim_memory_bytes=LIMIT)
        worker.assign(1, 2)
        worker.run(0, executor=1)
        worker.take(0)
        assert told(later(worker, 5), Tidy) == []
        resident[0] = LIMIT + MB
        assert told(later(worker, 30), Tidy, 0) == [Tidy(True)]

    def test_one_that_keeps_its_memory_is_not_asked_all_the_time(self) -> None:
        worker, resident = rig(trim_memory_bytes=LIMIT)
        resident[0] = LIMIT + MB
        asked = 0
        for position in range(40):
            worker.assign(position)
            worker.run(position)
            asked += len(told(later(worker, 1), Tidy))
        assert asked == 40 // TRIM_SECONDS

    def test_an_idle_one_is_asked_once(self) -> None:
        worker, resident = rig(trim_memory_bytes=LIMIT, garbage_collect_seconds=5)
        resident[0] = LIMIT + MB
        worker.assign(1)
        worker.run(0)
        assert told(later(worker, 60), Tidy) == [Tidy(True)]
        assert worker.state.memory.due is None
