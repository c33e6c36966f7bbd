"""From the nodes of a graph to tasks: what is serialized, shared and sent."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from typing_extensions import Buffer

from scaler import serialization
from scaler.buffers import size_of
from scaler.client.future import LOOK_UP_SECONDS, ScalerFuture
from scaler.client.graph import Node
from scaler.client.graph_entry import has_any
from scaler.client.object_reference import ObjectReference
from scaler.client.service import ClientService
from scaler.client.state import Group, Task
from scaler.messages import TaskOptions
from scaler.serialization import INLINE, INPUTS, TEMPLATE, Call, Input

_NEVER_LARGE = (int, float, complex, bool, type(None), type, FunctionType)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: it would look at the many parts of a large graph again and again, and find nothing."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class FirstFailure:
    """Waits until all of some futures have ended, or one has failed."""

    def __init__(self, futures: Collection[ScalerFuture]) -> None:
        self._futures = futures
        self._open = len(futures)
        self._failed: ScalerFuture | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()

    def wait(self) -> None:
        """Raises the error of the first that failed, at once."""
        if not self._futures:
            return
        for future in self._futures:
            future.when_done(self._ended)
        while not self._over.wait(LOOK_UP_SECONDS):
            pass
        if self._failed is not None:
            self._failed.result()

    def _ended(self, future: Any) -> None:
        with self._lock:
            self._open -= 1
            if self._failed is None and future.failed:
                self._failed = future
            if not self._open or self._failed is not None:
                self._over.set()


class SharedConstants:
    """Puts large constants of a graph into the object storage once, however many tasks take them."""

    def __init__(self, put: Callable[[list[Buffer], str], ObjectReference], service: ClientService) -> None:
        self.references: list[ObjectReference] = []
        self._put = put
        self._service = service

    def share(self, value: Any) -> Any:
        """The value, or a reference that is the value in a task. Raises SerializationError."""
        limit = self._service.inline_limit
        if isinstance(value, _NEVER_LARGE) or callable(value):
            return value
        if isinstance(value, str | bytes) and len(value) <= limit // 4:
            return value
        content = serialization.write_parts(self._service.serializer, value, "a constant of the graph")
        if size_of(content) <= limit:
            return value
        self.references.append(self._put(content, type(value).__name__))
        return self.references[-1]


def submit_graph(
    service: ClientService,
    nodes: list[Node],
    options: TaskOptions | None,
    reserialize: bool,
    shared: list[ObjectReference],
) -> dict[int, ScalerFuture]:
    """Send the tasks of a graph; returns the futures of those wanted, by position.

    ``shared`` are freed with the graph. Raises SerializationError, naming the node, before anything is sent.
    """
    futures: dict[int, ScalerFuture] = {}
    if not nodes:
        return futures
    sequences = service.sequences(len(nodes))
    group = Group(sum(node.wanted for node in nodes), list(sequences))
    group.shared = [reference.object_id for reference in shared]
    group.arguments = list(group.shared)
    first = sequences[0]
    tasks = group.tasks
    renewed: set[int] = set()
    for position, node in enumerate(nodes):
        function = service.function(node.function, reserialize and id(node.function) not in renewed)
        if reserialize:
            renewed.add(id(node.function))
        payload, object_id = service.payload(*_content(service, node))
        dependencies = tuple([first + d for d in node.dependencies]) if node.dependencies else ()
        sequence = first + position
        tasks.append(Task(sequence, function, payload, options, dependencies, node.wanted, group, object_id))
        if node.wanted:
            futures[position] = ScalerFuture(service, sequence, serialization.name_of(node.function))
    service.submit(tasks, ((first + position, future) for position, future in futures.items()))
    return futures


def _content(service: ClientService, node: Node) -> tuple[bytes, bytes]:
    """(kind, content) of a node's arguments."""
    args, kwargs = node.args, node.kwargs
    content: Any = args, kwargs
    kind = TEMPLATE
    if not node.dependencies:
        if not (has_any(args, Call) or (kwargs and has_any(list(kwargs.values()), Call))):
            kind, content = INLINE, (tuple(args), kwargs)
    elif not kwargs and len(args) == len(node.dependencies) and _all_inputs(args):
        return INPUTS, b""
    try:
        return kind, service.serializer.serialize(content)
    except Exception:
        what = f"the arguments of {serialization.name_of(node.function)} at {node.key!r}"
        return kind, serialization.write(service.serializer, content, what)


def _all_inputs(args: list[Any]) -> bool:
    """Whether the arguments are the inputs, in order."""
    return all(type(argument) is Input and argument.index == i for i, argument in enumerate(args))
