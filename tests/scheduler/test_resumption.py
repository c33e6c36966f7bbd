"""Clients and workers come from a scheduler that is gone; what they say is brought together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from scaler.ids import RANGE_BIT, SEQUENCE_BITS, task_id
from scaler.machine import Output
from scaler.messages import (
    AdmitOwner,
    AllOffered,
    DefineFunctions,
    Function,
    RegisterWorker,
    Release,
    ReleaseOwner,
    Results,
    ResultStatus,
    Resuming,
    Role,
    RunningInside,
    SubmitArray,
    Survived,
)

from .builders import ANN, BEN, OK, Client, Rig, Worker, cancelled, closed, i, of, q, results, sent, tasks

RUNS = ResultStatus.unspecified
ANNS = int.from_bytes(ANN[:3], "little") + 1
WILL, WALT = b"W" * 16, b"V" * 16
RANGE = ANNS << SEQUENCE_BITS | RANGE_BIT | 5


def entry(id: int, status: int = RUNS, attempt: int = 3, payload: bytes = b"", count: int = 1) -> Results:
    message = Results(q(id), i(attempt), bytes([status]), [payload], q(9), q(8), q(7), slots=i(0))
    if count > 1:
        message.counts, message.item_ends = i(count), [b""]
    return message


def survived(*entries: Results, sequences: Sequence[int], owner: bytes = ANN) -> Survived:
    counts = [array("I", e.counts)[0] if len(e.counts) else 1 for e in entries]
    together = Results(
        q(*[array("Q", e.tasks)[0] for e in entries]),
        i(*[array("I", e.attempts)[0] for e in entries]),
        b"".join(e.statuses for e in entries),
        [e.payloads[0] for e in entries],
        *[q(*[1] * len(entries))] * 3,
        i(*counts),
        [e.item_ends[0] if e.item_ends else b"" for e in entries],
    )
    return Survived(together, [owner], i(*[0] * len(entries)), q(*sequences))


def back(rig: Rig, *entries: Results, sequences: Sequence[int], slots: int = 2, identity: bytes = WILL) -> Worker:
    """A worker that had these at the scheduler before."""
    peer, outputs = rig.connect(Role.worker, identity)
    rig.state.receive(peer, RegisterWorker(slots, 1000, [], "host", 7, survivors=len(entries)), rig.now)
    outputs += rig.say(peer, survived(*entries, sequences=sequences)) if entries else rig.after()
    return Worker(rig, peer, outputs)


def again(rig: Rig, slots: int = 2, identity: bytes = ANN) -> Client:
    """A client that was at the scheduler before."""
    peer, _ = rig.connect(Role.client, identity, "")
    client = Client(rig, peer, int.from_bytes(identity[:3], "little") + 1)
    # The scheduler before may have given it up.
    assert all(message == AdmitOwner(identity) for _, message in sent(client.say(Resuming(slots))))
    assert client.say(DefineFunctions([Function(0, "s", b"content", b"", "f")])) == []
    return client


def offer(client: Client, *sequences: int, **more: Any) -> list[Output]:
    return client.submit(*sequences, **more) + client.say(AllOffered())


def items(client: Client, count: int) -> list[Output]:
    ends = array("I", range(2, 2 * count + 2, 2))
    return client.say(SubmitArray(0, 0, b"xy" * count, ends)) + client.say(AllOffered())


def test_a_task_that_runs_goes_on_under_its_id_and_attempt() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 4)), sequences=[4])
    client = again(rig)
    assert tasks(offer(client, 4, 5)) == [(client.id(5), 1)]
    assert rig.state.task_counts().running == 1
    assert results(worker.ends((client.id(4), 3), payload=b"four")) == [(4, OK, b"four")]
    assert results(worker.ends((client.id(5), 1), payload=b"five")) == [(5, OK, b"five")]


def test_one_that_was_forgotten_finds_what_workers_have_of_it_though_it_was_at_no_other_scheduler() -> None:
    rig = Rig(resume_seconds=1.0)
    worker = back(rig, entry(task_id(ANNS, 4)), sequences=[4])
    client = rig.client()
    assert tasks(client.submit(4)) == []
    outputs = rig.at(rig.now + 1.0)
    assert tasks(outputs) == cancelled(outputs) == []
    assert results(worker.ends((client.id(4), 3), payload=b"four")) == [(4, OK, b"four")]


def test_a_result_is_passed_on_and_its_task_not_run() -> None:
    rig = Rig()
    back(rig, entry(task_id(ANNS, 4), OK, payload=b"four"), sequences=[4])
    outputs = offer(again(rig), 4)
    assert results(outputs) == [(4, OK, b"four")] and tasks(outputs) == []
    assert len(rig.state.board) == 0


def test_a_client_waits_for_workers_and_for_all_that_they_have() -> None:
    rig = Rig()
    client = again(rig, slots=4)
    assert offer(client, 4, 5, 6) == []
    one = back(rig, entry(client.id(4)), sequences=[4])
    assert tasks(one.outputs) == []
    peer, _ = rig.connect(Role.worker, WALT)
    assert tasks(rig.say(peer, RegisterWorker(2, 1000, [], "host", 8, survivors=1))) == []
    outputs = rig.say(peer, survived(entry(client.id(5)), sequences=[5]))
    assert tasks(outputs) == [(client.id(6), 1)]


@pytest.mark.parametrize("slots", [0, 9])
def test_it_does_not_wait_for_ever(slots: int) -> None:
    rig = Rig(resume_seconds=1.0)
    client = again(rig, slots)
    offer(client, 4)
    worker = back(rig, sequences=[])
    assert rig.state.next_deadline() == rig.now + 1.0
    assert tasks(rig.at(rig.now + 0.9)) == []
    assert tasks(rig.at(rig.now + 0.1), worker.peer) == [(client.id(4), 1)]


def test_a_worker_that_comes_too_late_is_told_to_stop_what_others_have() -> None:
    rig = Rig()
    worker = back(rig, sequences=[])
    client = again(rig)
    assert tasks(offer(client, 4)) == [(client.id(4), 1)]
    late = back(rig, entry(client.id(4)), sequences=[4], identity=WALT)
    assert cancelled(late.outputs, late.peer) == [(client.id(4), 3)]
    assert results(worker.ends((client.id(4), 1))) == [(4, OK, b"result")]


def test_late_results_are_taken_for_what_still_waits() -> None:
    rig = Rig()
    client = again(rig)
    offer(client, 4)
    rig.at(rig.now + 5)
    late = back(rig, entry(client.id(4), OK, payload=b"four"), sequences=[4])
    assert results(late.outputs) == [(4, OK, b"four")] and tasks(late.outputs) == []


def test_what_ends_or_dies_before_the_client_is_there() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 4)), entry(task_id(ANNS, 5)), sequences=[4, 5])
    assert results(worker.ends((task_id(ANNS, 4), 3), payload=b"four")) == []
    worker.death(task_id(ANNS, 5), 3)
    outputs = offer(again(rig), 4, 5)
    assert results(outputs) == [(4, OK, b"four")]
    assert tasks(outputs) == [(task_id(ANNS, 5), 1)]


def test_a_worker_that_is_lost_meanwhile_takes_all_along() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 4)), entry(task_id(ANNS, 5), OK), sequences=[4, 5])
    rig.lose(worker.peer)
    back(rig, sequences=[], identity=WALT)
    assert len(tasks(offer(again(rig), 4, 5))) == 2


def test_what_nobody_asks_for_is_stopped_or_freed() -> None:
    rig = Rig(client_timeout_seconds=5.0, worker_timeout_seconds=100.0)
    storage, _ = rig.connect(Role.storage_user, b"O" * 16)
    worker = back(
        rig,
        entry(task_id(ANNS, 4)),
        entry(task_id(ANNS, 5), ResultStatus.stored, payload=b"o" * 24),
        sequences=[4, 5],
    )
    assert cancelled(rig.at(rig.now + 4)) == []
    outputs = rig.at(rig.now + 2)
    assert cancelled(outputs, worker.peer) == [(task_id(ANNS, 4), 3)]
    assert of(outputs, ReleaseOwner, storage) == [ReleaseOwner(ANN)]


def test_a_result_that_its_client_has_heard_of_before_is_not_freed() -> None:
    rig = Rig()
    storage, _ = rig.connect(Role.storage_user, b"O" * 16)
    worker = back(rig, entry(task_id(ANNS, 4), ResultStatus.stored, payload=b"o" * 24), sequences=[4])
    outputs = offer(again(rig), 5)
    assert tasks(outputs, worker.peer) == [(task_id(ANNS, 5), 1)]
    assert of(outputs, Release, storage) == []


def test_tasks_of_others_are_nothing_to_a_client() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 4)), sequences=[4])
    ben = again(rig, identity=BEN)
    assert tasks(offer(ben, 4)) == [(ben.id(4), 1)]
    assert cancelled(worker.outputs) == []


def test_items_that_run_or_have_ended_are_cut_out_of_their_array() -> None:
    rig = Rig()
    three = entry(RANGE, OK, payload=b"abc", count=3)
    three.item_ends = [i(1, 2, 3).tobytes()]
    worker = back(rig, three, entry(RANGE, count=2), sequences=[2, 5])
    client = again(rig)
    outputs = items(client, 8)
    (ended,) = of(outputs, Results, client.peer)
    assert (array("Q", ended.tasks), array("I", ended.counts), ended.payloads) == (q(2), i(3), [b"abc"])
    left = {(items.sequence, len(items)) for _, items in rig.state.board.ranges.within(client.number, 0, 8)}
    assert (5, 2) in left and sum(count for _, count in left) == 5 and not {2, 3, 4} & {first for first, _ in left}
    (told,) = of(worker.say(entry(RANGE, OK, payload=b"pq", count=2)), Results, client.peer)
    assert (array("Q", told.tasks), array("I", told.counts)) == (q(5), i(2))


def test_items_may_end_before_their_client_is_there() -> None:
    rig = Rig()
    worker = back(rig, entry(RANGE, count=2), sequences=[0])
    worker.say(entry(RANGE, OK, payload=b"a"))
    client = again(rig)
    outputs = items(client, 2)
    assert results(outputs) == [(0, OK, b"a")] and tasks(outputs) == []
    assert results(worker.say(entry(RANGE, OK, payload=b"b"))) == [(1, OK, b"b")]
    assert len(rig.state.board) == 0


def test_a_graph_goes_on_where_it_was() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 1), OK, payload=b"one"), entry(task_id(ANNS, 2)), sequences=[1, 2])
    client = again(rig)
    outputs = offer(client, 1, 2, 3, needs={2: [1], 3: [1, 2]})
    assert results(outputs) == [(1, OK, b"one")] and tasks(outputs) == []
    assert tasks(worker.ends((client.id(2), 3))) == [(client.id(3), 1)]


def test_a_client_inside_a_task_waits_until_that_is_there() -> None:
    rig = Rig()
    worker = back(rig, entry(task_id(ANNS, 4)), sequences=[4], slots=1)
    inner = again(rig, slots=1, identity=BEN)
    inner.say(RunningInside(task_id(ANNS, 4), 0, WILL))
    assert offer(inner, 0) == []
    assert tasks(rig.at(rig.now + 1.5)) == []
    outer = again(rig, slots=1)
    assert tasks(offer(outer, 4)) == [(inner.id(0), 1)]
    assert rig.state.board.depth(rig.state.board.slots.find(q(inner.id(0)))[0]) == 1
    assert results(worker.ends((inner.id(0), 1)), inner.peer) == [(0, OK, b"result")]


def test_a_new_client_inside_a_task_that_survived_waits_for_it_too() -> None:
    rig = Rig()
    back(rig, entry(task_id(ANNS, 4)), sequences=[4], slots=1)
    inner = rig.client(BEN)
    inner.say(RunningInside(task_id(ANNS, 4), 0, WILL))
    assert tasks(inner.submit(0)) == []
    assert tasks(offer(again(rig, slots=1), 4)) == [(inner.id(0), 1)]


def test_a_client_that_breaks_off_while_it_waits_offers_again() -> None:
    rig = Rig()
    client = again(rig)
    offer(client, 4, 5)
    rig.lose(client.peer)
    assert again_without_word(rig).submit(4) == []
    back(rig, entry(client.id(4), OK, payload=b"four"), sequences=[4])
    outputs = rig.at(rig.now + 1)
    assert results(outputs) == [(4, OK, b"four")] and tasks(outputs) == []


def again_without_word(rig: Rig) -> Client:
    peer, _ = rig.connect(Role.client, ANN, "")
    rig.say(peer, DefineFunctions([Function(0, "s", b"content", b"", "f")]))
    return Client(rig, peer, ANNS)


def test_nonsense_of_a_client_that_waited_closes_it_alone() -> None:
    rig = Rig()
    client, other = again(rig), again(rig, identity=BEN)
    offer(client, 4, function=7)
    offer(other, 4)
    outputs = back(rig, sequences=[]).outputs
    assert closed(outputs) == [client.peer]
    assert tasks(outputs) == [(other.id(4), 1)]


@pytest.mark.parametrize(
    "damage",
    [
        {"owners": [b"short"]},
        {"owner_of": b""},
        {"owner_of": i(5)},
        {"sequences": b""},
        {"results": Results(q(1), b"", b"\0", [b""], q(0), q(0), q(0))},
    ],
)
def test_survivors_that_do_not_fit_together_close_the_worker(damage: dict[str, Any]) -> None:
    rig = Rig()
    worker = back(rig, sequences=[])
    message = survived(entry(task_id(ANNS, 4)), sequences=[4])
    for name, value in damage.items():
        setattr(message, name, value)
    assert closed(worker.say(message)) == [worker.peer]
    assert not rig.state.survivors


def test_nothing_is_given_out_while_a_worker_has_not_told_all() -> None:
    rig = Rig(resume_seconds=1.0)
    client = again(rig)
    offer(client, 4, 5)
    assert tasks(rig.at(rig.now + 1.5)) == []
    peer, _ = rig.connect(Role.worker, WILL)
    assert tasks(rig.say(peer, RegisterWorker(2, 1000, [], "host", 8, survivors=2))) == []
    assert tasks(rig.say(peer, survived(entry(client.id(9)), sequences=[9]))) == []
    assert rig.state.next_deadline() is not None
    outputs = rig.say(peer, survived(entry(client.id(4)), sequences=[4]))
    assert tasks(outputs) == [(client.id(5), 1)]


def test_a_worker_that_never_tells_is_not_waited_for_for_long() -> None:
    rig = Rig(resume_seconds=1.0)
    ann = rig.client()
    peer, _ = rig.connect(Role.worker, WILL)
    rig.say(peer, RegisterWorker(2, 1000, [], "host", 8, survivors=1000))
    assert tasks(ann.submit(1)) == []
    assert tasks(rig.at(rig.now + 1.1)) == [(ann.id(1), 1)]
    rig.lose(peer)
    assert not rig.state.workers.any_telling
