"""What managers are asked for, and which workers are asked to leave."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.machine import Log, Peer
from scaler.messages import (
    ConnectedWorker,
    DefineFunctions,
    Desired,
    DesiredSet,
    Drain,
    Function,
    ManagerLeaving,
    RegisterManager,
    RegisterWorker,
    Retract,
    Retracted,
    Role,
    RunningInside,
    Submit,
    Subscribe,
    TaskOptions,
    Update,
    WorkerLeaving,
)
from scaler.scheduler.policy import Policy

from .builders import ANN, BEN, Manager, Rig, Worker, closed, i, of, q, sent, tasks

IDLE = 5.0


def rig(**policy: Any) -> Rig:
    return Rig(policy=Policy(**{"idle_seconds": IDLE, **policy}), worker_timeout_seconds=1000)


def drained(outputs: list[Any]) -> list[int]:
    return [peer for peer, message in sent(outputs) if isinstance(message, Drain)]


def test_a_manager_is_asked_for_what_tasks_need_at_once():
    r = rig()
    manager = r.manager("m", 8)
    assert of(manager.outputs, Desired) == [Desired(0)]
    client = r.client()
    r.now += 1
    outputs = client.submit(*range(15))
    assert of(outputs, Desired, manager.peer) == [Desired(8, [DesiredSet([], 8)])]


def test_what_is_starting_is_not_asked_for_again():
    r = rig()
    manager, client = r.manager("m", 40), r.client()
    r.now += 1
    assert manager.asked(client.submit(*range(15))) == [15]
    assert manager.asked(manager.report(15, 0)) == []
    r.now += 1
    outputs = r.worker(10, manager="m", name="m-1").outputs + r.at(r.now + 0.1)
    assert manager.asked(outputs) == [15], "it is told who is connected"
    assert manager.asked(r.at(r.now + 1)) == []


def test_decisions_keep_a_little_distance():
    r = rig()
    manager, client = r.manager("m", 40), r.client()
    r.now += 1
    assert manager.asked(client.submit(0)) == [1]
    assert client.submit(1, 2) == []
    assert r.state.capacity.due == pytest.approx(r.now + 0.05)
    assert manager.asked(r.at(r.now + 0.05)) == [3]


def test_decisions_keep_more_distance_where_they_look_at_many_workers():
    r = rig()
    r.manager("m", 4000)
    client = r.client()
    for number in range(3000):
        r.state.peer_connected(10_000 + number, Peer(Role.worker, number.to_bytes(16, "big")), r.now)
        r.state.receive(10_000 + number, RegisterWorker(1, 1000), r.now)
    r.state.drain(r.now)
    r.now += 1
    r.state.receive(client.peer, DefineFunctions([Function(7, "s", b"f")]), r.now)
    r.state.receive(client.peer, Submit(q(0), i(7), [b""]), r.now)
    r.state.drain(r.now)
    r.state.receive(client.peer, Submit(q(1), i(7), [b""]), r.now)
    r.state.drain(r.now)
    assert r.state.capacity.due == pytest.approx(r.now + 3000 * 20e-6)


def test_a_manager_that_comes_keeps_what_it_has_until_it_was_idle_for_a_while():
    r = rig()
    manager = r.manager("m", 8, starting=2, running=3)
    assert manager.asked(manager.outputs) == [5]
    assert manager.asked(r.at(r.now + IDLE - 0.1)) == []
    assert manager.asked(r.at(r.now + 0.1)) == [0]


def test_a_manager_is_told_which_of_its_workers_are_connected():
    r = rig()
    r.worker(2, manager="m", name="m-1")
    r.worker(2, manager="other", name="m-2")
    manager = r.manager("m", 8)
    assert of(manager.outputs, Desired) == [Desired(2, [], [ConnectedWorker("m-1", 2)])]


def idle_workers(r: Rig, *slots: int) -> tuple[Manager, list[Worker]]:
    workers = [r.worker(count, manager="m", name=f"m-{n}") for n, count in enumerate(slots)]
    return r.manager("m", 100, running=sum(slots)), workers


def test_idle_workers_are_asked_to_leave_after_a_while():
    r = rig()
    _, workers = idle_workers(r, 2, 2)
    assert drained(r.at(r.now + IDLE - 0.1)) == []
    outputs = r.at(r.now + 0.1)
    assert sorted(drained(outputs)) == [worker.peer for worker in workers]
    connected = [ConnectedWorker("m-0", 2, True), ConnectedWorker("m-1", 2, True)]
    assert of(outputs, Desired) == [Desired(0, [], connected)]
    assert closed(workers[0].say(WorkerLeaving())) == [workers[0].peer]
    assert of(r.at(r.now + 1), Desired) == [Desired(0, [], connected[1:])]


def test_only_so_many_leave_that_the_others_are_enough():
    r = rig()
    _, workers = idle_workers(r, 1, 3, 2)
    client = r.client()
    r.now += 1
    client.submit(0, 1, 2)
    held = {worker.peer: r.state.board.loads.held(n) for n, worker in enumerate(workers)}
    assert sum(held.values()) == 3
    gone = drained(r.at(r.now + IDLE + 1))
    slots = dict(zip(held, (1, 3, 2), strict=True))
    assert 6 - sum(slots[peer] for peer in gone) >= 3
    assert all(held[peer] <= held[other] for peer in gone for other in held.keys() - set(gone))


def test_a_load_that_comes_back_keeps_the_workers():
    r = rig()
    manager, (worker,) = idle_workers(r, 4)
    r.at(r.now + IDLE - 1)
    client = r.client()
    given = tasks(client.submit(0, 1, 2, 3))
    r.now += 0.1
    worker.ends(*given)
    assert manager.asked(r.at(r.now + 2)) == []
    assert manager.asked(r.at(r.now + IDLE)) == [0]


def test_the_most_that_was_wanted_meanwhile_stays():
    r = rig()
    manager, workers = idle_workers(r, 1, 1, 1, 1)
    client = r.client()
    r.now += 1
    first = client.submit(0, 1)
    r.at(r.now + 1)
    for worker in workers:
        worker.ends(*tasks(first, worker.peer))
    outputs = r.at(r.now + IDLE - 2)
    assert manager.asked(outputs) == [2] and len(drained(outputs)) == 2
    assert manager.asked(r.at(r.now + IDLE)) == [0]


def test_a_worker_that_leaves_gets_nothing_and_gives_back_what_it_has_not_begun():
    r = rig(scaling="waterfall")
    worker, client = r.worker(1, manager="m", name="m-1"), r.client()
    given = tasks(client.submit(0, 1, 2))
    assert len(given) == 2
    worker.started(given[0])
    r.manager("m", 8, running=1)
    outputs = r.at(r.now + IDLE)
    assert of(outputs, Retract, worker.peer) == [Retract(q(given[1][0]), i(given[1][1]))]
    assert drained(outputs) == []
    assert tasks(worker.say(Retracted(q(given[1][0]), i(given[1][1]), q(), i()))) == []
    other = r.worker(4)
    assert len(tasks(other.outputs)) == 2
    outputs = worker.ends(given[0])
    assert tasks(outputs) == [] and drained(outputs) == [worker.peer]
    assert closed(worker.say(WorkerLeaving())) == [worker.peer]


def test_a_worker_stays_for_what_its_tasks_have_submitted():
    r = rig()
    worker = r.worker(1, manager="m", name="m-1", identity=b"W" * 16)
    ann, ben = r.client(ANN), r.client(BEN)
    (parent,) = tasks(ann.submit(0))
    ben.say(RunningInside(parent[0], 0, b"W" * 16))
    ben.submit(0, options=TaskOptions(["gpu"]))
    worker.ends(parent)
    r.manager("m", 8, running=1)
    assert drained(r.at(r.now + IDLE)) == []
    other = r.worker(1, offers=["gpu"])
    assert drained(other.ends(*tasks(other.outputs))) == [worker.peer]


def test_workers_whose_machines_are_taken_away_give_back_at_once_what_they_have_not_begun():
    r = rig(scaling="waterfall")
    worker, client = r.worker(1, manager="m", name="m-1"), r.client()
    r.worker(1, manager="other", name="m-2")
    manager = r.manager("m", 8, running=1)
    (mine, *rest) = tasks(client.submit(0, 1, 2, 3), worker.peer)
    worker.started(mine)
    outputs = manager.says_are_taken("m-1", "m-2", "m-3")
    (retracted,) = of(outputs, Retract)
    assert of(outputs, Retract, worker.peer) == [retracted]
    assert retracted.tasks == q(*(task for task, _ in rest))
    worker.say(Retracted(retracted.tasks, retracted.attempts, q(), i()))
    assert of(manager.says_are_taken("m-1"), Retract) == [], "it is asked once"
    assert drained(worker.ends(mine)) == [worker.peer]


def test_a_worker_that_has_to_end_soon_gives_back_at_once_what_it_has_not_begun():
    r = rig()
    worker, client = r.worker(1), r.client()
    (mine, *rest) = tasks(client.submit(0, 1))
    worker.started(mine)
    outputs = worker.say(WorkerLeaving(30_000))
    (retracted,) = of(outputs, Retract, worker.peer)
    assert retracted.tasks == q(*(task for task, _ in rest))
    worker.say(Retracted(retracted.tasks, retracted.attempts, q(), i()))
    other = r.worker(1)
    assert [task for task, _ in tasks(other.outputs)] == [task for task, _ in rest]
    outputs = worker.say(WorkerLeaving())
    assert closed(outputs) == [worker.peer] and [task for task, _ in tasks(outputs, other.peer)] == [mine[0]]


def test_monitors_see_who_is_leaving():
    r = rig()
    idle_workers(r, 1)
    r.at(r.now + IDLE)
    monitor, _ = r.connect(Role.monitor, b"s" * 16)
    outputs = r.say(monitor, Subscribe(100))
    assert [fact.draining for update in of(outputs, Update) for fact in update.workers] == [True]


def test_fixed_managers_are_asked_for_nothing():
    r = rig()
    manager = r.manager("f", 8, running=4, fixed=True)
    worker = r.worker(4, manager="f", name="f-1")
    client = r.client()
    outputs = [*manager.outputs, *client.submit(*range(100)), *r.at(r.now + 100)]
    assert of(outputs, Desired) == [] and drained(outputs) == []
    assert worker.outputs


def test_what_is_withheld_is_asked_of_others():
    r = rig()
    first, second = r.manager("a", 8), r.manager("b", 8, cost_tier=1)
    r.now += 1
    first.report(0, 0, withheld=6)
    client = r.client()
    r.now += 1
    outputs = client.submit(*range(5))
    assert first.asked(outputs) == [2] and second.asked(outputs) == [3]


def test_sets_tell_what_tasks_ask_for():
    r = rig()
    manager, client = r.manager("m", 8, capabilities=["big", "gpu"]), r.client()
    r.now += 1
    outputs = client.submit(0, 1, options=TaskOptions(["gpu"]))
    assert of(outputs, Desired, manager.peer) == [Desired(2, [DesiredSet(["gpu"], 2)])]


def test_workers_of_a_manager_that_is_gone_leave_after_a_while():
    r = rig(scaling="no")
    worker = r.worker(1, manager="m", name="m-1")
    manager = r.manager("m", 8, running=1, outlived_milliseconds=30_000)
    r.lose(manager.peer)
    assert drained(r.at(r.now + 29.9)) == []
    assert drained(r.at(r.now + 0.2)) == [worker.peer]


def test_workers_of_a_manager_that_is_back_stay():
    r = rig(scaling="no")
    r.worker(1, manager="m", name="m-1")
    manager = r.manager("m", 8, running=1, outlived_milliseconds=30_000)
    r.lose(manager.peer)
    r.now += 10
    r.manager("m", 8, running=1, outlived_milliseconds=30_000)
    assert drained(r.at(r.now + 100)) == []


def test_a_second_dynamic_manager_of_the_same_name_is_refused_and_the_same_one_takes_its_own_place():
    r = rig()
    first = r.manager("m", 8, identity=ANN)
    other, outputs = r.connect(Role.manager, BEN)
    assert closed(outputs + r.say(other, RegisterManager("m", "test", 8))) == [other]
    assert closed(r.manager("m", 8, identity=ANN).outputs) == [first.peer]
    assert r.state.snapshot()["managers"] == 1


def test_a_manager_that_leaves_in_order_is_forgotten():
    r = rig()
    manager = r.manager("m", 8, outlived_milliseconds=1000)
    assert closed(manager.say(ManagerLeaving())) == [manager.peer]
    assert closed(manager.say(RegisterManager("m", "test", 8))) == []


def test_an_idle_scheduler_has_nothing_to_decide():
    r = rig()
    r.manager("m", 8)
    r.at(r.now + 1)
    assert r.state.capacity.due is None


def logged(outputs: list[Any]) -> list[str]:
    return [output.text for output in outputs if isinstance(output, Log) and output.level == 30]


def test_only_what_no_manager_could_bring_is_warned_of():
    r = rig()
    r.manager("m", 8, capabilities=["big"])
    client = r.client()
    client.submit(0, options=TaskOptions(["big"]))
    client.submit(1, options=TaskOptions(["gpu"]))
    assert logged(r.at(r.now + 1)) == ["1 tasks wait for a worker that offers gpu; none of those here does"]
    assert logged(r.at(r.now + 1)) == []


def test_measured_time_decides():
    r = rig(scaling="target_time", target_seconds=10.0)
    client = r.client()
    worker = r.worker(1)
    worker.ends(*tasks(client.submit(0)), wall=1_000_000)
    manager = r.manager("m", 100)
    r.now += 1
    # The one that runs is followed by nine others in time; 91 are left for slots that end ten each.
    assert manager.asked(client.submit(*range(1, 102))) == [10]


def test_what_takes_long_and_was_never_measured_gets_more_slots_with_time():
    r = rig(scaling="target_time", target_seconds=10.0)
    client = r.client()
    r.worker(1)
    manager = r.manager("m", 100)
    r.now += 1
    assert manager.asked(client.submit(*range(101))) == []
    asked = [slots for _ in range(10) for slots in manager.asked(r.at(r.now + 1))]
    assert asked == sorted(asked) and asked[-1] > 90


def test_more_slots_than_can_be_summed_close_the_manager() -> None:
    rig = Rig()
    peer, _ = rig.connect(Role.manager, b"M" * 16)
    assert closed(rig.say(peer, RegisterManager("m", "test", (1 << 26) + 1))) == [peer]
    manager = rig.manager("n", 4)
    assert closed(manager.report(1 << 27, 0)) == [manager.peer]
