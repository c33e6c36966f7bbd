"""Lifecycle: the state and attempt number of every task, moved in whole columns by a transition table."""

from array import array
from typing import final

from typing_extensions import Buffer

@final
class Lifecycle:
    """One byte of state and one u32 attempt number for each dense index.

    ``table`` has ``states * events`` bytes; ``table[state * events + event]`` is the next state, 255 where the event
    does not apply. State 0 means "no task here".
    """

    def __new__(cls, table: bytes, states: int, events: int) -> Lifecycle:
        """Raises ValueError when the table has the wrong length or names a state that does not exist.

        Also for more than 128 states.
        """
    def open(self, tasks: Buffer, state: int) -> None:
        """Begin the life of these indexes (u32 column) in ``state``, attempt 0.

        Raises ValueError, changing nothing, if one is not in state 0 or stands twice.
        """
    def apply(self, event: int, tasks: Buffer) -> array[int]:
        """Move each task the table lets move; returns those that moved, in order (u32 column). Others stay."""
    def bump(self, tasks: Buffer) -> array[int]:
        """Add one to the attempt number of each task; returns the new numbers (u32 column)."""
    def set_attempt(self, task: int, attempt: int) -> None:
        """Give a task the attempt number (u32) that it has elsewhere. Raises ValueError for one in state 0."""
    def attempts(self, tasks: Buffer) -> array[int]:
        """The attempt number of each task (u32 column)."""
    def stale(self, tasks: Buffer, attempts: Buffer) -> array[int]:
        """Positions (u32 column) in ``tasks`` which are slots.NONE, in state 0, or whose attempt number is another one.

        A position whose task stands earlier in the same column counts as stale as well. Empty in the usual case.
        """
    def state(self, task: int) -> int:
        """The state of one task; 0 for an index never opened."""
    def attempt(self, task: int) -> int: ...
    def count(self, state: int) -> int:
        """How many tasks are in this state, in constant time (not meaningful for state 0)."""
    def close(self, tasks: Buffer) -> None:
        """Put these tasks back to state 0."""
    def check(self) -> None: ...
