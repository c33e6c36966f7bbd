"""Graphs: from a dict of keys to tasks with numbered dependencies, in the order in which they should run.

The form is dask's: a key stands for a constant, for another key (an alias), for a list of such, or for a *task*, a tuple
with a callable, or a key that gives one, in front. Arguments of a task may be keys, tasks and lists of these; all else is
a literal. Where dask's own task objects stand, ``scaler.client.dask`` reads them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scaler._core import analysis as core_analysis
from scaler.client.graph_entry import Entry, EntryReader, apply, has_call, identity, substitute
from scaler.errors import ConfigurationError, CycleError, GraphError, MissingKeyError
from scaler.serialization import Call, Input


class Analysis(Protocol):
    """Who analyses graphs given as columns: see ``scaler._core.analysis``, which is one."""

    def run_order(self, ends: array[int], dependencies: array[int], /) -> array[int]: ...

    def find_cycle(self, ends: array[int], dependencies: array[int], /) -> array[int]: ...

    def needed(self, ends: array[int], dependencies: array[int], targets: array[int], /) -> array[int]: ...


@dataclass(slots=True)
class Node:
    """A task of the graph."""

    key: Hashable
    function: Callable[..., Any]
    args: list[Any]
    """With Input(i) for the result of ``dependencies[i]``."""
    kwargs: dict[str, Any]
    dependencies: Sequence[int]
    """Positions in Plan.nodes."""
    wanted: bool = False


@dataclass(slots=True)
class Plan:
    """What has to run for the keys that were asked for."""

    nodes: list[Node] = field(default_factory=list)
    """Longest chain first, so dependencies stand before dependents."""
    constants: dict[Hashable, Any] = field(default_factory=dict)
    """Keys asked for that need no task."""
    places: dict[Hashable, int] = field(default_factory=dict)
    """Keys asked for that do: positions in ``nodes``."""


def analysis_engine(name: str) -> Analysis:
    """The analysis that an option names. Raises ConfigurationError for other names, ExtraMissingError for a missing extra."""
    if name == "core":
        return core_analysis
    if name == "graphblas":
        from scaler.client import graphblas_analysis

        return graphblas_analysis
    raise ConfigurationError(f"graph_engine={name!r} is not known; there are 'core' and 'graphblas'")


def plan(
    graph: Mapping[Any, Any],
    keys: Iterable[Any],
    share: Callable[[Any], Any] = identity,
    analysis: Analysis = core_analysis,
) -> Plan:
    """Check a graph and number what ``keys`` need.

    ``share`` is asked what stands for a constant in the arguments of tasks, once for each, after all checks.

    Raises GraphError for keys that cannot be hashed and what is no graph, MissingKeyError for a key that is not there,
    CycleError for a circle; each names the keys.
    """
    if not isinstance(graph, Mapping):
        raise GraphError(f"a graph is a dict from keys to tasks, not a {type(graph).__name__}")
    if isinstance(keys, str | bytes):
        raise GraphError(f"the keys asked for are a list; did you mean [{keys!r}]?")
    chosen = list(keys)
    for key in chosen:
        _check_key(graph, key, keys)
    return _Planner(graph, share, analysis).plan(chosen)


def _check_key(graph: Mapping[Any, Any], key: Any, keys: Any) -> None:
    try:
        known = key in graph
    except TypeError:
        raise GraphError(f"the key {key!r} asked for cannot be hashed") from None
    if not known:
        hint = f"; did you mean [{keys!r}]?" if isinstance(keys, tuple) and keys in graph else ""
        raise MissingKeyError(f"the key {key!r} asked for is not in the graph{hint}")


class _Planner:
    def __init__(self, graph: Mapping[Any, Any], share: Callable[[Any], Any], analysis: Analysis) -> None:
        self._graph = graph
        self._share = share
        self._analysis = analysis
        self._reader = EntryReader(graph)
        self._entries: dict[int, Entry] = {}
        self._constants: dict[int, Any] = {}
        self._shared: dict[int, Any] = {}
        """What stands for a constant in arguments."""
        self._places: dict[int, int] = {}
        """Entries, aliases too, to positions in the nodes."""
        self._nodes: list[Node] = []
        self._direct = True
        """Whether every entry has become a node with the same dependencies."""

    def plan(self, keys: Sequence[Any]) -> Plan:
        targets = list(dict.fromkeys(self._reader.number(key) for key in keys))
        for number in self._order(targets):
            self._enter(number, self._entries[number])
        self._put_in_order()
        made = Plan(self._nodes)
        for key in keys:
            number = self._reader.numbers[key]
            if number in self._places:
                made.places[key] = self._places[number]
                made.nodes[self._places[number]].wanted = True
            else:
                made.constants[key] = self._constants[number]
        return made

    # ---- what is needed, dependencies first

    def _order(self, targets: list[int]) -> Iterable[int]:
        """The numbers of all keys that are needed, dependencies first. Raises MissingKeyError and CycleError."""
        if self._analysis is core_analysis:
            self._read(targets)  # reads no more than what is needed
            chosen: Sequence[int] = list(self._entries)
        else:
            self._read([self._reader.number(key) for key in self._graph])
            chosen = self._analysis.needed(*self._columns(range(len(self._entries))), array("I", targets))
        for number in chosen:
            if self._entries[number].missing:
                path = self._path(targets, number)
                raise MissingKeyError(
                    f"a key that is needed is not in the graph: {_arrows([*path, self._entries[number].missing[0]])}"
                )
        columns = self._columns(chosen)
        try:
            return [chosen[place] for place in self._analysis.run_order(*columns)]
        except ValueError:
            cycle = [self._reader.keys[chosen[place]] for place in self._analysis.find_cycle(*columns)]
            raise CycleError(f"the graph has a cycle: {_arrows([*cycle, cycle[0]])}") from None

    def _read(self, numbers: list[int]) -> None:
        """These, and all that they name."""
        pending = numbers[::-1]
        entries, reader = self._entries, self._reader
        while pending:
            number = pending.pop()
            if number not in entries:
                entry = entries[number] = reader.read(self._graph[reader.keys[number]])
                if entry.needs:
                    pending.extend(reversed(entry.needs))

    def _columns(self, chosen: Sequence[int]) -> tuple[array[int], array[int]]:
        places = array("I", bytes(4 * len(self._reader.keys)))
        for place, number in enumerate(chosen):
            places[number] = place
        ends, dependencies = array("I"), array("I")
        for number in chosen:
            needs = self._entries[number].needs
            if needs:
                dependencies.extend([places[need] for need in needs])
            ends.append(len(dependencies))
        return ends, dependencies

    def _path(self, targets: list[int], end: int) -> list[Any]:
        """The keys from one that was asked for to this one."""
        before: dict[int, int | None] = dict.fromkeys(targets)
        pending = list(targets)
        for number in pending:
            for need in self._entries[number].needs:
                if need not in before:
                    before[need] = number
                    pending.append(need)
        path: list[Any] = []
        step: int | None = end
        while step is not None:
            path.append(self._reader.keys[step])
            step = before[step]
        return path[::-1]

    # ---- nodes

    def _enter(self, number: int, entry: Entry) -> None:
        """What an entry comes to, now that this is known of all it needs: a node, an alias, a constant."""
        function, args, kwargs = entry.function, entry.args, entry.kwargs
        dependencies: Any = ()
        if entry.needs:
            places = self._places
            dependencies = [places.get(need) for need in entry.needs]
            if None in dependencies or len(set(dependencies)) < len(dependencies) or function is None:
                self._direct = False
                dependencies, made = self._inputs(entry.needs, function is None)
                function = substitute(function, made)
                args = substitute(args, made)
                if kwargs:
                    kwargs = {name: substitute(value, made) for name, value in kwargs.items()}
        if function is None:
            self._enter_value(number, args, dependencies)
        elif callable(function) and not isinstance(function, Input | Call):
            self._add(number, function, args, kwargs, dependencies)
        elif isinstance(function, Input | Call):
            self._add(number, apply, [function, *args], kwargs, dependencies)
        else:
            key = self._reader.keys[number]
            raise GraphError(
                f"the key {key!r} is a tuple that begins with a key, so a call of what that key stands for; "
                f"but that is a {type(function).__name__}, which cannot be called"
            )

    def _enter_value(self, number: int, args: list[Any], dependencies: Sequence[int]) -> None:
        value = args[0]
        if isinstance(value, Input):
            self._places[number] = dependencies[value.index]
        elif dependencies or has_call(value):
            self._add(number, identity, args, {}, dependencies)
        else:
            self._direct = False
            self._constants[number] = value

    def _inputs(self, needs: Iterable[int], unchanged: bool) -> tuple[list[int], list[Any]]:
        """(dependencies, what becomes of each input) where some of them are constants, or the same task twice."""
        dependencies: dict[int, int] = {}
        made: list[Any] = []
        for need in needs:
            if need in self._places:
                made.append(Input(dependencies.setdefault(self._places[need], len(dependencies))))
            elif unchanged:
                made.append(self._constants[need])
            else:
                if need not in self._shared:
                    self._shared[need] = self._share(self._constants[need])
                made.append(self._shared[need])
        return list(dependencies), made

    def _add(
        self,
        number: int,
        function: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
        dependencies: Sequence[int],
    ) -> None:
        self._places[number] = len(self._nodes)
        self._nodes.append(Node(self._reader.keys[number], function, args, kwargs, dependencies))

    def _put_in_order(self) -> None:
        """Constants and aliases are no links of a chain: without them the order may be another one."""
        if self._direct:
            return
        ends, dependencies = array("I"), array("I")
        for node in self._nodes:
            dependencies.extend(node.dependencies)
            ends.append(len(dependencies))
        order = self._analysis.run_order(ends, dependencies)
        places = array("I", bytes(4 * len(order)))
        for place, position in enumerate(order):
            places[position] = place
        self._nodes = [self._nodes[position] for position in order]
        for node in self._nodes:
            node.dependencies = [places[position] for position in node.dependencies]
        self._places = {number: places[position] for number, position in self._places.items()}


def _arrows(keys: Iterable[Any]) -> str:
    return " -> ".join(repr(key) for key in keys)
