"""place and retract against their contracts written out over the models of queues and loads."""

from array import array
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._core.balance import DIVISIBLE, place, retract
from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues
from tests._core.test_loads import NONE, LoadModel, column
from tests._core.test_queues import QueueModel

TARGET = 1000
IDLE, QUEUED, RUNNING = range(3)


def lists(result):
    return [(worker, list(tasks)) for worker, tasks in result]


def placed(system, functions, costs, own_costs=()):
    """The pass of place(), which meets nothing to be divided."""
    found, divisible = place(
        system.queues, system.loads, column(functions), column(costs), column(own_costs), column(())
    )
    assert divisible == NONE
    return lists(found)


def place_slowly(queues, loads, functions, costs, own_costs, preferred):
    result = {}
    blocked = set()
    while heads := [task for task in queues.heads() if queues.waiting[task][0] not in blocked]:
        task = heads[0]
        owner = queues.waiting[task][0]
        number = loads.choose(owner)
        if number == NONE:
            blocked.add(owner)
            continue
        if own_costs[task] == DIVISIBLE:
            return list(result.items()), task
        number = loads.prefer(preferred[task], owner, number)
        cost = own_costs[task] or costs[functions[task]]
        assert queues.pop(owner, cost) == task
        loads.assign(task, number, cost)
        result.setdefault(number, []).append(task)
    return list(result.items()), NONE


def retract_slowly(loads, states, state, classes, pending):
    result = {}
    left = {number: list(worker.tasks) for number, worker in loads.workers.items()}
    surplus = {number: len(loads.workers[number].busy) - loads.workers[number].slots for number in left}
    wanted = sum(worker.idle for worker in loads.workers.values()) - pending
    while wanted > 0:
        givers = [number for number in left if surplus[number] > 0 and left[number]]
        if not givers:
            break
        number = min(givers, key=lambda n: (-Fraction(surplus[n], loads.workers[n].slots), n))
        task = left[number].pop()
        lends = task in loads.workers[number].lending
        if states.get(task) == state and not lends and loads.idle_for(classes[task]):
            result.setdefault(number, []).append(task)
            surplus[number] -= 1
            wanted -= 1
    return list(result.items())


class System:
    """The structures and their models, changed together."""

    def __init__(self, workers, groups_of):
        self.queues = ReadyQueues()
        self.loads = Loads(TARGET)
        self.queue_model = QueueModel()
        self.load_model = LoadModel(TARGET)
        for number, (slots, group, limit) in enumerate(workers):
            self.loads.add_worker(number, slots, group, limit)
            self.load_model.add_worker(number, slots, group, limit)
        for owner, groups in enumerate(groups_of):
            self.loads.set_classes(owner, column(groups))
            self.load_model.groups_of[owner] = groups

    def push(self, task, owner, priority, share=0):
        self.queues.push(column([task]), owner, priority, share)
        self.queue_model.push([task], owner, priority, share)

    def assign(self, task, worker, cost):
        self.loads.assign(task, worker, cost)
        self.load_model.assign(task, worker, cost)

    def drain(self, worker):
        self.loads.drain(worker)
        self.load_model.workers[worker].draining = True

    def lend(self, task):
        self.loads.set_lending(task, True)
        self.load_model.set_lending(task, True)

    def release(self, tasks):
        self.loads.release(column(tasks))
        self.load_model.release(tasks)

    def check(self):
        self.queues.check()
        self.loads.check()
        assert list(self.queues.classes()) == self.queue_model.classes()
        for number, worker in self.load_model.workers.items():
            assert list(self.loads.held_tasks(number)) == list(worker.tasks)
            assert self.loads.backlog(number) == worker.backlog


worker_lists = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 6)), max_size=6)
group_lists = st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=5, max_size=5)
task_lists = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 1, 64]), st.integers(0, 2)), max_size=60)
cost_lists = st.lists(st.integers(0, 1200), min_size=3, max_size=3)


@settings(max_examples=200, deadline=None)
@given(worker_lists, group_lists, task_lists, cost_lists, st.randoms(use_true_random=False))
def test_place(workers, groups_of, tasks, costs, random):
    system = System(workers, groups_of)
    functions = [task % 3 for task in range(len(tasks))]
    own_costs = [random.choice((0, 0, 0, 700, DIVISIBLE)) for _ in tasks]
    preferred = [random.choice((0, 0, *range(1, len(workers) + 3))) for _ in tasks]
    for task, entry in enumerate(tasks):
        system.push(task, *entry)
    if workers and random.random() < 0.3:
        system.drain(random.randrange(len(workers)))
    for _ in range(4):
        expected = place_slowly(system.queue_model, system.load_model, functions, costs, own_costs, preferred)
        columns = map(column, (functions, costs, own_costs, preferred))
        found, divisible = place(system.queues, system.loads, *columns)
        assert (lists(found), divisible) == expected
        system.check()
        if divisible != NONE:
            own_costs[divisible] = 1
        assigned = sorted(system.load_model.assigned())
        system.release(random.sample(assigned, len(assigned) // 2))


held_lists = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from([QUEUED, RUNNING])), max_size=60)
lending_sets = st.sets(st.integers(0, 20), max_size=4)


@settings(max_examples=300, deadline=None)
@given(worker_lists, group_lists, held_lists, st.integers(-1, 4), st.sets(st.integers(0, 5), max_size=2), lending_sets)
def test_retract(workers, groups_of, held, pending, draining, lending):
    system = System(workers, groups_of)
    lifecycle = Lifecycle(bytes([255] * 3), 3, 1)
    classes = [owner for _, owner, _ in held]
    states = {}
    for task, (worker, _, state) in enumerate(held):
        if worker < len(workers):
            system.assign(task, worker, 1)
            lifecycle.open(column([task]), state)
            states[task] = state
    for task in lending & states.keys():
        system.lend(task)
    for worker in draining & set(range(len(workers))):
        system.drain(worker)
    expected = retract_slowly(system.load_model, states, QUEUED, classes, pending)
    assert lists(retract(system.loads, lifecycle, QUEUED, column(classes), pending)) == expected
    system.check()


def test_a_blocked_class_blocks_no_other():
    system = System([(1, 0, 0)], [[1], [0]])
    system.push(0, 0, 9)
    system.push(1, 1, 0)
    assert placed(system, [0, 0], [1]) == [(0, [1])]
    assert 0 in system.queues


def test_nothing_to_do():
    system = System([(1, 0, 0)], [[0]])
    assert placed(system, [], []) == []
    assert retract(system.loads, Lifecycle(b"\xff", 1, 1), 0, b"", 0) == []
    system.loads.drain(0)
    system.queues.push(column([3]), 0, 0)
    assert placed(system, [], []) == []


@pytest.mark.parametrize(("functions", "costs"), [([0, 0], [1]), ([0, 0, 5], [1])])
def test_a_task_without_cost_is_refused_when_it_is_first(functions, costs):
    system = System([(8, 0, 0)], [[0]])
    system.queues.push(column([0, 1, 2]), 0, 0)
    assert placed(system, functions, costs) == [(0, [0, 1])]
    with pytest.raises(IndexError):
        placed(system, functions, costs)
    assert (list(system.loads.held_tasks(0)), system.queues.peek(0)) == ([0, 1], 2)
    system.queues.check()
    system.loads.check()


def test_a_task_that_is_assigned_is_not_placed_again():
    system = System([(8, 0, 0)], [[0]])
    system.loads.assign(0, 0, 1)
    system.queues.push(column([0]), 0, 0)
    with pytest.raises(ValueError, match="queued, and assigned"):
        placed(system, [0], [1])
    assert 0 in system.queues
    system.loads.check()


def test_retract_needs_the_class_of_what_it_looks_at():
    system = System([(1, 0, 9), (1, 0, 9)], [[0]])
    lifecycle = Lifecycle(bytes([255] * 3), 3, 1)
    for task in range(3):
        system.assign(task, 0, 1)
    lifecycle.open(column([0, 1, 2]), QUEUED)
    with pytest.raises(IndexError):
        retract(system.loads, lifecycle, QUEUED, column([0, 0]), 0)
    assert lists(retract(system.loads, lifecycle, QUEUED, column([0, 0, 0]), 0)) == [(0, [2])]
    assert retract(system.loads, lifecycle, QUEUED, array("I", [0, 0, 0]), 1) == []
