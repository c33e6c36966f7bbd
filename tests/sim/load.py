"""Makes a scheduler's state of a dump again, as ``scaler.scheduler.dump`` writes them.

Nothing in a dump is code: it names classes of this project, and what their attributes were.
"""

from __future__ import annotations

import importlib
import json
from array import array
from base64 import b64decode
from collections import Counter, deque
from pathlib import Path
from typing import Any

from scaler._core.graph import Graph
from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues
from scaler._core.slots import Slots
from scaler.scheduler.board import TARGET_US, Board
from scaler.scheduler.dump import FORMAT
from scaler.scheduler.life import TaskEvent, TaskState, table
from scaler.scheduler.ranks import signed
from scaler.scheduler.state import SchedulerState

_CORE = ("Slots", "Lifecycle", "Graph", "ReadyQueues", "Loads")


def load_file(path: str | Path) -> tuple[SchedulerState, float]:
    """The state of a dump, and its time. Raises ValueError for a file that is none."""
    return load(json.loads(Path(path).read_text()))


def load(told: dict[str, Any]) -> tuple[SchedulerState, float]:
    """As load_file()."""
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"this is no dump of format {FORMAT}")
    reader = _Reader(told["objects"])
    state = reader.value(told["root"])
    if not isinstance(state, SchedulerState):
        raise ValueError("this is no dump of a scheduler")
    reader.fill(state)
    return state, told["now"]


class _Reader:
    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects
        self._made: dict[int, Any] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        """What the containers of _core hold, by class: there is one of each."""

    def value(self, told: Any) -> Any:
        if not isinstance(told, dict):
            return told
        ((kind, what),) = told.items()
        if kind == "ref":
            return self._made[what] if what in self._made else self._make(what)
        if kind == "bytes":
            return b64decode(what)
        if kind == "zeros":
            return bytes(what)
        if kind == "float":
            return float(what)
        if kind == "enum":
            return _named(what[0])(what[1])
        if kind == "known":
            return _named(what)
        assert kind == "method", kind
        return getattr(self.value(what[0]), what[1])

    def _make(self, number: int) -> Any:
        kind, *rest = self._objects[number]
        made: Any
        if kind == "array":
            made = array(rest[0], b64decode(rest[1]))
        elif kind == "lengths":
            made = [None if n < 0 else bytes(n) for n in array("q", b64decode(rest[0]))]
        elif kind in ("tuple", "frozenset"):
            made = {"tuple": tuple, "frozenset": frozenset}[kind](self.value(one) for one in rest[0])
        elif kind == "core":
            made = self._core(rest[0])
            self._made[number] = made
            self._facts[rest[0]] = {key: self.value(v) for key, v in rest[1].items()}
        else:
            return self._make_mutable(number, kind, rest)
        self._made[number] = made
        return made

    def _make_mutable(self, number: int, kind: str, rest: list[Any]) -> Any:
        """These may refer to themselves."""
        made: Any
        if kind == "object":
            cls = _named(rest[0])
            made = self._made[number] = object.__new__(cls)
            for name, value in rest[1].items():
                object.__setattr__(made, name, self.value(value))
        elif kind == "deque":
            made = self._made[number] = deque(maxlen=rest[0])
            made.extend(self.value(one) for one in rest[1])
        elif kind in ("list", "set"):
            made = self._made[number] = [] if kind == "list" else set()
            for one in rest[0]:
                made.append(self.value(one)) if kind == "list" else made.add(self.value(one))
        else:
            made = self._made[number] = Counter() if kind == "Counter" else {}
            for key, value in rest[0]:
                made[self.value(key)] = self.value(value)
        return made

    def _core(self, name: str) -> Any:
        assert name in _CORE, name
        if name == "Lifecycle":
            return Lifecycle(table(), len(TaskState), len(TaskEvent))
        return (
            {"Slots": Slots, "Graph": Graph, "ReadyQueues": ReadyQueues}[name]()
            if name != "Loads"
            else Loads(TARGET_US)
        )

    # ---- the containers of _core

    def fill(self, state: SchedulerState) -> None:
        """When all the rest is there."""
        board, facts = state.board, self._facts
        _fill_slots(board.slots, facts["Slots"])
        _fill_life(board.life, facts["Lifecycle"])
        _fill_graph(board.graph, facts["Graph"])
        _fill_loads(state, facts["Loads"])
        _fill_queues(board, facts["ReadyQueues"])


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    if module.split(".")[0] != "scaler":
        raise ValueError(f"a dump names {path}, which is nothing of this project")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _fill_slots(slots: Slots, facts: dict[str, Any]) -> None:
    ids = dict(zip(facts["tasks"], facts["ids"], strict=True))
    unused = iter(range((1 << 64) - 1, 0, -1))
    # Indexes are given out in order: those that are free now are taken for a moment.
    column = array("Q", [ids.get(task) or next(unused) for task in range(facts["capacity"])])
    slots.add(column)
    slots.remove(array("I", [task for task in range(facts["capacity"]) if task not in ids]))


def _fill_life(life: Lifecycle, facts: dict[str, Any]) -> None:
    for state in set(facts["states"]) - {0}:
        life.open(array("I", [task for task, other in enumerate(facts["states"]) if other == state]), state)
    for task, attempt in enumerate(facts["attempts"]):
        if facts["states"][task]:
            life.set_attempt(task, attempt)


def _fill_graph(graph: Graph, facts: dict[str, Any]) -> None:
    for task in facts["finished"]:
        graph.mark_finished(task)
    begin = 0
    for task, end in zip(facts["tasks"], facts["ends"], strict=True):
        graph.add(task, facts["needed"][begin:end])
        begin = end


def _fill_loads(state: SchedulerState, facts: dict[str, Any]) -> None:
    loads, board = state.board.loads, state.board
    for (number, slots, group), held in zip(facts["workers"], facts["held"], strict=True):
        session = state.workers.sessions[number]
        loads.add_worker(number, slots, group, session.facts.queue_limit)
        for task in held:
            loads.assign(task, number, board.functions.costs[board.function_of(task)])
        if session.draining:
            loads.drain(number)
    for task in facts["lends"]:
        loads.set_lending(task, True)
    for requirement_class in range(len(board.requirements._needs)):
        board.requirements._connect(requirement_class)


def _fill_queues(board: Board, facts: dict[str, Any]) -> None:
    for task, queued in zip(facts["arrivals"], facts["queued"], strict=True):
        one = array("I", [task])
        if queued:
            board.queues.push(one, board.class_of(task), signed(board._priority[task]), board.share(task))
        else:
            board.queues.reserve(one)
