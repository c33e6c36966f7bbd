"""The ranges that the board knows: entered, divided when there is room for them, trimmed, and taken apart after a death."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scaler._core.balance import DIVISIBLE
from scaler._core.table import fill
from scaler.errors import ProtocolError
from scaler.ids import RANGE_BIT, SEQUENCE_BITS
from scaler.scheduler.arrays import TaskArray, TaskRange, piece_items
from scaler.scheduler.functions import OVERHEAD_US
from scaler.scheduler.life import TaskEvent, TaskState

if TYPE_CHECKING:
    from scaler.scheduler.board import Board


class Ranges:
    """By the index of their task. Part of the board, of which it sees everything."""

    def __init__(self, board: Board) -> None:
        self.own_costs = array("I")
        """By task: DIVISIBLE for a range that is too long for one piece, the cost of a piece, 0 for everything else."""
        self._board = board
        self._of_task: dict[int, TaskRange] = {}
        self._of_client: dict[int, set[int]] = {}
        self._minted = 0

    def __len__(self) -> int:
        return len(self._of_task)

    def get(self, task: int) -> TaskRange | None:
        """The range that is this task, None for a single task."""
        return self._of_task.get(task)

    # ---- coming and going

    def add(self, array_: TaskArray, begin: int, end: int) -> None:
        """Enter items of an array, ready to run."""
        self._queue([self._new(array_, begin, end)], front=False)

    def _new(self, array_: TaskArray, begin: int, end: int, id: int = 0) -> int:
        """A range of its own, in state waiting."""
        if not id:
            # From another number on than a scheduler before, whose ranges may still run.
            self._minted = (self._minted or int(self._board.clock.now * 1e6)) + 1
            id = array_.client << SEQUENCE_BITS | RANGE_BIT | self._minted % RANGE_BIT
        task = self._board.enter_range(id, array_)
        self._of_task[task] = TaskRange(array_, begin, end)
        self._of_client.setdefault(array_.client, set()).add(task)
        return task

    def _queue(self, tasks: list[int], front: bool = True) -> None:
        self._board.queue(self._board.life.apply(TaskEvent.UNBLOCK, array("I", tasks)), front=front)

    def mark_divisible(self, tasks: Iterable[int]) -> None:
        """These go into the queue: what is a range of several items is to be divided before it is assigned."""
        for task in tasks:
            found = self._of_task.get(task)
            if found is not None:
                self._set_own_cost(task, DIVISIBLE if len(found) > 1 else 0)

    def _set_own_cost(self, task: int, cost: int) -> None:
        fill(self.own_costs, array("I", [task]), cost)

    def forget(self, task: int) -> TaskRange | None:
        """The task is gone."""
        found = self._of_task.pop(task, None)
        if found is not None:
            self._set_own_cost(task, 0)
            mine = self._of_client[found.whole.client]
            mine.discard(task)
            if not mine:
                del self._of_client[found.whole.client]
        return found

    # ---- giving out

    def divide(self, task: int) -> None:
        """Cut pieces off a queued range for which there is room; they go before it."""
        board, found = self._board, self._of_task[task]
        mean = board.functions.mean_us(found.whole.function)
        slots, last = board.loads.total_slots, len(board.queues) == 1
        pieces: list[int] = []
        for _ in range(max(1, board.loads.idle_slots)):
            count = piece_items(mean, len(found), slots, last)
            if count == len(found):
                self._set_own_cost(task, self._cost(mean, count))
                break
            piece = self._new(found.whole, found.begin, found.begin + count)
            found.begin += count
            pieces.append(piece)
        self._queue(pieces)
        for piece in pieces:
            self._set_own_cost(piece, self._cost(mean, len(self._of_task[piece])))

    def _cost(self, mean: float | None, count: int) -> int:
        return 0 if mean is None else min(int(mean * count) + OVERHEAD_US, DIVISIBLE - 1)

    # ---- results, and what may go wrong

    def advance(self, task: int, count: int) -> None:
        """The first items of a range that is with a worker have ended; it ends with the last."""
        found = self._of_task[task]
        found.begin += count
        if found.begin == found.end:
            self._board.finish_range(task)

    def trim(self, task: int, kept: int) -> None:
        """Its worker keeps so many items, counted from its assignment; the others are queued."""
        found = self._of_task[task]
        end = found.assigned + kept
        if not found.begin <= end <= found.end:
            raise ProtocolError(f"a range of {found.end - found.assigned} items cannot be trimmed to {kept}")
        if end < found.end:
            self._queue([self._new(found.whole, end, found.end)])
            found.end = end
        if found.begin == found.end:
            self._board.finish_range(task)

    def first_alone(self, task: int) -> int:
        """Make the first item of a range a task of its own, in state waiting, and go on with the others."""
        found = self._of_task[task]
        single = self._new(found.whole, found.begin, found.begin + 1)
        self.advance(task, 1)
        return single

    def isolate(self, task: int, item: int) -> int | None:
        """Its executor died: queue all items again but the one that ran, counted from the assignment of the range.

        Returns that item as a task of its own, in state waiting; None when it had ended already. Raises ProtocolError for an
        item that is not in the range.
        """
        found = self._of_task[task]
        place = found.assigned + item
        if place >= found.end:
            raise ProtocolError(f"a range of {found.end - found.assigned} items has no item {item}")
        if place < found.begin:
            self._board.requeue(array("I", [task]))
            return None
        before = [self._new(found.whole, found.begin, place)] if found.begin < place else []
        single = self._new(found.whole, place, place + 1)
        found.begin = place + 1
        if len(found):
            self._board.requeue(array("I", [task]))
        else:
            self._board.finish_range(task)
        self._queue(before)
        return single

    def halve(self, task: int) -> None:
        """It may have ended its worker, which of its items is not known: queue it in two parts."""
        found = self._of_task[task]
        middle = (found.begin + found.end) // 2
        first = self._new(found.whole, found.begin, middle)
        found.begin = middle
        self._board.requeue(array("I", [task]))
        self._queue([first])

    def take_out(self, client: int, sequence: int, count: int, id: int) -> int | None:
        """Make queued items a range of their own, with this id, in state waiting. None where they are not in one queued range."""
        for task, found in self.within(client, sequence, sequence + count):
            begin = sequence - found.whole.first_sequence
            if begin < found.begin or begin + count > found.end or self._board.life.state(task) != TaskState.READY:
                continue
            taken = self._new(found.whole, begin, begin + count, id)
            self._of_task[taken].assigned = begin
            if found.begin < begin:
                self._queue([self._new(found.whole, found.begin, begin)])
            found.begin = begin + count
            if not len(found):
                self._board.drop_range(task)
            return taken
        return None

    # ---- asked

    def within(self, client: int, begin: int, end: int) -> list[tuple[int, TaskRange]]:
        """The ranges of a client that have an item with one of the sequences from ``begin`` up to ``end``."""
        return [
            (task, found)
            for task in self._of_client.get(client, ())
            if (found := self._of_task[task]).sequence < end and begin < found.sequence + len(found)
        ]

    def more_items(self, client: int) -> int:
        """How many more items than ranges a client has."""
        return sum(len(self._of_task[task]) - 1 for task in self._of_client.get(client, ()))

    def more_in_state(self) -> Counter[int]:
        """How many more items than ranges are in each state."""
        more: Counter[int] = Counter()
        for task, found in self._of_task.items():
            more[self._board.life.state(task)] += len(found) - 1
        return more

    def __iter__(self) -> Iterator[int]:
        return iter(self._of_task)

    def check(self) -> None:
        for task, found in self._of_task.items():
            state = self._board.life.state(task)
            assert 0 <= found.begin < found.end <= len(found.whole), task
            assert task in self._of_client[found.whole.client]
            if state == TaskState.READY and len(found) > 1:
                assert self.own_costs[task], task
        assert sum(map(len, self._of_client.values())) == len(self._of_task)
        assert all(not cost or task in self._of_task for task, cost in enumerate(self.own_costs))
