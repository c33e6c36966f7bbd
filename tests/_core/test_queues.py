"""ReadyQueues against a dictionary that is sorted again for every question."""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scaler._core.queues import DEPTH_BITS, ReadyQueues

NONE = 0xFFFFFFFF
CLASSES = range(4)

tasks_of = st.lists(st.integers(0, 40), max_size=8)
classes = st.sampled_from(CLASSES)
priorities = st.one_of(st.integers(-3, 3), st.integers(62, 66), st.sampled_from([-(2**31), 2**31 - 1]))
shares = st.sampled_from([0, 7, 2**32 - 1])


def column(numbers):
    return array("I", numbers)


class QueueModel:
    """What waits, as task: (class, priority, arrival, share)."""

    def __init__(self):
        self.waiting = {}
        self.reserved = {}
        self.newest = 0
        self.oldest = 0
        self.shares = {}
        """Of those that have tasks: [what they had, when they came]."""
        self.served = 0
        self.activations = 0

    def admits(self, tasks):
        return len(set(tasks)) == len(tasks) and not self.waiting.keys() & set(tasks)

    def push(self, tasks, owner, priority, share=0):
        for task in tasks:
            if task in self.reserved:
                self.waiting[task] = (owner, priority, self.reserved.pop(task), share)
                continue
            self.waiting[task] = (owner, priority, self.newest, share)
            self.newest += 1
        self.activate(tasks, share)

    def reserve(self, tasks):
        for task in tasks:
            self.reserved[task] = self.newest
            self.newest += 1

    def push_front(self, tasks, owner, priority, share=0):
        for task in reversed(tasks):
            self.oldest -= 1
            self.reserved.pop(task, None)
            self.waiting[task] = (owner, priority, self.oldest, share)
        self.activate(tasks, share)

    def activate(self, tasks, share):
        if tasks and share not in self.shares:
            self.shares[share] = [self.served, self.activations]
            self.activations += 1

    def drop(self, task):
        found = self.waiting.pop(task, None)
        if found is not None and found[3] not in {entry[3] for entry in self.waiting.values()}:
            del self.shares[found[3]]
        return found is not None

    def rank(self, task):
        _, priority, arrival, share = self.waiting[task]
        return -(priority >> DEPTH_BITS), *self.shares[share], -priority, arrival

    def line(self, owner):
        return sorted((task for task in self.waiting if self.waiting[task][0] == owner), key=self.rank)

    def lane(self, owner, share):
        return [task for task in self.line(owner) if self.waiting[task][3] == share]

    def peek(self, owner):
        return (self.line(owner) or [NONE])[0]

    def pop(self, owner, cost=1):
        task = self.peek(owner)
        if task != NONE:
            had = self.shares[self.waiting[task][3]]
            self.served = max(self.served, had[0])
            had[0] += max(cost, 1)
            self.drop(task)
        return task

    def remove(self, tasks):
        for task in tasks:
            self.reserved.pop(task, None)
        return sum(self.drop(task) for task in tasks)

    def heads(self):
        heads = [self.peek(owner) for owner in {entry[0] for entry in self.waiting.values()}]
        return sorted(heads, key=self.rank)

    def classes(self):
        return [self.waiting[task][0] for task in self.heads()]


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.queues = ReadyQueues()
        self.model = QueueModel()

    @rule(tasks=tasks_of, owner=classes, priority=priorities, share=shares, front=st.booleans())
    def push(self, tasks, owner, priority, share, front):
        push = self.queues.push_front if front else self.queues.push
        if not self.model.admits(tasks):
            with pytest.raises(ValueError, match="queued already"):
                push(column(tasks), owner, priority, share)
            return
        push(column(tasks), owner, priority, share)
        (self.model.push_front if front else self.model.push)(tasks, owner, priority, share)

    @rule(tasks=tasks_of)
    def reserve(self, tasks):
        if not self.model.admits(tasks):
            with pytest.raises(ValueError, match="queued already"):
                self.queues.reserve(column(tasks))
            return
        self.queues.reserve(column(tasks))
        self.model.reserve(tasks)

    @rule(owner=classes, cost=st.integers(0, 3))
    def pop(self, owner, cost):
        assert self.queues.pop(owner, cost) == self.model.pop(owner, cost)

    @rule(tasks=st.lists(st.one_of(st.integers(0, 60), st.just(NONE)), max_size=10))
    def remove(self, tasks):
        assert self.queues.remove(column(tasks)) == self.model.remove(tasks)

    @invariant()
    def same(self):
        self.queues.check()
        assert len(self.queues) == len(self.model.waiting)
        assert list(self.queues.classes()) == self.model.classes()
        for owner in CLASSES:
            assert self.queues.count(owner) == len(self.model.line(owner))
            assert self.queues.peek(owner) == self.model.peek(owner)
            for share in self.model.shares:
                lane = self.model.lane(owner, share)
                assert [self.queues.ahead(task) for task in lane] == list(range(len(lane)))
        for task in range(45):
            assert (task in self.queues) == (task in self.model.waiting)

    def teardown(self):
        for owner in CLASSES:
            for _ in self.model.line(owner):
                assert self.queues.pop(owner) == self.model.pop(owner)
        self.queues.check()


TestQueues = QueueMachine.TestCase
TestQueues.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-200, 200), max_size=300), st.randoms(use_true_random=False))
def test_many_priorities(ranks, random):
    queues = ReadyQueues()
    model = QueueModel()
    for task, priority in enumerate(ranks):
        queues.push(column([task]), 0, priority)
        model.push([task], 0, priority)
    gone = random.sample(range(len(ranks)), len(ranks) // 2)
    assert queues.remove(column(gone)) == model.remove(gone)
    queues.check()
    line = model.line(0)
    assert [queues.pop(0) for _ in line] == line
    assert queues.pop(0) == NONE
    queues.check()


def test_requeued_tasks_go_before_the_heads_of_other_classes():
    queues = ReadyQueues()
    queues.push(column([1, 2]), 0, 0)
    queues.push(column([3]), 1, 0)
    assert queues.pop(1) == 3
    queues.push_front(column([3]), 1, 0)
    assert list(queues.classes()) == [1, 0]


def test_a_task_that_becomes_ready_takes_its_place():
    queues = ReadyQueues()
    queues.push(column([1]), 0, 0)
    queues.reserve(column([2, 3, 4]))
    queues.push(column([5, 6]), 0, 0)
    queues.push(column([7]), 0, 1)
    queues.push(column([3]), 0, 0)
    queues.push(column([2]), 0, 0)
    queues.check()
    assert [queues.pop(0) for _ in range(6)] == [7, 1, 2, 3, 5, 6]
    queues.remove(column([4]))
    queues.push(column([8, 4]), 0, 0)
    assert [queues.pop(0) for _ in range(2)] == [8, 4]


@pytest.mark.parametrize("name", ["push", "push_front"])
def test_refusals_change_nothing(name):
    queues = ReadyQueues()
    queues.push(column([5]), 0, 0)
    push = getattr(queues, name)
    with pytest.raises(ValueError, match="task 5 is queued already"):
        push(column([1, 2, 5]), 1, 0)
    with pytest.raises(ValueError, match="task 2 is queued already"):
        push(column([2, 2]), 1, 7)
    with pytest.raises(IndexError):
        push(column([1, NONE]), 1, 0)
    with pytest.raises(IndexError):
        push(column([1]), NONE, 0)
    with pytest.raises(OverflowError):
        push(column([1]), 1, 2**31)
    with pytest.raises(ValueError, match="column"):
        push(array("Q", [1]), 1, 0)
    assert len(queues) == 1
    assert list(queues.classes()) == [0]
    queues.check()


def test_what_was_never_there():
    queues = ReadyQueues()
    assert (len(queues), queues.count(9), queues.peek(9), queues.pop(9)) == (0, 0, NONE, NONE)
    assert queues.peek(NONE) == NONE
    assert NONE not in queues
    assert queues.remove(column([1, NONE])) == 0
    queues.push(b"", 3, 0)
    assert list(queues.classes()) == []
    queues.check()


def test_priorities_that_would_make_a_list_of_an_unlucky_tree():
    """Ascending, descending and inward: the orders in which trees without balance degenerate."""
    n = 20_000
    inward = [rank // 2 if rank % 2 else n - rank // 2 for rank in range(n)]
    for order in (range(n), range(n, 0, -1), inward):
        queues = ReadyQueues()
        for task, priority in enumerate(order):
            queues.push(column([task]), 0, priority)
        ranked = sorted(range(n), key=lambda task: -order[task])
        assert [queues.pop(0) for _ in range(n)] == ranked
        queues.check()


def test_what_is_not_queued_has_no_place():
    with pytest.raises(ValueError, match="task 3 is not queued"):
        ReadyQueues().ahead(3)


def test_shares_get_as_much_as_each_other_by_cost():
    queues = ReadyQueues()
    queues.push(column(range(100)), 0, 0, share=1)
    assert [queues.pop(0, 10) for _ in range(4)] == [0, 1, 2, 3]
    queues.push(column(range(100, 200)), 0, 0, share=2)  # It has no claim to what the other one had before.
    taken = [queues.pop(0, 10 if queues.peek(0) < 100 else 5) for _ in range(30)]
    assert [sum(task < 100 for task in taken), sum(task >= 100 for task in taken)] == [10, 20]
    queues.check()


def test_depth_counts_within_a_share_only_and_priority_among_all():
    queues = ReadyQueues()
    queues.push(column([1, 2]), 0, 0, share=1)
    queues.push(column([3, 4]), 0, 5, share=1)
    queues.push(column([5, 6]), 0, 0, share=2)
    queues.push(column([7]), 0, 1 << DEPTH_BITS, share=2)
    assert [queues.pop(0) for _ in range(7)] == [7, 3, 4, 5, 1, 6, 2]


def test_shares_that_come_and_go_are_forgotten():
    queues = ReadyQueues()
    for share in range(2000):
        queues.push(column([share % 7]), share % 5, 0, share)
        assert queues.pop(share % 5) == share % 7
        queues.check()


def test_arrivals_are_in_order_whatever_class_share_and_priority():
    queues = ReadyQueues()
    queues.push(column([3, 1]), 0, 0, 5)
    queues.reserve(column([7]))
    queues.push(column([2]), 1, 9)
    queues.push_front(column([8]), 0, 0)
    assert list(queues.arrivals()) == [8, 3, 1, 7, 2]
    queues.push(column([7]), 0, 0)
    queues.remove(column([3]))
    assert list(queues.arrivals()) == [8, 1, 7, 2]
