"""Worker managers: what is asked of them, and which workers are asked to leave."""

from __future__ import annotations

from scaler.machine import Output
from scaler.messages import (
    Desired,
    Drain,
    RegisterManager,
    RegisterWorker,
    Role,
    RunningInside,
    TaskOptions,
    WorkerLeaving,
)
from scaler.scheduler.capacity import DECIDE_SECONDS, LOOK_SECONDS
from scaler.scheduler.policy import Policy
from scaler.scheduler.scaling import IDLE_SECONDS

from .builders import BEN, Rig, Worker, closed, of, tasks


class Managed(Rig):
    """With a manager of at most 8 slots."""

    def __init__(self, fixed: bool = False, **settings: object) -> None:
        super().__init__(**settings)
        self.managers = 0
        self.manager, self.first = self.connect_manager(fixed=fixed)

    def connect_manager(self, name: str = "ann's", slots: int = 8, fixed: bool = False) -> tuple[int, list[Output]]:
        self.managers += 1
        peer, _ = self.connect(Role.manager, bytes([200 + self.managers]) * 16)
        return peer, self.say(peer, RegisterManager(name, "k", slots, [], fixed))

    def managed(self, slots: int, name: str = "ann's") -> Worker:
        identity = bytes([100 + len(self.state.board.loads)]) * 16
        peer, outputs = self.connect(Role.worker, identity)
        outputs += self.say(peer, RegisterWorker(slots, 1000, [], "host", 7, name))
        worker = Worker(self, peer, outputs)
        worker.identity = identity
        return worker

    def later(self, seconds: float) -> list[Output]:
        outputs: list[Output] = []
        for _ in range(round(seconds / DECIDE_SECONDS)):
            outputs += self.at(self.now + DECIDE_SECONDS)
        return outputs


def test_as_many_slots_are_asked_for_as_there_are_tasks_and_only_once() -> None:
    rig = Managed()
    ann = rig.client()
    assert of(rig.first, Desired) == [Desired(0)]
    outputs = ann.submit(*range(15)) + rig.later(DECIDE_SECONDS)
    assert of(outputs, Desired, rig.manager) == [Desired(8)]
    assert of(rig.later(2), Desired) == [], "they are starting"
    worker = rig.managed(8)
    assert len(tasks(worker.outputs)) == 15 and of(rig.later(2), Desired) == []


def test_an_idle_worker_leaves_after_a_while_and_its_manager_hears_that_it_is_meant_to() -> None:
    rig = Managed()
    ann = rig.client()
    ann.submit(1)
    rig.later(1)
    worker = rig.managed(1)
    rig.later(30)
    worker.ends((ann.id(1), 1))
    assert of(rig.later(IDLE_SECONDS - 0.5), Drain) == []
    outputs = rig.later(0.5 + 2 * LOOK_SECONDS)
    assert of(outputs, Drain, worker.peer) == [Drain()] and of(outputs, Desired, rig.manager) == [Desired(0)]
    outputs = ann.submit(2) + rig.later(1)
    assert tasks(outputs) == [], "it takes nothing new"
    assert of(outputs, Desired) == [Desired(1)]
    worker.say(WorkerLeaving())
    assert len(rig.state.board.loads) == 0 and of(rig.later(1), Desired) == []


def test_one_whose_task_left_tasks_behind_stays_until_they_have_ended() -> None:
    rig = Managed()
    ann = rig.client()
    ann.submit(1)
    rig.later(1)
    worker = rig.managed(1)
    ben = rig.client(BEN)
    ben.say(RunningInside(ann.id(1), 0, worker.identity))
    ben.submit(0, options=TaskOptions(capabilities=["gpu"]))
    worker.ends((ann.id(1), 1))
    assert of(rig.later(IDLE_SECONDS + 2 * LOOK_SECONDS), Drain) == [], "they are cancelled when it leaves"
    other = rig.worker(offers=["gpu"])
    other.ends((ben.id(0), 1))
    assert of(rig.later(IDLE_SECONDS + 2 * LOOK_SECONDS), Drain, worker.peer) == [Drain()]


def test_a_second_dynamic_manager_of_the_same_name_is_refused_and_the_same_one_takes_its_own_place() -> None:
    rig = Managed()
    other, outputs = rig.connect_manager()
    assert closed(outputs) == [other]
    rig.managers = 0
    peer, outputs = rig.connect_manager()
    assert closed(outputs) == [rig.manager] and of(outputs, Desired, peer) == [Desired(0)]


def test_one_that_is_at_work_stays() -> None:
    rig = Managed()
    ann = rig.client()
    ann.submit(*range(8))
    rig.later(1)
    worker = rig.managed(8)
    worker.ends(*[(ann.id(number), 1) for number in range(7)])
    assert of(rig.later(30), Drain) == []


def test_a_manager_that_comes_back_finds_its_workers_again() -> None:
    rig = Managed()
    ann = rig.client()
    ann.submit(1, 2, 3)
    rig.later(1)
    rig.managed(3)
    rig.lose(rig.manager)
    assert of(rig.later(1), Desired) == []
    _, outputs = rig.connect_manager()
    assert of(outputs, Desired) == [Desired(3)]


def test_workers_that_are_back_after_their_manager_are_its_own() -> None:
    rig = Managed()
    worker = rig.managed(4)
    outputs = rig.later(IDLE_SECONDS + 2 * LOOK_SECONDS)
    assert of(outputs, Drain, worker.peer) == [Drain()] and of(outputs, Desired) == [Desired(0)]


def test_fixed_managers_are_not_asked() -> None:
    rig = Managed(fixed=True)
    ann = rig.client()
    assert of(rig.first + ann.submit(*range(15)) + rig.later(1), Desired) == []
    rig.managed(2)
    assert of(rig.later(30), Drain) == []


def test_with_no_scaling_nothing_is_asked_for() -> None:
    rig = Managed(policy=Policy(scaling="no"))
    ann = rig.client()
    assert of(ann.submit(*range(15)) + rig.later(1), Desired) == []
