"""The board by itself: no peers, no messages."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler._core.slots import NONE
from scaler.messages import Function, ResultStatus, TaskOptions
from scaler.scheduler.board import MAX_DEATHS, Board
from scaler.scheduler.life import TaskState

from .builders import i, q

OK, FAILED, CANCELLED = ResultStatus.succeeded, ResultStatus.failed, ResultStatus.cancelled


def board() -> Board:
    made = Board()
    made.functions.define(Function(0, "s", name="f"), b"A" * 16)
    return made


def worker(on: Board, number: int = 0, slots: int = 1) -> None:
    on.loads.add_worker(number, slots, on.requirements.group_of(()), 1000)


def enter(
    on: Board, *ids: int, options: TaskOptions | None = None, needs: dict[int, list[int]] | None = None
) -> array[int]:
    groups = [(options, array("I", range(len(ids))))] if options else []
    tasks = on.add(q(*ids), i(0), [b"p"] * len(ids), groups)
    for id, task in zip(ids, tasks, strict=True):
        if needs and id in needs:
            on.depend(task, on.slots.find(q(*needs[id])))
    on.release(tasks)
    on.check()
    return tasks


def test_tasks_enter_once() -> None:
    b = board()
    enter(b, 1, 2)
    with pytest.raises(KeyError):
        enter(b, 2, 3)
    b.check()
    assert len(b) == 2 and b.count_of(0) == 2 and b.waiting() == 2


def test_a_placement_has_all_columns() -> None:
    b = board()
    enter(b, 1, options=TaskOptions(timeout_milliseconds=9))
    enter(b, 2)
    worker(b, slots=2)
    (placed,) = b.place()
    assert (placed.worker, placed.ids, placed.attempts, placed.functions) == (0, q(1, 2), i(1, 1), i(0, 0))
    assert (placed.payloads, placed.timeouts) == ([b"p", b"p"], q(9, 0))
    b.check()


def test_a_negative_priority_stays_negative() -> None:
    b = board()
    enter(b, 1, options=TaskOptions(priority=-1))
    enter(b, 2)
    enter(b, 3, options=TaskOptions(priority=-(2**31)))
    worker(b, slots=3)
    assert b.place()[0].ids == q(2, 1, 3)


def test_measurements_change_the_cost_of_each_function() -> None:
    b = board()
    b.functions.define(Function(1, "s"), b"A" * 16)
    tasks = b.add(q(1, 2, 3), i(0, 1, 0), [b""] * 3, [])
    b.measure(tasks, q(100, 7000, 300))
    assert list(b.functions.costs) == [210, 7010]


def test_deaths_are_counted_over_attempts_and_told() -> None:
    b = board()
    (task,) = enter(b, 1)
    worker(b)
    for n in range(1, MAX_DEATHS + 1):
        b.place()
        assert b.die(task, f"story {n}") == []
        b.check()
    b.place()
    (end,) = b.die(task, "the last")
    assert (end.id, end.status) == (1, ResultStatus.crashed) and len(b) == 0
    assert [line.strip() for line in end.payload.decode().splitlines()[1:]] == [
        "1. story 1",
        "2. story 2",
        "3. story 3",
        "4. the last",
    ]
    b.check()


def test_retries_are_used_up() -> None:
    b = board()
    (task,) = enter(b, 1, options=TaskOptions(retries=1))
    (plain,) = enter(b, 2)
    worker(b, slots=2)
    b.place()
    assert (b.retry(task, b""), b.retry(plain, b"")) == (True, False)
    assert b.life.state(task) == TaskState.READY
    b.place()
    assert b.retry(task, b"") is False


def test_names_are_of_the_task_or_of_its_function() -> None:
    b = board()
    (named,) = enter(b, 1, options=TaskOptions(name="mine"))
    (plain,) = enter(b, 2)
    assert (b.label(named), b.label(plain)) == ("mine", "f")


def test_tasks_of_a_client() -> None:
    b = board()
    enter(b, 1, 2)
    other = enter(b, 5 << 40, (5 << 40) + 1)
    assert b.of_client(5) == other and len(b.of_client(6)) == 0 and b.count_of(5) == 2


def test_stopped_tasks_are_told_with_their_worker_and_attempt() -> None:
    b = board()
    (task,) = enter(b, 1)
    worker(b)
    b.place()
    (end,) = b.end(task, CANCELLED, b"")
    assert (end.id, b.stopped) == (1, [(0, 1, 1)]) and b.end(task, CANCELLED, b"") == []


class Boards(RuleBasedStateMachine):
    """Anything in any order; what a board derives stays right, and every wanted task ends at most once."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board()
        self.next = 1
        self.holding: list[int] = []
        self.ended: set[int] = set()

    def tell(self, ids: list[int]) -> None:
        assert not self.ended.intersection(ids) and len(set(ids)) == len(ids)
        self.ended.update(ids)

    def held(self) -> list[int]:
        return [task for number in self.board.loads.workers for task in self.board.loads.held_tasks(number)]

    @rule(count=st.integers(1, 4), data=st.data())
    def submit(self, count: int, data: st.DataObject) -> None:
        b, ids = self.board, list(range(self.next, self.next + count))
        self.next += count
        tasks = b.add(
            q(*ids), i(0), [b"p"] * count, [(TaskOptions(retries=1), i(0))] if data.draw(st.booleans()) else []
        )
        b.mark_unwanted(task for task in tasks if data.draw(st.booleans()))
        for n, task in enumerate(tasks):
            alive = [t for t in range(b.slots.capacity) if b.life.state(t) and t not in tasks[n:]]
            chosen = data.draw(st.lists(st.sampled_from(alive), max_size=3)) if alive else []
            if chosen:
                b.depend(task, array("I", chosen))
        if data.draw(st.integers(0, 3)):
            self.tell([end.id for end in b.release(tasks)])
        else:
            b.hold(tasks)
            self.holding += ids

    @rule()
    def let_go(self) -> None:
        tasks = array("I", [task for task in self.board.slots.find(q(*self.holding)) if task != NONE])
        self.holding = []
        self.tell([end.id for end in self.board.release(tasks)])

    @rule(slots=st.integers(1, 3))
    def come(self, slots: int) -> None:
        number = next(n for n in range(9) if n not in self.board.loads.workers)
        if number < 4:
            worker(self.board, number, slots)

    @precondition(lambda self: len(self.board.loads))
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.board.loads.workers)))
        self.tell([end.id for end in self.board.lose_worker(number, "gone")])

    @rule()
    def place(self) -> None:
        self.board.place()

    @rule()
    def ask_back(self) -> None:
        self.board.retract()

    @precondition(lambda self: self.held())
    @rule(data=st.data(), what=st.sampled_from(["succeed", "stored", "fail", "die", "start", "return"]))
    def hear(self, data: st.DataObject, what: str) -> None:
        b, task = self.board, data.draw(st.sampled_from(self.held()))
        column, (id,) = array("I", [task]), b.slots.ids(array("I", [task]))
        if what in ("succeed", "stored"):
            self.tell([id])
            b.succeed(column, bytes([OK if what == "succeed" else ResultStatus.stored]), [b"r"])
        elif what == "fail" and not b.retry(task, b""):
            self.tell([end.id for end in b.end(task, FAILED, b"why")])
        elif what == "die":
            self.tell([end.id for end in b.die(task, "story")])
        elif what == "start":
            b.life.apply(2, column)
        elif what == "return" and b.life.state(task) == TaskState.RETRACTING:
            b.give_back(column)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task = data.draw(st.integers(0, max(0, self.board.slots.capacity - 1)))
        self.tell([end.id for end in self.board.end(task, CANCELLED, b"")])

    @invariant()
    def right(self) -> None:
        self.board.stopped.clear()
        self.board.check()

    def teardown(self) -> None:
        """With a worker that runs everything, all ends."""
        b = self.board
        self.let_go()
        worker(b, 8, 4)
        for _ in range(1000):
            b.place()
            held = self.held()
            if not held:
                break
            b.succeed(array("I", held[:1]), b"\1", [b"r"])
            b.check()
        assert len(b) == 0


TestBoards = Boards.TestCase
TestBoards.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
