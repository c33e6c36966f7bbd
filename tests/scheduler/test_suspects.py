"""What waits for something that should take a moment is named in the log: what, since when, and for what it waits."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest

from scaler.ids import LOST_OBJECT, NO_INPUT
from scaler.machine import Log
from scaler.messages import (
    ExecutorFacts,
    ExecutorState,
    RegisterWorker,
    ResultStatus,
    Role,
    WorkerHeartbeat,
    WorkerLeaving,
)
from scaler.scheduler import suspects

from .builders import Client, Rig, Worker


def heartbeat(*running: int, slots: int = 1) -> WorkerHeartbeat:
    executors = [ExecutorFacts(slot, 1, ExecutorState.running, task) for slot, task in enumerate(running)]
    executors += [ExecutorFacts(slot, 1, ExecutorState.idle) for slot in range(len(running), slots)]
    return WorkerHeartbeat(1, running=len(running), executors=executors)


def stuck_lines(rig: Rig, seconds: int, says: Callable[[], object] = lambda: None) -> list[str]:
    """What is said to be stuck within so many seconds, in which workers say this again and again."""
    lines: list[str] = []
    for _ in range(seconds):
        says()
        lines += [o.text for o in rig.until(rig.now + 1.0) if isinstance(o, Log) and o.text.startswith("stuck")]
    return lines


def pair(slots: int = 1) -> tuple[Rig, Client, Worker]:
    rig = Rig()
    return rig, rig.client(), rig.worker(slots)


def test_a_task_that_its_worker_does_not_begin() -> None:
    rig, ann, worker = pair()
    ann.submit(1)
    (line,) = stuck_lines(rig, 50, lambda: worker.say(heartbeat()))
    assert line.startswith("stuck: f0 (task 1 of client 41414141, attempt 1) is with worker ")
    assert "has not begun it though 1 of its slots are idle, for 3" in line


def test_a_task_that_runs_for_long_or_waits_behind_one_is_not_stuck() -> None:
    rig, ann, worker = pair()
    ann.submit(1, 2, 3)
    worker.started((ann.id(1), 1))
    assert stuck_lines(rig, 200, lambda: worker.say(heartbeat(ann.id(1)))) == []


def test_a_task_that_no_executor_runs_any_more() -> None:
    rig, ann, worker = pair()
    ann.submit(1)
    worker.started((ann.id(1), 1))
    (line,) = stuck_lines(rig, 50, lambda: worker.say(heartbeat()))
    assert "was begun by worker" in line and "where no executor runs it, for 3" in line


def test_a_worker_that_does_not_answer_when_tasks_are_asked_back() -> None:
    rig, ann, worker = pair()
    ann.submit(1, 2)
    worker.started((ann.id(1), 1))
    other = rig.worker()

    def say() -> None:
        worker.say(heartbeat(ann.id(1)))
        other.say(heartbeat())

    (line,) = stuck_lines(rig, 50, say)
    assert (
        "(task 2 of client 41414141, attempt 1) is asked back from worker" in line and "has not answered for 3" in line
    )


def test_a_ready_task_that_is_not_given_out() -> None:
    """There is no such thing: here the board is told not to place it."""
    rig, ann, worker = pair()
    rig.state._place = lambda now: None  # type: ignore[method-assign]
    ann.submit(1)
    (line,) = stuck_lines(rig, 50, lambda: worker.say(heartbeat()))
    assert "(task 1 of client 41414141, attempt 0) is ready, and worker" in line and "has room for it, for 3" in line


def test_the_rest_of_a_graph_that_does_not_come() -> None:
    rig = Rig()
    ann = rig.client()
    ann.submit(1, 2, more=True)
    (line,) = stuck_lines(rig, 50)
    assert line.startswith("stuck: client A has sent a part of a graph, 2 tasks, and the rest does not come for 3")


def test_a_graph_that_comes_slowly_is_not_stuck() -> None:
    rig = Rig()
    ann = rig.client()
    numbers = iter(range(1, 1000))
    assert stuck_lines(rig, 100, lambda: ann.submit(next(numbers), more=True)) == []


def test_an_object_that_its_client_does_not_put_again() -> None:
    rig, ann, worker = pair()
    ann.submit(1)
    worker.ends((ann.id(1), 1), status=ResultStatus.object_lost, payload=LOST_OBJECT.pack(NO_INPUT, b"x" * 16))
    (line,) = stuck_lines(rig, 50, lambda: worker.say(heartbeat()))
    assert line.startswith(
        f"stuck: 1 tasks wait for client A to put object {(b'x' * 16).hex()} again, which it was asked for, for 3"
    )


def test_survivors_that_are_never_told_of() -> None:
    rig = Rig()
    peer, _ = rig.connect(Role.worker, b"W" * 16)
    rig.say(peer, RegisterWorker(1, 1000, [], "host", 7, "", survivors=3))
    (line,) = stuck_lines(rig, 50, lambda: rig.say(peer, heartbeat()))
    assert "has 3 tasks of a scheduler before, and has not told of them for 3" in line


def test_a_worker_that_was_told_to_end_and_stays() -> None:
    rig, _, worker = pair()
    worker.say(WorkerLeaving(1000))
    (line,) = stuck_lines(rig, 50, lambda: worker.say(heartbeat()))
    assert "was told to end, holds nothing, and is still here for 3" in line


def test_a_task_that_is_ready_and_in_no_queue_is_found_whatever_row_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    ann = rig.client()
    monkeypatch.setattr(suspects, "MOST_ROWS", 10)
    ann.submit(*range(1, 31))
    rig.state.board.queues.remove(rig.state.board.slots.find(array("Q", [ann.id(25)])))
    rig.state.check = lambda: None  # type: ignore[method-assign]
    (line,) = stuck_lines(rig, 60)
    assert "(task 25 of client 41414141, attempt 0) is ready, waits for nothing, and is in no queue, for 3" in line


def test_so_is_one_that_waits_for_nothing() -> None:
    rig, ann, worker = pair()
    ann.submit(1)
    ann.submit(2, needs={2: [1]})
    (task,) = rig.state.board.slots.find(array("Q", [ann.id(2)]))
    rig.state.board.graph.mark_finished(rig.state.board.slots.find(array("Q", [ann.id(1)]))[0])
    rig.state.check = lambda: None  # type: ignore[method-assign]
    worker.started((ann.id(1), 1))
    lines = stuck_lines(rig, 50, lambda: worker.say(heartbeat(ann.id(1))))
    assert rig.state.board.life.state(task) and "(task 2 of client 41414141, attempt 0) is waiting" in lines[0]


def test_the_cost_of_a_look_does_not_grow_with_what_waits() -> None:
    """Counted in findings that are considered: as many rows, workers and tasks as are looked at, whatever there is."""
    rig = Rig()
    ann = rig.client()
    ann.submit(*range(1, 50_000))
    looked = [0]
    board = rig.state.board
    real = rig.state._suspects._is_forgotten

    def count(task: int) -> bool:
        looked[0] += 1
        return real(task)

    rig.state._suspects._is_forgotten = count  # type: ignore[method-assign]
    stuck_lines(rig, 20)
    assert len(board) == 49_999 and 0 < looked[0] <= 5 * suspects.MOST_ROWS
