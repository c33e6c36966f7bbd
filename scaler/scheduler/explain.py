"""Why a task is where it is: a pure function of the board and of who is connected."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection

from scaler._core.slots import NONE
from scaler.ids import SEQUENCE_BITS, sequence_of
from scaler.messages import Explanation, GraphDescription
from scaler.scheduler.board import Board
from scaler.scheduler.life import TaskState
from scaler.scheduler.retries import attempts_of
from scaler.scheduler.sessions import WorkerSession

SHOWN = 100
SHOWN_NODES = 5000
SHOWN_LINES = 8
_HELD = (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.RETRACTING)


def find_task(board: Board, id: int) -> int:
    """The index of a task, or of the range that has this item; NONE where there is none."""
    task = board.slots.find(array("Q", [id]))[0]
    if task != NONE:
        return task
    client, sequence = id >> SEQUENCE_BITS, sequence_of(id)
    return next((task for task, _ in board.ranges.within(client, sequence, sequence + 1)), NONE)


def explain(board: Board, workers: Collection[WorkerSession], id: int, request: int = 0) -> Explanation:
    """What is known of a task, by its id or that of an item."""
    task = find_task(board, id)
    if task == NONE:
        return _gone(board, id, request)
    state, times = TaskState(board.life.state(task)), board.times
    worker = _worker_of(board, workers, task)
    told = Explanation(request, board.slots.ids(array("I", [task]))[0], True, board.label(task))
    told.function_name, told.client = board.functions.name(board.function_of(task)), board.owner(task)
    told.state, told.attempt = state.name.lower(), board.life.attempt(task)
    told.worker = worker.identity if worker is not None else b""
    told.blocked_milliseconds = times.blocked(task, still=state == TaskState.WAITING)
    if state == TaskState.READY or state in _HELD:
        told.ready_milliseconds = times.ready(task, still=state == TaskState.READY)
    if state in _HELD:
        told.assigned_milliseconds = times.with_worker(task)
    if state == TaskState.READY:
        told.ahead = board.queues.ahead(task)
    missing = _missing(board, task)
    told.dependencies = board.slots.ids(missing[:SHOWN])
    told.text = "\n".join(
        [_sentence(board, workers, task, told, worker), *_details(board, workers, task, told, missing)]
    )
    return told


def _gone(board: Board, id: int, request: int) -> Explanation:
    failed = board.failures.of(id)
    if failed is None:
        return Explanation(request, id, False, text="it is not known: it has ended, or was never submitted")
    told = Explanation(request, id, False, failed.name, failed.function_name, "failed", failed.client, failed.worker)
    told.attempt = failed.attempt
    said = ": ".join(filter(None, (failed.type_name, failed.message)))
    at = f" on worker {failed.worker.hex()[:8]}" if failed.worker else ""
    lines = [f"it has ended as {failed.status.name}, in attempt {failed.attempt}{at}: {said}"]
    lines += [f"before: {line}" for line in failed.attempts]
    told.text = "\n".join([*lines, *failed.traceback.splitlines()])
    return told


def _worker_of(board: Board, workers: Collection[WorkerSession], task: int) -> WorkerSession | None:
    number = board.loads.worker_of(task)
    return next((worker for worker in workers if worker.number == number), None) if number != NONE else None


def _missing(board: Board, task: int) -> array[int]:
    """The tasks that it waits for."""
    if not board.graph.missing(task):
        return array("I")
    needed = dict.fromkeys(board.graph.dependencies(task))
    return array("I", [other for other in needed if not board.graph.finished(other)])


def describe(board: Board, number: int, request: int) -> GraphDescription:
    """What a graph looks like now, by its number."""
    tasks = board.graphs.tasks(number)
    shown = tasks[:SHOWN_NODES]
    places = {task: place for place, task in enumerate(shown)}
    names: dict[str, int] = {}
    functions, ends, dependencies = array("I"), array("I"), array("I")
    for task in shown:
        functions.append(names.setdefault(board.functions.name(board.function_of(task)), len(names)))
        needed = dict.fromkeys(board.graph.dependencies(task))
        dependencies.extend(places[other] for other in needed if other in places)
        ends.append(len(dependencies))
    states = bytes(board.life.state(task) for task in shown)
    ids = board.slots.ids(shown)
    return GraphDescription(request, ids, functions, list(names), states, ends, dependencies, len(tasks))


# ---- in words


def _sentence(
    board: Board, workers: Collection[WorkerSession], task: int, told: Explanation, worker: WorkerSession | None
) -> str:
    state = TaskState(board.life.state(task))
    if state == TaskState.WAITING:
        return f"it {board.lineage.explain(task)}"
    if state == TaskState.READY:
        return f"it waits: {_why_ready(board, task, told.ahead)}"
    if worker is not None:
        where = f"{worker.label}, attempt {told.attempt}, for {_seconds(told.assigned_milliseconds)}"
        if state == TaskState.RETRACTING:
            return f"it is asked back from {where}, where it has not begun: another slot is free"
        running = any(executor.task == told.task for executor in worker.vitals.executors)
        if running or state == TaskState.RUNNING:
            return f"it runs on {where}"
        return f"it is with {where}"
    return "it has ended; dependents still need it"


def _why_ready(board: Board, task: int, ahead: int) -> str:
    requirement_class = board.class_of(task)
    needs = ", ".join(sorted(board.requirements.needs(requirement_class)))
    if not len(board.loads):
        return "no worker is connected"
    if not board.loads.runnable(requirement_class):
        return f"no worker offers {needs}" if needs else "all workers are asked to leave"
    behind = f"{ahead} tasks of its client with the same needs go before it" if ahead else "it is the next"
    return f"all workers that can run it have enough to do; {behind}"


def _details(
    board: Board, workers: Collection[WorkerSession], task: int, told: Explanation, missing: array[int]
) -> list[str]:
    lines = [f"{told.name} (task {sequence_of(told.task)} of client {told.client.hex()[:8]}), {told.state}"]
    lines.append(_times(told))
    states = Counter(TaskState(board.life.state(other)).name.lower() for other in missing)
    for other in missing[:SHOWN_LINES]:
        lines += [f"waits for {board.label(other)} ({TaskState(board.life.state(other)).name.lower()})"]
    if len(missing) > SHOWN_LINES:
        lines.append(f"in all: {', '.join(f'{count} {state}' for state, count in states.items())}")
    if told.state == "ready":
        lines += _lacking(board, workers, task)
    special = board.special.get(task)
    return lines + [f"before: {line}" for line in (attempts_of(special) if special is not None else ())]


def _times(told: Explanation) -> str:
    parts = [
        f"submitted {_seconds(told.blocked_milliseconds + told.ready_milliseconds + told.assigned_milliseconds)} ago"
    ]
    for what, milliseconds in (
        ("waited for others", told.blocked_milliseconds),
        ("was ready", told.ready_milliseconds),
        ("is with its worker", told.assigned_milliseconds),
    ):
        if milliseconds:
            parts.append(f"{what} for {_seconds(milliseconds)}")
    return ", ".join(parts)


def _lacking(board: Board, workers: Collection[WorkerSession], task: int) -> list[str]:
    """Which capability is missing on which workers, and which of those that have all are busy."""
    needs = board.requirements.needs(board.class_of(task))
    lacking: dict[tuple[str, ...], list[WorkerSession]] = {}
    fitting: list[WorkerSession] = []
    for worker in workers:
        missing = tuple(sorted(needs.difference(worker.facts.capabilities)))
        (lacking.setdefault(missing, []) if missing else fitting).append(worker)
    lines = []
    for missing, some in list(lacking.items())[:SHOWN_LINES]:
        lines.append(f"{', '.join(missing)} is missing on {_named(some)}")
    if fitting:
        held = sum(board.loads.held(worker.number) for worker in fitting)
        slots = sum(worker.facts.slots for worker in fitting)
        leaving = sum(worker.draining for worker in fitting)
        left = f", {leaving} of them leaving" if leaving else ""
        lines.append(f"{len(fitting)} workers can run it{left}: they hold {held} tasks for {slots} slots")
    return lines


def _named(workers: list[WorkerSession]) -> str:
    names = ", ".join(worker.label for worker in workers[:3])
    return names if len(workers) <= 3 else f"{names} and {len(workers) - 3} more"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3g} s"
