"""A scheduler's state as JSON, to be looked into and gone on with elsewhere: tests/sim/load.py makes a state of it again.

Everything that the state refers to is written down once, object by object, and refers to others by number; so nothing is left
out because somebody forgot it. The containers of ``_core`` are written as what they hold. What tasks are made of, functions,
arguments and results, are bytes of users: only their lengths are written. Names, texts of errors and lines of the log are in it.
"""

from __future__ import annotations

from array import array
from base64 import b64encode
from collections import Counter, deque
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

from scaler._core.graph import Graph
from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues
from scaler._core.slots import Slots
from scaler.scheduler.board import Board

FORMAT = 1
NAMES = {"client", "identity", "object", "objects", "owner", "worker"}
NAMES |= {"gone", "returned", "_of_owner", "_owners_of_survivors", "_identity", "_objects"}
"""Attributes with bytes that are identities or ids of objects."""
COLUMNS = {
    "attempts",
    "counts",
    "dependencies",
    "dependency_ends",
    "ends",
    "functions",
    "item_ends",
    "numbers",
    "options",
}
COLUMNS |= {"retried", "sequences", "slots", "statuses", "tasks", "wanted", "_statuses"}
COLUMNS |= {"wall_microseconds", "cpu_microseconds", "peak_memory_bytes"}
"""Attributes with bytes that are numbers. All other bytes are taken for users', also those of attributes to come."""
ID_BYTES = 16
Json = Any


def dump(state: Any, now: float, with_payloads: bool = False) -> dict[str, Json]:
    """What json.dumps takes. Raises TypeError for what cannot be written, which a test finds."""
    writer = _Writer(state.board, with_payloads)
    root = writer.value(state)
    return {"format": FORMAT, "now": now, "snapshot": str(state.snapshot()), "root": root, "objects": writer.objects}


class _Writer:
    def __init__(self, board: Board, with_payloads: bool) -> None:
        self.objects: list[Json] = []
        self._board = board
        self._with_payloads = with_payloads
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        """What was made on the way, and has to live as long as its id() names it."""

    def value(self, thing: Any, name: str = "") -> Json:
        """``name`` is that of the attribute where it stands."""
        if thing is None or isinstance(thing, bool | str) or (isinstance(thing, int) and not isinstance(thing, Enum)):
            return thing
        if isinstance(thing, float):
            return thing if thing - thing == 0 else {"float": str(thing)}
        if isinstance(thing, bytes | bytearray | memoryview):
            return self._bytes(bytes(thing), name)
        if isinstance(thing, Enum):
            return {"enum": [_path(type(thing)), thing.value]}
        if isinstance(thing, type | FunctionType):
            return {"known": _path(thing)}
        if isinstance(thing, MethodType):
            return {"method": [self.value(thing.__self__), thing.__name__]}
        return {"ref": self._number(thing, name)}

    def _bytes(self, content: bytes, name: str) -> Json:
        """Without a name it is a key, and one of the length of an id is one."""
        shown = name in COLUMNS or name in NAMES or (not name and len(content) == ID_BYTES)
        if shown or self._with_payloads:
            return {"bytes": b64encode(content).decode()}
        return {"zeros": len(content)}

    def _number(self, thing: Any, name: str) -> int:
        number = self._numbers.get(id(thing))
        if number is None:
            number = self._numbers[id(thing)] = len(self.objects)
            self._kept.append(thing)
            self.objects.append(None)
            self.objects[number] = self._object(thing, name)
        return number

    def _object(self, thing: Any, name: str) -> Json:
        if isinstance(thing, array):
            return ["array", thing.typecode, b64encode(thing.tobytes()).decode()]
        if name == "_payloads" and not self._with_payloads:  # One for each task: as a column.
            lengths = array("q", [-1 if one is None else len(one) for one in thing])
            return ["lengths", b64encode(lengths.tobytes()).decode()]
        if isinstance(thing, deque):
            return ["deque", thing.maxlen, [self.value(one, name) for one in thing]]
        if isinstance(thing, list | tuple | set | frozenset):
            return [type(thing).__name__, [self.value(one, name) for one in thing]]
        if isinstance(thing, dict):
            kind = "Counter" if isinstance(thing, Counter) else "dict"
            return [kind, [[self.value(key), self.value(value, name)] for key, value in thing.items()]]
        core = _CORE.get(type(thing))
        if core is not None:
            return ["core", type(thing).__name__, {key: self.value(v) for key, v in core(thing, self._board).items()}]
        if not type(thing).__module__.startswith("scaler."):
            raise TypeError(f"{thing!r} of {_path(type(thing))} in attribute {name} cannot be written into a dump")
        return ["object", _path(type(thing)), {key: self.value(v, key) for key, v in _attributes(thing).items()}]


def _path(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def _attributes(thing: Any) -> dict[str, Any]:
    names = [name for kind in reversed(type(thing).__mro__) for name in kind.__dict__.get("__slots__", ())]
    return {**{name: getattr(thing, name) for name in names if hasattr(thing, name)}, **getattr(thing, "__dict__", {})}


# ---- what the containers of _core hold


def _alive(board: Board) -> array[int]:
    return array("I", [task for task in range(board.slots.capacity) if board.life.state(task)])


def _slots(slots: Slots, board: Board) -> dict[str, Any]:
    alive = _alive(board)
    return {"capacity": slots.capacity, "tasks": alive, "ids": slots.ids(alive)}


def _lifecycle(life: Lifecycle, board: Board) -> dict[str, Any]:
    tasks = range(board.slots.capacity)
    return {
        "states": array("B", [life.state(task) for task in tasks]),
        "attempts": array("I", [life.attempt(task) for task in tasks]),
    }


def _graph(graph: Graph, board: Board) -> dict[str, Any]:
    tasks, ends, needed, finished = array("I"), array("I"), array("I"), array("I")
    for task in range(board.slots.capacity) if len(graph) else ():
        dependencies = graph.dependencies(task)
        if dependencies:
            tasks.append(task)
            needed.extend(dependencies)
            ends.append(len(needed))
        if graph.finished(task):
            finished.append(task)
    return {"tasks": tasks, "ends": ends, "needed": needed, "finished": finished}


def _queues(queues: ReadyQueues, board: Board) -> dict[str, Any]:
    arrivals = queues.arrivals()
    return {"arrivals": arrivals, "queued": array("B", [task in queues for task in arrivals])}


def _loads(loads: Loads, board: Board) -> dict[str, Any]:
    held = {worker: loads.held_tasks(worker) for worker in loads.workers}
    return {
        "workers": [[worker, loads.slots(worker), loads.group(worker)] for worker in held],
        "held": list(held.values()),
        "lends": array("I", [task for tasks in held.values() for task in tasks if loads.lends(task)]),
    }


_CORE: dict[type, Any] = {Slots: _slots, Lifecycle: _lifecycle, Graph: _graph, ReadyQueues: _queues, Loads: _loads}
