"""What a worker holds: tasks as the scheduler gave them, and which executor has which."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from scaler._core.claims import Claims
from scaler.ids import u32
from scaler.messages import Inputs, ResultStatus


@dataclass(slots=True, eq=False)
class Task:
    """A task, or a range of several items, as the scheduler gave it."""

    id: int
    attempt: int
    function: int
    payload: bytes
    timeout_us: int
    input_statuses: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    item_ends: bytes = b""
    """Of a range: where each item ends in the payload."""
    sequence: int = 0
    """Of a range: that of the item it began with when it was assigned."""
    count: int = 1
    """Its items; of a trimmed range those that are left to it."""
    done: int = 0
    """Items of which the executor has sent results."""
    base: int = 0
    """Items that an executor before had done."""
    trace_context: str = ""
    """See TaskOptions."""
    function_name: str = ""
    """Of a task that survived its scheduler, whose functions are forgotten."""

    def keep_rest(self) -> None:
        """Drop the items that are done or were trimmed off: another executor gets the others."""
        ends = u32(self.item_ends)
        if not ends or (not self.done and self.count == len(ends)):
            return
        begin, rest = ends[self.done - 1] if self.done else 0, ends[self.done : self.count]
        self.payload = self.payload[begin : rest[-1]]
        self.item_ends = array("I", [end - begin for end in rest]).tobytes() if len(rest) > 1 else b""
        self.base += self.done
        self.count, self.done = len(rest), 0


@dataclass(slots=True, eq=False)
class Executor:
    """What one executor has."""

    number: int
    slot: int = 0
    """Of the worker's slots, for people; one that is lent has a number above them."""
    claims: Claims | None = None
    """None until it has started, and made the call that comes before all tasks."""
    preloaded: bool = False
    sent: dict[int, Task] = field(default_factory=dict)
    """By position, in order: what it has and has not answered."""
    next_position: int = 0
    known: set[int] = field(default_factory=set)
    reported: int = -1
    """The last position reported as started."""
    asked: tuple[int, int] = (-1, -1)
    """The position and item that ran when it was asked for results last."""
    watched: int = -1
    """The position that ran when it was looked at last."""
    killed_for: tuple[int, ResultStatus, str] | None = None
    """(position, status, text): why we are killing it."""
    idle_since: float | None = None
    """Of one beyond the worker's slots: since when it has nothing to do."""

    @property
    def running(self) -> int | None:
        """The position that runs, None when none does."""
        position = None if self.claims is None else self.claims.running
        return position if position in self.sent else None

    def item(self, position: int, task: Task) -> int:
        """Of a range the item that began last, counted from its assignment; 0 of a single task."""
        return 0 if self.claims is None else task.base + self.claims.item(position)


@dataclass(slots=True)
class Pairs:
    """Columns of ids and attempts that grow together."""

    ids: array[int] = field(default_factory=lambda: array("Q"))
    attempts: array[int] = field(default_factory=lambda: array("I"))

    def add(self, id: int, attempt: int) -> None:
        self.ids.append(id)
        self.attempts.append(attempt)


def inputs_of(tasks: list[Task]) -> Inputs:
    """The inputs of these together, as a message has them."""
    if not any(task.inputs for task in tasks):
        return Inputs()
    inputs = Inputs(array("I"), b"".join(task.input_statuses for task in tasks), [])
    for task in tasks:
        inputs.payloads.extend(task.inputs)
        inputs.ends.append(len(inputs.payloads))  # type: ignore[union-attr]
    return inputs
