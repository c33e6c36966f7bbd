"""The life of a task, as one table: which event moves which state where.

    waiting ----> ready ----> assigned ----> running
                    ^            |  ^            |
                    |            v  |            |
                    +------ retracting           |
                    +------- (requeue) ----------+

    and from every one of them to succeeded, failed or cancelled, as far as the table allows. When objects are lost, a task
    that takes one goes back to waiting, and so does the one that made it.

*Waiting*: a dependency has not succeeded yet, or an object is not there; in no queue. *Ready*: in the queue of its class.
*Assigned*: with a worker, begun or not. *Running*: its worker reported that it has run for a while. *Retracting*: its worker
was asked to give it back. *Succeeded*: ended, and kept while dependents need its result. *Failed* and *cancelled* tasks are
forgotten within the pass that ended them, unless something still needs what made its inputs.
"""

from __future__ import annotations

from enum import IntEnum

NO_MOVE = 255


class TaskState(IntEnum):
    NONE = 0
    WAITING = 1
    READY = 2
    ASSIGNED = 3
    RUNNING = 4
    RETRACTING = 5
    SUCCEEDED = 6
    FAILED = 7
    CANCELLED = 8


class TaskEvent(IntEnum):
    UNBLOCK = 0
    """The last dependency succeeded."""
    ASSIGN = 1
    """Given to a worker."""
    START = 2
    """Its worker says that it has run for a while."""
    RETRACT = 3
    """Its worker is asked to give it back."""
    RETURN = 4
    """Its worker gave it back."""
    KEEP = 5
    """Its worker cannot give it back: it has begun."""
    REQUEUE = 6
    """Its worker or executor died, or it failed and may be tried again."""
    SUCCEED = 7
    FAIL = 8
    CANCEL = 9
    BLOCK = 10
    """Something that it takes is gone, and is made again."""
    LOSE = 11
    """Its result is gone, and dependents need it."""


_S, _E = TaskState, TaskEvent

TRANSITIONS: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (_S.WAITING, _E.UNBLOCK): _S.READY,
    (_S.WAITING, _E.FAIL): _S.FAILED,
    (_S.WAITING, _E.CANCEL): _S.CANCELLED,
    (_S.READY, _E.ASSIGN): _S.ASSIGNED,
    (_S.READY, _E.CANCEL): _S.CANCELLED,
    (_S.READY, _E.BLOCK): _S.WAITING,
    (_S.ASSIGNED, _E.START): _S.RUNNING,
    (_S.ASSIGNED, _E.RETRACT): _S.RETRACTING,
    (_S.ASSIGNED, _E.REQUEUE): _S.READY,
    (_S.ASSIGNED, _E.SUCCEED): _S.SUCCEEDED,
    (_S.ASSIGNED, _E.FAIL): _S.FAILED,
    (_S.ASSIGNED, _E.CANCEL): _S.CANCELLED,
    (_S.ASSIGNED, _E.BLOCK): _S.WAITING,
    (_S.RUNNING, _E.START): _S.RUNNING,
    (_S.RUNNING, _E.KEEP): _S.RUNNING,
    (_S.RUNNING, _E.REQUEUE): _S.READY,
    (_S.RUNNING, _E.SUCCEED): _S.SUCCEEDED,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _E.BLOCK): _S.WAITING,
    (_S.RETRACTING, _E.START): _S.RUNNING,
    (_S.RETRACTING, _E.RETURN): _S.READY,
    (_S.RETRACTING, _E.KEEP): _S.RUNNING,
    (_S.RETRACTING, _E.REQUEUE): _S.READY,
    (_S.RETRACTING, _E.SUCCEED): _S.SUCCEEDED,
    (_S.RETRACTING, _E.FAIL): _S.FAILED,
    (_S.RETRACTING, _E.CANCEL): _S.CANCELLED,
    (_S.RETRACTING, _E.BLOCK): _S.WAITING,
    (_S.SUCCEEDED, _E.LOSE): _S.WAITING,
}


def table() -> bytes:
    """TRANSITIONS as ``scaler._core.lifecycle.Lifecycle`` wants it."""
    cells = bytearray([NO_MOVE]) * (len(TaskState) * len(TaskEvent))
    for (state, event), target in TRANSITIONS.items():
        cells[state * len(TaskEvent) + event] = target
    return bytes(cells)
