"""Tasks that belong to a trace: their contexts go to workers, and it is told how long they waited."""

from __future__ import annotations

from typing import Any

from scaler.ids import task_label
from scaler.messages import Assign, ResultStatus, SubmitArray, TaskOptions
from scaler.scheduler.traces import MOST_CONTEXT, Waited

from .builders import Rig, closed, i, of, results

CONTEXT = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = TaskOptions(trace_context=CONTEXT)


def contexts(outputs: list[Any]) -> list[list[str]]:
    return [message.trace_contexts for message in of(outputs, Assign)]


def waits(outputs: list[Any]) -> list[Waited]:
    return [output for output in outputs if isinstance(output, Waited)]


def test_a_context_goes_to_the_worker_and_its_wait_is_told() -> None:
    rig = Rig(tracing=True)
    rig.state.clock.unix_offset = 1000.0
    ann = rig.client()
    assert waits(ann.submit(1, options=TRACED)) == []
    rig.now = 103.0
    worker = rig.worker()
    assert contexts(worker.outputs) == [[CONTEXT]]
    (told,) = waits(worker.outputs)
    assert (told.context, told.name, told.came, told.assigned) == (CONTEXT, "f0", 1100.0, 1103.0)
    assert (told.attributes["scaler.task"], told.attributes["scaler.attempt"]) == (task_label(ann.id(1)), 1)
    assert "pid 7 on host" in str(told.attributes["scaler.worker"])
    assert waits(worker.ends((ann.id(1), 1))) == []


def test_only_traced_tasks_have_one() -> None:
    rig = Rig(tracing=True)
    ann, worker = rig.client(), rig.worker(slots=3)
    assert contexts(ann.submit(1)) == [[]]
    ann.submit(2, options=TRACED)
    worker.ends((ann.id(1), 1), (ann.id(2), 1))
    rig.now += 1  # Nothing of a task that is gone goes to the next one in its place.
    outputs = ann.submit(3, 4)
    assert contexts(outputs) == [[]] and waits(outputs) == []


def test_each_attempt_is_told() -> None:
    rig = Rig(tracing=True)
    ann, worker = rig.client(), rig.worker()
    outputs = ann.submit(1, options=TaskOptions(retries=1, trace_context=CONTEXT))
    outputs += worker.ends((ann.id(1), 1), status=ResultStatus.failed, payload=b"why")
    assert [told.attributes["scaler.attempt"] for told in waits(outputs)] == [1, 2]
    assert contexts(outputs) == [[CONTEXT], [CONTEXT]]


def test_without_tracing_contexts_pass_through() -> None:
    rig = Rig()
    ann, _ = rig.client(), rig.worker()
    outputs = ann.submit(1, options=TRACED)
    assert contexts(outputs) == [[CONTEXT]] and waits(outputs) == []


def test_of_an_array_every_range_has_the_context_and_the_first_one_a_wait() -> None:
    rig = Rig(tracing=True)
    ann = rig.client()
    ann.say(SubmitArray(0, 0, b"abcd", i(1, 2, 3, 4), TRACED))
    rig.now = 101.5
    outputs = [*rig.worker(slots=1).outputs, *rig.worker(slots=1).outputs]
    assert [context for one in contexts(outputs) for context in one] == [CONTEXT] * 4
    assert [(told.came, told.assigned) for told in waits(outputs)] == [(100.0, 101.5)]


def test_a_context_that_is_too_long_closes_its_client() -> None:
    for message in ("submit", "array"):
        rig = Rig()
        ann, bob = rig.client(), rig.client(identity=b"B" * 16)
        options = TaskOptions(trace_context="x" * (MOST_CONTEXT + 1))
        outputs = (
            ann.submit(1, options=options) if message == "submit" else ann.say(SubmitArray(0, 0, b"a", i(1), options))
        )
        assert closed(outputs) == [ann.peer] and results(outputs) == []
        rig.worker()
        assert len(of(bob.submit(1), Assign)) == 1
