"""Loads against dictionaries, with room and levels computed anew from the sentences of the contract."""

from array import array
from fractions import Fraction
from math import floor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler._core.loads import Loads

NONE = 0xFFFFFFFF
TARGET = 1000
CLASSES = range(4)
GROUPS = range(3)
WORKERS = range(6)

workers = st.sampled_from(WORKERS)
tasks_of = st.lists(st.one_of(st.integers(0, 45), st.just(NONE)), max_size=8)
costs = st.one_of(st.sampled_from([0, 1, TARGET // 30, TARGET, 2**32 - 1]), st.integers(0, 2 * TARGET))


def column(numbers):
    return array("I", numbers)


class WorkerModel:
    def __init__(self, slots, group, queue_limit, turn):
        self.slots = slots
        self.group = group
        self.queue_limit = queue_limit
        self.draining = False
        self.tasks = {}
        self.lending = set()
        self.turn = turn

    @property
    def busy(self):
        return [task for task in self.tasks if task not in self.lending]

    @property
    def backlog(self):
        return sum(self.tasks[task] for task in self.busy)

    @property
    def idle(self):
        return 0 if self.draining else max(0, self.slots - len(self.busy))

    def has_room(self, target):
        busy = len(self.busy)
        short = Fraction(self.backlog, self.slots) < target
        return not self.draining and (busy < 2 * self.slots or (short and busy < self.slots + self.queue_limit))

    def level(self, target):
        if len(self.busy) < self.slots:
            return 0
        return min(31, 1 + floor(Fraction(self.backlog, self.slots) * 30 / target))


class LoadModel:
    def __init__(self, target):
        self.target = target
        self.workers = {}
        self.groups_of = {}
        self.turns = 0

    def turn(self):
        self.turns += 1
        return self.turns

    def add_worker(self, number, slots, group, queue_limit):
        self.workers[number] = WorkerModel(slots, group, queue_limit, self.turn())

    def assigned(self):
        return {task: number for number, worker in self.workers.items() for task in worker.tasks}

    def assign(self, task, number, cost):
        self.workers[number].tasks[task] = cost
        self.workers[number].turn = self.turn()

    def release(self, tasks):
        for task in tasks:
            for worker in self.workers.values():
                if worker.tasks.pop(task, None) is not None:
                    worker.lending.discard(task)
                    worker.turn = self.turn()

    def set_lending(self, task, lends):
        worker = self.workers[self.assigned()[task]]
        if lends != (task in worker.lending):
            worker.lending ^= {task}
            worker.turn = self.turn()

    def runnable(self, owner):
        groups = self.groups_of.get(owner, [])
        return any(worker.group in groups and not worker.draining for worker in self.workers.values())

    def idle_for(self, owner):
        groups = self.groups_of.get(owner, [])
        return any(worker.group in groups and worker.idle for worker in self.workers.values())

    def choose(self, owner):
        groups = self.groups_of.get(owner, [])
        fit = [
            (worker.level(self.target), groups.index(worker.group), worker.turn, number)
            for number, worker in self.workers.items()
            if worker.group in groups and worker.has_room(self.target)
        ]
        return min(fit)[-1] if fit else NONE

    def prefer(self, preferred, owner, best):
        """Worker ``preferred - 1``, where no slot stays idle for it; else the best."""
        worker = self.workers.get(preferred - 1)
        if worker is None or worker.group not in self.groups_of.get(owner, []) or not worker.has_room(self.target):
            return best
        idle_here, idle_there = (w.level(self.target) == 0 for w in (worker, self.workers[best]))
        return preferred - 1 if idle_here or not idle_there else best


class LoadMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loads = Loads(TARGET)
        self.model = LoadModel(TARGET)

    @rule(number=workers, slots=st.integers(0, 4), group=st.sampled_from(GROUPS), limit=st.integers(0, 12))
    def add_worker(self, number, slots, group, limit):
        if number in self.model.workers or slots < 1:
            with pytest.raises(ValueError, match=r"known already|slots"):
                self.loads.add_worker(number, slots, group, limit)
            return
        self.loads.add_worker(number, slots, group, limit)
        self.model.add_worker(number, slots, group, limit)

    @rule(number=workers)
    def remove_worker(self, number):
        if number not in self.model.workers:
            with pytest.raises(ValueError, match="there is no worker"):
                self.loads.remove_worker(number)
            return
        assert list(self.loads.remove_worker(number)) == list(self.model.workers.pop(number).tasks)

    @precondition(lambda self: self.model.workers)
    @rule(data=st.data())
    def drain(self, data):
        number = data.draw(st.sampled_from(sorted(self.model.workers)))
        self.loads.drain(number)
        self.model.workers[number].draining = True

    @rule(owner=st.sampled_from(CLASSES), groups=st.lists(st.sampled_from(GROUPS), max_size=3))
    def set_classes(self, owner, groups):
        self.loads.set_classes(owner, column(groups))
        self.model.groups_of[owner] = groups

    @rule(task=st.integers(0, 40), number=workers, cost=costs)
    def assign(self, task, number, cost):
        if number not in self.model.workers or task in self.model.assigned():
            with pytest.raises(ValueError, match=r"assigned already|there is no worker"):
                self.loads.assign(task, number, cost)
            return
        self.loads.assign(task, number, cost)
        self.model.assign(task, number, cost)

    @rule(owner=st.sampled_from(CLASSES), cost=costs, times=st.integers(1, 10))
    def place(self, owner, cost, times):
        for task in [task for task in range(41) if task not in self.model.assigned()][:times]:
            number = self.loads.choose(owner)
            assert number == self.model.choose(owner)
            if number != NONE:
                self.loads.assign(task, number, cost)
                self.model.assign(task, number, cost)

    @rule(tasks=tasks_of)
    def release(self, tasks):
        self.loads.release(column(tasks))
        self.model.release(tasks)

    @rule(task=st.one_of(st.integers(0, 45), st.just(NONE)), lends=st.booleans())
    def set_lending(self, task, lends):
        if task not in self.model.assigned():
            with pytest.raises(ValueError, match="not assigned"):
                self.loads.set_lending(task, lends)
            return
        self.loads.set_lending(task, lends)
        self.model.set_lending(task, lends)

    @precondition(lambda self: self.model.assigned())
    @rule(data=st.data())
    def lend(self, data):
        self.set_lending(data.draw(st.sampled_from(sorted(self.model.assigned()))), True)

    @rule(number=st.one_of(workers, st.just(NONE)), tasks=tasks_of)
    def foreign(self, number, tasks):
        held = self.model.workers[number].tasks if number in self.model.workers else {}
        expected = [i for i, task in enumerate(tasks) if task not in held]
        assert list(self.loads.foreign(number, column(tasks))) == expected

    @invariant()
    def same(self):
        self.loads.check()
        assert list(self.loads.workers) == sorted(self.model.workers)
        assert len(self.loads) == len(self.model.workers)
        assert self.loads.idle_slots == sum(worker.idle for worker in self.model.workers.values())
        for owner in range(CLASSES.stop + 1):
            assert self.loads.choose(owner) == self.model.choose(owner)
            assert self.loads.runnable(owner) == self.model.runnable(owner)
        for number, worker in self.model.workers.items():
            assert list(self.loads.held_tasks(number)) == list(worker.tasks)
            assert self.loads.held(number) == len(worker.tasks)
            assert self.loads.backlog(number) == worker.backlog
            assert self.loads.slots(number) == worker.slots
            assert self.loads.group(number) == worker.group
            assert self.loads.level(number) == worker.level(TARGET)
            assert self.loads.has_room(number) == worker.has_room(TARGET)
        assigned = self.model.assigned()
        for task in [*range(45), NONE]:
            assert self.loads.worker_of(task) == assigned.get(task, NONE)
            assert self.loads.lends(task) == (task in assigned and task in self.model.workers[assigned[task]].lending)


TestLoads = LoadMachine.TestCase
TestLoads.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_equals_take_turns():
    loads = Loads(TARGET)
    for worker in range(3):
        loads.add_worker(worker, 4, 0, 0)
    loads.set_classes(0, column([0]))
    chosen = []
    for task in range(9):
        chosen.append(loads.choose(0))
        loads.assign(task, chosen[-1], 1)
    assert chosen == [0, 1, 2] * 3


def test_the_group_named_first_wins_among_equal_levels():
    loads = Loads(TARGET)
    loads.add_worker(0, 1, 0, 0)
    loads.add_worker(1, 1, 1, 0)
    loads.set_classes(0, column([1, 0]))
    assert loads.choose(0) == 1
    loads.assign(7, 1, 0)
    assert loads.choose(0) == 0


@pytest.mark.parametrize("name", ["remove_worker", "drain", "held_tasks", "held", "backlog", "slots", "level"])
def test_unknown_workers_are_refused(name):
    loads = Loads(TARGET)
    loads.add_worker(1, 1, 0, 0)
    for worker in (0, 99, NONE):
        with pytest.raises(ValueError, match="there is no worker"):
            getattr(loads, name)(worker)


def test_refusals_change_nothing():
    loads = Loads(TARGET)
    loads.add_worker(0, 1, 0, 0)
    with pytest.raises(IndexError):
        loads.add_worker(NONE, 1, 0, 0)
    with pytest.raises(IndexError):
        loads.add_worker(1, 1, NONE, 0)
    with pytest.raises(ValueError, match="slots"):
        loads.add_worker(1, 2**31, 0, 0)
    with pytest.raises(IndexError):
        loads.set_classes(0, column([NONE]))
    with pytest.raises(IndexError):
        loads.set_classes(NONE, column([0]))
    with pytest.raises(IndexError):
        loads.assign(NONE, 0, 0)
    with pytest.raises(OverflowError):
        loads.assign(0, 0, 2**32)
    assert (len(loads), loads.idle_slots, loads.held(0), loads.runnable(0)) == (1, 1, 0, False)
    loads.check()


def test_a_target_is_needed():
    with pytest.raises(ValueError, match="positive"):
        Loads(0)


def test_largest_numbers_do_not_overflow():
    target, slots, cost = 2**32 - 1, 2**26, 2**32 - 1
    loads = Loads(target)
    model = LoadModel(target)
    loads.add_worker(0, slots, 0, 2**32 - 1)
    loads.add_worker(1, 1, 0, 2**32 - 1)
    model.add_worker(1, 1, 0, 2**32 - 1)
    assert loads.idle_slots == slots + 1
    for task in range(3):
        loads.assign(task, 1, cost - 1)
        model.assign(task, 1, cost - 1)
        assert loads.level(1) == model.workers[1].level(target)
        assert loads.has_room(1) == model.workers[1].has_room(target)
    loads.check()
