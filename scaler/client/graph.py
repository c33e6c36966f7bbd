"""Graphs: from a dict of keys to tasks with numbered dependencies.

The form is dask's: a key stands for a constant, for another key (an alias), for a list of such, or for a *task*, a tuple
with a callable, or a key that gives one, in front. Arguments of a task may be keys, tasks and lists of these; all else is
a literal.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaler._core.graph import find_cycle
from scaler.errors import CycleError, GraphError, MissingKeyError
from scaler.serialization import Call, Input


@dataclass(slots=True)
class Node:
    """A task of the graph."""

    key: Hashable
    function: Callable[..., Any]
    template: list[Any]
    """Its arguments, with Input(i) for the result of ``dependencies[i]``."""
    dependencies: list[int]
    """Positions in Plan.nodes."""
    wanted: bool = False


@dataclass(slots=True)
class Plan:
    """What has to run for the keys that were asked for."""

    nodes: list[Node] = field(default_factory=list)
    """Dependencies before dependents."""
    constants: dict[Hashable, Any] = field(default_factory=dict)
    """Keys asked for that need no task."""
    places: dict[Hashable, int] = field(default_factory=dict)
    """Keys asked for that do: positions in ``nodes``."""


def apply(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that came as a result."""
    return function(*args)


def identity(value: Any) -> Any:
    """For keys that stand for a list of other keys."""
    return value


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def plan(graph: Mapping[Any, Any], keys: Sequence[Any]) -> Plan:
    """Check a graph and number what ``keys`` need.

    Raises GraphError for an unhashable key, MissingKeyError for one that is not there, CycleError for a circle; each
    names the keys.
    """
    if not isinstance(graph, Mapping):
        raise GraphError(f"a graph is a dict from keys to tasks, not a {type(graph).__name__}")
    for key in keys:
        if not is_hashable(key):
            raise GraphError(f"the key {key!r} asked for cannot be hashed")
        if key not in graph:
            raise MissingKeyError(f"the key {key!r} asked for is not in the graph")
    return _Planner(graph).plan(keys)


class _Planner:
    def __init__(self, graph: Mapping[Any, Any]) -> None:
        self._graph = graph
        self._plan = Plan()
        self._constants: dict[Hashable, Any] = {}
        self._numbers: dict[Hashable, int] = {}

    def plan(self, keys: Sequence[Any]) -> Plan:
        order = self._order(keys)
        for key in order:
            self._enter(key)
        for key in keys:
            if key in self._numbers:
                self._plan.places[key] = self._numbers[key]
                self._plan.nodes[self._numbers[key]].wanted = True
            else:
                self._plan.constants[key] = self._constants[key]
        return self._plan

    def _order(self, keys: Sequence[Any]) -> list[Hashable]:
        """All keys that are needed, dependencies first."""
        needs: dict[Hashable, list[Hashable]] = {}
        order: list[Hashable] = []
        done: set[Hashable] = set()
        for start in keys:
            stack: list[tuple[Hashable, bool]] = [(start, False)]
            while stack:
                key, left = stack.pop()
                if left:
                    if key not in done:
                        done.add(key)
                        order.append(key)
                elif key not in needs:
                    needs[key] = self._needs(key)
                    stack.append((key, True))
                    stack.extend((need, False) for need in reversed(needs[key]) if need not in done)
        self._refuse_cycles(needs)
        return order

    def _refuse_cycles(self, needs: dict[Hashable, list[Hashable]]) -> None:
        numbers = {key: number for number, key in enumerate(needs)}
        ends, dependencies = array("I"), array("I")
        for wanted in needs.values():
            dependencies.extend(numbers[key] for key in wanted)
            ends.append(len(dependencies))
        cycle = find_cycle(ends, dependencies)
        if cycle:
            names = list(needs)
            path = [names[number] for number in cycle]
            raise CycleError("the graph has a cycle: " + " -> ".join(repr(key) for key in [*path, path[0]]))

    def _needs(self, key: Hashable) -> list[Hashable]:
        """The keys that the value of a key names."""
        found: dict[Hashable, None] = {}
        value = self._graph[key]
        pending = [value] if not self._is_task(value) else list(value)
        while pending:
            entry = pending.pop()
            if self._is_key(entry):
                found[entry] = None
            elif isinstance(entry, list) or self._is_task(entry):
                pending.extend(entry)
        return list(found)

    def _is_key(self, value: Any) -> bool:
        return is_hashable(value) and value in self._graph

    def _is_task(self, value: Any) -> bool:
        """A tuple that is no key itself and begins with a callable, or with a key."""
        if type(value) is not tuple or not value or self._is_key(value):
            return False
        return callable(value[0]) or self._is_key(value[0])

    def _enter(self, key: Hashable) -> None:
        value = self._graph[key]
        dependencies: dict[int, int] = {}
        if self._is_task(value):
            head = self._resolve(value[0], dependencies) if not callable(value[0]) else value[0]
            template = [self._resolve(argument, dependencies) for argument in value[1:]]
            if callable(head) and not isinstance(head, Call):
                self._add(key, head, template, dependencies)
            else:
                self._add(key, apply, [head, *template], dependencies)
            return
        resolved = self._resolve(value, dependencies)
        if isinstance(resolved, Input) and not isinstance(value, list):
            self._numbers[key] = next(iter(dependencies))  # an alias of a task
        elif dependencies or _has_call(resolved):
            self._add(key, identity, [resolved], dependencies)
        else:
            self._constants[key] = resolved

    def _add(
        self, key: Hashable, function: Callable[..., Any], template: list[Any], dependencies: dict[int, int]
    ) -> None:
        self._numbers[key] = len(self._plan.nodes)
        self._plan.nodes.append(Node(key, function, template, list(dependencies)))

    def _resolve(self, value: Any, dependencies: dict[int, int]) -> Any:
        """A value with keys replaced: by constants, or by inputs that are noted in ``dependencies``."""
        if self._is_key(value):
            number = self._numbers.get(value)
            if number is None:
                return self._constants[value]
            return Input(dependencies.setdefault(number, len(dependencies)))
        if isinstance(value, list):
            return [self._resolve(entry, dependencies) for entry in value]
        if self._is_task(value):
            function = value[0] if callable(value[0]) else self._resolve(value[0], dependencies)
            return Call(function, [self._resolve(entry, dependencies) for entry in value[1:]])
        return value


def _has_call(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_call(entry) for entry in value)
    return isinstance(value, Call)
