"""Results of tasks that succeeded, as long as dependents need them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scaler.messages import Inputs, ResultStatus
from scaler.scheduler.life import TaskState

if TYPE_CHECKING:
    from scaler.scheduler.board import Board


class KeptResults:
    """By task: status and payload. Part of the board, of which it sees everything."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._results: dict[int, tuple[int, bytes]] = {}
        self._stored: set[int] = set()
        """Of these, those in the object storage."""

    def keep(self, task: int, status: int, payload: bytes) -> None:
        self._results[task] = status, payload
        if status == ResultStatus.stored:
            self._stored.add(task)

    def get(self, task: int) -> tuple[int, bytes] | None:
        """(status, payload)."""
        return self._results.get(task)

    def pop(self, task: int) -> tuple[int, bytes] | None:
        """It is not kept any more."""
        self._stored.discard(task)
        return self._results.pop(task, None)

    def drop(self, task: int) -> None:
        """Nothing needs it any more."""
        kept = self.pop(task)
        if kept is not None:
            self._board.drop_result(task, *kept)

    def drop_inputs(self, tasks: Iterable[int]) -> None:
        """These have ended: free what they took and nothing else will take, of what is in the object storage."""
        if not self._stored:
            return
        graph = self._board.graph
        for task in tasks:
            for dependency in self._stored.intersection(graph.dependencies(task)):
                if not graph.unfinished_users(dependency) and not self._board.wanted(dependency):
                    self.drop(dependency)

    def was_dropped(self, task: int) -> bool:
        """Whether it succeeded, and its result was freed."""
        return task not in self._results and self._board.life.state(task) == TaskState.SUCCEEDED

    def inputs(self, tasks: array[int]) -> Inputs:
        """What these tasks take, in columns."""
        ends = array("I")
        statuses = bytearray()
        payloads: list[bytes] = []
        for task in tasks:
            for dependency in self._board.graph.dependencies(task):
                status, payload = self._results[dependency]
                statuses.append(status)
                payloads.append(payload)
            ends.append(len(payloads))
        return Inputs(ends, bytes(statuses), payloads) if payloads else Inputs()

    def input_bytes(self, task: int) -> int:
        """What the inputs of a task come to where they travel with it."""
        return sum(len(self._results[dependency][1]) for dependency in self._board.graph.dependencies(task))

    def check(self) -> None:
        board = self._board
        assert self._stored == {task for task, (status, _) in self._results.items() if status == ResultStatus.stored}
        assert all(board.life.state(task) == TaskState.SUCCEEDED for task in self._results)
        for task in range(board.slots.capacity):
            assert not (self.was_dropped(task) and board.graph.unfinished_users(task)), task
