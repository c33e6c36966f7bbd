"""Task arrays in the client's state: what is offered, what has ended, what is offered again."""

from __future__ import annotations

from array import array
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from scaler.client.arrays import ArrayTask, OpenArrays
from scaler.client.state import Ended
from scaler.messages import Cancel, Results, ResultStatus, SubmitArray

from .test_state import Rig, i, q, said

OK = ResultStatus.succeeded


def whole(first: int, count: int) -> ArrayTask:
    items = [b"%d;" % n for n in range(count)]
    return ArrayTask(first, 0, b"".join(items), array("I", accumulate(map(len, items))))


def results(first: int, payloads: list[bytes], status: int = OK) -> Results:
    """One entry for items that follow each other."""
    ends = array("I", accumulate(map(len, payloads))).tobytes() if len(payloads) > 1 else b""
    zero = q(0)
    return Results(q(first), b"", bytes([status]), [b"".join(payloads)], zero, zero, zero, i(len(payloads)), [ends])


def submitted(count: int = 10) -> tuple[Rig, ArrayTask]:
    rig = Rig()
    task = whole(100, count)
    rig.state.submit_array(task)
    rig.after()
    return rig, task


def told(rig: Rig, message: Results) -> list[tuple[int, int, int, bytes, list[int]]]:
    (ended,) = [output for output in rig.hear(message) if isinstance(output, Ended)]
    return [(e.begin, e.end, e.status, e.payload, list(e.ends)) for e in ended.items]


def test_an_array_is_one_message() -> None:
    rig = Rig()
    task = whole(100, 3)
    rig.state.submit_array(task)
    assert said(rig.after()) == [SubmitArray(100, 0, b"0;1;2;", i(2, 4, 6))]
    assert rig.state.unfinished == 3


def test_items_end_in_any_order_and_the_array_with_the_last() -> None:
    rig, task = submitted(3)
    assert told(rig, results(102, [b"c"])) == [(2, 3, OK, b"c", [])]
    assert told(rig, results(100, [b"a", b"bb"])) == [(0, 2, OK, b"abb", [1, 3])]
    assert (task.left, rig.state.unfinished) == (0, 0)


def test_an_item_is_told_once() -> None:
    rig, _ = submitted()
    told(rig, results(102, [b"c", b"d"]))
    assert told(rig, results(102, [b"c"])) == []
    assert told(rig, results(101, [b"b", b"c", b"d", b"e", b"f"])) == [
        (1, 2, OK, b"b", [1]),
        (4, 6, OK, b"ef", [1, 2]),
    ]


def test_what_is_unfinished_is_offered_again() -> None:
    rig, _ = submitted(6)
    told(rig, results(102, [b"c", b"d"]))
    rig.lose()
    offered = [message for message in said(rig.connect()) if isinstance(message, SubmitArray)]
    assert offered == [SubmitArray(100, 0, b"0;1;", i(2, 4)), SubmitArray(104, 0, b"4;5;", i(2, 4))]


def test_a_cancelled_array_is_cancelled_again_after_a_lost_connection() -> None:
    rig, task = submitted(6)
    rig.state.cancel_array(task)
    cancel = Cancel(q(100), i(6))
    assert said(rig.after()) == [cancel]
    rig.lose()
    assert said(rig.connect())[-1] == cancel
    told(rig, results(100, [b""] * 6, ResultStatus.cancelled))
    rig.state.cancel_array(task)
    assert said(rig.after()) == []


def test_a_function_is_forgotten_with_the_last_array_that_names_it() -> None:
    rig, _ = submitted(2)
    rig.state.retire(0)
    assert said(rig.after()) == []
    told(rig, results(100, [b"a", b"b"]))
    assert rig.state.snapshot()["functions"] == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=10))
def test_ends_are_counted_once(ends: list[tuple[int, int]]) -> None:
    task = whole(0, 20)
    seen: list[int] = []
    for a, b in ends:
        for begin, end in task.end(min(a, b), max(a, b)):
            seen += range(begin, end)
    assert len(seen) == len(set(seen)) == 20 - task.left
    left = [message.first_sequence + n for message in task.offers() for n in range(len(message.item_ends))]
    assert sorted(seen + left) == list(range(20))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_open_arrays_are_found_by_the_sequence_of_an_item(counts: list[int], random: object) -> None:
    arrays = OpenArrays()
    tasks = []
    first = 0
    for count in counts:
        tasks.append(whole(first, count))
        first += count + 1
    for task in sorted(tasks, key=lambda _: random.random()):  # type: ignore[attr-defined]
        arrays.add(task)
    gone = tasks.pop()
    arrays.remove(gone)
    for task in tasks:
        assert arrays.find(task.first) is arrays.find(task.first + len(task) - 1) is task
        assert arrays.find(task.first + len(task)) is None
    assert arrays.find(gone.first) is None
    assert list(arrays) == tasks
