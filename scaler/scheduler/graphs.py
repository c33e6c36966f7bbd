"""How far graphs are, for monitors: tasks that were submitted with dependencies, counted by the graph that they belong to."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable

from scaler.messages import GraphFacts
from scaler.scheduler.clock import Clock

KEPT_ENDED = 20
MOST_OPEN = 100
"""Beyond so many the others are not counted one by one."""


class Graphs:
    """Costs nothing while there are none, then a step for each of their tasks that comes or ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_task = array("I")
        """The low bits of the number of its graph, 0 for none."""
        self._open: dict[int, GraphFacts] = {}
        self._growing: set[int] = set()
        """Those of which more parts are to come."""
        self._ended: deque[GraphFacts] = deque(maxlen=KEPT_ENDED)
        self._numbers = 0

    def __bool__(self) -> bool:
        """Whether any is not finished."""
        return bool(self._open)

    # ---- told

    def enter(self, client: bytes, tasks: array[int], dependencies: Iterable[int], name: str, current: int) -> int:
        """These new tasks belong together, and to the graph of what they depend on, or to ``current``; returns its number.

        0 where there are too many graphs.
        """
        number = current if current in self._open else next(filter(None, map(self._of, dependencies)), 0)
        if not number:
            if len(self._open) >= MOST_OPEN:
                return 0
            self._numbers += 1
            number = self._numbers
            self._open[number] = GraphFacts(
                number, client, 0, submitted_unix_milliseconds=self._clock.unix_milliseconds
            )
        facts = self._open[number]
        facts.tasks += len(tasks)
        facts.name = name
        if tasks:
            self._make_room(max(tasks))
        for task in tasks:
            self._of_task[task] = number
        return number

    def more_to_come(self, number: int, more: bool) -> None:
        """Whether other parts of this graph follow: until then it has not ended."""
        if more:
            self._growing.add(number)
        else:
            self._growing.discard(number)
            self._end_if_done(number)

    def succeeded(self, tasks: Iterable[int]) -> None:
        for number in filter(None, map(self._of, tasks)):
            self._open[number].finished += 1
            self._end_if_done(number)

    def failed(self, tasks: Iterable[int]) -> None:
        """They ended otherwise, or were cancelled."""
        for number in filter(None, map(self._of, tasks)):
            self._open[number].failed += 1
            self._end_if_done(number)

    def reopened(self, task: int) -> None:
        """It succeeded, its result is lost, and it runs again."""
        number = self._of(task)
        if number:
            self._open[number].finished -= 1

    def forget(self, tasks: Iterable[int]) -> None:
        """Their indexes will be those of others."""
        size = len(self._of_task)
        for task in tasks:
            if task < size:
                self._of_task[task] = 0

    # ---- asked

    def facts(self, held: Iterable[array[int]]) -> list[GraphFacts]:
        """All that are open, and the last that ended. ``held``: the tasks of each worker."""
        for facts in self._open.values():
            facts.assigned = 0
        for tasks in held if self._open else ():
            for number in filter(None, map(self._of, tasks)):
                self._open[number].assigned += 1
        return [*self._ended, *self._open.values()]

    def tasks(self, number: int) -> array[int]:
        """Of a graph those that are there. Looks at every index: for people who ask."""
        if not number or number not in self._open:
            return array("I")
        return array("I", [task for task, of in enumerate(self._of_task) if of == number])

    # ---- inside

    def _of(self, task: int) -> int:
        number = self._of_task[task] if task < len(self._of_task) else 0
        return number if number in self._open else 0

    def _make_room(self, task: int) -> None:
        missing = task + 1 - len(self._of_task)
        if missing > 0:
            self._of_task.frombytes(bytes(4 * max(missing, len(self._of_task) // 2)))

    def _end_if_done(self, number: int) -> None:
        facts = self._open.get(number)
        if facts is not None and facts.finished + facts.failed >= facts.tasks and number not in self._growing:
            facts.ended_unix_milliseconds = self._clock.unix_milliseconds
            facts.assigned = 0
            self._ended.append(self._open.pop(number))
