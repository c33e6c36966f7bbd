"""The snapshot that scaling policies judge by, taken from the board and from who is connected.

It costs a step for each class, worker, function and range, never one for each task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from scaler._core.slots import NONE
from scaler.scheduler.board import Board
from scaler.scheduler.life import TaskState
from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot
from scaler.scheduler.sessions import ManagerSession, WorkerSession


def waiting(board: Board) -> Counter[int]:
    """Ready tasks and items, by class."""
    found = Counter({c: board.queues.count(c) for c in board.queues.classes()})
    for task in board.ranges:
        if board.life.state(task) == TaskState.READY:
            items = board.ranges.get(task)
            found[board.class_of(task)] += len(items) - 1 if items is not None else 0
    return found


class Survey:
    """Takes snapshots. It remembers since when functions without a measured time have run."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._running_since: dict[int, float] = {}

    @property
    def guesses(self) -> bool:
        """Whether something had no measured time at the last snapshot: its estimate grows with time."""
        return bool(self._running_since)

    def take(self, workers: Collection[WorkerSession], managers: Collection[ManagerSession], now: float) -> Snapshot:
        """Of workers that are not draining, and of dynamic managers that have reported."""
        staying = [worker for worker in workers if not worker.draining]
        loads = self._board.loads
        busy = [loads.busy(worker.number) for worker in staying]
        slots = [worker.facts.slots for worker in staying]
        newest = [loads.newest(worker.number) for worker in staying]
        ready = waiting(self._board)
        held = [self._board.class_of(task) if task != NONE else NONE for task in newest]
        places = {c: place for place, c in enumerate(dict.fromkeys([*ready, *(c for c in held if c != NONE)]))}
        numbers = {manager.name: number for number, manager in enumerate(managers)}
        needs = tuple(self._board.requirements.needs(c) for c in places)
        return Snapshot(
            needs,
            tuple(ready[c] for c in places),
            self._seconds(list(places), any(busy), now),
            tuple(slots),
            tuple(map(min, busy, slots)),
            tuple(max(0, tasks - count) for tasks, count in zip(busy, slots, strict=True)),
            tuple(places.get(c, UNMANAGED) for c in held),
            tuple(frozenset(worker.facts.capabilities) for worker in staying),
            tuple(numbers.get(worker.facts.manager_name, UNMANAGED) for worker in staying),
            tuple(numbers),
            tuple(frozenset(manager.facts.capabilities) for manager in managers),
            tuple(manager.most for manager in managers),
            self._starting(workers, managers),
            tuple(manager.desired or 0 for manager in managers),
            tuple(manager.facts.cost_tier for manager in managers),
        )

    @staticmethod
    def _starting(workers: Collection[WorkerSession], managers: Collection[ManagerSession]) -> tuple[int, ...]:
        """What managers count less what is connected: so a report that is a little late counts nothing twice."""
        connected: Counter[str] = Counter()
        for worker in workers:
            connected[worker.facts.manager_name] += worker.facts.slots
        return tuple(
            max(0, manager.report.starting_slots + manager.report.running_slots - connected[manager.name])
            for manager in managers
        )

    # ---- how long tasks take

    def _seconds(self, classes: list[int], any_busy: bool, now: float) -> tuple[float, ...]:
        """One class has the mean over all functions with tasks; of several each has that of its next task's function."""
        means = self._means(any_busy, now)
        overall = self._overall(means)
        if len(classes) == 1:
            return (overall,)
        return tuple(self._of_next(c, means, overall) for c in classes)

    def _means(self, any_busy: bool, now: float) -> dict[int, tuple[int, float]]:
        """Number to (tasks, seconds) of functions in use."""
        means, unmeasured = {}, {}
        for number, uses, mean_us in self._board.functions.in_use():
            if mean_us is None:
                if any_busy:
                    unmeasured[number] = self._running_since.get(number, now)
                means[number] = uses, now - unmeasured.get(number, now)
            else:
                means[number] = uses, mean_us / 1e6
        self._running_since = unmeasured
        return means

    def _overall(self, means: dict[int, tuple[int, float]]) -> float:
        weights = Counter({number: uses for number, (uses, _) in means.items()})
        for task in self._board.ranges:
            items = self._board.ranges.get(task)
            if items is not None:
                weights[items.whole.function] += len(items) - 1
        total = sum(weights.values())
        return sum(weight * means[number][1] for number, weight in weights.items()) / total if total else 0.0

    def _of_next(self, requirement_class: int, means: dict[int, tuple[int, float]], overall: float) -> float:
        task = self._board.queues.peek(requirement_class)
        return means[self._board.function_of(task)][1] if task != NONE else overall
