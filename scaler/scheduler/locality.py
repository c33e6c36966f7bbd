"""Which hosts have stored results, so that what takes them is placed where few bytes have to move."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scaler._core.table import fill
from scaler.ids import OBJECT_ID_BYTES
from scaler.messages import ResultStatus

if TYPE_CHECKING:
    from scaler.scheduler.board import Board


class Locality:
    """Of results on hosts that have object storages of their own. Part of the board, of which it sees everything."""

    def __init__(self, board: Board) -> None:
        self.preferred = array("I")
        """By task: the worker to which the fewest bytes have to move, plus one; 0 or missing: no matter."""
        self._board = board
        self._workers: set[int] = set()
        """Those that keep results on their hosts."""
        self._places: dict[int, list[int]] = {}
        """By task: the workers on whose hosts its result is."""

    def __bool__(self) -> bool:
        """Whether there is anything to prefer."""
        return bool(self._workers)

    def worker_came(self, worker: int) -> None:
        """It keeps results on its host."""
        self._workers.add(worker)

    def worker_left(self, worker: int) -> None:
        """What is on its host may go with it."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        if not self._workers:
            # Nobody asks from here on, and nothing is forgotten.
            self._places.clear()
            self.preferred = array("I")
        for places in self._places.values():
            if worker in places:
                places.remove(worker)

    def made(self, task: int, worker: int) -> None:
        """A worker made a result that is in an object storage."""
        self._places[task] = [worker] if worker in self._workers else []

    def prefer(self, tasks: Iterable[int]) -> None:
        """Choose for tasks whose inputs are all there."""
        for task in tasks:
            there: Counter[int] = Counter()
            for dependency in self._board.graph.dependencies(task):
                size = self._stored_bytes(dependency)
                for worker in self._places.get(dependency, ()):
                    there[worker] += size
            fill(self.preferred, array("I", [task]), max(there, key=there.__getitem__) + 1 if there else 0)

    def placed(self, worker: int, tasks: Iterable[int]) -> None:
        """These tasks bring their inputs to the host of a worker."""
        if worker not in self._workers:
            return
        for task in tasks:
            for dependency in self._board.graph.dependencies(task):
                places = self._places.get(dependency)
                if places is not None and worker not in places:
                    places.append(worker)

    def forget(self, tasks: array[int]) -> None:
        """They are gone."""
        for task in tasks:
            self._places.pop(task, None)
        fill(self.preferred, tasks, 0)

    def check(self) -> None:
        assert all(self._board.life.state(task) for task in self._places)
        assert all(self._workers.issuperset(places) for places in self._places.values())

    def _stored_bytes(self, task: int) -> int:
        kept = self._board.results.get(task)
        if kept is None or kept[0] != ResultStatus.stored:
            return 0
        return int.from_bytes(kept[1][OBJECT_ID_BYTES : OBJECT_ID_BYTES + 8], "little")
