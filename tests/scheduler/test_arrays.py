"""Task arrays on the scheduler: given these messages, exactly these ranges."""

from __future__ import annotations

from array import array
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.ids import RANGE_BIT, u32, u64
from scaler.machine import Output
from scaler.messages import (
    Assign,
    Cancel,
    ClientHeartbeat,
    ExecutorDeaths,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    SubmitArray,
    TaskOptions,
    Trimmed,
)
from scaler.scheduler.arrays import LEAST_PIECE_US, PIECE_US, gaps, piece_items

from .builders import ANN, OK, Client, Rig, Worker, cancelled, closed, i, of, q, why


def items(*sequences: int) -> tuple[bytes, array[int]]:
    payloads = [b"arguments %d;" % s for s in sequences]
    return b"".join(payloads), array("I", accumulate(map(len, payloads)))


def submit(client: Client, first: int, count: int, options: TaskOptions | None = None) -> list[Output]:
    return client.say(SubmitArray(first, 0, *items(*range(first, first + count)), options or TaskOptions()))


class Given:
    """A range as a worker got it."""

    def __init__(self, id: int, attempt: int, payload: bytes, ends: bytes) -> None:
        self.id, self.attempt = id, attempt
        cuts = [0, *(list(u32(ends)) or [len(payload)])]
        self.items = [int(payload[a:b].removeprefix(b"arguments ").removesuffix(b";")) for a, b in pairwise(cuts)]


def given_out(outputs: list[Output], peer: int | None = None) -> list[Given]:
    return [
        Given(*entry)
        for m in of(outputs, Assign, peer)
        for entry in zip(u64(m.tasks), u32(m.attempts), m.payloads, m.item_ends or [b""] * len(m.payloads), strict=True)
    ]


def ends(
    worker: Worker, part: Given, count: int, status: int = OK, wall: int = 1, payload: bytes = b""
) -> list[Output]:
    """The next ``count`` items of a range ended, in so many microseconds each."""
    cuts = i(*range(1, count + 1)).tobytes() if count > 1 else b""
    column = q(0)
    return worker.say(
        Results(
            q(part.id), i(part.attempt), bytes([status]), [payload or b"r" * count], q(wall * count), column, column,
            i(count), [cuts],
        )
    )  # fmt: skip


def told(outputs: list[Output], peer: int | None = None) -> list[tuple[int, int, ResultStatus]]:
    """(first sequence, count, status) of all that clients are told."""
    return [
        (sequence, count, ResultStatus(status))
        for m in of(outputs, Results, peer)
        for sequence, status, count in zip(
            u64(m.tasks), m.statuses, list(u32(m.counts)) or [1] * len(m.payloads), strict=True
        )
    ]


def measured(slots: int = 1, mean: int = 100, workers: int = 1) -> tuple[Rig, Client, list[Worker]]:
    """A function that is known to take so many microseconds."""
    rig = Rig()
    client, crew = rig.client(), [rig.worker(slots) for _ in range(workers)]
    outputs = client.submit(0)
    for worker in crew:
        for m in of(outputs, Assign, worker.peer):
            worker.ends((u64(m.tasks)[0], u32(m.attempts)[0]), wall=mean)
    return rig, client, crew


# ---- sizes


def test_before_the_first_has_ended_each_slot_gets_single_items() -> None:
    rig = Rig()
    client, worker = rig.client(), rig.worker(2)
    parts = given_out(submit(client, 0, 100), worker.peer)
    assert [part.items for part in parts] == [[0], [1], [2], [3]]  # Two run, and two wait behind them.


def test_ten_long_items_spread_one_by_one() -> None:
    _rig, client, (a, b) = measured(5, 1_000_000, workers=2)
    outputs = submit(client, 10, 10)
    for worker in (a, b):
        assert [len(part.items) for part in given_out(outputs, worker.peer)] == [1] * 5


def test_short_items_travel_in_ranges_of_their_measured_time() -> None:
    _, client, (worker,) = measured(1, 100)
    first, *_ = given_out(submit(client, 10, 1000), worker.peer)
    assert first.items == list(range(10, 10 + int(PIECE_US / 100.1)))
    assert first.id >> 40 == client.number
    assert first.id & RANGE_BIT


@given(
    st.none() | st.floats(0, 1e9), st.integers(1, 1 << 24), st.integers(0, 10_000), st.booleans()
)  # fmt: skip
def test_a_piece_has_at_least_one_item_and_no_more_than_there_are(
    mean: float | None, left: int, slots: int, last: bool
) -> None:
    assert 1 <= piece_items(mean, left, slots, last) <= left


def test_pieces_shrink_towards_the_end_of_the_work() -> None:
    assert piece_items(100, 10_000, 1, True) == piece_items(100, 10_000, 1, False)
    assert piece_items(100, 40, 2, True) == 10 - 1  # a quarter of what is left, rounded down with its overhead
    assert piece_items(1, 100_000, 1_000_000, True) == int(LEAST_PIECE_US / 1.1)


def test_nothing_is_cut_that_no_worker_has_room_for() -> None:
    rig, client, (_worker,) = measured(1, 5000)
    submit(client, 10, 1_000)
    assert len(rig.state.board.loads) == 1
    assert len(rig.state.board) < 10  # the pieces under way, and the rest as one
    assert rig.state.task_counts().ready > 900
    assert rig.state.board.count_of(client.number) == 1_000


# ---- results


def test_results_reach_the_client_as_items_with_their_sequences() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 300))
    assert told(ends(worker, part, 20)) == [(10, 20, OK)]
    assert told(ends(worker, part, 5)) == [(30, 5, OK)]


def test_a_whole_array_ends_and_leaves_nothing() -> None:
    rig, client, (worker,) = measured(1, 10)
    waiting = given_out(submit(client, 10, 5000))
    heard = []
    while waiting:
        part = waiting.pop(0)
        outputs = ends(worker, part, len(part.items), wall=10)
        heard += told(outputs)
        waiting += given_out(outputs)
    assert heard[0][0] == 10
    assert sum(count for _, count, _ in heard) == 5000
    assert len(rig.state.board) == len(rig.state.board.ranges) == 0
    assert rig.state.task_counts().succeeded == 5001


def test_several_entries_of_a_range_in_one_message() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30))
    zeros = q(0, 0, 0)
    message = Results(
        q(part.id, part.id, part.id),
        i(*[part.attempt] * 3),
        bytes([OK, ResultStatus.failed, OK]),
        [b"ab", b"why", b"c"],
        zeros,
        zeros,
        zeros,
        i(2, 1, 1),
        [i(1, 2).tobytes(), b"", b""],
    )
    assert told(worker.say(message)) == [(10, 2, OK), (12, 1, ResultStatus.failed), (13, 1, OK)]


@pytest.mark.parametrize(
    ("count", "status"), [(31, OK), (0, OK), (2, ResultStatus.failed), (1, ResultStatus.crashed)]
)  # fmt: skip
def test_results_that_cannot_be_close_the_worker(count: int, status: int) -> None:
    rig, client, (worker,) = measured()
    (part,) = given_out(submit(client, 10, 30))[:1]
    part.items = part.items[:30]
    assert closed(ends(worker, part, count, status)) == [worker.peer]
    rig.state.check()


def test_a_failed_item_is_retried_alone() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30, TaskOptions(retries=1)))
    assert told(ends(worker, part, 2)) == [(10, 2, OK)]
    outputs = ends(worker, part, 1, ResultStatus.failed, payload=b"why")
    assert told(outputs) == []
    again = next(p for p in given_out(outputs) if p.items == [12])
    assert told(ends(worker, part, 5)) == [(13, 5, OK)]
    outputs = ends(worker, again, 1, ResultStatus.failed, payload=b"why")
    assert told(outputs) == [(12, 1, ResultStatus.failed)]


# ---- deaths, trims, retraction


def test_an_item_that_kills_executors_fails_alone_with_its_story() -> None:
    rig, client, (worker,) = measured()
    waiting = given_out(submit(client, 10, 30))
    heard: list[tuple[int, int, ResultStatus]] = []
    deaths = 0
    while waiting:
        part = waiting.pop(0)
        if 17 in part.items:
            deaths += 1
            place = part.items.index(17)
            outputs = worker.say(ExecutorDeaths(q(part.id), i(part.attempt), ["signal 11"], i(place)))
        else:
            outputs = ends(worker, part, len(part.items))
        heard += told(outputs)
        waiting += given_out(outputs)
    assert deaths == 4
    assert [entry for entry in heard if entry[2] != OK] == [(17, 1, ResultStatus.crashed)]
    assert sum(count for _, count, status in heard if status == OK) == 29
    assert len(rig.state.board) == 0


def test_an_item_that_runs_too_long_ends_and_the_others_run_again() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30))
    late = ExecutorDeaths(q(part.id), i(part.attempt), ["too long"], i(3), bytes([ResultStatus.timed_out]))
    outputs = worker.say(late)
    assert told(outputs) == [(13, 1, ResultStatus.timed_out)]
    assert [p.items[0] for p in given_out(outputs)][:2] == [10, 14]


@pytest.mark.parametrize("status", [ResultStatus.timed_out, ResultStatus.out_of_memory])
def test_an_item_that_was_stopped_is_called_by_its_name(status: ResultStatus) -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30, TaskOptions(name="one of many")))
    stopped = ExecutorDeaths(q(part.id), i(part.attempt), ["took too much"], i(3), bytes([status]))
    (result,) = of(worker.say(stopped), Results, client.peer)
    assert (list(result.statuses), result.payloads) == ([status], [b"one of many took too much"])


def test_a_death_after_the_item_had_ended_is_nobodys() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30))
    ends(worker, part, 5)
    outputs = worker.say(ExecutorDeaths(q(part.id), i(part.attempt), ["signal 9"], i(4)))
    assert told(outputs) == []
    assert given_out(outputs)[0].items[0] == 15


def test_a_lost_worker_has_its_ranges_run_elsewhere_and_what_ended_not_again() -> None:
    rig, client, (a, b) = measured(1, 100, workers=2)
    outputs = submit(client, 10, 200)
    part, *_ = given_out(outputs, a.peer)
    ends(a, part, 7)
    outputs = rig.lose(a.peer)
    again = [item for p in given_out(outputs, b.peer) for item in p.items]
    assert part.items[7] in again or rig.state.task_counts().ready
    assert not set(part.items[:7]) & set(again)


def test_a_range_that_may_have_ended_its_worker_comes_back_in_halves() -> None:
    rig, client, (a, b) = measured(1, 100, workers=2)
    part, *_ = given_out(submit(client, 10, 8), a.peer)
    a.started((part.id, part.attempt))
    outputs = rig.lose(a.peer)
    halves = [p.items for p in given_out(outputs, b.peer) if p.items[0] in part.items]
    assert len(part.items) > 1
    assert max(map(len, halves)) <= (len(part.items) + 1) // 2


def test_what_is_trimmed_off_goes_to_others() -> None:
    rig, client, (a, b) = measured(1, 100, workers=2)
    outputs = submit(client, 10, 60)
    part, *_ = given_out(outputs, a.peer)
    for other in given_out(outputs, b.peer):
        ends(b, other, len(other.items), wall=100)
    outputs = a.say(Trimmed(q(part.id), i(part.attempt), i(2)))
    assert part.items[2] in [item for p in given_out(outputs, b.peer) for item in p.items]
    assert told(ends(a, part, 2)) == [(part.items[0], 2, OK)]
    rig.state.check()


def test_a_range_may_be_trimmed_to_nothing() -> None:
    _rig, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 30))
    again = given_out(worker.say(Trimmed(q(part.id), i(part.attempt), i(0))))
    assert again[0].items[0] == 10
    assert again[0].id != part.id


def test_a_trim_beyond_the_end_closes_the_worker() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 5))
    assert closed(worker.say(Trimmed(q(part.id), i(part.attempt), i(9)))) == [worker.peer]


def test_a_range_that_waits_in_a_worker_is_given_back_for_an_idle_slot() -> None:
    rig, client, (a,) = measured(1, 1_000_000)
    parts = given_out(submit(client, 10, 2), a.peer)
    assert [part.items for part in parts] == [[10], [11]]
    b = rig.worker()
    asked = of(rig.at(rig.now + 1), Retract, a.peer)
    assert [list(u64(m.tasks)) for m in asked] == [[parts[1].id]]
    outputs = a.say(Retracted(q(parts[1].id), i(parts[1].attempt), b"", b""))
    assert [part.items for part in given_out(outputs, b.peer)] == [[11]]


# ---- cancelling, and offering again


def test_cancelling_an_array_ends_every_item_and_stops_what_runs() -> None:
    rig, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 300))
    ends(worker, part, 3)
    outputs = client.say(Cancel(q(10), i(300)))
    assert sum(count for _, count, status in told(outputs) if status == ResultStatus.cancelled) == 297
    assert (part.id, part.attempt) in cancelled(outputs)
    assert len(rig.state.board) == 0


def test_items_that_are_under_way_with_others_are_not_cancelled() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 300))
    outputs = client.say(Cancel(q(10), i(1)))
    assert told(outputs) == cancelled(outputs) == []
    assert told(ends(worker, part, 1)) == [(10, 1, OK)]


def test_an_array_that_is_offered_again_is_known_as_far_as_it_has_not_ended() -> None:
    rig, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 300))
    rig.lose(client.peer)
    assert told(ends(worker, part, 3)) == []
    client.peer, outputs = rig.connect(1, ANN)
    rig.say(client.peer, ClientHeartbeat(0))
    again = Client(rig, client.peer, client.number)
    rig.say(again.peer, _define())
    submit(again, 10, 300)
    assert rig.state.board.count_of(client.number) == 300  # Three run again: the client may not have heard of them.
    assert told(outputs) == [(10, 3, OK)]


def test_a_full_queue_refuses_an_array_whole() -> None:
    rig = Rig(max_waiting_tasks=10)
    client = rig.client()
    assert told(submit(client, 0, 11)) == [(0, 11, ResultStatus.rejected)]
    assert told(submit(client, 20, 10)) == []


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (SubmitArray(0, 0, b"", b""), "columns"),
        (SubmitArray(0, 0, b"abc", i(2)), "columns"),
        (SubmitArray(0, 0, b"abc", i(3, 2, 3)), "columns"),
        (SubmitArray((1 << 39) - 1, 0, b"ab", i(1, 2)), "sequence"),
        (SubmitArray(0, 9, b"ab", i(1, 2)), "function 9"),
    ],
)
def test_an_array_that_does_not_fit_together_closes_its_client(message: SubmitArray, why: str) -> None:
    rig = Rig()
    client = rig.client()
    outputs = client.say(message)
    assert closed(outputs) == [client.peer]
    assert why in str(outputs)


def test_capabilities_and_priorities_hold_for_items() -> None:
    rig = Rig()
    client, plain = rig.client(), rig.worker()
    assert given_out(submit(client, 0, 50, TaskOptions(["gpu"]))) == []
    gpu = rig.worker(offers=["gpu"])
    assert [part.items for part in given_out(gpu.outputs, gpu.peer)] == [[0], [1]]
    urgent = submit(client, 100, 1, TaskOptions(priority=5))
    assert [part.items for part in given_out(urgent, plain.peer)] == [[100]]


def test_why_an_item_is_where_it_is_can_be_asked() -> None:
    rig = Rig()
    client = rig.client()
    submit(client, 0, 50)
    assert why(rig, client.id(30)) == "it waits: no worker is connected"
    assert "not known" in why(rig, client.id(50))


def _define() -> Any:
    from scaler.messages import DefineFunctions, Function

    return DefineFunctions([Function(0, "s", b"content 0", b"", "f0")])


@given(st.integers(0, 30), st.integers(0, 30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=5))
def test_gaps(begin: int, length: int, taken: list[tuple[int, int]]) -> None:
    intervals = [(first, first + count) for first, count in taken]
    covered = {value for first, last in intervals for value in range(first, last)}
    found = [value for a, b in gaps(begin, begin + length, intervals) for value in range(a, b)]
    assert found == [value for value in range(begin, begin + length) if value not in covered]


def test_results_of_single_tasks_beside_ranges() -> None:
    _, client, (worker,) = measured()
    part, *_ = given_out(submit(client, 10, 3))
    single, *_ = given_out(client.submit(20))
    ids, attempts, nothing = q(part.id, single.id), i(part.attempt, single.attempt), q(0, 0)
    counts, cuts = i(len(part.items), 1), [i(*range(1, len(part.items) + 1)).tobytes(), b""]
    both = Results(
        ids, attempts, bytes([OK, OK]), [b"r" * len(part.items), b"s"], nothing, nothing, nothing, counts, cuts
    )
    assert sorted(told(worker.say(both))) == [(10, len(part.items), OK), (20, 1, OK)]
