"""Given these events, exactly these outputs."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from scaler import messages
from scaler.client import state as state_module
from scaler.client.state import ClientState, ClusterEnded, Connected, Ended, Group, Refusal, RestoreAsked, Slots, Task
from scaler.ids import task_id, u64
from scaler.machine import Close, Output, Peer, Send
from scaler.messages import (
    AllOffered,
    Cancel,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    ClusterEnding,
    DefineFunctions,
    ExplainTask,
    Explanation,
    ForgetFunctions,
    Function,
    HeartbeatEcho,
    Restore,
    Restored,
    Results,
    Resuming,
    Role,
    RunningInside,
    ShutdownCluster,
    ShutdownRefused,
    Submit,
    TaskOptions,
)

F0, F1 = Function(0, "s", b"f0"), Function(1, "s", b"f1")


def q(*values: int) -> array[int]:
    return array("Q", values)


def i(*values: int) -> array[int]:
    return array("I", values)


class Rig:
    def __init__(self, connect: bool = True) -> None:
        self.state = ClientState(2.0, 10.0)
        self.now = 100.0
        self.peer = 0
        if connect:
            self.connect()
            self.state.define(F0)
            self.after()

    def after(self) -> list[Output]:
        outputs = self.state.drain(self.now)
        self.state.check()
        return outputs

    def connect(self, scheduler: bytes = b"S" * 16) -> list[Output]:
        self.peer += 1
        self.state.peer_connected(self.peer, Peer(Role.client, scheduler), self.now)
        return self.after()

    def lose(self) -> None:
        self.state.peer_lost(self.peer, "reset", self.now)
        assert self.after() == []

    def hear(self, message: Any) -> list[Output]:
        self.state.receive(self.peer, message, self.now)
        return self.after()

    def submit(self, *tasks: Task) -> list[Output]:
        self.state.submit(tasks)
        return self.after()

    def ends(self, *sequences: int, status: int = 1) -> list[Output]:
        n = len(sequences)
        return self.hear(
            Results(q(*sequences), b"", bytes([status]) * n, [b"r"] * n, q(*[0] * n), q(*[0] * n), q(*[0] * n))
        )

    def at(self, now: float) -> list[Output]:
        self.now = now
        self.state.tick(now)
        return self.after()


def said(outputs: list[Output]) -> list[Any]:
    return [o.message for o in outputs if isinstance(o, Send)]


def offered(outputs: list[Output]) -> list[int]:
    return [sequence for m in said(outputs) if isinstance(m, Submit) for sequence in m.sequences]


def test_tasks_of_one_pass_are_one_message_of_columns() -> None:
    rig = Rig()
    assert said(rig.submit(Task(1, 0, b"a"), Task(2, 0, b"b"))) == [Submit(q(1, 2), i(0), [b"a", b"b"])]


def test_all_columns() -> None:
    rig = Rig()
    rig.state.define(F1)
    rig.after()
    options = TaskOptions(priority=1)
    (submit,) = said(
        rig.submit(Task(1, 0, b"a", options), Task(2, 1, b"b", None, (1,), False), Task(3, 0, b"c", options, (2, 1)))
    )
    assert submit == Submit(
        q(1, 2, 3),
        i(0, 1, 0),
        [b"a", b"b", b"c"],
        [options, TaskOptions()],
        i(0, 1, 0),
        i(0, 1, 3),
        q(1, 2, 1),
        b"\1\0\1",
    )


def test_one_set_of_options_for_all_stands_once() -> None:
    options = TaskOptions(priority=1)
    (submit,) = said(Rig().submit(Task(1, 0, b"a", options), Task(2, 0, b"b", options)))
    assert (submit.option_sets, submit.options) == ([options], i(0))


def test_many_and_large_tasks_are_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr(state_module, "MESSAGE_TASKS", 3)
    monkeypatch.setattr(messages.packing, "MESSAGE_BYTES", 10)
    rig = Rig()
    sizes = [1, 1, 1, 1, 20, 5, 5, 1]
    told = said(rig.submit(*[Task(n, 0, bytes(size)) for n, size in enumerate(sizes)]))
    assert [list(m.sequences) for m in told] == [[0, 1, 2], [3], [4], [5], [6, 7]]


def test_order_is_kept_between_tasks_and_other_messages() -> None:
    rig = Rig()
    rig.state.submit([Task(1, 0, b"")])
    rig.state.cancel([1, 9])
    rig.state.define(F1)
    rig.state.submit([Task(2, 1, b"")])
    assert [type(m) for m in said(rig.after())] == [Submit, Cancel, DefineFunctions, Submit]
    rig.state.cancel([9])
    assert rig.after() == []


def test_what_the_scheduler_says_is_passed_on() -> None:
    rig = Rig()
    settings = ClientSettings(1, "tcp://s:1", 2, 3, 4, False)
    assert rig.hear(settings) == [Connected(settings)]
    assert rig.hear(ShutdownRefused("no")) == [Refusal("no")]
    assert rig.hear(ClusterEnding("end")) == [ClusterEnded("end")]
    assert rig.hear(HeartbeatEcho(1, 7)) == [Slots(7)]
    assert rig.hear(F0) == []


def test_a_question_is_asked_when_the_scheduler_has_told_our_number_and_again_after_a_lost_connection() -> None:
    rig = Rig()
    rig.state.explain(5, 17)
    assert said(rig.after()) == []
    assert said(rig.hear(ClientSettings(3, "tcp://s:1", 2, 3, 4, False)) + rig.after()) == [
        ExplainTask(5, task_id(3, 17))
    ]
    rig.state.peer_lost(1, "reset", rig.now)
    rig.state.peer_connected(2, Peer(Role.client, b"s"), rig.now)
    rig.state.explain(6, 18)
    assert not [m for m in said(rig.after()) if isinstance(m, ExplainTask)]
    rig.state.receive(2, ClientSettings(4, "tcp://s:1", 2, 3, 4, True), rig.now)
    assert said(rig.after()) == [ExplainTask(5, task_id(4, 17)), ExplainTask(6, task_id(4, 18))]
    answer = Explanation(5, task_id(4, 17), True)
    rig.state.receive(2, answer, rig.now)
    rig.state.receive(2, answer, rig.now)
    assert [o for o in rig.after() if isinstance(o, Explanation)] == [answer]


def test_lost_objects_are_asked_for_and_told_of() -> None:
    rig = Rig()
    assert rig.hear(Restore(b"x" * 16)) == [RestoreAsked(b"x" * 16)]
    rig.state.restored(b"x" * 16, ["it was not kept"])
    assert said(rig.after()) == [Restored(b"x" * 16, ["it was not kept"])]
    # What a lost connection has swallowed is asked for again by the scheduler.
    rig.lose()
    rig.state.restored(b"x" * 16, [""])
    assert not any(isinstance(message, Restored) for message in said(rig.connect()))


def test_a_second_result_is_no_news() -> None:
    rig = Rig()
    task = Task(1, 0, b"")
    rig.submit(task)
    (first,), (second,) = rig.ends(1), rig.ends(1)
    assert isinstance(first, Ended) and first.tasks == [task]
    assert isinstance(second, Ended) and second.tasks == [None]
    assert rig.state.unfinished == 0


def test_unfinished_tasks_are_offered_again_with_their_functions() -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b"a"), Task(2, 0, b"b"))
    rig.ends(1)
    rig.lose()
    assert rig.submit(Task(3, 0, b"c")) == []
    assert said(rig.connect()) == [DefineFunctions([F0]), Submit(q(2, 3), i(0), [b"b", b"c"])]
    assert said(rig.after()) == []


def test_another_scheduler_is_told_that_it_is_another() -> None:
    rig = Rig()
    rig.hear(HeartbeatEcho(0, 6))
    rig.submit(Task(1, 0, b"a"))
    rig.state.run_inside(RunningInside(4, 1, b"W" * 16))
    rig.after()
    rig.lose()
    before, inside, *between, after = said(rig.connect(b"T" * 16))
    assert (before, inside, after) == (Resuming(6), RunningInside(4, 1, b"W" * 16), AllOffered())
    assert [type(message) for message in between] == [DefineFunctions, Submit]
    rig.lose()
    assert Resuming(6) not in said(rig.connect(b"T" * 16))
    rig.ends(1)
    rig.lose()
    assert [type(message) for message in said(rig.connect(b"U" * 16))] == [RunningInside, DefineFunctions]


def test_what_was_said_without_a_connection_is_said_after_the_offer() -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b"a"))
    rig.lose()
    rig.state.cancel([1])
    rig.state.shutdown()
    rig.state.goodbye()
    assert [type(m) for m in said(rig.connect())] == [DefineFunctions, Submit, Cancel, ShutdownCluster, ClientGoodbye]


def test_clear_without_a_connection_does_not_stop_what_comes_later() -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b"a"))
    rig.lose()
    rig.state.clear()
    rig.submit(Task(2, 0, b"b"))
    cancels = [list(m.sequences) for m in said(rig.connect()) if isinstance(m, Cancel)]
    assert cancels == [[1]]


def test_a_lone_task_is_told_at_once() -> None:
    rig = Rig()
    assert rig.state.submit_alone([Task(0, 0, b"a")], 0.0) == (1, Submit(q(0), i(0), [b"a"]))
    assert rig.after() == []
    assert rig.state.submit_alone([Task(1, 0, b"b")], 0.0) is None  # another one is unfinished
    assert rig.state.unfinished == 1
    rig.ends(0)
    assert rig.state.submit_alone([Task(1, 0, b"b")], 0.0) == (1, Submit(q(1), i(0), [b"b"]))
    rig.lose()
    assert rig.state.submit_alone([Task(2, 0, b"c")], 0.0) is None
    assert rig.connect()[-1] == Send(2, Submit(q(1), i(0), [b"b"]))


def test_a_task_that_is_not_alone_goes_with_the_others() -> None:
    rig = Rig()
    assert rig.state.submit_alone([Task(0, 0, b""), Task(1, 0, b"")], 0.0) is None
    assert rig.state.submit_alone([Task(0, 0, b"", TaskOptions(["gpu"]))], 0.0) is None
    rig.state.define(F1)
    assert rig.state.submit_alone([Task(0, 1, b"")], 0.0) is None  # its function goes before
    rig.after()
    rig.state.submit([Task(0, 1, b"")])
    assert rig.state.submit_alone([Task(1, 1, b"")], 0.0) is None
    assert rig.state.unfinished == 1


def test_a_cancel_that_may_have_been_lost_is_said_again() -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b"a"))
    rig.state.cancel([1])
    assert [type(m) for m in said(rig.after())] == [Cancel]
    rig.lose()
    assert said(rig.connect())[-1] == Cancel(q(1))


def graph(targets: int = 1) -> tuple[Group, list[Task]]:
    """1 -> 2 -> 3, of which the last ones are asked for."""
    group = Group(targets, [1, 2, 3])
    return group, [Task(n, 0, b"", None, (n - 1,) if n > 1 else (), n > 3 - targets, group) for n in (1, 2, 3)]


def test_the_tasks_of_a_graph_are_kept_until_its_targets_ended() -> None:
    rig = Rig()
    rig.submit(*graph()[1])
    rig.lose()
    assert offered(rig.connect()) == [1, 2, 3]
    rig.ends(3)
    assert rig.state.unfinished == 0
    rig.lose()
    assert offered(rig.connect()) == []


def test_an_ended_target_that_another_one_needs_is_offered_again_but_not_wanted() -> None:
    rig = Rig()
    rig.submit(*graph(2)[1])
    rig.ends(2)
    rig.lose()
    (submit,) = [m for m in said(rig.connect()) if isinstance(m, Submit)]
    assert (list(submit.sequences), submit.wanted) == ([1, 2, 3], b"\0\0\1")


def test_the_end_of_what_nobody_asked_for_ends_no_target() -> None:
    """A full scheduler rejects tasks one by one, also those that only dependents want."""
    rig = Rig()
    rig.submit(*graph()[1])
    rig.ends(1, status=7)
    rig.ends(2, status=7)
    assert rig.state.unfinished == 1
    (ended,) = rig.ends(3)
    assert isinstance(ended, Ended) and ended.tasks[0] is not None
    rig.state.retire(0)
    assert said(rig.after()) == [ForgetFunctions(i(0))]


def test_a_retired_function_is_forgotten_after_its_last_task() -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b""))
    rig.state.retire(0)
    assert rig.after() == []
    assert said(rig.ends(1)) == [ForgetFunctions(i(0))]
    rig.lose()
    assert said(rig.connect()) == []


def test_an_unused_function_is_forgotten_at_once() -> None:
    rig = Rig()
    rig.state.retire(0)
    assert said(rig.after()) == [ForgetFunctions(i(0))]
    rig.state.retire(0)
    assert rig.after() == []


def test_heartbeats_and_silence() -> None:
    rig = Rig()
    begin = rig.now
    assert rig.at(begin + 1.9) == []
    assert said(rig.at(begin + 2)) == [ClientHeartbeat(int((begin + 2) * 1e6))]
    rig.hear(HeartbeatEcho(1))
    for seconds in (4, 6, 8, 10, 11.9):
        assert [o for o in rig.at(begin + seconds) if isinstance(o, Close)] == []
    outputs = rig.at(begin + 14)
    assert [o.peer for o in outputs if isinstance(o, Close)] == [1] and said(outputs) == []
    assert rig.state.next_deadline() is None and rig.state.snapshot()["connected"] is False
    rig.connect()
    assert rig.state.next_deadline() == rig.now + 2


def test_a_client_that_was_stopped_hears_the_scheduler_before_it_takes_it_for_silent() -> None:
    rig = Rig()
    begin = rig.now
    assert len(said(rig.at(begin + 2))) == 1
    assert len(said(rig.at(begin + 1000))) == 1
    rig.hear(HeartbeatEcho(1))
    for seconds in range(1002, 1010, 2):
        assert len(said(rig.at(begin + seconds))) == 1


def test_an_old_connection_is_not_heard() -> None:
    rig = Rig()
    rig.connect()
    rig.state.receive(1, ShutdownRefused("no"), rig.now)
    rig.state.peer_lost(1, "x", rig.now)
    assert rig.after() == [] and rig.state.snapshot()["connected"]


def test_a_graph_in_parts_says_that_more_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.client.state.MESSAGE_TASKS", 2)
    rig = Rig()
    group = Group(1, [1, 2, 3])
    graph = [Task(n, 0, b"", dependencies=(n - 1,) if n > 1 else (), wanted=n == 3, group=group) for n in (1, 2, 3)]
    single = [Task(n, 0, b"") for n in range(4, 9)]
    parts = said(rig.submit(*graph, *single))
    assert [list(u64(part.sequences)) for part in parts] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert [part.more for part in parts] == [True, False, False, False]
    rig.lose()
    assert [part.more for part in said(rig.connect()) if isinstance(part, Submit)] == [True, False, False, False]


def test_the_task_around_a_client_is_told_between_what_was_submitted_before_and_after() -> None:
    rig = Rig()
    inside = RunningInside(7, 1, b"W" * 16)
    rig.state.submit([Task(0, 0, b"a")])
    rig.state.run_inside(inside)
    rig.state.submit([Task(1, 0, b"b")])
    before, told, after = [o.message for o in rig.after() if isinstance(o, Send)]
    assert told == inside
    assert [m.payloads for m in (before, after)] == [[b"a"], [b"b"]]


def test_the_task_around_a_client_is_told_first_on_a_new_connection() -> None:
    rig = Rig()
    rig.state.run_inside(RunningInside(7, 0, b"W" * 16))
    rig.state.run_inside(RunningInside(8, 0, b"W" * 16))
    rig.submit(Task(0, 0, b"a"))
    rig.lose()
    told = [o.message for o in rig.connect() if isinstance(o, Send)]
    assert told[0] == RunningInside(8, 0, b"W" * 16)
    assert [type(message) for message in told[1:]] == [DefineFunctions, Submit]


@pytest.mark.parametrize(
    "damage",
    [
        {"statuses": b""},
        {"statuses": b"\xff"},
        {"tasks": q(1, 2)},
        {"wall_microseconds": b""},
        {"counts": i(1, 1)},
        {"counts": i(2), "item_ends": [i(1).tobytes()]},
        {"item_ends": [i(9).tobytes()]},
        {"tasks": b"odd"},
    ],
)
def test_results_that_do_not_fit_together_close_the_connection_and_end_nothing(damage: dict[str, Any]) -> None:
    rig = Rig()
    rig.submit(Task(1, 0, b"a"))
    message = Results(q(1), b"", b"\1", [b"r"], q(0), q(0), q(0))
    for name, value in damage.items():
        setattr(message, name, value)
    outputs = rig.hear(message)
    assert [type(o) for o in outputs if isinstance(o, Close | Ended)] == [Close]
    assert rig.state.unfinished == 1
    assert offered(rig.connect()) == [1]
