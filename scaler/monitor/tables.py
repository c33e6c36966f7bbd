"""The tables that monitors show: what stands in which column, how it is sorted and searched. For terminals, browsers and text."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scaler.display import size, span
from scaler.ids import task_label
from scaler.messages import (
    ClientFacts,
    ExecutorFacts,
    ExecutorState,
    FailedTask,
    FunctionFacts,
    GraphFacts,
    LogLine,
    ManagerFacts,
    ResultStatus,
    WorkerFacts,
)
from scaler.monitor.model import EndedTask, Model, RunningTask

T = TypeVar("T")
_OUTCOMES = {
    ResultStatus.timed_out: "time",
    ResultStatus.out_of_memory: "memory",
    ResultStatus.object_lost: "lost",
}
LEVELS = {20: "info", 30: "warning", 40: "error"}


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table."""

    title: str
    width: int
    """In characters; the last column of a table has what is left."""
    text: Callable[[Model, T], str]
    key: Callable[[Model, T], Any]
    """What it is sorted by."""
    number: bool = False
    """It stands at the right side, and the greatest comes first."""


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """Rows of one kind."""

    name: str
    title: str
    rows: Callable[[Model], Sequence[T]]
    identity: Callable[[T], Hashable]
    """What tells a row from others, from update to update."""
    columns: tuple[Column[T], ...]
    order: int | None
    """The column that it is sorted by at first; None: the order of ``rows``."""
    words: Callable[[Model, T], str]
    """What a filter looks into."""
    tone: Callable[[T], str] = lambda row: ""
    """"bad", "warn" or "dim" for rows that should be seen as such."""


def sorted_rows(table: Table[T], model: Model, column: int | None, reverse: bool = False, words: str = "") -> list[T]:
    """The rows that have all of these words in them, by a column."""
    rows = list(table.rows(model))
    wanted = words.lower().split()
    if wanted:
        rows = [row for row in rows if all(word in table.words(model, row).lower() for word in wanted)]
    if column is not None:
        key, number = table.columns[column].key, table.columns[column].number
        rows.sort(key=lambda row: key(model, row), reverse=number != reverse)
    elif reverse:
        rows.reverse()
    return rows


def text(title: str, width: int, of: Callable[[Model, T], str]) -> Column[T]:
    """A column of words."""
    return Column(title, width, of, of)


def count(
    title: str, width: int, of: Callable[[Model, T], float], form: Callable[[Any], str] = "{:,}".format
) -> Column[T]:
    """A column of numbers."""
    return Column(title, width, lambda model, row: form(of(model, row)), of, True)


def percent(value: float) -> str:
    return f"{value:.0f}%"


def seconds(value: float) -> str:
    return span(value) if value else "-"


def memory(value: int) -> str:
    return size(value) if value else "-"


def ago(model: Model, unix_seconds: float) -> float:
    """Seconds before the last update."""
    return max(0.0, model.unix_seconds - unix_seconds)


def clock(unix_seconds: float) -> str:
    """The time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(unix_seconds))


def last_line(words: str) -> str:
    """Of several lines the last that says something."""
    return next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")


def _worker_state(worker: WorkerFacts) -> str:
    return "leave" if worker.draining else "busy" if worker.held else "idle"


WORKERS: Table[WorkerFacts] = Table(
    "workers",
    "Workers",
    lambda model: list(model.workers.values()),
    lambda worker: worker.identity,
    (
        text("worker", 16, lambda model, worker: model.worker_label(worker.identity)),
        text("state", 5, lambda model, worker: _worker_state(worker)),
        count("slots", 5, lambda model, worker: worker.slots),
        count("run", 3, lambda model, worker: min(worker.running, worker.held)),
        count("queue", 5, lambda model, worker: max(0, worker.held - worker.slots)),
        count("cpu", 5, lambda model, worker: worker.cpu_percent, percent),
        count("memory", 9, lambda model, worker: worker.resident_bytes, memory),
        count("lag", 7, lambda model, worker: worker.round_trip_microseconds / 1e6, seconds),
        text("manager", 9, lambda model, worker: worker.manager_name),
        text("offers", 6, lambda model, worker: ",".join(worker.capabilities)),
    ),
    0,
    lambda model, worker: " ".join(
        [
            model.worker_label(worker.identity),
            worker.host,
            worker.manager_name,
            _worker_state(worker),
            *worker.capabilities,
        ]
    ),
    lambda worker: "warn" if worker.draining else "" if worker.held else "dim",
)

EXECUTOR_COLUMNS: tuple[Column[ExecutorFacts], ...] = (
    count("slot", 4, lambda model, executor: executor.slot),
    count("pid", 7, lambda model, executor: executor.pid, str),
    text("state", 8, lambda model, executor: ExecutorState(executor.state).name),
    count("cpu", 5, lambda model, executor: executor.cpu_percent, percent),
    count("memory", 9, lambda model, executor: executor.resident_bytes, memory),
    count("ahead", 5, lambda model, executor: executor.queued),
    count("runs for", 8, lambda model, executor: executor.running_microseconds / 1e6, seconds),
    text("task", 10, lambda model, executor: task_label(executor.task) if executor.task else ""),
    text("function", 12, lambda model, executor: executor.function_name),
)


def executors_of(worker: bytes) -> Table[ExecutorFacts]:
    """The executors of one worker."""
    return Table(
        "executors",
        "Executors",
        lambda model: model.executors(worker),
        lambda executor: executor.slot,
        EXECUTOR_COLUMNS,
        None,
        lambda model, executor: f"{ExecutorState(executor.state).name} {executor.function_name}",
        lambda executor: "" if executor.task else "dim",
    )


RUNNING: Table[RunningTask] = Table(
    "running",
    "Running",
    Model.running,
    lambda running: (running.task, running.worker, running.slot),
    (
        text("task", 11, lambda model, running: task_label(running.task)),
        count("runs for", 9, lambda model, running: running.seconds, seconds),
        count("cpu", 5, lambda model, running: running.cpu_percent, percent),
        count("memory", 9, lambda model, running: running.resident_bytes, memory),
        text("worker", 17, lambda model, running: model.worker_label(running.worker)),
        count("slot", 4, lambda model, running: running.slot),
        text("function", 18, lambda model, running: running.function),
    ),
    1,
    lambda model, running: f"{running.function} {model.worker_label(running.worker)} {task_label(running.task)}",
)

ENDED: Table[EndedTask] = Table(
    "ended",
    "Ended",
    lambda model: list(model.ended)[::-1],
    id,
    (
        Column("ended", 8, lambda model, ended: clock(ended.ended), lambda model, ended: -ended.ended),
        text("task", 9, lambda model, ended: task_label(ended.task)),
        text("outcome", 9, lambda model, ended: ended.status.name),
        count("items", 5, lambda model, ended: ended.count),
        count("wall", 7, lambda model, ended: ended.wall, seconds),
        count("cpu", 7, lambda model, ended: ended.cpu, seconds),
        count("peak", 9, lambda model, ended: ended.peak_memory, memory),
        text("worker", 8, lambda model, ended: model.worker_label(ended.worker)),
        text("function", 9, lambda model, ended: ended.function),
    ),
    None,
    lambda model, ended: f"{ended.function} {ended.status.name} {model.worker_label(ended.worker)}",
    lambda ended: "" if ended.succeeded else "bad",
)

FAILED: Table[FailedTask] = Table(
    "failed",
    "Failed",
    lambda model: list(model.failures)[::-1],
    lambda failed: (failed.task, failed.unix_milliseconds),
    (
        Column(
            "when",
            8,
            lambda model, failed: clock(failed.unix_milliseconds / 1000),
            lambda model, failed: -failed.unix_milliseconds,
        ),
        text("task", 9, lambda model, failed: task_label(failed.task)),
        text("name", 14, lambda model, failed: failed.name),
        text("outcome", 7, lambda model, failed: _OUTCOMES.get(failed.status, failed.status.name)),
        count("tries", 5, lambda model, failed: failed.attempt),
        text("error", 30, lambda model, failed: failure_line(failed)),
    ),
    None,
    lambda model, failed: f"{failed.name} {failed.function_name} {failed.type_name} {failed.message}",
    lambda failed: "bad",
)


def failure_line(failed: FailedTask) -> str:
    """What went wrong, in a line."""
    kind = failed.type_name.removeprefix("builtins.")
    said = last_line(failed.message) if kind else failed.message.partition("\n")[0]
    return f"{kind}: {said}" if kind and said else kind or said


FUNCTIONS: Table[FunctionFacts] = Table(
    "functions",
    "By function",
    lambda model: list(model.functions.values()),
    lambda function: function.name,
    (
        text("function", 15, lambda model, function: function.name),
        count("left", 6, lambda model, function: function.unfinished),
        count("done", 9, lambda model, function: function.succeeded),
        count("failed", 6, lambda model, function: function.failed),
        count("time", 9, lambda model, function: function.wall_microseconds / 1e6, seconds),
        count("mean", 7, lambda model, function: mean(function), seconds),
        count("longest", 7, lambda model, function: function.longest_microseconds / 1e6, seconds),
        count("cpu", 4, lambda model, function: cpu_share(function), percent),
        count("peak", 8, lambda model, function: function.peak_memory_bytes, memory),
    ),
    4,
    lambda model, function: function.name,
    lambda function: "bad" if function.failed else "",
)


def mean(function: FunctionFacts) -> float:
    """Seconds that a call takes."""
    return function.wall_microseconds / function.succeeded / 1e6 if function.succeeded else 0.0


def cpu_share(function: FunctionFacts) -> float:
    """How much of the time its calls used a processor, in percent."""
    return 100 * function.cpu_microseconds / function.wall_microseconds if function.wall_microseconds else 0.0


def _progress(graph: GraphFacts) -> str:
    done = (graph.finished + graph.failed) / graph.tasks if graph.tasks else 1.0
    full = int(10 * done)
    return f"{'█' * full}{'░' * (10 - full)} {100 * done:3.0f}%"


def _graph_state(graph: GraphFacts) -> str:
    if not graph.ended_unix_milliseconds:
        return "running"
    return "failed" if graph.failed else "done"


def _graph_seconds(model: Model, graph: GraphFacts) -> float:
    end = graph.ended_unix_milliseconds / 1000 or model.unix_seconds
    return max(0.0, end - graph.submitted_unix_milliseconds / 1000)


GRAPHS: Table[GraphFacts] = Table(
    "graphs",
    "Graphs",
    lambda model: model.graphs[::-1],
    lambda graph: graph.number,
    (
        count("graph", 5, lambda model, graph: graph.number),
        text("state", 7, lambda model, graph: _graph_state(graph)),
        Column("progress", 15, lambda model, graph: _progress(graph), lambda model, graph: graph.finished, True),
        count("tasks", 6, lambda model, graph: graph.tasks),
        count("done", 6, lambda model, graph: graph.finished),
        count("failed", 6, lambda model, graph: graph.failed),
        count("out", 4, lambda model, graph: graph.assigned),
        count("time", 7, _graph_seconds, seconds),
        text("client", 8, lambda model, graph: model.client_label(graph.client)),
        text("last", 7, lambda model, graph: graph.name),
    ),
    None,
    lambda model, graph: f"{graph.name} {_graph_state(graph)} {model.client_label(graph.client)}",
    lambda graph: "bad" if graph.failed else "dim" if graph.ended_unix_milliseconds else "",
)

MANAGERS: Table[ManagerFacts] = Table(
    "managers",
    "Managers",
    lambda model: model.managers,
    lambda manager: manager.manager_name,
    (
        text("manager", 12, lambda model, manager: manager.manager_name),
        text("kind", 12, lambda model, manager: manager.kind),
        text("mode", 7, lambda model, manager: "fixed" if manager.fixed else "dynamic"),
        count("most", 5, lambda model, manager: manager.max_slots),
        count("wanted", 6, lambda model, manager: manager.wanted_slots),
        count("start", 5, lambda model, manager: manager.starting_slots),
        count("running", 7, lambda model, manager: manager.running_slots),
        count("fail", 4, lambda model, manager: manager.failures),
        text("last failure", 14, lambda model, manager: last_line(manager.last_failure)),
    ),
    0,
    lambda model, manager: f"{manager.manager_name} {manager.kind} {manager.last_failure}",
    lambda manager: "bad" if manager.failures else "",
)

CLIENTS: Table[ClientFacts] = Table(
    "clients",
    "Clients",
    lambda model: list(model.clients.values()),
    lambda client: client.identity,
    (
        count("number", 6, lambda model, client: client.number),
        text("client", 20, lambda model, client: model.client_label(client.identity)),
        text("state", 9, lambda model, client: "connected" if client.connected else "gone"),
        count("tasks left", 12, lambda model, client: client.unfinished),
    ),
    0,
    lambda model, client: model.client_label(client.identity),
    lambda client: "" if client.connected else "warn",
)

LOG: Table[LogLine] = Table(
    "log",
    "Log",
    lambda model: list(model.log)[::-1],
    id,
    (
        Column(
            "when",
            8,
            lambda model, line: clock(line.unix_milliseconds / 1000),
            lambda model, line: -line.unix_milliseconds,
        ),
        Column(
            "level", 7, lambda model, line: LEVELS.get(line.level, str(line.level)), lambda model, line: -line.level
        ),
        text("what happened", 60, lambda model, line: line.text),
    ),
    None,
    lambda model, line: f"{LEVELS.get(line.level, '')} {line.text}",
    lambda line: "bad" if line.level >= 40 else "warn" if line.level >= 30 else "",
)
