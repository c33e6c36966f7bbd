"""ReadyQueues: priority FIFOs, by requirement class and share; every operation costs the same however much waits."""

from array import array
from typing import Self, final

from typing_extensions import Buffer

DEPTH_BITS: int
"""So many low bits of a priority order the tasks of one share only."""

@final
class ReadyQueues:
    """Ready tasks (dense indexes) by requirement class (small dense integers), priority (i32, greater goes first) and share.

    Of a class, those go first whose priority is greater without its DEPTH_BITS low bits; then those of the share that has had
    least, by the costs of what was taken; then those of greater priority; then first in, first out. A share, any u32, is whoever
    should get as much as others: it starts where the others are whenever it has tasks again after it had none (start-time fair
    queueing: Goyal, Vin and Cheng, 1996).

    Entries carry an arrival number. A task may be given its arrival number, its place, before it is ready. Operations are
    O(1), or O(log p) in the number p of distinct priorities of that class and share, counting each ready task that had a place as
    one; peek, pop and classes, and a placement pass, are also linear in the pairs of class and share that have tasks.
    """

    def __new__(cls) -> Self: ...
    def __len__(self) -> int: ...
    def count(self, requirement_class: int) -> int: ...
    def reserve(self, tasks: Buffer) -> None:
        """Keep the places that these (u32 column) would have if they were pushed now, in this order, for when they are.

        A place is given up by remove(), and replaced by a second one. Raises as push does.
        """
    def push(self, tasks: Buffer, requirement_class: int, priority: int, share: int = 0) -> None:
        """Append tasks (u32 column), or put them where a place is kept for them.

        Raises ValueError, changing nothing, if one is queued already or named twice.
        """
    def push_front(self, tasks: Buffer, requirement_class: int, priority: int, share: int = 0) -> None:
        """Put tasks, in this order, before all others of the same class, priority and share: they were here earlier.

        So they count as arrived before all that waits in other classes, too. Places kept for them are given up. Raises as
        push does.
        """
    def peek(self, requirement_class: int) -> int:
        """The next task of the class, slots.NONE where there is none."""
    def pop(self, requirement_class: int, cost: int = 1) -> int:
        """Take the next task of the class, slots.NONE where there is none. Its share has had so much more then, at least 1."""
    def remove(self, tasks: Buffer) -> int:
        """Take these tasks out wherever they are, give up places kept for them; returns how many were queued."""
    def __contains__(self, task: int, /) -> bool: ...
    def ahead(self, task: int) -> int:
        """How many tasks of its class and share go before a queued one; walks over all of them.

        Raises ValueError for one not queued.
        """
    def arrivals(self) -> array[int]:
        """All that is queued or has a place (u32 column), first arrived first; for dumps, since it looks at every task."""
    def classes(self) -> array[int]:
        """The classes that have tasks, best head first (u32 column)."""
    def check(self) -> None: ...
