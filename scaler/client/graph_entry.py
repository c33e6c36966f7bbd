"""What one key of a graph stands for, read into a template: a call or a value with placeholders for other keys."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from scaler.serialization import Call, Input

_NOTHING: dict[Any, Any] = {}
"""For what most entries do not have. Never written to."""


class Entry:
    """One key's value, read."""

    __slots__ = ("args", "function", "kwargs", "missing", "needs")

    def __init__(self) -> None:
        self.function: Any = None
        """What is called: a callable, or an Input or a Call that gives one; None for a value, which is ``args[0]``."""
        self.args: list[Any]
        self.kwargs: dict[str, Any] = _NOTHING
        self.needs: dict[int, int] = _NOTHING
        """The numbers of the keys that it names, each with the number of the Input that stands for it."""
        self.missing: tuple[Hashable, ...] = ()
        """Keys that it names explicitly and are not in the graph."""


class EntryReader:
    """Reads entries, and numbers the keys that they name in the order met."""

    def __init__(self, graph: Mapping[Any, Any]) -> None:
        self.keys: list[Hashable] = []
        self.numbers: dict[Hashable, int] = {}
        self._graph = graph
        # dask's task objects can only be there if dask is.
        self._dask: Any = None
        if "dask._task_spec" in sys.modules:
            from scaler.client import dask

            self._dask = dask

    def number(self, key: Hashable) -> int:
        """The number of a key."""
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.keys)
            self.keys.append(key)
        return number

    def read(self, value: Any) -> Entry:
        """A key's value."""
        entry = Entry()
        if type(value) is tuple and value and not self._is_key(value):
            head = value[0]
            if callable(head) or self._is_key(head):
                entry.function = head if callable(head) else self.refer(head, entry)
                entry.args = [self.template(argument, entry) for argument in value[1:]]
                return entry
        elif self._dask is not None and self._dask.is_node(value):
            self._dask.read(value, entry, self)
            return entry
        made = self.template(value, entry)
        entry.args = [made if entry.needs or has_call(made) else value]
        return entry

    def template(self, value: Any, entry: Entry) -> Any:
        """A value with what stands for keys and calls replaced."""
        try:
            if value in self._graph:
                return self.refer(value, entry)
        except TypeError:  # it cannot be hashed
            pass
        if isinstance(value, list):
            return [self.template(part, entry) for part in value]
        if type(value) is tuple and value:
            head = value[0]
            if callable(head) or self._is_key(head):
                function = head if callable(head) else self.refer(head, entry)
                return Call(function, [self.template(part, entry) for part in value[1:]])
        elif self._dask is not None and self._dask.is_node(value):
            return self._dask.template(value, entry, self)
        return value

    def refer(self, key: Hashable, entry: Entry) -> Input:
        """A placeholder for what a key of the graph gives."""
        needs = entry.needs
        if needs is _NOTHING:
            needs = entry.needs = {}
        return Input(needs.setdefault(self.number(key), len(needs)))

    def refer_surely(self, key: Hashable, entry: Entry) -> Input | None:
        """A placeholder for what can be nothing but a key; notes it where it is not in the graph."""
        if self._is_key(key):
            return self.refer(key, entry)
        entry.missing = (*entry.missing, key)
        return None

    def _is_key(self, value: Any) -> bool:
        try:
            return value in self._graph
        except TypeError:  # it cannot be hashed
            return False


def substitute(template: Any, made: list[Any]) -> Any:
    """The template with other things for its inputs."""
    kind = type(template)
    if kind is Input:
        return made[template.index]
    if kind is list:
        return [substitute(part, made) for part in template]
    if kind is Call:
        kwargs = {name: substitute(part, made) for name, part in template.kwargs.items()}
        return Call(substitute(template.function, made), substitute(template.args, made), kwargs)
    return template


def has_call(template: Any) -> bool:
    """Whether a call is to be made in it."""
    return has_any(template, Call)


def has_any(template: Any, *kinds: type) -> bool:
    """Whether there is a placeholder of these kinds in it, not looking into calls."""
    if type(template) is list:
        return any(has_any(part, *kinds) for part in template)
    return type(template) in kinds


def apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that came as a result."""
    return function(*args, **kwargs)


def identity(value: Any) -> Any:
    """For keys that stand for a list of other keys."""
    return value
