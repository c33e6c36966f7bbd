"""Updates in, what a screen shows out."""

from __future__ import annotations

import pytest

from scaler.ids import RANGE_BIT, task_id, task_label
from scaler.messages import FailedTask, LogLine, ResultStatus, SchedulerFacts
from scaler.monitor.model import KEPT_UPDATES, Model, task_from_label
from scaler.monitor.series import Rate

from .builders import client, ended, function, identity, update, worker


def test_deltas_change_what_a_full_update_told() -> None:
    model = Model()
    model.apply(update(10, True, workers=[worker(1), worker(2)], functions=[function("a")]))
    model.apply(update(11, workers=[worker(2, held=2)], removed_workers=[identity(1)], functions=[function("b")]))
    assert model.workers == {identity(2): worker(2, held=2)} and model.functions.keys() == {"a", "b"}
    assert (model.slots, model.busy_slots, model.unfinished) == (2, 2, 10)
    model.apply(update(12, True))
    assert not model.workers and not model.functions and model.updates == 3


def test_more_tasks_than_slots_do_not_make_more_slots_busy() -> None:
    model = Model()
    model.apply(update(10, True, workers=[worker(1, slots=2, held=7), worker(2, slots=4, held=1)]))
    assert (model.slots, model.busy_slots) == (6, 3)


def test_rates_are_of_the_time_between_updates() -> None:
    model = Model()
    model.apply(update(10, True, succeeded=100))
    model.apply(update(12, succeeded=190, failed=10))
    model.apply(update(13, succeeded=190, failed=10))
    assert list(model.charts.rate.values) == [0, 50, 0]
    assert list(model.charts.failure_rate) == [(10, 0), (12, 5), (13, 0)]


def test_a_scheduler_that_began_anew_has_no_negative_rate() -> None:
    rate = Rate()
    assert [rate.of(1, 100), rate.of(2, 150), rate.of(3, 10), rate.of(3, 20), rate.of(5, 50)] == [0, 50, 0, 0, 15]


def test_series_are_bounded_and_go_on_after_a_full_update() -> None:
    model = Model()
    for second in range(KEPT_UPDATES + 10):
        model.apply(update(second, second % 100 == 0))
    assert len(model.charts.queue) == KEPT_UPDATES and model.charts.queue.last == 3


def test_what_ended() -> None:
    model = Model()
    sample = ended((7, "f", 1, ResultStatus.succeeded), (8, "g", 2, ResultStatus.failed), left_out=40)
    model.apply(update(10, True, ended=sample))
    first, second = model.ended
    assert (first.task, first.function, first.worker, first.slot, first.succeeded) == (7, "f", identity(1), 0, True)
    assert (first.ended, first.began, first.wall, first.cpu) == (10.0, 7.5, 2.5, 1.0)
    assert (second.function, second.slot, second.succeeded) == ("g", None, False)
    assert (model.ended_count, model.left_out) == (2, 40)


def test_what_runs_is_what_executors_say_longest_first() -> None:
    model = Model()
    model.apply(update(10, True, workers=[worker(1, held=2), worker(2, held=0)]))
    model.workers[identity(1)].executors[1].running_microseconds = 9_000_000
    assert [(task.slot, task.seconds, task.function) for task in model.running()] == [
        (1, 9, "train"),
        (0, 1.5, "train"),
    ]
    assert [executor.slot for executor in model.executors(identity(2))] == [0, 1] and model.executors(b"?") == []


def test_failures_and_lines_gather_until_all_is_told_anew() -> None:
    model = Model()
    failed = FailedTask(1, "n", "f", b"c", b"w", ResultStatus.failed, 5)
    model.apply(update(10, True, failures=[failed], log=[LogLine(1, 20, "one")]))
    model.apply(update(11, failures=[failed], log=[LogLine(2, 20, "two")]))
    assert len(model.failures) == 2 and [line.text for line in model.log] == ["one", "two"]
    model.apply(update(12, True, log=[LogLine(2, 20, "two")]))
    assert not model.failures and len(model.log) == 1


def test_latency_is_the_median_of_those_that_are_known() -> None:
    model = Model()
    workers = [worker(n, round_trip_microseconds=us) for n, us in enumerate((0, 100, 900, 300))]
    model.apply(update(10, True, workers=workers, scheduler=SchedulerFacts(lag_microseconds=2000)))
    assert model.round_trip == 300e-6 and model.charts.lag.last == 0.002


def test_labels() -> None:
    model = Model()
    model.apply(update(10, True, workers=[worker(1), worker(2, worker_name="pool-a-2")], clients=[client()]))
    assert model.worker_label(identity(1)) == "host-1:4001" and model.worker_label(identity(2)) == "pool-a-2"
    assert model.worker_label(b"\xab" * 16) == "abababab" and model.client_label(identity(101)) == "00000000"
    assert model.client_of(task_id(1, 5)) == client() and model.client_of(task_id(2, 5)) is None


@pytest.mark.parametrize("id", [task_id(3, 17), task_id(3, RANGE_BIT + 4), 12])
def test_ids_for_people(id: int) -> None:
    assert task_from_label(task_label(id)) == id


def test_a_plain_number_is_an_id_too() -> None:
    assert task_from_label(" 1099511627776 ") == task_id(1, 0)
    with pytest.raises(ValueError):
        task_from_label("one:two")
