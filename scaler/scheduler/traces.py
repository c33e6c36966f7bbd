"""Tasks that belong to a trace: their contexts go with them, and it is noted how long they waited."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaler.errors import ProtocolError
from scaler.ids import task_label
from scaler.messages import TaskOptions
from scaler.scheduler.placement import Placement

if TYPE_CHECKING:
    from scaler.scheduler.board import Board

MOST_CONTEXT = 8192
"""Bytes of a context that a client may send."""


def check_context(options: TaskOptions) -> None:
    """Raises ProtocolError for a context that is too long."""
    if len(options.trace_context) > MOST_CONTEXT:
        raise ProtocolError(f"a trace context of {len(options.trace_context)} characters; at most {MOST_CONTEXT}")


@dataclass(frozen=True, slots=True)
class Waited:
    """A traced task was given to a worker. Times are Unix seconds."""

    context: str
    name: str
    came: float
    assigned: float
    attributes: Mapping[str, str | int]


class Traces:
    """By the index of a task. What is not traced is not in here, and costs nothing."""

    def __init__(self, board: Board) -> None:
        self.on = False
        """Whether somebody wants to hear of ``waits``."""
        self._waits: list[tuple[int, Waited]] = []
        self._came: dict[int, tuple[str, float]] = {}
        """Context, and when it came, of single tasks; arrays have their own."""
        self._board = board

    def came(self, tasks: Iterable[int], options: TaskOptions) -> None:
        """These were submitted."""
        now = self._board.clock.now
        self._came.update((task, (options.trace_context, now)) for task in tasks)

    def forget(self, tasks: Iterable[int]) -> None:
        """They are gone."""
        for task in tasks if self._came else ():
            self._came.pop(task, None)

    def placed(self, placement: Placement, tasks: array[int]) -> None:
        """Put the contexts of these into what their worker is told."""
        if not self._came and not len(self._board.ranges):
            return
        contexts = [self._of(task) for task in tasks]
        if not any(context for context, _ in contexts):
            return
        placement.trace_contexts = [context for context, _ in contexts]
        for place, (context, came) in enumerate(contexts):
            if self.on and context and came is not None:
                self._note(placement, place, context, came)

    def _of(self, task: int) -> tuple[str, float | None]:
        """The context of a task, and since when it has waited; of an array only its begin has waited."""
        items = self._board.ranges.get(task)
        if items is None:
            return self._came.get(task, ("", None))
        return items.whole.options.trace_context, None if items.begin else items.whole.came

    def _note(self, placement: Placement, place: int, context: str, came: float) -> None:
        clock, name = self._board.clock, self._board.functions.name(placement.functions[place])
        attempt = placement.attempts[place]
        attributes: dict[str, str | int] = {"scaler.task": task_label(placement.ids[place]), "scaler.attempt": attempt}
        began, ended = came + clock.unix_offset, clock.now + clock.unix_offset
        self._waits.append((placement.worker, Waited(context, name, began, ended, attributes)))

    def take(self) -> list[tuple[int, Waited]]:
        """How long traced tasks have waited that were given to workers (by number) since this was asked."""
        waits, self._waits = self._waits, []
        return waits
