"""Loads: what every worker holds, and which worker should have the next task, in constant time."""

from array import array
from typing import Self, final

from typing_extensions import Buffer

@final
class Loads:
    """Workers (small dense integers given by the caller) and the tasks assigned to each.

    Methods raise ValueError for an unknown worker, except foreign().

    A worker belongs to a *group* (workers offering the same capabilities), and a requirement class can run on some
    groups. A worker has ``slots`` (tasks it runs at once). A task that waits for others may *lend* its slot. ``held`` counts
    a worker's assigned tasks; ``busy`` those of them that do not lend, and ``backlog`` sums the estimated costs of these in
    microseconds.

    A worker *has room* while it is not draining and
    busy < slots (an idle slot), or busy < 2 * slots (one ahead per slot),
    or backlog / slots < target_us and busy < slots + queue_limit.

    Its *level* is 0 with an idle slot, else 1 + floor(backlog / slots * 30 / target_us), at most 31. Workers with room
    stand, per group, in one list for each level; the worker chosen next is the front of the lowest non-empty list,
    and one that gets or gives up a task, or has one that begins or ends to lend, goes to the end of the list of its
    level, so equals take turns.
    """

    def __new__(cls, target_us: int) -> Self:
        """``target_us``: how much work, in microseconds per slot, may be held by a worker at most (u32, not 0)."""
    def add_worker(self, worker: int, slots: int, group: int, queue_limit: int) -> None:
        """Raises ValueError if it is known, slots < 1 or slots > 2**26."""
    def remove_worker(self, worker: int) -> array[int]:
        """Forget a worker; returns the tasks it held, first assigned first, which are unassigned now."""
    def drain(self, worker: int) -> None:
        """Give this worker nothing more; what it holds stays."""
    def set_classes(self, requirement_class: int, groups: Buffer) -> None:
        """Say on which groups (u32 column) tasks of this class can run; replaces what was said before."""
    def runnable(self, requirement_class: int) -> bool:
        """Whether some present, not draining worker is in a group of this class."""
    def choose(self, requirement_class: int) -> int:
        """The worker that should get the next task of the class, slots.NONE if none has room. Changes nothing.

        Among the groups of the class: the lowest level; equal levels: the group named first in set_classes.
        """
    def assign(self, task: int, worker: int, cost_us: int) -> None:
        """Raises ValueError if the task is assigned already or the worker is unknown. Room is not asked for here.

        ``cost_us`` is a u32 number.
        """
    def set_lending(self, task: int, lends: bool) -> None:
        """Say whether a task lends its slot, which ends with the assignment. Raises ValueError if it is not assigned."""
    def lends(self, task: int) -> bool: ...
    def release(self, tasks: Buffer) -> None:
        """These tasks (u32 column) are held by nobody any more; those not assigned are passed over."""
    def worker_of(self, task: int) -> int:
        """slots.NONE if it is not assigned."""
    def foreign(self, worker: int, tasks: Buffer) -> array[int]:
        """Positions (u32 column) in ``tasks`` that this worker does not hold (slots.NONE included). Usually empty.

        An unknown worker holds nothing.
        """
    def held_tasks(self, worker: int) -> array[int]:
        """Its tasks, first assigned first (u32 column)."""
    def held(self, worker: int) -> int: ...
    def busy(self, worker: int) -> int:
        """How many of its tasks do not lend their slots."""
    def newest(self, worker: int) -> int:
        """The task that was assigned to it last and is still there, slots.NONE if it holds none."""
    def backlog(self, worker: int) -> int: ...
    def slots(self, worker: int) -> int: ...
    def group(self, worker: int) -> int: ...
    def level(self, worker: int) -> int: ...
    def has_room(self, worker: int) -> bool: ...
    @property
    def total_slots(self) -> int:
        """Of all workers, draining ones included."""
    @property
    def idle_slots(self) -> int:
        """Slots without a task, or lent, over all workers that are not draining, in constant time."""
    @property
    def workers(self) -> array[int]:
        """The workers, ascending (u32 column)."""
    def __len__(self) -> int:
        """How many workers."""
    def check(self) -> None: ...
