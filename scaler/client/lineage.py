"""How a client gets back what the object storage lost: what it put, it puts again; results are made again by their tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from typing_extensions import Buffer

from scaler import serialization
from scaler.client.arrays import ArrayTask
from scaler.client.future import Outcome, read_outcome
from scaler.client.kept_content import each_id
from scaler.client.state import Group, Task
from scaler.errors import ObjectLostError, ObjectMissingError, ScalerError
from scaler.messages import ResultStatus

if TYPE_CHECKING:
    from scaler.client.objects import ClientObjects
    from scaler.client.service import ClientService

MAX_LOSSES = 3
"""A result that is lost more often than this is not made again."""


@dataclass(slots=True, eq=False)
class _Again:
    """A result that is being made again: a Waiter."""

    sequence: int
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | BaseException | None = None

    def finish_task(self, sequence: int, outcome: Outcome | BaseException) -> None:
        self.outcome = outcome
        self.ended.set()


@dataclass(slots=True, eq=False)
class _Source:
    """What is kept so that results can be made again: of a graph once for all of its results."""

    functions: set[int]
    objects: bytes
    """The ids of the objects that arguments are in, one after the other."""
    tasks: list[Task] = field(default_factory=list)
    """Of a graph all, by sequence."""
    shared: list[bytes] = field(default_factory=list)
    """Those among the objects that are of no single task."""
    results: int = 0
    """How many results need it."""


@dataclass(slots=True, eq=False)
class _Origin:
    """Where a stored result came from."""

    make: Callable[[], list[Task]]
    """The task that made it, last, after those that made its inputs, in the order in which they were submitted."""
    source: _Source
    storages: int
    """How many object storages had been here when it was made, one after the other."""
    losses: int = 0
    again: _Again | None = None


class Lineage:
    """Of results in the object storage that were not fetched yet: how to make them again. By their object ids.

    Safe for use from several threads.
    """

    def __init__(self, service: ClientService, objects: ClientObjects) -> None:
        self._service = service
        self._objects = objects
        self._lock = service.lock
        self._origins: dict[bytes, _Origin] = {}
        self._graphs: dict[int, _Source] = {}
        """By the first sequence of a graph."""

    def __len__(self) -> int:
        return len(self._origins)

    # ---- told by the client's thread

    def remember(self, object_id: bytes, task: Task) -> None:
        """This task made this result."""
        if task.group is None:
            self._enter(object_id, lambda: [task], _Source({task.function}, task.object_id))
            return
        with self._lock:
            source = self._graphs.get(task.group.members[0]) or _graph_source(task.group)
            if self._enter(object_id, lambda: ancestry(task, source.tasks), source):
                self._graphs[task.group.members[0]] = source

    def remember_item(self, object_id: bytes, whole: ArrayTask, item: int) -> None:
        """The same for an item of an array, before its objects are dropped."""
        objects = whole.objects.get(item, b"")
        self._enter(object_id, lambda: [_item_task(whole, item, objects)], _Source({whole.function}, objects))

    def _enter(self, object_id: bytes, make: Callable[[], list[Task]], source: _Source) -> bool:
        with self._lock:
            if not source.results:
                if not self._service.hold_functions(source.functions):
                    return False  # One was forgotten meanwhile.
                self._objects.kept.hold(source.objects)
            source.results += 1
            self._origins[object_id] = _Origin(make, source, self._objects.storages)
            return True

    def forget(self, object_id: bytes) -> None:
        """This result was fetched, or nobody wants it."""
        with self._lock:
            origin = self._origins.pop(object_id, None)
            if origin is None:
                return
            source = origin.source
            source.results -= 1
            if not source.results:
                self._objects.kept.let_go(source.objects, self._objects.uses)
                self._service.let_go_functions(source.functions)
                if source.tasks:
                    del self._graphs[source.tasks[0].sequence]
        if origin.again is not None:
            self._abandon(origin.again)

    def _abandon(self, again: _Again) -> None:
        """What was made again is not wanted, or was taken."""
        self._service.cancel([again.sequence])
        if isinstance(again.outcome, Outcome) and again.outcome.status == ResultStatus.stored:
            self._objects.release(serialization.stored_id(again.outcome.payload))

    # ---- for users' threads

    def take_again(self, object_id: bytes, error: ObjectLostError) -> bytes | memoryview:
        """The content of a lost result, which is made again for it.

        Raises ObjectLostError where that cannot be, and what its task raises or ends with now.
        """
        origin = self._origins.get(object_id)
        if origin is None:
            raise ObjectLostError(f"{error}; what made it is not known any more") from None
        if origin.losses >= MAX_LOSSES:
            raise ObjectLostError(f"{self._label(origin)}: {error}; that happened {MAX_LOSSES + 1} times") from None
        self._begin_all()
        try:
            again = self._begin(origin)
        except ObjectLostError as gone:
            raise ObjectLostError(f"{self._label(origin)}: {error}; it cannot be made again: {gone}") from None
        again.ended.wait()
        with self._lock:
            origin.again = None
        self._service.collections.add(again.sequence)
        return self._taken(again.outcome, origin)

    def _taken(self, outcome: Outcome | BaseException | None, origin: _Origin) -> bytes | memoryview:
        if isinstance(outcome, Outcome) and outcome.status == ResultStatus.succeeded:
            return outcome.payload
        if isinstance(outcome, Outcome) and outcome.status == ResultStatus.stored:
            object_id = serialization.stored_id(outcome.payload)
            with self._lock:
                if object_id in self._origins:
                    self._origins[object_id].losses = origin.losses + 1
            return self._objects.take(object_id)
        if isinstance(outcome, Outcome) and outcome.status == ResultStatus.cancelled:
            raise ObjectLostError(f"{self._label(origin)} was lost, and cancelled while it was made again")
        error = read_outcome(outcome, self._service)[1] if isinstance(outcome, Outcome) else outcome
        raise error or ScalerError("a task failed")

    def _label(self, origin: _Origin) -> str:
        """What to call a result to people."""
        task = origin.make()[-1]
        name = task.options.name if task.options is not None else ""
        return f"the result of {name or self._service.function_name(task.function)} (task {task.sequence})"

    def _begin_all(self) -> None:
        """Everything that was in a storage of which this client knows that it is gone will be missed: begin at once."""
        with self._lock:
            now = self._objects.storages
            lost = [o for o in self._origins.values() if o.storages < now and o.losses < MAX_LOSSES]
        for origin in lost:
            try:
                self._begin(origin)
            except ScalerError:
                continue  # Whoever wants it hears of that.

    def _begin(self, origin: _Origin) -> _Again:
        """Submit what makes it, unless that was done already. Raises ObjectLostError when an argument is gone, too."""
        service, shared = self._service, origin.source.shared
        with self._lock:
            if origin.again is not None:
                return origin.again
            tasks = origin.make()
            first = service.sequences(len(tasks))[0]
            again = origin.again = _Again(first + len(tasks) - 1)
        try:
            self._objects.put_again(b"".join([*(task.object_id for task in tasks), *shared]))
        except ScalerError as error:
            with self._lock:
                origin.again = None
            again.finish_task(again.sequence, error)
            raise
        service.submit(copies(tasks, first, shared), [(again.sequence, again)])
        return again

    def restore(self, object_id: bytes, error: ObjectMissingError) -> None:
        """Have an object in the storage again, under the same id. Raises ObjectLostError where that cannot be."""
        objects = self._objects
        origin = self._origins.get(object_id)
        if origin is not None:
            content: Sequence[Buffer] | None = [self.take_again(object_id, error)]
            origin.storages, origin.losses = objects.storages, origin.losses + 1
        else:
            content = objects.content(object_id)
        if content is not None:
            objects.put_as(object_id, content)
            if object_id not in self._origins and object_id not in objects.uses:
                objects.release(object_id)  # It was freed meanwhile.
        elif not objects.has(object_id):
            raise ObjectLostError(f"{error}; {objects.why_not_kept(object_id)}")


def _graph_source(group: Group) -> _Source:
    tasks = group.tasks
    objects = b"".join([*(task.object_id for task in tasks), *group.shared])
    return _Source({task.function for task in tasks}, objects, tasks, group.shared)


def _item_task(whole: ArrayTask, item: int, objects: bytes) -> Task:
    """An item as a task of its own."""
    payload = whole.items[whole.ends[item - 1] if item else 0 : whole.ends[item]]
    return Task(whole.first + item, whole.function, payload, whole.options, object_id=objects)


def ancestry(task: Task, members: list[Task]) -> list[Task]:
    """A task, last, after all that it depends on, directly or not. ``members`` are by sequence, without gaps."""
    found, pending = {task.sequence: task}, [task]
    while pending:
        for sequence in pending.pop().dependencies:
            if sequence not in found:
                found[sequence] = members[sequence - members[0].sequence]
                pending.append(found[sequence])
    return [found[sequence] for sequence in sorted(found)]


def copies(tasks: list[Task], first: int, shared: list[bytes]) -> list[Task]:
    """The same tasks under new sequences. Only the result of the last one is wanted."""
    if len(tasks) == 1 and not shared:
        return [replace(tasks[0], sequence=first, dependencies=(), wanted=True, group=None, cancelled=False)]
    names = {task.sequence: first + i for i, task in enumerate(tasks)}
    group = Group(1, list(names.values()), arguments=list(shared), shared=shared)
    group.tasks = [
        replace(
            task,
            sequence=names[task.sequence],
            dependencies=tuple(names[sequence] for sequence in task.dependencies),
            wanted=task is tasks[-1],
            group=group,
            cancelled=False,
        )
        for task in tasks
    ]
    return group.tasks


def restore_all(objects: ClientObjects, names: bytes) -> list[str]:
    """Have these objects (ids one after the other) in the storage again; returns for each why not, empty where it is."""
    failures: list[str] = []
    for object_id in each_id(names):
        try:
            objects.lineage.restore(object_id, ObjectMissingError(objects.label(object_id)))
            failures.append("")
        except ScalerError as error:
            failures.append(str(error) or type(error).__name__)
        except Exception as error:
            failures.append(f"it was to be made again, and its task failed: {type(error).__name__}: {error}")
    return failures
