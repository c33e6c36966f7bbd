"""Given these events, exactly these outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scaler.ids import sequence_of, u64
from scaler.machine import Log, Output, Stop
from scaler.messages import (
    AdmitOwner,
    Assign,
    Cancel,
    ClearTasks,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    ClusterEnding,
    DefineForWorker,
    DefineFunctions,
    Desired,
    ExecutorDeaths,
    ForgetForWorker,
    ForgetFunctions,
    Function,
    HeartbeatEcho,
    Inputs,
    ManagerLeaving,
    ManagerReport,
    RegisterManager,
    RegisterWorker,
    Release,
    ReleaseOwner,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    Role,
    ShutdownCluster,
    ShutdownManager,
    ShutdownRefused,
    ShutdownWorker,
    Started,
    Statistics,
    StatisticsRequest,
    Submit,
    Subscribe,
    TaskOptions,
    TaskOutput,
    Update,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
    WorkerSettings,
)
from scaler.scheduler.board import MAX_DEATHS
from scaler.scheduler.state import HOUSEKEEPING_SECONDS
from scaler.scheduler.workers import RETRACT_AFTER_SECONDS

from .builders import ANN, BEN, OK, Rig, Worker, cancelled, closed, i, of, q, results, sent, tasks, why

FAILED, CANCELLED, LOST = ResultStatus.failed, ResultStatus.cancelled, ResultStatus.lost


def logged(outputs: list[Any]) -> str:
    return "\n".join(o.text for o in outputs if isinstance(o, Log))


# ---- the usual way


def test_a_client_and_a_worker_get_their_settings() -> None:
    rig = Rig(client_timeout_seconds=9, heartbeat_seconds=0.5, inline_limit_bytes=7, worker_timeout_seconds=3)
    peer, outputs = rig.connect(Role.client, ANN)
    number = int.from_bytes(ANN[:3], "little") + 1
    assert sent(outputs) == [(peer, ClientSettings(number, "tcp://storage:1", 7, 500, 9000, False))]
    worker = rig.worker()
    assert sent(worker.outputs) == [(worker.peer, WorkerSettings("tcp://storage:1", 7, 3000))]


def test_who_has_other_versions_is_told() -> None:
    rig = Rig()
    rig.connect(Role.client, ANN, "ann", "python=3.11.7")
    facts = RegisterWorker(1, 1, [], "host", 7)

    def worker(identity: bytes, software: str) -> tuple[int, str]:
        peer, outputs = rig.connect(Role.worker, identity, "", software)
        return peer, logged(outputs + rig.say(peer, facts))

    assert "differ" not in worker(b"1" * 16, "python=3.11.2")[1]
    second, said = worker(b"2" * 16, "python=3.12.1")
    assert "ann and worker 32323232" in said and "Python 3.11.7 at the client and 3.12.1 at the worker" in said
    third, said = worker(b"3" * 16, "python=3.12.1")
    assert "differ" not in said, "once is enough"
    _, outputs = rig.connect(Role.client, BEN)
    assert of(outputs, ClientSettings)[0].worker_software == ["python=3.11.2", "python=3.12.1"]
    rig.lose(second)
    rig.lose(third)
    _, outputs = rig.connect(Role.client, b"C" * 16)
    assert of(outputs, ClientSettings)[0].worker_software == ["python=3.11.2"]


def test_a_submitted_task_is_assigned_after_its_function() -> None:
    rig = Rig()
    worker, ann = rig.worker(), rig.client()
    function = Function(0, "s", b"content 0", b"", "f0", ANN)
    assign = Assign(q(ann.id(5)), i(1), i(0), [b"arguments 5"], b"", Inputs())
    assert sent(ann.submit(5)) == [(worker.peer, DefineForWorker([function])), (worker.peer, assign)]


def test_a_function_is_defined_once_for_each_worker() -> None:
    rig = Rig()
    ann, first = rig.client(), rig.worker()
    assert len(of(ann.submit(1), DefineForWorker, first.peer)) == 1
    assert of(ann.submit(2), DefineForWorker) == []
    second = rig.worker()
    outputs = ann.submit(3)
    assert len(of(outputs, DefineForWorker, second.peer)) == 1 and tasks(outputs, second.peer) == [(ann.id(3), 1)]


def test_results_go_to_their_clients_as_sequences() -> None:
    rig = Rig()
    ann, ben, worker = rig.client(ANN), rig.client(BEN), rig.worker(2)
    ann.submit(1)
    ben.submit(9)
    outputs = worker.ends((ann.id(1), 1), (ben.id(9), 1), payload=b"42", wall=77)
    nothing = q(0)
    assert sent(outputs) == [
        (ann.peer, Results(q(1), b"", b"\1", [b"42"], q(77), nothing, nothing)),
        (ben.peer, Results(q(9), b"", b"\1", [b"42"], q(77), nothing, nothing)),
    ]
    assert len(rig.state.board) == 0 and rig.state.task_counts().succeeded == 2


def test_what_tasks_printed_goes_to_their_client_and_to_nobody_when_it_is_gone() -> None:
    rig = Rig()
    ann, ben, worker = rig.client(ANN), rig.client(BEN), rig.worker()
    printed = TaskOutput(ANN, True, b"careful\n")
    assert sent(worker.say(printed)) == [(ann.peer, TaskOutput(b"", True, b"careful\n"))]
    rig.lose(ann.peer)
    assert sent(worker.say(printed)) == []
    assert sent(worker.say(TaskOutput(BEN, False, b"x"))) == [(ben.peer, TaskOutput(b"", False, b"x"))]


def test_tasks_wait_for_a_worker() -> None:
    rig = Rig()
    ann = rig.client()
    assert sent(ann.submit(1, 2)) == []
    assert tasks(rig.worker().outputs) == [(ann.id(1), 1), (ann.id(2), 1)]


def test_greater_priority_goes_first() -> None:
    rig = Rig()
    ann = rig.client()
    for sequence, priority in ((1, -5), (2, 0), (3, 5)):
        ann.submit(sequence, options=TaskOptions(priority=priority))
    assert [id for id, _ in tasks(rig.worker(3).outputs)] == [ann.id(3), ann.id(2), ann.id(1)]


def test_time_limits_are_passed_on() -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1, options=TaskOptions(timeout_milliseconds=1500))
    ann.submit(2)
    (assign,) = of(rig.worker(2).outputs, Assign)
    assert assign.timeout_milliseconds == q(1500, 0)


def test_a_failure_is_delivered_as_it_came() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    assert results(worker.ends((ann.id(1), 1), status=FAILED, payload=b"why")) == [(1, FAILED, b"why")]


def test_what_a_failed_task_took_is_told() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, needs={2: [1]})
    (failed,) = of(worker.ends((ann.id(1), 1), status=FAILED, wall=77), Results)
    assert list(u64(failed.tasks)) == [1, 2] and list(u64(failed.wall_microseconds)) == [77, 0]


def test_a_failed_task_is_run_again_as_often_as_asked() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, options=TaskOptions(retries=2))
    for attempt in (1, 2):
        outputs = worker.ends((ann.id(1), attempt), status=FAILED)
        assert results(outputs) == [] and tasks(outputs) == [(ann.id(1), attempt + 1)]
    assert results(worker.ends((ann.id(1), 3), status=FAILED, payload=b"last")) == [(1, FAILED, b"last")]


@pytest.mark.parametrize("status", [ResultStatus.timed_out, ResultStatus.out_of_memory])
def test_a_task_that_was_stopped_is_called_by_its_name(status: ResultStatus) -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1)
    ann.submit(2, options=TaskOptions(name="the second"))
    outputs = worker.ends((ann.id(1), 1), (ann.id(2), 1), status=status, payload=b"took too much")
    assert results(outputs) == [(1, status, b"f0 took too much"), (2, status, b"the second took too much")]


# ---- dependencies


def test_a_dependent_gets_the_results_as_inputs_in_its_order() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    assert tasks(ann.submit(1, 2, 3, needs={3: [2, 1, 2]})) == [(ann.id(1), 1), (ann.id(2), 1)]
    assert tasks(worker.ends((ann.id(1), 1), payload=b"one")) == []
    outputs = worker.ends((ann.id(2), 1), status=ResultStatus.stored, payload=b"two")
    (assign,) = of(outputs, Assign)
    assert assign.tasks == q(ann.id(3))
    assert assign.inputs == Inputs(i(3), bytes([2, 1, 2]), [b"two", b"one", b"two"])
    assert results(outputs) == [(2, ResultStatus.stored, b"two")]
    assert results(worker.ends((ann.id(3), 1))) == [(3, OK, b"result")]
    assert len(rig.state.board) == 0


def test_a_dependency_may_come_after_its_dependent_in_the_same_message() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    assert tasks(ann.submit(2, 1, needs={2: [1]})) == [(ann.id(1), 1)]
    assert tasks(worker.ends((ann.id(1), 1))) == [(ann.id(2), 1)]


def run_one_by_one(worker: Worker, outputs: list[Output]) -> list[int]:
    """The sequences in the order in which a worker that takes one task at a time is given them."""
    order: list[int] = []
    while given := tasks(outputs):
        order += [sequence_of(id) for id, _ in given]
        outputs = worker.ends(*given)
    return order


def test_a_task_that_waited_takes_its_place_before_what_was_submitted_later() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(1, queue=1)
    chain = {2: [1], 3: [2]}
    first = ann.submit(1, 2, 3, 4, 5, 6, needs=chain)
    ann.submit(7, options=TaskOptions(priority=1))
    ann.submit(8, 9, needs={9: [8]})
    assert run_one_by_one(worker, first) == [1, 4, 7, 2, 3, 5, 6, 8, 9]


def test_clients_take_turns() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(1, queue=1)
    first = ann.submit(*range(1, 9))
    ben = rig.client(BEN)
    ben.submit(11, 12, 13)
    ben.submit(14, options=TaskOptions(priority=1))
    rig.client(b"C" * 16).submit(21)
    assert run_one_by_one(worker, first) == [1, 2, 14, 21, 3, 11, 4, 12, 5, 13, 6, 7, 8]


def test_parts_of_a_graph_begin_when_all_are_there() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(1, queue=1)
    assert tasks(ann.submit(1, 2, unwanted=[1, 2], more=True)) == []
    ben = rig.client(BEN)
    assert tasks(ben.submit(1)) != []
    assert tasks(ann.submit(3, needs={3: [1]}, unwanted=[3], more=True)) == []
    outputs = ann.submit(4, needs={4: [2, 3]})
    assert run_one_by_one(worker, outputs + worker.ends((ben.id(1), 1))) == [1, 2, 3, 4]
    assert len(rig.state.board) == 0


def test_parts_can_be_cancelled_before_the_last_has_come() -> None:
    rig = Rig()
    ann = rig.client()
    rig.worker()
    ann.submit(1, 2, needs={2: [1]}, more=True)
    assert results(ann.say(Cancel(q(1)))) == [(1, CANCELLED, b""), (2, CANCELLED, b"")]
    assert tasks(ann.submit(3)) == [(ann.id(3), 1)]


def test_a_client_that_is_back_offers_all_parts_again() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(1, queue=1)
    ann.submit(1, unwanted=[1], more=True)
    rig.lose(ann.peer)
    again = rig.client()
    assert tasks(again.submit(1, unwanted=[1], more=True)) == []
    assert run_one_by_one(worker, again.submit(2, needs={2: [1]})) == [1, 2]


def test_when_a_part_is_refused_so_are_those_after_it() -> None:
    rig = Rig(max_waiting_tasks=2)
    ann = rig.client()
    ann.submit(1, unwanted=[1], more=True)
    refused = results(ann.submit(2, 3, needs={2: [1]}, more=True)) + results(ann.submit(4, needs={4: [2]}))
    assert [(sequence, status) for sequence, status, _ in refused] == [(n, ResultStatus.rejected) for n in (2, 3, 4)]
    assert results(ann.submit(5)) == []


def test_a_result_that_waits_for_dependents_serves_later_ones_too() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, 2, 3, needs={3: [1, 2]})
    worker.ends((ann.id(1), 1), payload=b"one")
    outputs = ann.submit(4, needs={4: [1]})
    assert tasks(outputs) == [(ann.id(4), 1)] and of(outputs, Assign)[0].inputs.payloads == [b"one"]


def test_an_unwanted_result_is_told_to_nobody_and_freed_with_its_last_dependent() -> None:
    rig = Rig()
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, needs={2: [1]}, unwanted=[1])
    where = b"o" * 16 + bytes(8)
    assert results(worker.ends((ann.id(1), 1), status=ResultStatus.stored, payload=where)) == []
    outputs = worker.ends((ann.id(2), 1))
    assert of(outputs, Release, storage) == [Release(b"o" * 16, ANN)]
    assert results(outputs) == [(2, OK, b"result")] and len(rig.state.board) == 0


@pytest.mark.parametrize("others", [(), (7, 8)])
def test_an_unwanted_result_that_nobody_takes_is_freed_at_once(others: tuple[int, ...]) -> None:
    rig = Rig()
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, *others, unwanted=[1], needs={8: [7]} if others else None)
    outputs = worker.ends((ann.id(1), 1), status=ResultStatus.stored, payload=b"o" * 16 + bytes(8))
    assert of(outputs, Release, storage) == [Release(b"o" * 16, ANN)] and results(outputs) == []


def test_a_wanted_result_is_not_released() -> None:
    rig = Rig()
    rig.connect(Role.storage_user, b"S" * 16)
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, needs={2: [1]})
    worker.ends((ann.id(1), 1), status=ResultStatus.stored, payload=b"o" * 16 + bytes(8))
    assert of(worker.ends((ann.id(2), 1)), Release) == []


def test_a_failure_poisons_all_that_depends_on_it_with_its_own_payload() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, 3, 4, needs={2: [1], 3: [2], 4: [1, 3]}, unwanted=[3])
    ended = results(worker.ends((ann.id(1), 1), status=FAILED, payload=b"why"))
    assert sorted(ended) == [(1, FAILED, b"why"), (2, FAILED, b"why"), (4, FAILED, b"why")]
    assert len(rig.state.board) == 0 and rig.state.task_counts().failed == 4


def test_what_only_a_poisoned_task_needed_is_stopped() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    ann.submit(1, 2, 3, needs={3: [1, 2]}, unwanted=[1, 2])
    outputs = worker.ends((ann.id(1), 1), status=FAILED)
    assert results(outputs) == [(3, FAILED, b"result")] and cancelled(outputs) == [(ann.id(2), 1)]
    assert len(rig.state.board) == 0


def test_an_unknown_dependency_is_lost_with_all_behind_it() -> None:
    rig = Rig()
    ann = rig.client()
    rig.worker()
    outputs = ann.submit(1, 2, 3, needs={1: [77], 2: [1]})
    assert [(sequence, status) for sequence, status, _ in results(outputs)] == [(1, LOST), (2, LOST)]
    assert tasks(outputs) == [(ann.id(3), 1)] and len(rig.state.board) == 1


def test_a_dependency_of_another_client_is_unknown() -> None:
    rig = Rig()
    ann, ben = rig.client(ANN), rig.client(BEN)
    ann.submit(1)
    assert [(s, r) for s, r, _ in results(ben.submit(2, needs={2: [1]}))] == [(2, LOST)]


# ---- cancelling, in each state


@pytest.mark.parametrize("state", ["waiting", "ready", "assigned", "running", "retracting", "succeeded"])
def test_cancel(state: str) -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1, 2, needs={2: [1]})
    # 1 is the task to be cancelled, but for `waiting`, where it is 2.
    target, expected = (2, [2]) if state == "waiting" else (1, [1, 2])
    stops: list[tuple[int, int]] = []
    if state not in ("waiting", "ready"):
        worker = rig.worker(1)
        stops = [(ann.id(1), 1)]
        if state == "running":
            worker.started(stops[0])
        if state == "retracting":
            ann.submit(3)
            ann.submit(4)
            idle = rig.worker(2)
            assert idle.outputs
            rig.state.board.life.apply(3, rig.state.board.slots.find(q(ann.id(1))))
            assert rig.state.board.life.state(rig.state.board.slots.find(q(ann.id(1)))[0]) == 5
        if state == "succeeded":
            worker.ends(stops[0])
            stops, expected = [], []
    outputs = ann.say(Cancel(q(target, 99)))
    assert results(outputs) == [(sequence, CANCELLED, b"") for sequence in expected]
    assert cancelled(outputs) == stops
    assert results(ann.say(Cancel(q(target)))) == []


def test_what_a_worker_says_of_a_cancelled_task_is_counted_and_dropped() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    ann.say(Cancel(q(1)))
    assert sent(worker.ends((ann.id(1), 1))) == [] and rig.state.task_counts().stale == 1


def test_clear_cancels_all_of_this_client_only() -> None:
    rig = Rig()
    ann, ben, worker = rig.client(ANN), rig.client(BEN), rig.worker(2)
    ann.submit(1, 2, 3, needs={3: [2]})
    ben.submit(1)
    outputs = ann.say(ClearTasks())
    assert sorted(results(outputs, ann.peer)) == [(n, CANCELLED, b"") for n in (1, 2, 3)]
    assert results(outputs, ben.peer) == [] and sorted(cancelled(outputs, worker.peer)) == [
        (ann.id(1), 1),
        (ann.id(2), 1),
    ]
    assert len(rig.state.board) == 1


# ---- workers that are lost


def test_queued_tasks_of_a_lost_worker_never_count_it_against_themselves() -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1)
    for attempt in range(1, MAX_DEATHS + 4):
        worker = rig.worker()
        assert tasks(worker.outputs) == [(ann.id(1), attempt)]
        assert results(rig.lose(worker.peer)) == []
    assert results(rig.worker().ends((ann.id(1), MAX_DEATHS + 4))) == [(1, OK, b"result")]


def test_running_tasks_of_lost_workers_crash_in_the_end_with_their_story() -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1)
    for attempt in range(1, MAX_DEATHS + 2):
        worker = rig.worker()
        worker.started((ann.id(1), attempt))
        outputs = rig.lose(worker.peer)
        if attempt <= MAX_DEATHS:
            assert results(outputs) == []
    ((sequence, status, text),) = results(outputs)
    assert (sequence, status) == (1, ResultStatus.crashed)
    assert text.decode().startswith(f"f0 was running in {MAX_DEATHS + 1} deaths")
    assert text.decode().count("its connection was lost (reset)") == MAX_DEATHS + 1


def test_deaths_of_executors_count_the_same() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, needs={2: [1]})
    for attempt in range(1, MAX_DEATHS + 1):
        assert tasks(worker.death(ann.id(1), attempt)) == [(ann.id(1), attempt + 1)]
    ended = results(worker.death(ann.id(1), MAX_DEATHS + 1, "signal 9"))
    assert [(sequence, status) for sequence, status, _ in ended] == [
        (1, ResultStatus.crashed),
        (2, ResultStatus.crashed),
    ]
    assert b"signal 9" in ended[0][2] and ended[0][2].count(b"signal 11") == MAX_DEATHS


@pytest.mark.parametrize("how", ["worker", "executors"])
def test_a_task_that_is_stopped_by_the_crash_of_another_leaves_nothing(how: str) -> None:
    """3 needs 1 and 2; as 1 crashes for good, nobody wants 2, which was running in the same worker."""
    rig = Rig()
    ann = rig.client()
    ann.submit(1, 2, 3, needs={3: [1, 2]}, unwanted=[1, 2])
    for attempt in range(1, MAX_DEATHS + 2):
        worker = rig.worker(2)
        both = (ann.id(1), attempt), (ann.id(2), attempt)
        worker.started(both[0])
        if attempt > MAX_DEATHS:
            worker.started(both[1])
            if how == "executors":
                worker.say(ExecutorDeaths(q(both[0][0], both[1][0]), i(attempt, attempt), ["first", "second"]))
        rig.lose(worker.peer)
    assert len(rig.state.board) == 0


def test_what_was_not_running_as_its_executor_died_is_not_blamed() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    innocent = bytes([ResultStatus.unspecified])
    for attempt in range(1, 2 * MAX_DEATHS):
        outputs = worker.say(ExecutorDeaths(q(ann.id(1)), i(attempt), ["signal 9"], b"", innocent))
        assert tasks(outputs) == [(ann.id(1), attempt + 1)]
    assert results(worker.ends((ann.id(1), 2 * MAX_DEATHS))) == [(1, ResultStatus.succeeded, b"result")]


def test_lost_tasks_go_before_those_that_wait() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, 3, 4)
    assert rig.lose(worker.peer)
    assert tasks(rig.worker().outputs) == [(ann.id(1), 2), (ann.id(2), 2)]


def test_a_worker_that_leaves_in_order() -> None:
    rig = Rig()
    worker = rig.worker()
    outputs = worker.say(WorkerLeaving())
    assert closed(outputs) == [worker.peer] and [o.level for o in outputs if isinstance(o, Log)] == [20]
    assert rig.state.snapshot()["workers"] == 0 and worker.say(WorkerHeartbeat(1)) == []


def test_the_same_worker_again_replaces_the_one_before() -> None:
    rig = Rig()
    ann, old = rig.client(), rig.worker(identity=b"W" * 16)
    ann.submit(1)
    new = rig.worker(identity=b"W" * 16)
    assert closed(new.outputs) == [old.peer] and tasks(new.outputs, new.peer) == [(ann.id(1), 2)]
    assert old.ends((ann.id(1), 1)) == []


def test_a_silent_worker_is_taken_for_dead() -> None:
    rig = Rig(worker_timeout_seconds=3)
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    rig.until(102.9)
    worker.say(WorkerHeartbeat(1))
    assert closed(rig.until(105.8)) == []
    assert closed(rig.until(107)) == [worker.peer]
    assert tasks(rig.worker().outputs) == [(ann.id(1), 2)]


def test_heartbeats_are_answered() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    assert sent(ann.say(ClientHeartbeat(5))) == [(ann.peer, HeartbeatEcho(5, slots=1))]
    assert sent(worker.say(WorkerHeartbeat(6))) == [(worker.peer, WorkerHeartbeatEcho(6))]


# ---- what is not current


def test_stale_attempts_are_counted_and_dropped() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    worker.death(ann.id(1), 1)
    assert sent(worker.ends((ann.id(1), 1))) == []
    assert sent(worker.started((ann.id(1), 3))) == [] and sent(worker.death(ann.id(1), 1)) == []
    assert rig.state.task_counts().stale == 3
    assert results(worker.ends((ann.id(1), 2), (ann.id(1), 2))) == [(1, OK, b"result")]
    assert rig.state.task_counts().stale == 4


def test_results_of_tasks_that_another_worker_has_are_dropped() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    other = rig.worker()
    assert sent(other.ends((ann.id(1), 1))) == [] and rig.state.task_counts().stale == 1
    assert results(worker.ends((ann.id(1), 1))) == [(1, OK, b"result")]


# ---- asking back


def overloaded() -> tuple[Rig, Any, Any, Any]:
    """A worker with one slot and two tasks, and an idle one."""
    rig = Rig()
    ann, busy = rig.client(), rig.worker()
    ann.submit(1, 2)
    return rig, ann, busy, rig.worker()


def test_tasks_are_asked_back_for_an_idle_worker_after_a_moment() -> None:
    rig, ann, busy, idle = overloaded()
    assert of(rig.at(rig.now + RETRACT_AFTER_SECONDS * 0.9), Retract) == []
    outputs = rig.at(rig.now + RETRACT_AFTER_SECONDS)
    assert sent(outputs) == [(busy.peer, Retract(q(ann.id(2)), i(1)))]
    assert of(rig.at(rig.now + 10), Retract) == []
    outputs = busy.say(Retracted(q(ann.id(2)), i(1), b"", b""))
    assert tasks(outputs, idle.peer) == [(ann.id(2), 2)]


def test_a_task_that_was_kept_counts_as_running() -> None:
    rig, ann, busy, _ = overloaded()
    rig.at(rig.now + RETRACT_AFTER_SECONDS)
    assert tasks(busy.say(Retracted(b"", b"", q(ann.id(2)), i(1)))) == []
    assert rig.state.task_counts().running == 1
    assert results(busy.ends((ann.id(2), 1))) == [(2, OK, b"result")]


def test_a_task_that_was_not_asked_for_is_not_taken_back() -> None:
    rig, ann, busy, _ = overloaded()
    assert tasks(busy.say(Retracted(q(ann.id(2)), i(1), b"", b""))) == []
    assert rig.state.task_counts().assigned == 2


# ---- capabilities and limits


def test_tasks_wait_for_a_worker_that_offers_what_they_ask_for_and_it_is_told_once() -> None:
    rig = Rig()
    ann = rig.client()
    rig.worker(offers=["linux"])
    assert tasks(ann.submit(1, options=TaskOptions(["gpu", "linux"]))) == []
    assert tasks(ann.submit(2)) == [(ann.id(2), 1)]
    text = logged(rig.at(rig.now + HOUSEKEEPING_SECONDS))
    assert "1 tasks wait for a worker that offers gpu, linux" in text
    assert logged(rig.at(rig.now + HOUSEKEEPING_SECONDS)) == ""
    assert "no worker offers gpu, linux" in why(rig, ann.id(1))
    assert tasks(rig.worker(offers=["gpu", "linux", "x"]).outputs) == [(ann.id(1), 1)]


def test_above_the_limit_of_waiting_tasks_the_rest_of_a_message_is_rejected() -> None:
    rig = Rig(max_waiting_tasks=2)
    ann = rig.client()
    assert results(ann.submit(1)) == []
    assert [(s, status) for s, status, _ in results(ann.submit(2, 3))] == [(3, ResultStatus.rejected)]
    assert b"the limit is 2" in results(ann.submit(4))[0][2]
    assert len(rig.state.board) == 2
    assert tasks(rig.worker(2).outputs) == [(ann.id(1), 1), (ann.id(2), 1)]


def test_of_a_graph_all_is_rejected() -> None:
    rig = Rig(max_waiting_tasks=2)
    ann = rig.client()
    outputs = ann.submit(1, 2, 3, needs={3: [2]})
    assert [(s, status) for s, status, _ in results(outputs)] == [(n, ResultStatus.rejected) for n in (1, 2, 3)]
    assert results(ann.submit(4, 5, needs={5: [4]})) == []


# ---- clients that come and go


def test_results_wait_for_a_client_that_is_gone_and_known_tasks_are_passed_over() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2)
    rig.lose(ann.peer)
    assert sent(worker.ends((ann.id(1), 1), payload=b"kept")) == []
    peer, outputs = rig.connect(Role.client, ANN)
    assert [m.resumed for m in of(outputs, ClientSettings, peer)] == [True]
    assert results(outputs, peer) == [(1, OK, b"kept")]
    rig.say(peer, DefineFunctions([Function(0, "s", b"again")]))
    outputs = rig.say(peer, Submit(q(2, 3), i(0), [b"2", b"3"]))
    assert tasks(outputs) == [(ann.id(3), 1)]
    assert results(worker.ends((ann.id(2), 1), (ann.id(3), 1)), peer) == [(2, OK, b"result"), (3, OK, b"result")]


def test_the_same_client_again_replaces_the_connection_before() -> None:
    rig = Rig()
    ann = rig.client()
    peer, outputs = rig.connect(Role.client, ANN)
    assert closed(outputs) == [ann.peer] and of(outputs, ClientSettings, peer)[0].resumed
    assert ann.submit(1) == [] and len(rig.state.board) == 0


def test_only_the_fresh_part_of_a_repeated_submission_is_taken_with_all_its_columns() -> None:
    rig = Rig()
    ann = rig.client(functions=(0, 1))
    ann.submit(1)
    message = Submit(q(1, 2, 3), i(0, 1, 0), [b"1", b"2", b"3"], [TaskOptions(), TaskOptions(priority=3)], i(1, 0, 1))
    message.dependency_ends, message.dependencies, message.wanted = i(0, 1, 3), q(1, 1, 2), b"\1\0\1"
    ann.say(message)
    (assign,) = of(rig.worker(3).outputs, Assign)
    assert assign.payloads == [b"arguments 1"]
    assert [why(rig, ann.id(n)) for n in (2, 3)] == [
        "it waits for 1 of 1 dependencies",
        "it waits for 2 of 2 dependencies",
    ]


def test_a_client_that_stays_away_is_forgotten_with_all_it_had() -> None:
    rig = Rig(client_timeout_seconds=5)
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, 3, 4, 5, needs={5: [4]})
    worker.ends((ann.id(1), 1))
    rig.lose(ann.peer)
    assert of(rig.until(104), ReleaseOwner) == []
    outputs = rig.until(106)
    assert of(outputs, ReleaseOwner, storage) == [ReleaseOwner(ANN)]
    assert cancelled(outputs, worker.peer) == [(ann.id(2), 1), (ann.id(3), 1)]
    assert len(of(outputs, ForgetForWorker)) == 1
    assert len(rig.state.board) == 0 and rig.state.snapshot()["clients"] == 0 and len(rig.state.board.functions) == 0


def test_after_a_sleep_peers_have_their_time_again_and_no_more() -> None:
    rig = Rig(client_timeout_seconds=5)
    ann = rig.client()
    rig.client(BEN)
    rig.now += 60
    rig.state.peer_lost(ann.peer, "reset", rig.now)  # It ended while the scheduler slept.
    assert of(rig.at(rig.now), ReleaseOwner) == [] and closed(rig.until(rig.now + 4)) == []
    rig.until(rig.now + 2)
    assert rig.state.snapshot()["clients"] == 0


def test_the_storage_takes_objects_of_a_client_that_is_back_after_it_was_forgotten() -> None:
    rig = Rig(client_timeout_seconds=5)
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann = rig.client()
    rig.lose(ann.peer)
    assert of(rig.until(106), ReleaseOwner, storage) == [ReleaseOwner(ANN)]
    peer, outputs = rig.connect(Role.client, ANN)
    assert of(outputs, AdmitOwner, storage) == [AdmitOwner(ANN)]
    rig.lose(peer)
    _, outputs = rig.connect(Role.client, ANN)
    assert of(outputs, AdmitOwner) == [], "it was there all the time"


def test_a_storage_that_was_away_hears_of_clients_that_are_back() -> None:
    rig = Rig(client_timeout_seconds=5)
    ann = rig.client()
    rig.lose(ann.peer)
    rig.until(106)
    rig.connect(Role.client, ANN)
    storage, outputs = rig.connect(Role.storage_user, b"S" * 16)
    assert sent(outputs) == [(storage, AdmitOwner(ANN))]


def test_a_connected_but_silent_client_is_forgotten_too() -> None:
    rig = Rig(client_timeout_seconds=5)
    ann = rig.client()
    rig.until(104)
    ann.say(ClientHeartbeat(1))
    assert closed(rig.until(108)) == []
    assert closed(rig.until(110)) == [ann.peer]


def test_goodbye_frees_at_once_and_storage_hears_of_it_when_it_comes() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    outputs = ann.say(ClientGoodbye())
    assert closed(outputs) == [ann.peer] and cancelled(outputs, worker.peer) == [(ann.id(1), 1)]
    storage, outputs = rig.connect(Role.storage_user, b"S" * 16)
    assert sent(outputs) == [(storage, ReleaseOwner(ANN))]


def test_a_function_is_forgotten_when_no_task_names_it_any_more() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    assert of(ann.say(ForgetFunctions(i(0))), ForgetForWorker) == []
    outputs = worker.ends((ann.id(1), 1))
    assert [list(m.numbers) for m in of(outputs, ForgetForWorker, worker.peer)] == [[0]]
    ann.say(DefineFunctions([Function(1, "s", b"new")]))
    (defined,) = of(ann.submit(2, function=1), DefineForWorker)
    assert defined.functions == [Function(0, "s", b"new", owner=ANN)]


# ---- shutdown


def test_a_protected_scheduler_refuses_to_be_shut_down() -> None:
    rig = Rig(protected=True)
    ann = rig.client()
    outputs = ann.say(ShutdownCluster())
    assert [type(m) for _, m in sent(outputs)] == [ShutdownRefused] and not any(isinstance(o, Stop) for o in outputs)


def test_an_unprotected_one_tells_everybody_and_stops() -> None:
    rig = Rig(protected=False)
    ann, ben, worker = rig.client(ANN), rig.client(BEN), rig.worker()
    manager, _ = rig.connect(Role.manager, b"M" * 16)
    rig.say(manager, RegisterManager("m", "kind", 4))
    outputs = ann.say(ShutdownCluster())
    assert {(peer, type(m)) for peer, m in sent(outputs)} == {
        (ann.peer, ClusterEnding),
        (ben.peer, ClusterEnding),
        (worker.peer, ShutdownWorker),
        (manager, ShutdownManager),
    }
    assert isinstance(outputs[-1], Stop) and outputs[-1].exit_code == 0
    assert sent(ben.say(ShutdownCluster())) == []


# ---- what may not be said


GOOD = Submit(q(1, 2), i(0), [b"a", b"b"])
WRONG_SUBMITS = {
    "too few payloads": replace(GOOD, payloads=[b"a"]),
    "sequences of odd length": replace(GOOD, sequences=b"123456789"),
    "a sequence too large": replace(GOOD, sequences=q(1, 2**40)),
    "a sequence twice": replace(GOOD, sequences=q(1, 1)),
    "no function": replace(GOOD, functions=b""),
    "three functions": replace(GOOD, functions=i(0, 0, 0)),
    "functions of odd length": replace(GOOD, functions=b"12345"),
    "an unknown function": replace(GOOD, functions=i(0, 9)),
    "option sets without a column": replace(GOOD, option_sets=[TaskOptions()]),
    "an option set that is not there": replace(GOOD, option_sets=[TaskOptions()], options=i(1)),
    "one option set that is not there": replace(GOOD, option_sets=[TaskOptions()], options=i(0, 1)),
    "too many options": replace(GOOD, option_sets=[TaskOptions()], options=i(0, 0, 0)),
    "wanted too short": replace(GOOD, wanted=b"\1"),
    "wanted too long": replace(GOOD, wanted=b"\1\1\1"),
    "ends too short": replace(GOOD, dependency_ends=i(1), dependencies=q(1)),
    "ends too long": replace(GOOD, dependency_ends=i(0, 1, 1), dependencies=q(1)),
    "ends that fall": replace(GOOD, dependency_ends=i(2, 1), dependencies=q(1)),
    "ends beyond the dependencies": replace(GOOD, dependency_ends=i(0, 2), dependencies=q(1)),
    "ends that leave some over": replace(GOOD, dependency_ends=i(0, 1), dependencies=q(1, 1)),
    "ends that pass the end and come back": replace(GOOD, dependency_ends=i(5, 1), dependencies=q(9)),
    "dependencies of odd length": replace(GOOD, dependency_ends=i(0, 1), dependencies=b"123456789"),
    "a dependency too large": replace(GOOD, dependency_ends=i(0, 1), dependencies=q(2**40)),
    "a task that needs itself": replace(GOOD, dependency_ends=i(0, 1), dependencies=q(2)),
    "tasks that need each other": replace(GOOD, dependency_ends=i(1, 2), dependencies=q(2, 1)),
}


@pytest.mark.parametrize("name", WRONG_SUBMITS)
@pytest.mark.parametrize("again", [False, True])
def test_a_wrong_submission_closes_its_client_and_enters_nothing(name: str, again: bool) -> None:
    rig = Rig()
    ann, ben = rig.client(ANN), rig.client(BEN)
    ben.submit(1)
    if again:  # The first task is known already, so that only a part of the message is looked at.
        ann.submit(1)
        if name in ("a sequence twice", "an option set that is not there"):
            return
    before = len(rig.state.board)
    outputs = ann.say(WRONG_SUBMITS[name])
    assert closed(outputs) == [ann.peer] and len(rig.state.board) == before
    assert ann.submit(7) == []
    worker = rig.worker(4)
    expected = [(ben.id(1), 1)] + [(ann.id(1), 1)] * again
    assert sorted(tasks(worker.outputs)) == sorted(expected)


def test_the_good_submission_is_good() -> None:
    rig = Rig()
    ann = rig.client()
    assert closed(ann.say(GOOD)) == [] and len(rig.state.board) == 2


@pytest.mark.parametrize(
    "message",
    [
        Cancel(b"123"),
        Cancel(q(2**40)),
        ForgetFunctions(b"123"),
        DefineFunctions([Function(0, "s")]),
        DefineFunctions([Function(5, "s", b"", b"short id")]),
        WorkerHeartbeat(1),
        Desired(1),
    ],
    ids=str,
)
def test_other_wrong_messages_of_a_client(message: Any) -> None:
    rig = Rig()
    ann, ben = rig.client(ANN), rig.client(BEN)
    assert closed(ann.say(message)) == [ann.peer]
    assert sent(ann.say(ClientHeartbeat(1))) == [] and sent(ben.say(ClientHeartbeat(1))) != []


def wrong_worker_messages(id: int) -> dict[str, Any]:
    one, zero = q(1), q(0)
    good = Results(q(id), i(1), b"\1", [b""], one, zero, zero)
    return {
        "results: tasks": replace(good, tasks=q(id, id).tobytes(), attempts=i(1).tobytes()),
        "results: attempts": replace(good, attempts=i(1, 1)),
        "results: no attempts": replace(good, attempts=b""),
        "results: statuses": replace(good, statuses=b"\1\1"),
        "results: payloads": replace(good, payloads=[]),
        "results: wall": replace(good, wall_microseconds=b""),
        "results: cpu": replace(good, cpu_microseconds=bytes(9)),
        "results: memory": replace(good, peak_memory_bytes=bytes(16)),
        "status unspecified": replace(good, statuses=b"\0"),
        "status unknown": replace(good, statuses=b"\x63"),
        "status rejected": replace(good, statuses=bytes([ResultStatus.rejected])),
        "status crashed": replace(good, statuses=bytes([ResultStatus.crashed])),
        "started: lengths": Started(q(id), i(1, 1)),
        "started: odd": Started(b"123", b""),
        "retracted: lengths": Retracted(q(id), b"", b"", b""),
        "retracted: kept": Retracted(b"", b"", q(id), i()),
        "deaths: stories": ExecutorDeaths(q(id), i(1), []),
        "deaths: lengths": ExecutorDeaths(q(id), i(), ["s"]),
        "registered twice": RegisterWorker(1, 1),
        "not a worker's": ClearTasks(),
    }


@pytest.mark.parametrize("name", wrong_worker_messages(0))
def test_a_wrong_message_of_a_worker_closes_it_and_its_tasks_run_elsewhere(name: str) -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1)
    message = wrong_worker_messages(ann.id(1))[name]
    outputs = worker.say(message)
    assert closed(outputs) == [worker.peer] and results(outputs) == []
    assert tasks(rig.worker().outputs) == [(ann.id(1), 2)]


@pytest.mark.parametrize("message", [RegisterWorker(0, 1), RegisterWorker(2**27, 1), WorkerHeartbeat(1), ClearTasks()])
def test_a_worker_that_begins_wrong(message: Any) -> None:
    rig = Rig()
    peer, _ = rig.connect(Role.worker, b"W" * 16)
    assert closed(rig.say(peer, message)) == [peer] and rig.state.snapshot()["workers"] == 0


# ---- managers and monitors


def test_managers_register_report_and_leave() -> None:
    rig = Rig()
    manager, _ = rig.connect(Role.manager, b"M" * 16)
    other, _ = rig.connect(Role.manager, b"N" * 16)
    assert closed(rig.say(other, ManagerReport(0, 0, 0))) == [other]
    rig.say(manager, RegisterManager("m", "kind", 4))
    rig.say(manager, ManagerReport(1, 2, 3, "why"))
    assert rig.state.snapshot()["managers"] == 1
    assert closed(rig.say(manager, ManagerLeaving())) == [manager] and rig.state.snapshot()["managers"] == 0


def test_a_silent_manager_is_taken_for_dead() -> None:
    rig = Rig(worker_timeout_seconds=5.0)
    manager, _ = rig.connect(Role.manager, b"M" * 16)
    rig.say(manager, RegisterManager("m", "kind", 4))
    assert closed(rig.until(104.0)) == []
    assert closed(rig.until(106.0)) == [manager] and rig.state.snapshot()["managers"] == 0


def test_numbers_of_workers_that_left_are_used_again() -> None:
    rig = Rig()
    first, second = rig.worker(), rig.worker()
    rig.lose(first.peer)
    third = rig.worker()
    assert rig.state.snapshot()["workers"] == 2
    assert sorted(rig.state.workers.sessions) == [0, 1]
    assert rig.state.workers.sessions[0].peer == third.peer and rig.state.workers.sessions[1].peer == second.peer


def test_a_monitor_gets_all_and_then_what_changed() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker(2)
    other = rig.worker()
    monitor, _ = rig.connect(Role.monitor, b"M" * 16)
    (first,) = of(rig.say(monitor, Subscribe(500)), Update, monitor)
    assert first.full and len(first.workers) == 2 and first.removed_workers == []
    assert [(c.identity, c.connected, c.unfinished) for c in first.clients] == [(ANN, True, 0)]
    assert of(rig.at(rig.now + 0.4), Update) == []
    (second,) = of(rig.at(rig.now + 0.1), Update)
    assert not second.full and second.workers == []
    ann.submit(1)
    rig.lose(other.peer)
    (third,) = of(rig.at(rig.now + 0.5), Update)
    assert [(w.slots, w.held) for w in third.workers] == [(2, 1)] and len(third.removed_workers) == 1
    assert third.tasks.assigned == 1 and third.clients[0].unfinished == 1
    rig.state.pause_monitor(monitor, True)
    assert of(rig.at(rig.now + 5), Update) == []
    rig.state.pause_monitor(monitor, False)
    (fourth,) = of(rig.at(rig.now + 0.5), Update)
    assert fourth.full and len(fourth.workers) == 1
    rig.lose(monitor)
    assert of(rig.at(rig.now + 5), Update) == [] and worker.outputs


def test_a_monitor_is_told_what_the_object_storage_said_last() -> None:
    rig = Rig()
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    monitor, _ = rig.connect(Role.monitor, b"M" * 16)
    outputs = rig.say(monitor, Subscribe(500))
    assert of(outputs, Update)[0].objects == Statistics()
    assert of(outputs, StatisticsRequest, storage) == [StatisticsRequest(1)]
    rig.say(storage, Statistics(1, objects=3, bytes=9, spilled_objects=1, gets=5, gets_at_once=4))
    (update,) = of(rig.at(rig.now + 0.5), Update)
    assert (update.objects.objects, update.objects.spilled_objects, update.objects.gets_at_once) == (3, 1, 4)


def test_a_monitor_is_told_every_second_unless_it_says_otherwise_and_not_faster_than_ten_times() -> None:
    for asked, interval in ((0, 1.0), (1, 0.1), (3000, 3.0)):
        rig = Rig()
        monitor, _ = rig.connect(Role.monitor, b"M" * 16)
        rig.say(monitor, Subscribe(asked))
        assert rig.state.monitors.next_deadline() == pytest.approx(rig.now + interval)


def test_where_a_task_is_can_be_told() -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1, 2, needs={2: [1]})
    assert why(rig, ann.id(1)) == "it waits: no worker is connected"
    worker = rig.worker()
    assert why(rig, ann.id(1)) == "it is with worker 42424242 (pid 7 on host), attempt 1, for 0 s"
    worker.ends((ann.id(1), 1), wall=50_000)
    assert "has ended" in why(rig, ann.id(1))
    assert "not known" in why(rig, ann.id(9))
    ann.submit(3, 4, 5, 6)
    assert (
        why(rig, ann.id(6))
        == "it waits: all workers that can run it have enough to do; 2 tasks of its client with the same needs go before it"
    )


def test_without_anybody_nothing_is_due() -> None:
    rig = Rig(client_timeout_seconds=0.5)
    assert rig.state.next_deadline() is None
    ann = rig.client()
    assert rig.state.next_deadline() == rig.now + HOUSEKEEPING_SECONDS
    rig.lose(ann.peer)
    rig.at(rig.now + HOUSEKEEPING_SECONDS)
    rig.at(rig.now + HOUSEKEEPING_SECONDS)
    assert rig.state.next_deadline() is None
