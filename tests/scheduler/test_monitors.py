"""What monitors are told, and what they may ask for."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from scaler.ids import task_id, u32, u64
from scaler.messages import (
    Answer,
    CancelTask,
    DescribeGraph,
    DrainWorker,
    ExecutorFacts,
    ExecutorState,
    ExplainTask,
    Explanation,
    Failure,
    GraphDescription,
    Results,
    ResultStatus,
    Retract,
    Role,
    Submit,
    SubmitArray,
    Subscribe,
    TaskOptions,
    Update,
    WaitingTasks,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
)
from scaler.scheduler.life import TaskState
from scaler.scheduler.monitors import MOST_WORKERS
from scaler.wire.codec import struct_codec

from .builders import ANN, BEN, Rig, Worker, cancelled, closed, i, of, q, results


def watching(rig: Rig, interval: int = 500) -> tuple[int, Update]:
    """A monitor, and the first it is told."""
    monitor, _ = rig.connect(Role.monitor, bytes([200 + rig._peers]) * 16, "watcher")
    (update,) = of(rig.say(monitor, Subscribe(interval)), Update, monitor)
    return monitor, update


def next_update(rig: Rig, seconds: float = 0.5) -> Update:
    (update,) = of(rig.at(rig.now + seconds), Update)[:1]
    return update


def beat(worker: Worker, *executors: ExecutorFacts, sent: int = 1) -> list[Any]:
    return worker.say(WorkerHeartbeat(sent, 50.0, 1000, 2000, 0, len(executors), 0, list(executors)))


def failure(text: str = "no", traceback: str = "Traceback\nValueError: no") -> bytes:
    return struct_codec("task", "Failure").encode(Failure("builtins.ValueError", text, traceback, b"pickle"))


class TestUpdates:
    def test_with_no_monitor_nothing_is_gathered(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.ends((ann.id(1), 1))
        assert not len(rig.state.monitors._samples) and rig.state.monitors.next_deadline() is None

    def test_monitors_of_one_interval_are_told_the_same_object(self) -> None:
        rig = Rig()
        first, _ = watching(rig)
        second, update = watching(rig)
        assert update.full
        rig.worker()
        outputs = rig.at(rig.now + 0.5)
        (one,), (two,) = of(outputs, Update, first), of(outputs, Update, second)
        assert one is two and not one.full and len(one.workers) == 1

    def test_a_newcomer_is_told_all_and_the_others_what_changed(self) -> None:
        rig = Rig()
        rig.worker(identity=b"1" * 16)
        old, _ = watching(rig)
        rig.worker(identity=b"2" * 16)
        new, _ = rig.connect(Role.monitor, b"N" * 16)
        outputs = rig.say(new, Subscribe(500))
        (delta,), (full,) = of(outputs, Update, old), of(outputs, Update, new)
        assert [worker.identity for worker in delta.workers] == [b"2" * 16]
        assert full.full and {worker.identity for worker in full.workers} == {b"1" * 16, b"2" * 16}

    def test_many_changed_workers_are_told_in_turn_and_none_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scaler.scheduler.monitors.MOST_WORKERS", 3)
        rig = Rig()
        watching(rig)
        identities = {bytes([n]) * 16 for n in range(1, 9)}
        workers = [rig.worker(identity=identity) for identity in sorted(identities)]
        told: set[bytes] = set()
        for _ in range(3):
            update = next_update(rig)
            assert len(update.workers) <= 3
            told |= {worker.identity for worker in update.workers}
        assert told == identities
        assert next_update(rig).workers == []
        for number, worker in enumerate(workers):
            beat(worker, sent=number + 5)
        assert {w.identity for _ in range(3) for w in next_update(rig).workers} == identities

    def test_a_worker_that_came_and_went_before_there_was_room_is_not_left_with_newcomers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scaler.scheduler.monitors.MOST_WORKERS", 1)
        rig = Rig()
        watching(rig)
        workers = {worker.peer: worker for worker in (rig.worker(identity=bytes([n]) * 16) for n in (1, 2, 3))}
        new, _ = rig.connect(Role.monitor, b"N" * 16)
        (full,) = of(rig.say(new, Subscribe(500)), Update, new)
        assert len(full.workers) == 3
        for peer in workers:
            rig.lose(peer)
        assert set(next_update(rig).removed_workers) == {bytes([n]) * 16 for n in (1, 2, 3)}

    def test_executors_come_with_the_heartbeats_which_come_sooner_while_somebody_looks(self) -> None:
        rig = Rig()
        worker = rig.worker()
        assert of(beat(worker), WorkerHeartbeatEcho) == [WorkerHeartbeatEcho(1, 0)]
        watching(rig)
        runs = ExecutorFacts(0, 41, ExecutorState.running, 7, "f", 1000, 2, 99.5, 1 << 20)
        assert of(beat(worker, runs, sent=2), WorkerHeartbeatEcho) == [WorkerHeartbeatEcho(2, 500)]
        (facts,) = next_update(rig).workers
        assert facts.executors == [runs] and facts.running == 1 and facts.host_free_bytes == 2000

    def test_functions_are_counted_by_name(self) -> None:
        rig = Rig()
        ann, worker = rig.client(functions=(0, 1)), rig.worker(4)
        watching(rig)
        ann.submit(1, 2)
        ann.submit(3, function=1)
        worker.ends((ann.id(1), 1), wall=40_000)
        worker.ends((ann.id(2), 1), (ann.id(3), 1), wall=2000)
        functions = {facts.name: facts for facts in next_update(rig).functions}
        assert (functions["f0"].succeeded, functions["f0"].wall_microseconds) == (2, 42_000)
        assert (functions["f0"].longest_microseconds, functions["f1"].succeeded) == (40_000, 1)
        assert next_update(rig).functions == []

    def test_what_is_submitted_and_has_not_ended_is_told_by_function(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.submit(1, 2)
        ann.say(SubmitArray(10, 0, b"aabb", i(2, 4)))
        _, update = watching(rig)
        assert [(facts.name, facts.unfinished) for facts in update.functions] == [("f0", 4)]

    def test_what_waits_is_told_by_what_it_asks_for(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.submit(1, 2, options=TaskOptions(["gpu"]))
        ann.say(SubmitArray(10, 0, b"aabb", i(2, 4)))
        _, update = watching(rig)
        assert sorted(update.waiting, key=lambda w: w.capabilities) == [
            WaitingTasks([], 2, False),
            WaitingTasks(["gpu"], 2, False),
        ]
        rig.worker(offers=["gpu"])
        assert all(w.offered for w in next_update(rig).waiting)

    def test_the_log_comes_once_and_its_last_lines_to_newcomers(self) -> None:
        rig = Rig()
        rig.worker()
        _, update = watching(rig)
        assert "connected with 1 slots" in update.log[-1].text and update.log[-1].level == 20
        assert next_update(rig).log == []

    def test_a_message_that_monitors_do_not_have_closes_the_connection(self) -> None:
        rig = Rig()
        monitor, _ = watching(rig)
        assert closed(rig.say(monitor, WorkerHeartbeat(1))) == [monitor]
        assert rig.state.monitors.next_deadline() is None


class TestEnded:
    def test_a_sample_in_columns(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(2)
        watching(rig)
        ann.submit(1, 2)
        rig.now += 0.1
        ids = q(ann.id(1), ann.id(2))
        worker.say(Results(ids, i(1, 1), b"\1\1", [b"", b""], q(5, 6), q(3, 4), q(10, 20), slots=i(1, 0)))
        ended = next_update(rig).ended
        assert list(u64(ended.tasks)) == [ann.id(1), ann.id(2)]
        assert (list(u32(ended.slots)), ended.statuses, ended.total) == ([1, 0], b"\1\1", 2)
        assert ended.function_names == ["f0"] and list(u32(ended.functions)) == [0, 0]
        assert len(ended.worker_identities) == 1 and list(u64(ended.wall_microseconds)) == [5, 6]
        assert list(u64(ended.ended_unix_milliseconds)) == [100_100, 100_100]
        assert len(u64(next_update(rig).ended.tasks)) == 0

    def test_runs_of_items_are_one_entry(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        watching(rig)
        ann.submit(1)
        worker.ends((ann.id(1), 1), wall=100)
        outputs = ann.say(SubmitArray(10, 0, b"aabbcc", i(2, 4, 6)))
        (assign,) = (o.message for o in outputs if type(o.message).__name__ == "Assign")
        worker.say(
            Results(assign.tasks, assign.attempts, b"\1", [b"xyz"], q(30), q(3), q(9), i(3), [i(1, 2, 3).tobytes()])
        )
        ended = next_update(rig).ended
        assert (list(u32(ended.counts)), ended.total) == ([1, 3], 4)


class TestFailures:
    def test_a_failure_comes_with_its_traceback_and_what_happened_before(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        watching(rig)
        ann.submit(1, options=TaskOptions(retries=1, name="mine"))
        worker.ends((ann.id(1), 1), status=ResultStatus.failed, payload=failure())
        assert next_update(rig).failures == []
        worker.ends((ann.id(1), 2), status=ResultStatus.failed, payload=failure("still no"), wall=70)
        (failed,) = next_update(rig).failures
        assert (failed.task, failed.name, failed.function_name, failed.client) == (ann.id(1), "mine", "f0", ANN)
        assert (failed.type_name, failed.message) == ("builtins.ValueError", "still no")
        assert failed.traceback.endswith("ValueError: no") and failed.wall_microseconds == 70
        assert failed.attempt == 2 and failed.attempts == ["failed with builtins.ValueError: no"]
        assert next_update(rig).failures == []

    def test_deaths_are_told_in_order(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        for attempt in (1, 2, 3, 4):
            worker.death(ann.id(1), attempt, f"story {attempt}")
        _, update = watching(rig)
        (failed,) = update.failures
        assert failed.status == ResultStatus.crashed and "story 4" in failed.message
        assert ["story 1" in failed.attempts[0], len(failed.attempts)] == [True, 4]

    def test_only_the_last_ones_are_kept_and_dependents_are_not_told(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(200)
        sequences = list(range(1, 61))
        ann.submit(*sequences, 100, needs={100: [1]})
        worker.ends(*[(ann.id(n), 1) for n in sequences], status=ResultStatus.failed, payload=failure())
        _, update = watching(rig)
        assert [failed.task for failed in update.failures] == [ann.id(n) for n in sequences[10:]]
        (function,) = update.functions
        assert function.failed == 60

    def test_a_failure_that_cannot_be_read_says_so(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.ends((ann.id(1), 1), status=ResultStatus.failed, payload=b"gibberish")
        assert "did not say why" in watching(rig)[1].failures[0].message


class TestGraphs:
    def test_how_far_a_graph_is(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        watching(rig)
        ann.submit(1, more=True)
        ann.submit(2, 3, needs={2: [1], 3: [2]})
        (graph,) = next_update(rig).graphs
        assert (graph.tasks, graph.finished, graph.assigned, graph.name, graph.client) == (3, 0, 1, "f0", ANN)
        worker.ends((ann.id(1), 1))
        (graph,) = next_update(rig).graphs
        assert (graph.finished, graph.failed, graph.ended_unix_milliseconds) == (1, 0, 0)
        worker.ends((ann.id(2), 1), status=ResultStatus.failed, payload=failure())
        (graph,) = next_update(rig).graphs
        assert (graph.finished, graph.failed, graph.assigned) == (1, 2, 0)
        assert graph.ended_unix_milliseconds > graph.submitted_unix_milliseconds > 0

    def test_what_depends_on_a_graph_belongs_to_it(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.submit(1, 2, needs={2: [1]})
        ann.submit(3, needs={3: [2]})
        ann.submit(8, 9, needs={9: [8]})
        ann.submit(20)
        assert [graph.tasks for graph in watching(rig)[1].graphs] == [3, 2]

    def test_what_a_graph_looks_like(self) -> None:
        rig = Rig()
        ann, worker = rig.client(functions=(0, 1)), rig.worker()
        message = Submit(q(1, 2, 3, 4), i(0, 1, 1, 0), [b""] * 4)
        message.dependency_ends, message.dependencies = i(0, 1, 2, 4), q(1, 1, 2, 3)
        ann.say(message)
        worker.ends((ann.id(1), 1))
        monitor, update = watching(rig)
        (told,) = of(rig.say(monitor, DescribeGraph(4, update.graphs[0].number)), GraphDescription, monitor)
        assert (told.request, list(u64(told.tasks)), told.total) == (4, [ann.id(n) for n in (1, 2, 3, 4)], 4)
        assert [told.function_names[f] for f in u32(told.functions)] == ["f0", "f1", "f1", "f0"]
        assert list(told.states) == [TaskState.SUCCEEDED, TaskState.ASSIGNED, TaskState.ASSIGNED, TaskState.WAITING]
        assert list(u32(told.dependency_ends)) == [0, 1, 2, 4] and list(u32(told.dependencies)) == [0, 0, 1, 2]
        (none,) = of(rig.say(monitor, DescribeGraph(5, 99)), GraphDescription, monitor)
        assert none == GraphDescription(5, array("Q"), array("I"), [], b"", array("I"), array("I"), 0)

    def test_indexes_that_are_used_again_belong_to_nobody(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(4)
        ann.submit(1, 2, 3, needs={2: [1], 3: [2]})
        worker.ends((ann.id(1), 1))
        worker.ends((ann.id(2), 1))
        ann.submit(10, 11, 12)
        worker.ends((ann.id(10), 1), (ann.id(11), 1), (ann.id(12), 1))
        (graph,) = watching(rig)[1].graphs
        assert (graph.tasks, graph.finished) == (3, 2)


class TestActions:
    def ask(self, rig: Rig, message: Any) -> Answer:
        monitor, _ = watching(rig)
        outputs = rig.say(monitor, message)
        self.outputs = outputs
        (answer,) = of(outputs, Answer, monitor)
        return answer

    def test_a_protected_scheduler_refuses(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker(identity=b"W" * 16)
        ann.submit(1)
        for message in (CancelTask(5, ann.id(1)), DrainWorker(5, b"W" * 16)):
            answer = self.ask(rig, message)
            assert (answer.request, answer.done) == (5, False) and "protected" in answer.text
        assert rig.state.task_counts().assigned == 1 and not rig.state.workers.sessions[0].draining and worker

    def test_cancelling_a_task(self) -> None:
        rig = Rig(protected=False)
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        answer = self.ask(rig, CancelTask(7, ann.id(1)))
        assert answer == Answer(7, True, "cancelled 1 tasks")
        assert results(self.outputs, ann.peer) == [(1, ResultStatus.cancelled, b"")]
        assert cancelled(self.outputs, worker.peer) == [(ann.id(1), 1)]
        assert not self.ask(rig, CancelTask(8, ann.id(1))).done

    def test_cancelling_an_item_cancels_its_range(self) -> None:
        rig = Rig(protected=False)
        ann = rig.client()
        ann.say(SubmitArray(10, 0, b"aabb", i(2, 4)))
        assert self.ask(rig, CancelTask(7, ann.id(11))) == Answer(7, True, "cancelled 2 tasks")

    def test_draining_a_worker(self) -> None:
        rig = Rig(protected=False)
        ann, worker = rig.client(), rig.worker(identity=b"W" * 16)
        ann.submit(1)
        answer = self.ask(rig, DrainWorker(1, b"W" * 16))
        assert answer.done and "asked to leave" in answer.text
        assert len(of(self.outputs, Retract, worker.peer)) == 1
        assert not self.ask(rig, DrainWorker(2, b"W" * 16)).done
        assert "no worker" in self.ask(rig, DrainWorker(3, b"X" * 16)).text


class TestExplain:
    def ask(self, rig: Rig, id: int) -> Explanation:
        monitor, _ = watching(rig)
        (told,) = of(rig.say(monitor, ExplainTask(3, id)), Explanation, monitor)
        assert told.request == 3
        return told

    def test_waiting_for_dependencies(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.submit(1, 2, 3, needs={3: [1, 2]})
        rig.now += 2
        told = self.ask(rig, ann.id(3))
        assert (told.known, told.state, list(u64(told.dependencies))) == (True, "waiting", [ann.id(1), ann.id(2)])
        assert told.text.startswith("it waits for 2 of 2 dependencies") and "waits for f0 (ready)" in told.text
        assert told.blocked_milliseconds == 2000 and told.client == ANN

    def test_a_capability_is_missing_and_where(self) -> None:
        rig = Rig()
        ann = rig.client()
        for n, offers in enumerate((["linux"], ["gpu"], ["linux"], ["linux"], ["linux"])):
            rig.worker(offers=offers, identity=bytes([n + 1]) * 16)
        ann.submit(1, options=TaskOptions(["gpu", "linux"], name="train"))
        told = self.ask(rig, ann.id(1))
        assert told.text.startswith("it waits: no worker offers gpu, linux")
        assert "linux is missing on worker 02020202" in told.text and "and 1 more" in told.text
        assert told.name == "train" and told.function_name == "f0"

    def test_behind_how_many(self) -> None:
        rig = Rig()
        ann = rig.client()
        rig.worker()
        ann.submit(*range(1, 11))
        ann.submit(20, options=TaskOptions(priority=5))
        told = self.ask(rig, ann.id(10))
        assert (told.state, told.ahead) == ("ready", 8)
        assert (
            "8 tasks of its client with the same needs go before it" in told.text
            and "1 workers can run it" in told.text
        )

    def test_on_which_worker_and_for_how_long_in_each_state(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.submit(1)
        rig.now += 1
        worker = rig.worker(identity=b"W" * 16)
        rig.now += 2
        worker.started((ann.id(1), 1))
        told = self.ask(rig, ann.id(1))
        assert (told.state, told.worker, told.attempt) == ("running", b"W" * 16, 1)
        assert (told.ready_milliseconds, told.assigned_milliseconds) == (1000, 2000)
        assert told.text.startswith("it runs on worker 57575757")
        assert "submitted 3 s ago" in told.text

    def test_the_story_of_the_attempts(self) -> None:
        rig = Rig()
        ann, worker = rig.client(), rig.worker()
        ann.submit(1)
        worker.death(ann.id(1), 1, "killed by SIGSEGV")
        assert "before: on worker" in self.ask(rig, ann.id(1)).text
        for attempt in (2, 3, 4):
            worker.death(ann.id(1), attempt, "killed by SIGSEGV")
        told = self.ask(rig, ann.id(1))
        assert not told.known and told.state == "failed" and told.text.count("before: on worker") == 4

    def test_clients_ask_of_their_own_tasks(self) -> None:
        rig = Rig()
        ann, ben = rig.client(), rig.client(BEN)
        ann.submit(1)
        (told,) = of(ann.say(ExplainTask(9, ann.id(1))), Explanation, ann.peer)
        assert told.request == 9 and told.text.startswith("it waits: no worker is connected")
        assert closed(ben.say(ExplainTask(9, ann.id(1)))) == [ben.peer]

    def test_an_item_of_an_array_and_what_is_not_known(self) -> None:
        rig = Rig()
        ann = rig.client()
        ann.say(SubmitArray(10, 0, b"aabb", i(2, 4)))
        assert self.ask(rig, ann.id(11)).known
        told = self.ask(rig, task_id(99, 5))
        assert not told.known and "not known" in told.text


def test_an_update_of_very_many_workers_is_bounded() -> None:
    rig = Rig()
    watching(rig)
    rig.state.check = lambda: None  # type: ignore[method-assign]
    for n in range(MOST_WORKERS + 50):
        rig.worker(identity=array("Q", [n + 1, 0]).tobytes())
    assert len(next_update(rig).workers) == MOST_WORKERS
    assert len(next_update(rig).workers) == 50
