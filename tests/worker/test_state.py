"""Given these events, exactly these outputs; the pages of claims are real ones."""

from __future__ import annotations

import pytest

from scaler.machine import Close, Send, Stop
from scaler.messages import (
    Assign,
    CancelAssigned,
    DefineForExecutor,
    DefineForWorker,
    Drain,
    ExecutorDeaths,
    ExecutorFacts,
    ExecutorSettings,
    ExecutorState,
    ForgetForExecutor,
    ForgetForWorker,
    Function,
    Inputs,
    RegisterWorker,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    RunTasks,
    ShutdownWorker,
    Started,
    TaskOutput,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
)
from scaler.worker.executors import AHEAD_US, MAX_FAILED_FORKS, STARTED_SECONDS, KillExecutor, StartExecutor, Tell

from .builders import Rig, ended, i, q, ran, said, told

OK = ResultStatus.succeeded


def kills(outputs: list[object]) -> list[int]:
    return [o.executor for o in outputs if isinstance(o, KillExecutor)]


def starts(outputs: list[object]) -> list[int]:
    return [o.executor for o in outputs if isinstance(o, StartExecutor)]


def busy_with_short_tasks(tasks: int = 0) -> Rig:
    """One executor; the function 0 is known to take 99 microseconds, so that 20 of them fit ahead."""
    rig = Rig()
    rig.assign(900)
    rig.run(0, wall=99)
    if tasks:
        rig.assign(*range(1, tasks + 1))
    return rig


# ---- beginning


def test_at_first_executors_are_asked_for() -> None:
    assert Rig(3, start=False).first == [StartExecutor(0), StartExecutor(1), StartExecutor(2)]


def test_the_worker_registers_and_tells_executors_the_settings() -> None:
    rig = Rig(2, False, capabilities=("gpu",), host="h", pid=4, manager_name="m", scheduler_address="tcp://s:2")
    settings = ExecutorSettings("tcp://storage:1", "tcp://s:2", 100)
    assert rig.started(0) == []
    outputs = rig.connect()
    assert outputs[0] == Send(1, RegisterWorker(2, 1000, ["gpu"], "h", 4, "m"))
    assert [o for o in outputs if isinstance(o, Tell)] == [Tell(0, settings)]
    assert rig.started(1) == [Tell(1, settings)]


def test_a_task_waits_for_an_executor_and_is_run_after_its_function() -> None:
    rig = Rig(start=False)
    rig.connect()
    function = Function(7, "s", b"c", name="f")
    rig.say(DefineForWorker([function]))
    assert rig.assign(1, function=7) == []
    run = RunTasks(0, i(7), [b"1"], Inputs(), [], q(1))
    assert rig.started(0)[1:] == [Tell(0, DefineForExecutor([function])), Tell(0, run)]


def test_executors_are_told_which_attempts_they_run_where_it_is_not_the_first() -> None:
    rig = Rig(2)
    assert [run.attempts for run in told(rig.assign(1), RunTasks)] == [b""]
    assert [run.attempts for run in told(rig.assign(2, attempt=2), RunTasks)] == [i(2)]


def test_a_function_is_defined_once_for_each_executor() -> None:
    rig = Rig(2)
    assert len(told(rig.assign(1, 2), DefineForExecutor)) == 2
    outputs = rig.run(0)
    assert told(outputs, DefineForExecutor) == []
    assert told(rig.assign(3), DefineForExecutor) == []
    assert len(told(rig.assign(4, function=1), DefineForExecutor)) == 0  # nobody is free for it yet
    assert [d.functions[0].number for d in told(rig.run(1), DefineForExecutor)] == [1]


def test_inputs_go_along() -> None:
    rig = Rig(2)
    outputs = rig.assign(1, 2, 3, inputs=Inputs(i(2, 2, 3), b"\1\2\1", [b"a", b"b", b"c"]))
    assert [r.inputs for r in told(outputs, RunTasks)] == [Inputs(i(2), b"\1\2", [b"a", b"b"]), Inputs()]
    assert [r.inputs for r in told(rig.run(0), RunTasks)] == [Inputs(i(1), b"\1", [b"c"])]


# ---- ending


def test_results_are_passed_on_with_task_and_attempt() -> None:
    rig = Rig()
    rig.assign(5, attempt=3)
    rig.take(0)
    assert ended(rig.done(0, status=ResultStatus.failed, payload=b"why")) == [(5, 3, ResultStatus.failed, b"why")]


def test_unmeasured_tasks_go_one_by_one_to_each_executor() -> None:
    rig = Rig(2)
    assert ran(rig.assign(1, 2, 3)) == [(0, 0, [b"1"]), (1, 0, [b"2"])]
    assert ran(rig.run(0, executor=1)) == [(1, 1, [b"3"])]


def test_short_tasks_go_in_batches_ahead() -> None:
    rig = busy_with_short_tasks()
    ahead = 1 + AHEAD_US // 100
    outputs = rig.assign(*range(100))
    assert [(position, len(payloads)) for _, position, payloads in ran(outputs)] == [(1, 1), (2, ahead - 1)]
    assert ran(rig.run(*range(1, ahead // 2), wall=99)) == []
    ((_, position, payloads),) = ran(rig.run(ahead // 2, ahead // 2 + 1, wall=99))
    assert (position, len(payloads)) == (ahead + 1, ahead // 2 + 1)


def test_a_batch_is_shared_between_executors() -> None:
    rig = Rig(2)
    rig.assign(900, 901)
    rig.run(0, wall=99)
    rig.run(0, executor=1, wall=99)
    sizes = dict.fromkeys(range(2), 0)
    for executor, _, payloads in ran(rig.assign(*range(10))):
        sizes[executor] += len(payloads)
    assert max(sizes.values()) <= 5 and min(sizes.values()) >= 2


def test_long_tasks_are_not_sent_ahead() -> None:
    rig = Rig()
    rig.assign(1)
    rig.run(0, wall=5000)
    assert [payloads for *_, payloads in ran(rig.assign(2, 3))] == [[b"2"]]


# ---- tasks that run for a while


def test_a_task_is_reported_after_ten_milliseconds_and_once() -> None:
    rig = Rig()
    rig.assign(1)
    rig.take(0)
    assert rig.state.next_deadline() == rig.now + STARTED_SECONDS
    assert said(rig.at(rig.now + STARTED_SECONDS), Started) == [Started(q(1), i(1))]
    assert said(rig.at(rig.now + 1), Started) == []


def test_a_task_that_has_just_begun_is_not_reported() -> None:
    rig = Rig()
    rig.assign(1)
    begin = rig.now
    rig.now += STARTED_SECONDS * 0.8
    rig.take(0)
    assert said(rig.at(begin + STARTED_SECONDS), Started) == []
    assert said(rig.at(rig.now + STARTED_SECONDS), Started) == [Started(q(1), i(1))]


def test_tasks_behind_a_long_one_are_taken_back_and_given_to_another() -> None:
    rig = Rig(2)
    rig.assign(900, 901)
    rig.run(0, wall=99)
    rig.run(0, executor=1, wall=99)
    rig.assign(1, 2, 3, 4)
    rig.take(1)
    rig.run(1, 2, executor=1)
    outputs = rig.at(rig.now + STARTED_SECONDS)
    assert said(outputs, Started) == [Started(q(1), i(1))]
    assert ran(outputs) == [(1, 3, [b"3"])]
    assert not rig.claims[0].take(2, 0)
    assert 0 not in [executor for executor, *_ in ran(rig.assign(5))]
    assert ended(rig.run(3, executor=1)) == [(3, 1, OK, b"r")]


def test_what_was_taken_back_goes_on_when_the_long_one_ends() -> None:
    rig = busy_with_short_tasks(3)
    rig.take(1)
    assert ran(rig.at(rig.now + STARTED_SECONDS)) == []
    outputs = rig.done(1, wall=20_000)
    assert ended(outputs) == [(1, 1, OK, b"r")] and ran(outputs) == [(0, 4, [b"2"])]


# ---- retract and cancel


def test_tasks_that_have_not_begun_are_given_back() -> None:
    rig = busy_with_short_tasks(3)
    rig.assign(4, 5, function=1)
    rig.take(1)
    outputs = rig.say(Retract(q(1, 2, 5, 77, 3), i(1, 1, 1, 1, 9)))
    assert said(outputs, Retracted) == [Retracted(q(2, 5), i(1, 1), q(1, 77, 3), i(1, 1, 9))]
    assert not rig.claims[0].take(2, 0) and rig.claims[0].take(3, 0)
    assert rig.state.snapshot()["queued"] == 1


def test_cancel_of_what_waits_drops_it() -> None:
    rig = Rig()
    rig.assign(1, 2)
    outputs = rig.say(CancelAssigned(q(1, 2, 3), i(1, 1, 1)))
    assert outputs == [] and rig.state.snapshot()["sent"] == rig.state.snapshot()["queued"] == 0
    assert not rig.claims[0].take(0, 0)


def test_cancel_of_another_attempt_does_nothing() -> None:
    rig = Rig()
    rig.assign(1)
    rig.take(0)
    assert rig.say(CancelAssigned(q(1), i(2))) == [] and ended(rig.done(0)) == [(1, 1, OK, b"r")]


def test_cancel_of_what_runs_kills_its_executor_and_reports_nothing() -> None:
    rig = busy_with_short_tasks(2)
    rig.take(1)
    outputs = rig.say(CancelAssigned(q(1), i(1)))
    assert outputs == [KillExecutor(0)]
    outputs = rig.exited(0)
    assert outputs == [StartExecutor(1)]
    assert ran(rig.started(1)) == [(1, 0, [b"2"])]


def test_cancel_of_a_task_in_an_executor_that_dies_for_another_is_not_forgotten() -> None:
    """Its executor took 2 just as it was to be killed for 1, which had ended; 2 must not run again."""
    rig = busy_with_short_tasks(2)
    rig.take(1)
    rig.claims[0].rest()
    rig.take(2)
    assert kills(rig.say(CancelAssigned(q(1), i(1)))) == [0]
    assert rig.say(CancelAssigned(q(2), i(1))) == []
    rig.say(ForgetForWorker(i(0)))
    assert rig.exited(0) == [StartExecutor(1)]
    assert ran(rig.started(1)) == [] and rig.state.snapshot()["queued"] == 0


# ---- executors that die


def test_only_the_task_that_ran_is_reported_and_the_others_run_again_in_order() -> None:
    rig = busy_with_short_tasks(4)
    rig.run(1)
    rig.take(2)
    outputs = rig.exited(0, "signal 9")
    assert said(outputs, ExecutorDeaths) == [ExecutorDeaths(q(2), i(1), ["signal 9"])]
    assert starts(outputs) == [1]
    assert [payloads for *_, payloads in ran(rig.started(1))] == [[b"3"], [b"4"]]


def test_an_executor_that_dies_idle_is_replaced() -> None:
    rig = Rig()
    outputs = rig.exited(0)
    assert starts(outputs) == [1] and said(outputs, ExecutorDeaths) == []
    assert rig.exited(0) == []


def test_executors_that_never_start_end_the_worker() -> None:
    rig = Rig(start=False)
    for number in range(MAX_FAILED_FORKS):
        assert starts(rig.exited(number)) == [number + 1]
    (stop,) = rig.exited(MAX_FAILED_FORKS, "no memory")
    assert isinstance(stop, Stop) and stop.exit_code == 1 and "no memory" in stop.reason


def test_results_of_a_dead_executor_are_dropped() -> None:
    rig = Rig()
    rig.assign(1)
    rig.take(0)
    rig.exited(0)
    assert ended(rig.done(0)) == []


# ---- time limits


@pytest.mark.parametrize("general", [False, True])
def test_a_task_that_runs_too_long_is_stopped(general: bool) -> None:
    rig = Rig(task_timeout_seconds=0.05 if general else 0)
    rig.assign(1, timeout=0 if general else 50)
    rig.take(0)
    begin = rig.now
    assert kills(rig.at(begin + 0.04)) == []
    assert rig.at(begin + 0.06) == [KillExecutor(0)]
    assert kills(rig.at(begin + 0.08)) == []
    ((task, attempt, status, text),) = ended(rig.exited(0))
    assert (task, attempt, status) == (1, 1, ResultStatus.timed_out)
    assert text == b"ran for 0.060 s; its limit is 0.050 s"


def test_a_limit_of_its_own_goes_before_the_general_one() -> None:
    rig = Rig(task_timeout_seconds=0.02)
    rig.assign(1, timeout=5000)
    rig.take(0)
    assert kills(rig.at(rig.now + 1)) == []
    assert kills(rig.at(rig.now + 4.1)) == [0]


def test_a_task_that_ended_before_it_was_stopped_has_its_result() -> None:
    rig = Rig()
    rig.assign(1, timeout=50)
    rig.take(0)
    rig.at(rig.now + 1)
    assert ended(rig.done(0)) == [(1, 1, OK, b"r")]
    assert ended(rig.exited(0)) == []


# ---- a scheduler that is lost


def test_when_the_same_scheduler_is_back_all_is_dropped_and_executors_with_work_are_killed() -> None:
    rig = Rig(3)
    rig.assign(1, 2, 3, 4)
    rig.run(0, executor=2)
    rig.take(0)
    rig.take(1, executor=2)
    rig.run(0, executor=1)
    assert kills(rig.lose()) == []
    outputs = rig.connect()
    assert kills(outputs) == [0, 2]
    assert told(outputs, ForgetForExecutor, 1) == [ForgetForExecutor(i(0))]
    assert rig.state.snapshot() == {"connected": True, "queued": 0, "sent": 0, "executors": 3, "functions": 0}
    assert said(rig.exited(0), ExecutorDeaths) == [] and ended(rig.done(1, executor=2)) == []
    assert len(said(outputs, RegisterWorker)) == 1
    rig.say(DefineForWorker([Function(0, "s")]))
    assert [(e, p) for e, _, p in ran(rig.assign(9))] == [(1, [b"9"])]


def test_without_a_scheduler_the_worker_ends_at_last() -> None:
    rig = Rig(death_timeout_seconds=5)
    rig.lose()
    assert rig.state.next_deadline() == rig.now + 5
    assert rig.at(rig.now + 4.9) == []
    (stop,) = rig.at(rig.now + 0.2)
    assert isinstance(stop, Stop) and stop.exit_code == 1 and "(reset)" in stop.reason


def test_coming_back_in_time_keeps_the_worker() -> None:
    rig = Rig(death_timeout_seconds=5)
    rig.lose()
    rig.connect()
    assert not any(isinstance(o, Stop) for o in rig.at(rig.now + 6))


# ---- the end


def test_drain_finishes_what_was_given_then_leaves() -> None:
    rig = Rig()
    rig.assign(1)
    assert rig.say(Drain()) == []
    outputs = rig.run(0)
    assert ended(outputs) == [(1, 1, OK, b"r")]
    assert said(outputs, WorkerLeaving) == [WorkerLeaving()] and isinstance(outputs[-1], Stop)
    assert outputs[-1].exit_code == 0


def test_drain_of_an_idle_worker_leaves_at_once() -> None:
    outputs = Rig().say(Drain())
    assert said(outputs, WorkerLeaving) == [WorkerLeaving()] and outputs[-1] == Stop("drained")


def test_a_draining_worker_without_scheduler_ends() -> None:
    rig = Rig()
    rig.assign(1)
    rig.say(Drain())
    assert Stop("the scheduler is gone") in rig.lose()


def test_shutdown_and_leave() -> None:
    assert Rig().say(ShutdownWorker("enough")) == [Stop("enough")]
    rig = Rig()
    rig.state.asked_to_end("signal", rig.now)
    assert rig.after() == [Send(1, WorkerLeaving()), Stop("signal")]


def test_a_worker_that_is_left_time_says_so_and_ends_when_it_is_drained() -> None:
    rig = Rig(grace_seconds=30)
    rig.assign(1)
    rig.state.asked_to_end("signal", rig.now)
    outputs = rig.after()
    assert outputs[0] == Send(1, WorkerLeaving(30_000)) and not any(isinstance(o, Stop) for o in outputs)
    assert ended(rig.run(0)) == [(1, 1, OK, b"r")]
    assert rig.say(Drain())[-1] == Stop("drained")


@pytest.mark.parametrize("how", ["time", "signal"])
def test_the_time_left_is_over_or_a_second_signal_comes(how: str) -> None:
    rig = Rig(grace_seconds=30)
    rig.assign(1)
    rig.state.asked_to_end("signal", rig.now)
    rig.after()
    if how == "signal":
        rig.state.asked_to_end("again", rig.now)
        outputs = rig.after()
    else:
        assert not any(isinstance(output, Stop) for output in rig.at(rig.now + 29))
        outputs = rig.at(rig.now + 1)
    assert said(outputs, WorkerLeaving) == [WorkerLeaving()]
    assert outputs[-1] == Stop("again" if how == "signal" else "signal")


def test_a_worker_that_is_left_time_ends_when_its_scheduler_is_gone() -> None:
    rig = Rig(grace_seconds=30)
    rig.state.asked_to_end("signal", rig.now)
    rig.after()
    assert Stop("the scheduler is gone") in rig.lose()


# ---- the rest


def test_heartbeats_tell_what_is_queued_and_what_runs() -> None:
    rig = Rig(heartbeat_seconds=2)
    rig.state.vitals = lambda: (50.0, 1000, 2000)
    rig.state.executor_vitals = lambda executor: (40 + executor, 12.5, 300)
    rig.assign(1, 2, 3)
    rig.take(0)
    begin = rig.now
    assert said(rig.at(begin + 1.9), WorkerHeartbeat) == []
    runs = ExecutorFacts(0, 40, ExecutorState.running, 1, "f0", 2_000_000, 0, 12.5, 300)
    assert said(rig.at(begin + 2), WorkerHeartbeat) == [WorkerHeartbeat(12_000_000, 50.0, 1000, 2000, 2, 1, 0, [runs])]
    rig.now += 0.0015
    rig.say(WorkerHeartbeatEcho(12_000_000))
    (second,) = said(rig.at(begin + 4), WorkerHeartbeat)
    assert second.round_trip_microseconds == pytest.approx(1500, abs=2)


def test_functions_are_forgotten_where_they_are_known() -> None:
    rig = Rig(2)
    rig.assign(1)
    rig.run(0)
    assert rig.say(ForgetForWorker(i(0, 1))) == [Tell(0, ForgetForExecutor(i(0)))]
    assert [type(o) for o in rig.assign(2)][-1] is Close


@pytest.mark.parametrize(
    "message",
    [
        Assign(q(1, 2), i(1), i(0), [b"", b""]),
        Assign(q(1, 2), i(1, 1), i(0), [b""]),
        Assign(q(1, 2), i(1, 1), i(0, 0, 0), [b"", b""]),
        Assign(q(1), i(1), i(9), [b""]),
        Assign(b"123", i(1), i(0), [b""]),
        Assign(q(1, 2), i(1, 1), i(0), [b"", b""], q(5)),
        Assign(q(1, 2), i(1, 1), i(0), [b"", b""], b"", Inputs(i(0))),
        Retract(q(1, 2), i(1)),
        CancelAssigned(q(1), b"1"),
    ],
    ids=str,
)
def test_a_wrong_message_closes_the_scheduler_and_drops_all(message: object) -> None:
    rig = Rig()
    outputs = rig.say(message)
    assert [o.peer for o in outputs if isinstance(o, Close)] == [1]
    assert rig.state.snapshot()["connected"] is False and rig.state.snapshot()["queued"] == 0
    assert len(said(rig.connect(), RegisterWorker)) == 1


def test_a_peer_that_is_not_the_scheduler_is_not_heard() -> None:
    rig = Rig()
    rig.state.receive(55, ShutdownWorker("no"), rig.now)
    rig.state.peer_lost(55, "x", rig.now)
    assert rig.after() == [] and rig.state.snapshot()["connected"]


def test_an_executor_never_has_more_than_its_page_holds() -> None:
    from scaler._core.claims import POSITIONS

    rig = Rig()
    rig.assign(9000)
    rig.run(0, wall=0)
    position = 1
    rig.assign(*range(3000))
    while rig.state.snapshot()["sent"]:
        assert rig.state.snapshot()["sent"] <= POSITIONS
        rig.run(position, wall=0)
        position += 1
    assert position == 3001


def test_what_tasks_printed_is_told_before_their_results() -> None:
    rig = Rig()
    rig.assign(1)
    rig.take(0)
    rig.state.printed(b"A" * 16, True, b"careful\n")
    sent = [output.message for output in rig.done(0) if isinstance(output, Send)]
    assert sent[0] == TaskOutput(b"A" * 16, True, b"careful\n") and isinstance(sent[1], Results)


def test_the_context_of_a_traced_task_goes_to_its_executor() -> None:
    rig = Rig(slots=2)
    outputs = rig.say(Assign(q(1, 2), i(1, 1), i(0), [b"1", b"2"], trace_contexts=["traceparent: 00-a", ""]))
    assert [message.trace_contexts for message in told(outputs, RunTasks)] == [["traceparent: 00-a"], []]
    outputs = rig.say(Assign(q(3, 4), i(1, 1), i(0), [b"1", b"2"], trace_contexts=["traceparent: 00-a"]))
    assert "columns of different lengths" in str([output for output in outputs if isinstance(output, Close)])
