"""ReadyQueues: one priority FIFO per requirement class; every operation costs the same however much waits."""

from array import array
from typing import Self, final

from typing_extensions import Buffer

@final
class ReadyQueues:
    """Ready tasks (dense indexes) by requirement class (small dense integers) and priority (i32, greater goes first).

    Within a class and priority: first in, first out. Entries carry an arrival number, so heads of different classes
    can be compared. A task may be given its arrival number, its place, before it is ready. Operations are O(1), or O(log p)
    in the number p of distinct priorities of that class, counting each ready task that had a place as one.
    """

    def __new__(cls) -> Self: ...
    def __len__(self) -> int: ...
    def count(self, requirement_class: int) -> int: ...
    def reserve(self, tasks: Buffer) -> None:
        """Keep the places that these (u32 column) would have if they were pushed now, in this order, for when they are.

        A place is given up by remove(), and replaced by a second one. Raises as push does.
        """
    def push(self, tasks: Buffer, requirement_class: int, priority: int) -> None:
        """Append tasks (u32 column), or put them where a place is kept for them.

        Raises ValueError, changing nothing, if one is queued already or named twice.
        """
    def push_front(self, tasks: Buffer, requirement_class: int, priority: int) -> None:
        """Put tasks, in this order, before all others of the same class and priority: they were here earlier.

        So they count as arrived before all that waits in other classes, too. Places kept for them are given up. Raises as
        push does.
        """
    def peek(self, requirement_class: int) -> int:
        """The next task of the class, slots.NONE where there is none."""
    def pop(self, requirement_class: int) -> int:
        """Take the next task of the class, slots.NONE where there is none."""
    def remove(self, tasks: Buffer) -> int:
        """Take these tasks out wherever they are, give up places kept for them; returns how many were queued."""
    def __contains__(self, task: int, /) -> bool: ...
    def ahead(self, task: int) -> int:
        """How many tasks of its class go before a queued one; walks over all of them. Raises ValueError for one not queued."""
    def classes(self) -> array[int]:
        """The classes that have tasks, best head first: higher priority, then earlier arrival (u32 column)."""
    def check(self) -> None: ...
