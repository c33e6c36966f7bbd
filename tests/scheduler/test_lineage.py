"""Lost objects on the scheduler: given these messages, exactly these tasks run again."""

from __future__ import annotations

import pytest

from scaler.ids import LOST_OBJECT, NO_INPUT
from scaler.machine import Log, Output
from scaler.messages import Assign, Cancel, Release, Restore, Restored, Results, ResultStatus, Role, RunningInside
from scaler.scheduler.lineage import MAX_LOSSES

from .builders import ANN, BEN, Client, Rig, Worker, closed, i, of, q, results, tasks, why
from .test_arrays import ends as end_items
from .test_arrays import given_out, submit

LOST, STORED, FAILED = ResultStatus.object_lost, ResultStatus.stored, ResultStatus.failed
X, Y, Z = b"x" * 16, b"y" * 16, b"z" * 16


def where(name: bytes) -> bytes:
    """The payload of a stored result."""
    return name + bytes(8)


def gone(*entries: tuple[int, bytes]) -> bytes:
    """The payload of a task that could not begin."""
    return b"".join(LOST_OBJECT.pack(*entry) for entry in entries)


def inputs(outputs: list[Output]) -> list[bytes]:
    return [payload for message in of(outputs, Assign) for payload in message.inputs.payloads]


class Chain:
    """1 -> 2 -> 3, where 1 and 2 have stored results (X, Y), and 3 is with a worker of one slot."""

    def __init__(self, wanted: bool = False) -> None:
        self.rig = Rig()
        self.ann, self.worker = self.rig.client(), self.rig.worker()
        self.ann.submit(1, 2, 3, needs={2: [1], 3: [2]}, unwanted=() if wanted else (1, 2))
        self.end(1, 1, X)
        self.outputs = self.end(2, 1, Y)

    def end(self, sequence: int, attempt: int, name: bytes) -> list[Output]:
        return self.worker.ends((self.ann.id(sequence), attempt), status=STORED, payload=where(name))

    def miss(self, sequence: int, attempt: int, *entries: tuple[int, bytes]) -> list[Output]:
        return self.worker.ends((self.ann.id(sequence), attempt), status=LOST, payload=gone(*entries))


def test_a_lost_input_is_made_again_with_what_made_it() -> None:
    chain = Chain()
    ann = chain.ann
    assert tasks(chain.outputs) == [(ann.id(3), 1)]
    outputs = chain.miss(3, 1, (0, Y))
    assert tasks(outputs) == [(ann.id(1), 2)], "X was freed when 2 had taken it"
    assert of(outputs, Assign)[0].payloads == [b"arguments 1"]
    outputs = chain.end(1, 2, Z)
    assert tasks(outputs) == [(ann.id(2), 2)] and inputs(outputs) == [where(Z)]
    outputs = chain.miss(2, 2, (0, Z))
    assert tasks(outputs) == [(ann.id(1), 3)]
    outputs = chain.end(1, 3, b"1" * 16)
    assert tasks(outputs) == [(ann.id(2), 3)] and inputs(outputs) == [where(b"1" * 16)]
    outputs = chain.end(2, 3, b"2" * 16)
    assert tasks(outputs) == [(ann.id(3), 2)] and inputs(outputs) == [where(b"2" * 16)]
    outputs = chain.worker.ends((ann.id(3), 2))
    assert results(outputs) == [(3, ResultStatus.succeeded, b"result")]
    assert len(chain.rig.state.board) == 0 and not chain.rig.state.board.lineage
    assert len(chain.rig.state.board.released_objects) == 0


class Fleet:
    """1, which others take as input, has a stored result (X); whoever has a task says what becomes of it."""

    def __init__(self, *users: int, workers: int = 2) -> None:
        self.rig = Rig()
        self.ann = self.rig.client()
        self.workers = {worker.peer: worker for worker in (self.rig.worker() for _ in range(workers))}
        self.holder: dict[int, tuple[Worker, int]] = {}
        """By sequence: the worker that has it, and the attempt."""
        self.hear(self.ann.submit(1, *users, needs={user: [1] for user in users}, unwanted=[1]))
        self.stored(X)

    def hear(self, outputs: list[Output]) -> list[Output]:
        for peer, worker in self.workers.items():
            for id, attempt in tasks(outputs, peer):
                self.holder[id - self.ann.id(0)] = worker, attempt
        return outputs

    def end(self, sequence: int, status: int = ResultStatus.succeeded, payload: bytes = b"result") -> list[Output]:
        worker, attempt = self.holder.pop(sequence)
        ended = worker.ends((self.ann.id(sequence), attempt), status=status, payload=payload, wall=1_000_000)
        return self.hear(ended)

    def stored(self, name: bytes) -> list[Output]:
        return self.end(1, STORED, where(name))

    def miss(self, sequence: int, name: bytes = X) -> list[Output]:
        return self.end(sequence, LOST, gone((0, name)))


def test_what_waits_in_the_queue_for_a_lost_input_does_not_begin() -> None:
    fleet = Fleet(2, 3, 4, workers=1)
    assert fleet.holder.keys() == {2, 3}
    fleet.miss(2)
    assert fleet.holder.keys() == {1, 3}, "4 does not take the place"
    assert fleet.end(3) and fleet.holder.keys() == {1}, "3 had read it before"
    outputs = fleet.stored(Y)
    assert fleet.holder.keys() == {2, 4} and inputs(outputs) == [where(Y)] * 2
    fleet.end(2)
    fleet.end(4)
    assert len(fleet.rig.state.board) == 0 and not fleet.rig.state.board.lineage


def test_an_old_name_of_an_input_costs_nothing_but_another_attempt() -> None:
    fleet = Fleet(2, 3)
    fleet.miss(2)
    fleet.stored(Y)
    assert inputs(fleet.miss(3)) == [where(Y)]
    assert fleet.holder.keys() == {2, 3} and fleet.holder[3][1] == 2


def test_a_worker_is_lost_while_an_input_of_what_it_has_is_made_again() -> None:
    fleet = Fleet(2, 3)
    fleet.miss(2)
    worker, attempt = fleet.holder[3]
    assert attempt == 1 and fleet.holder[1][0] is not worker
    assert tasks(fleet.rig.lose(worker.peer)) == [], "3 waits"
    assert sorted(inputs(fleet.stored(Y))) == [where(Y)] * 2


def test_a_delivered_result_is_not_delivered_again_and_its_second_object_is_freed() -> None:
    chain = Chain(wanted=True)
    storage, _ = chain.rig.connect(Role.storage_user, b"S" * 16)
    chain.miss(3, 1, (0, Y))
    assert results(chain.end(2, 2, Z)) == []
    outputs = chain.worker.ends((chain.ann.id(3), 2))
    assert results(outputs) == [(3, ResultStatus.succeeded, b"result")]
    assert of(outputs, Release, storage) == [Release(Z, ANN)]


def test_a_client_that_comes_back_gets_the_result_it_missed_though_it_is_being_made_again() -> None:
    chain = Chain(wanted=True)
    chain.miss(3, 1, (0, Y))
    chain.rig.lose(chain.ann.peer)
    ann = chain.rig.client()
    ann.submit(1, 2, 3, needs={2: [1], 3: [2]})
    outputs = chain.worker.ends((ann.id(2), 2), status=STORED, payload=where(Z))
    assert (2, STORED, where(Z)) in results(outputs, ann.peer)


def test_an_input_that_cannot_be_made_again_ends_what_waits_for_it_only() -> None:
    fleet = Fleet(2, 3)
    fleet.miss(2)
    assert results(fleet.end(1, FAILED, b"why")) == [(2, FAILED, b"why")]
    # A new task cannot have it either.
    ended = results(fleet.ann.submit(5, needs={5: [1]}))
    assert [(sequence, status) for sequence, status, _ in ended] == [(5, ResultStatus.lost)]
    # 3 runs, and may have read it before. If not, it ends.
    ((sequence, status, text),) = results(fleet.miss(3))
    assert (sequence, status) == (3, LOST)
    assert b"f0 needs object " + X.hex().encode() + b", the result of f0 (task 1)," in text
    assert b"could not be made again" in text
    assert len(fleet.rig.state.board) == 0


def test_what_made_a_lost_input_takes_one_that_could_not_be_made_again() -> None:
    """1 -> 2 -> 3 and 1 -> 4: 1 fails when it is made again for 4, then the result of 2 is lost."""
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, 2, 3, 4, needs={2: [1], 3: [2], 4: [1]}, unwanted=[1, 2])
    worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
    worker.ends((ann.id(2), 1), status=STORED, payload=where(Y))
    worker.ends((ann.id(4), 1), status=LOST, payload=gone((0, X)))
    assert results(worker.ends((ann.id(1), 2), status=FAILED, payload=b"why")) == [(4, FAILED, b"why")]
    ((sequence, status, text),) = results(worker.ends((ann.id(3), 1), status=LOST, payload=gone((0, Y))))
    assert (sequence, status) == (3, LOST) and b"the result of f0 cannot be made again" in text
    assert len(rig.state.board) == 0


def test_one_that_makes_an_input_again_ends_with_the_last_that_needs_it_in_the_same_message() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, 2, 3, needs={2: [1], 3: [1]}, unwanted=[1])
    worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
    worker.ends((ann.id(3), 1), status=LOST, payload=gone((0, X)))
    ann.say(Cancel(q(3)))
    outputs = worker.say(
        Results(
            q(ann.id(2), ann.id(1)),
            i(1, 2),
            bytes([FAILED, LOST]),
            [b"why", gone((NO_INPUT, Y))],
            *[q(0, 0)] * 3,
        )
    )
    assert results(outputs) == [(2, FAILED, b"why")] and of(outputs, Restore) == []
    assert len(rig.state.board) == 0 and not rig.state.board.lineage


def test_two_that_were_stopped_the_second_of_which_nobody_needs_after_the_first() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, 2, 3, needs={3: [1, 2]}, unwanted=[1, 2])
    ended = results(worker.ends((ann.id(1), 1), (ann.id(2), 1), status=ResultStatus.timed_out, payload=b"ran too long"))
    assert [(sequence, status) for sequence, status, _ in ended] == [(3, ResultStatus.timed_out)]
    assert len(rig.state.board) == 0


def test_an_object_that_is_lost_again_and_again() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, needs={2: [1]}, unwanted=[1])
    for attempt in range(1, MAX_LOSSES + 2):
        name = bytes([attempt]) * 16
        worker.ends((ann.id(1), attempt), status=STORED, payload=where(name))
        outputs = worker.ends((ann.id(2), attempt), status=LOST, payload=gone((0, name)))
    ((sequence, status, text),) = results(outputs)
    assert (sequence, status) == (2, LOST) and b"that happened 4 times" in text
    assert tasks(outputs) == [] and len(rig.state.board) == 0


class TestFreedEarly:
    """Intermediate results go as soon as all that takes them has ended, not with their graph."""

    def rig(self) -> tuple[Rig, Client, Worker, int]:
        rig = Rig()
        storage, _ = rig.connect(Role.storage_user, b"S" * 16)
        return rig, rig.client(), rig.worker(4), storage

    def test_a_chain_has_one_object_at_a_time(self) -> None:
        rig, ann, worker, storage = self.rig()
        ann.submit(1, 2, 3, 4, needs={2: [1], 3: [2], 4: [3]}, unwanted=[1, 2, 3])
        assert of(worker.ends((ann.id(1), 1), status=STORED, payload=where(X)), Release) == []
        outputs = worker.ends((ann.id(2), 1), status=STORED, payload=where(Y))
        assert of(outputs, Release, storage) == [Release(X, ANN)]
        assert of(worker.ends((ann.id(3), 1)), Release, storage) == [Release(Y, ANN)]
        assert len(rig.state.board) == 2, "a result that is not stored needs nothing to be made again"
        worker.ends((ann.id(4), 1))
        assert len(rig.state.board) == 0

    def test_the_last_of_several_frees_it(self) -> None:
        _, ann, worker, storage = self.rig()
        ann.submit(1, 2, 3, 4, 5, needs={2: [1], 3: [1, 1], 4: [2], 5: [2, 3]}, unwanted=[1, 2, 3])
        worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
        assert of(worker.ends((ann.id(2), 1), status=STORED, payload=where(Y)), Release) == []
        assert of(worker.ends((ann.id(3), 1)), Release, storage) == [Release(X, ANN)]

    def test_one_that_is_cancelled_does_not_need_it(self) -> None:
        _, ann, worker, storage = self.rig()
        ann.submit(1, 2, 3, 4, needs={2: [1], 3: [1], 4: [2]}, unwanted=[1, 2])
        worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
        worker.ends((ann.id(2), 1), status=STORED, payload=where(Y))
        assert of(ann.say(Cancel(q(3))), Release, storage) == [Release(X, ANN)]

    def test_what_its_client_wants_stays(self) -> None:
        _, ann, worker, _ = self.rig()
        ann.submit(1, 2, 3, needs={2: [1], 3: [2]}, unwanted=[2])
        worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
        assert of(worker.ends((ann.id(2), 1), status=STORED, payload=where(Y)), Release) == []

    def test_a_client_that_missed_the_end_of_one_that_was_freed(self) -> None:
        """1 is made again for 3, so its second result is nobody's; then it turns out that the first was never heard of."""
        rig, ann, worker, storage = self.rig()
        ann.submit(1, 2, 3, needs={2: [1], 3: [2]}, unwanted=[2])
        worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
        worker.ends((ann.id(2), 1), status=LOST, payload=gone((0, X)))
        worker.ends((ann.id(1), 2), status=STORED, payload=where(Y))
        assert of(worker.ends((ann.id(2), 2), status=STORED, payload=where(Z)), Release, storage) == [Release(Y, ANN)]
        rig.lose(ann.peer)
        ann = rig.client()
        outputs = ann.submit(1, 2, 3, needs={2: [1], 3: [2]}, unwanted=[2])
        assert tasks(outputs) == [(ann.id(1), 3)]
        outputs = worker.ends((ann.id(1), 3), status=STORED, payload=where(b"1" * 16))
        assert results(outputs, ann.peer) == [(1, STORED, where(b"1" * 16))]

    def test_what_is_new_takes_one_that_was_freed(self) -> None:
        _, ann, worker, _ = self.rig()
        ann.submit(1, 2, 3, needs={2: [1], 3: [2]}, unwanted=[1, 2])
        worker.ends((ann.id(1), 1), status=STORED, payload=where(X))
        worker.ends((ann.id(2), 1), status=STORED, payload=where(Y))
        assert tasks(ann.submit(4, needs={4: [1]})) == [(ann.id(1), 2)]
        outputs = worker.ends((ann.id(1), 2), status=STORED, payload=where(Z))
        assert tasks(outputs) == [(ann.id(4), 1)] and inputs(outputs) == [where(Z)]

    def test_after_a_new_connection_what_nobody_needs_any_more_does_not_run_again(self) -> None:
        rig, ann, worker, _ = self.rig()
        graph = {"needs": {2: [1], 3: [2]}, "unwanted": [1, 2]}
        ann.submit(1, 2, 3, **graph)
        worker.ends((ann.id(1), 1))
        worker.ends((ann.id(2), 1))
        rig.lose(ann.peer)
        ann = rig.client()
        assert tasks(ann.submit(1, 2, 3, **graph)) == []
        assert results(worker.ends((ann.id(3), 1)), ann.peer) == [(3, ResultStatus.succeeded, b"result")]
        assert len(rig.state.board) == 0


class TestObjectsOfClients:
    def test_the_client_puts_it_again_and_the_task_runs(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(2)
        ann.submit(1, 2)
        outputs = worker.ends((ann.id(1), 1), (ann.id(2), 1), status=LOST, payload=gone((NO_INPUT, X)))
        assert of(outputs, Restore, ann.peer) == [Restore(X)] and tasks(outputs) == [], "once for both"
        assert why(rig, ann.id(1)) == f"it waits until its client has put object {X.hex()} again"
        assert sorted(tasks(ann.say(Restored(X, [""])))) == [(ann.id(1), 2), (ann.id(2), 2)]
        assert results(worker.ends((ann.id(1), 2), (ann.id(2), 2)))
        assert len(rig.state.board) == 0

    def test_it_says_why_it_cannot(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1, 2, needs={2: [1]})
        worker.ends((ann.id(1), 1), status=LOST, payload=gone((NO_INPUT, X)))
        ended = results(ann.say(Restored(X, ["it was not kept"])))
        assert [(sequence, status) for sequence, status, _ in ended] == [(1, LOST), (2, LOST)]
        assert b"f0 needs object 7878" in ended[0][2] and b"it was not kept" in ended[0][2]

    def test_it_is_asked_again_on_a_new_connection(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.ends((ann.id(1), 1), status=LOST, payload=gone((NO_INPUT, X)))
        rig.lose(ann.peer)
        peer, outputs = rig.connect(Role.client, ANN)
        assert of(outputs, Restore, peer) == [Restore(X)]

    def test_a_task_that_is_cancelled_meanwhile(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.ends((ann.id(1), 1), status=LOST, payload=gone((NO_INPUT, X)))
        assert results(ann.say(Cancel(q(1)))) == [(1, ResultStatus.cancelled, b"")]
        assert tasks(ann.say(Restored(X, [""]))) == []
        assert not rig.state.board.lineage

    def test_a_client_that_leaves_meanwhile(self) -> None:
        rig = Rig(client_timeout_seconds=1)
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.ends((ann.id(1), 1), status=LOST, payload=gone((NO_INPUT, X)))
        rig.lose(ann.peer)
        rig.at(rig.now + 2)
        assert len(rig.state.board) == 0 and rig.state.board.lineage.outstanding(ann.number) == b""

    def test_an_item_of_an_array_waits_alone(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        submit(ann, 10, 1)
        (part,) = given_out(rig.after() + worker.outputs) or given_out(submit(ann, 20, 1))
        outputs = end_items(worker, part, 1, status=LOST, payload=gone((NO_INPUT, X)))
        assert of(outputs, Restore) == [Restore(X)]
        rest = given_out(outputs)
        outputs = ann.say(Restored(X, [""]))
        assert {item for one in (*rest, *given_out(outputs)) for item in one.items} >= set(part.items)

    def test_around_a_nested_client_the_one_of_its_parent_is_asked(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(2, identity=b"W" * 16)
        ann.submit(1)
        ben = rig.client(BEN)
        ben.say(RunningInside(ann.id(1), 0, b"W" * 16))
        outputs = ben.submit(0)
        assert tasks(outputs) == [(ben.id(0), 1)]
        outputs = worker.ends((ben.id(0), 1), status=LOST, payload=gone((NO_INPUT, X)))
        assert of(outputs, Restore, ben.peer) == [Restore(X)] and of(outputs, Restore, ann.peer) == []
        outputs = ben.say(Restored(X, ["not mine"]))
        assert of(outputs, Restore, ann.peer) == [Restore(X)] and results(outputs) == []
        assert tasks(ann.say(Restored(X, [""]))) == [(ben.id(0), 2)]


@pytest.mark.parametrize("payload", [b"", b"x", gone((0, X)), gone((NO_INPUT, X))[:-1]])
def test_a_worker_that_names_no_lost_objects_is_closed(payload: bytes) -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    assert closed(worker.ends((ann.id(1), 1), status=LOST, payload=payload)) == [worker.peer]


def test_a_restart_of_the_storage_is_told_and_is_the_reason() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    storage, outputs = rig.connect(Role.storage_user, b"S" * 16)
    rig.lose(storage)
    storage, outputs = rig.connect(Role.storage_user, b"S" * 16)
    assert not [o for o in outputs if isinstance(o, Log) and "storage" in o.text]
    rig.lose(storage)
    _, outputs = rig.connect(Role.storage_user, b"T" * 16)
    assert [o.level for o in outputs if isinstance(o, Log) and "tcp://storage:1 was restarted" in o.text] == [30]
    ann.submit(1)
    worker.ends((ann.id(1), 1), status=LOST, payload=gone((NO_INPUT, X)))
    ((_, _, text),) = results(ann.say(Restored(X, ["it is not kept"])))
    assert b"the object storage at tcp://storage:1 was restarted" in text
