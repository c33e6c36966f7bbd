"""Balance: one placement pass, and which tasks to ask back from busy workers when slots stand idle."""

from array import array
from typing import Final

from typing_extensions import Buffer

from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues

DIVISIBLE: Final[int]
"""As its own cost: this task is to be divided before it is assigned."""

def place(
    queues: ReadyQueues, loads: Loads, functions: Buffer, costs: Buffer, own_costs: Buffer, preferred: Buffer
) -> tuple[list[tuple[int, array[int]]], int]:
    """Assign ready tasks while a worker has room for them; returns (worker, its new tasks in order) for each worker.

    Takes the best head among the classes (higher priority, then earlier arrival) again and again; a class none of
    whose workers has room is passed over for the rest of the pass and blocks no other class. The cost of task t is
    ``own_costs[t]``, or where that is 0 or missing ``costs[functions[t]]`` (u32 columns; own_costs and functions by dense
    task index). Tasks leave ``queues`` for ``loads``.

    Task t goes to worker ``preferred[t] - 1`` (u32 column; 0 or missing: no matter) if that worker has room, can run it, and no
    slot that could run it is idle elsewhere while that worker has none idle. Else it goes to the least loaded.

    The pass ends at a task whose own cost is DIVISIBLE and for which a worker has room; it is the second thing returned, NONE
    otherwise.

    A task without a cost, or assigned already, ends the pass; if it is the first one, IndexError or ValueError is
    raised and nothing has changed.
    """

def retract(
    loads: Loads, lifecycle: Lifecycle, state: int, classes: Buffer, pending: int
) -> list[tuple[int, array[int]]]:
    """Which tasks to ask back, as (worker, tasks): at most ``idle_slots - pending`` in all, so that idle slots work.

    Only tasks in ``state`` that do not lend their slots, newest first, from workers with more busy tasks than slots
    (draining ones included), and never so many that a worker keeps fewer than its slots. The worker with the greatest
    surplus over its slots (per slot) gives first. A task is taken only if a group on which its class
    (``classes[task]``, u32 column by dense task index) can run has a worker, other than its own, with an idle slot.
    Changes nothing.

    Raises IndexError if ``classes`` is too short for a task in ``state`` that is looked at.
    """
