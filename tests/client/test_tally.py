"""What calls took, by function."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import pytest

from scaler._core.tally import BUCKETS
from scaler.client import tally as module
from scaler.client.tally import OTHERS, SLOWEST, Distribution, Tally
from scaler.messages import Results, ResultStatus

GOOD, FAILED, CANCELLED = ResultStatus.succeeded, ResultStatus.failed, ResultStatus.cancelled


def q(*numbers: int) -> array[int]:
    return array("Q", numbers)


def results(*calls: tuple[int, ResultStatus, int, int, int], **columns: object) -> Results:
    """Of (sequence, status, wall, cpu, peak)."""
    sequences, statuses, *times = zip(*calls, strict=True)
    payloads = [b"ten bytes."] * len(calls)
    return Results(q(*sequences), b"", bytes(statuses), payloads, *(q(*column) for column in times), **columns)  # type: ignore[arg-type]


class Call(NamedTuple):
    function: int


def calls(numbers: list[int | None]) -> list[Call | None]:
    return [None if number is None else Call(number) for number in numbers]


def count(tally: Tally, message: Results, numbers: list[int | None]) -> None:
    """Calls of these functions ended."""
    tally.note(message, calls(numbers))
    tally.fold()


@pytest.fixture
def tally() -> Tally:
    made = Tally()
    made.define(0, "f")
    made.define(1, "g")
    return made


def sums(tally: Tally, name: str) -> list[int]:
    return tally.rows()[name][0]


def test_calls_are_summed_up_by_function(tally):
    message = results((0, GOOD, 1000, 900, 50), (1, FAILED, 3000, 10, 70), (2, CANCELLED, 0, 0, 0), (3, GOOD, 5, 5, 60))
    message.retried = array("I", [0, 2, 0, 1])
    count(tally, message, [0, 0, 0, 1])
    assert sums(tally, "f") == [3, 1, 1, 2, 4000, 3000, 910, 70]
    assert sums(tally, "g") == [1, 0, 0, 1, 5, 5, 5, 60]
    assert tally.results_bytes == 40
    assert [one[1] for one in sorted(tally.slowest, reverse=True)] == [1, 0, 3]
    assert [one[3] for one in sorted(tally.slowest, reverse=True)] == [False, True, True]


def test_what_had_ended_before_is_not_counted_again(tally):
    count(tally, results((0, GOOD, 1000, 900, 50)), [0])
    count(tally, results((0, GOOD, 1000, 900, 50), (1, GOOD, 1, 1, 1)), [None, 1])
    assert sums(tally, "f")[0] == 1 and sums(tally, "g")[0] == 1


def test_items_count_with_their_mean(tally):
    message = results((7, GOOD, 10_000, 5_000, 90), counts=array("I", [10]))
    tally.items_ended(1, 7, 4, message, 0)  # The others of them had ended before.
    assert sums(tally, "g") == [4, 0, 0, 0, 4000, 1000, 2000, 90]
    assert tally.slowest == [(1000, 7, 1, True)]


def test_the_slowest_are_kept(tally):
    for wall in range(100):
        count(tally, results((wall, GOOD, wall, 0, 0)), [0])
    assert [wall for wall, *_ in sorted(tally.slowest)] == list(range(100 - SLOWEST, 100))


def test_names_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_NAMES", 3)
    tally = Tally()
    for number in range(10):
        tally.define(number, f"f{number}")
        count(tally, results((number, GOOD, 1, 1, 1)), [number])
    assert {name: sums(tally, name)[0] for name in tally.rows()} == {"f0": 1, "f1": 1, "f2": 1, OTHERS: 7}


def test_functions_of_one_name_are_one(tally):
    tally.define(5, "f")
    count(tally, results((0, GOOD, 1, 1, 1), (1, GOOD, 1, 1, 1)), [0, 5])
    assert sums(tally, "f")[0] == 2


def test_quantiles_are_near(tally):
    count(tally, results(*((n, GOOD, n, 1, 1) for n in range(1, 10_001))), [0] * 10_000)
    wall = tally.rows()["f"][1]
    for share in (0.1, 0.5, 0.95):
        assert wall.quantile(share) == pytest.approx(10_000 * share, rel=0.07)
    assert wall.quantile(1, 9_000) == 9_000
    assert Distribution([0] * BUCKETS).quantile(0.5) == 0


def test_octaves_leave_out_what_is_empty_at_both_ends(tally):
    count(tally, results((0, GOOD, 5, 0, 0), (1, GOOD, 30, 0, 0), (2, GOOD, 31, 0, 0)), [0, 0, 0])
    wall, cpu = tally.rows()["f"][1:]
    assert wall.octaves() == [(4, 8, 1), (8, 16, 0), (16, 32, 2)]
    assert cpu.octaves() == [(0, 1, 3)]
    assert Distribution([0] * BUCKETS).octaves() == []


def test_the_time_in_which_anything_is_unfinished(tally):
    tally.finished(1.0)
    tally.began(2.0)
    tally.began(3.0)
    tally.finished(5.0)
    tally.finished(6.0)
    tally.began(10.0)
    assert (tally.busy_seconds, tally.busy_since) == (3.0, 10.0)


def test_what_is_noted_counts_with_the_next_fold(tally):
    tally.note(results((0, GOOD, 7, 1, 1)), calls([0]))
    tally.note(results((1, GOOD, 8, 1, 1)), calls([1]))
    assert tally.rows() == {}
    tally.fold()
    assert tally.results_bytes == 20
    assert (sums(tally, "f")[4], sums(tally, "g")[4]) == (7, 8)


@pytest.mark.parametrize("together", [1, 7])
def test_what_is_noted_is_bounded(tally, together):
    for number in range(0, 700, together):
        ended = [(n, GOOD, 7, 1, 1) for n in range(number, number + together)]
        tally.note(results(*ended), calls([0] * together))
        if tally.owes_much:
            break
    assert number < 690
    tally.fold()
    assert sums(tally, "f")[0] == number + together and not tally.owes_much


def test_lone_calls_are_counted_as_those_that_end_together(tally):
    one, other = Tally(), Tally()
    for made in (one, other):
        made.define(0, "f")
        made.define(1, "g")
    ended = [(n, (GOOD, FAILED, CANCELLED)[n % 3], 10 * n, n, 100 - n) for n in range(20)]
    functions = [n % 2 for n in range(20)]
    one.note(results(*ended), calls(functions))
    for call, function in zip(ended, functions, strict=True):
        other.note(results(call), calls([function]))
    large = results((20, GOOD, 5, 5, 5))
    large.payloads[0] = bytes(5000)
    for made in (one, other):
        made.note(large, calls([0]))
        made.fold()
    assert [sums(one, name) for name in "fg"] == [sums(other, name) for name in "fg"]
    assert sorted(one.slowest) == sorted(other.slowest) and one.results_bytes == other.results_bytes == 5200
