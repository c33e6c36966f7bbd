"""Which failures are run again: a matter of names."""

from __future__ import annotations

import pytest

from scaler.errors import ProtocolError
from scaler.ids import u32, u64
from scaler.messages import Failure, Results, ResultStatus, TaskOptions
from scaler.scheduler.retries import KEPT_ERRORS, attempts_of, is_retried, note_error, times_retried
from scaler.scheduler.special import Special
from scaler.serialization import DefaultSerializer, write_failure
from scaler.wire.codec import struct_codec

from .builders import Rig, closed, of, results, tasks

FAILED = ResultStatus.failed


def failure(error: BaseException) -> bytes:
    return write_failure(DefaultSerializer(), error)


@pytest.mark.parametrize(
    ("retry_on", "again"),
    [
        ([], True),
        (["builtins.ConnectionResetError"], True),
        (["builtins.OSError"], True),
        (["far.away.Error", "builtins.Exception"], True),
        (["builtins.ValueError"], False),
        (["ConnectionResetError"], False),
    ],
)
def test_types_and_what_they_derive_from(retry_on: list[str], again: bool) -> None:
    assert is_retried(TaskOptions(retries=1, retry_on=retry_on), failure(ConnectionResetError())) is again


def test_a_failure_from_elsewhere_has_its_own_name_only() -> None:
    written = struct_codec("task", "Failure").encode(Failure("std.runtime_error", "", ""))
    assert is_retried(TaskOptions(retry_on=["std.runtime_error"]), written)
    assert not is_retried(TaskOptions(retry_on=["builtins.Exception"]), written)


def test_what_is_no_failure_is_refused() -> None:
    with pytest.raises(ProtocolError):
        is_retried(TaskOptions(retry_on=["builtins.OSError"]), b"why")


def test_other_errors_end_a_task_at_once() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, options=TaskOptions(retries=5, retry_on=["builtins.OSError"]))
    outputs = worker.ends((ann.id(1), 1), status=FAILED, payload=failure(TimeoutError()))
    assert results(outputs) == [] and tasks(outputs) == [(ann.id(1), 2)]
    why = failure(ValueError())
    assert results(worker.ends((ann.id(1), 2), status=FAILED, payload=why)) == [(1, FAILED, why)]


def test_a_worker_that_sends_no_failure_is_closed() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, options=TaskOptions(retries=5, retry_on=["builtins.OSError"]))
    assert closed(worker.ends((ann.id(1), 1), status=FAILED, payload=b"why")) == [worker.peer]


def test_clients_hear_how_often_a_task_was_run_again() -> None:
    rig = Rig()
    ann, worker = rig.client(), rig.worker()
    ann.submit(1, 2, options=TaskOptions(retries=1))
    worker.ends((ann.id(1), 1), status=FAILED, payload=b"why")
    outputs = worker.ends((ann.id(1), 2), (ann.id(2), 1))
    assert [(list(u64(m.tasks)), list(u32(m.retried))) for m in of(outputs, Results)] == [([1, 2], [1, 0])]
    ann.submit(3)
    assert [m.retried for m in of(worker.ends((ann.id(3), 1)), Results)] == [b""]
    ann.submit(4, options=TaskOptions(retries=1))
    worker.ends((ann.id(4), 1), status=FAILED, payload=b"why")
    outputs = worker.ends((ann.id(4), 2), status=FAILED, payload=b"why")
    assert [list(u32(m.retried)) for m in of(outputs, Results)] == [[1]]


def test_the_last_errors_before_are_told_in_a_line_each() -> None:
    special = Special()
    for number in range(KEPT_ERRORS + 2):
        note_error(special, failure(ValueError(f"attempt {number}\nmore")))
    note_error(special, b"nonsense")
    special.deaths.append("signal 9")
    told = attempts_of(special)
    assert told[0] == "failed 3 times before that"
    assert told[1] == "failed with builtins.ValueError: attempt 3"
    assert told[-2:] == ["failed with an error that cannot be read", "signal 9"]
    assert len(told) == KEPT_ERRORS + 2 and times_retried(special) == KEPT_ERRORS + 4
