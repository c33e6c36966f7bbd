"""dask's task objects in graphs. To be imported only where dask's module of them is: nobody else can have any."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from scaler.serialization import Call

if TYPE_CHECKING:
    from scaler.client.graph_entry import Entry, EntryReader

_spec: Any = sys.modules["dask._task_spec"]


def is_node(value: Any) -> bool:
    """Whether it is one of dask's objects: a task, an alias, data, a reference."""
    return isinstance(value, _spec.GraphNode | _spec.TaskRef)


def read(node: Any, entry: Entry, reader: EntryReader) -> None:
    """What a key stands for."""
    if isinstance(node, _spec.Task) and not isinstance(node, _spec.List):
        entry.function = node.func
        entry.args = [template(argument, entry, reader) for argument in node.args]
        entry.kwargs = {name: template(argument, entry, reader) for name, argument in node.kwargs.items()}
    else:
        entry.args = [template(node, entry, reader)]


def template(node: Any, entry: Entry, reader: EntryReader) -> Any:
    """An argument with references and inner tasks replaced. Unlike in tuples, what is no object of dask's is a literal."""
    if isinstance(node, _spec.TaskRef):
        return reader.refer_surely(node.key, entry)
    if isinstance(node, _spec.Alias):
        return reader.refer_surely(node.target, entry)
    if isinstance(node, _spec.DataNode):
        return node.value
    if isinstance(node, _spec.List):
        return [template(part, entry, reader) for part in node.args]
    if isinstance(node, _spec.Task):
        kwargs = {name: template(part, entry, reader) for name, part in node.kwargs.items()}
        return Call(node.func, [template(part, entry, reader) for part in node.args], kwargs)
    return node
