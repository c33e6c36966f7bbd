"""All that a model holds at one moment, for scripts and for people without a terminal."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

from scaler.display import duration, plural, size, span
from scaler.messages import WaitingTasks
from scaler.monitor.model import Model
from scaler.monitor.tables import (
    CLIENTS,
    FAILED,
    FUNCTIONS,
    GRAPHS,
    MANAGERS,
    RUNNING,
    WORKERS,
    Table,
    sorted_rows,
)

SHOWN_ROWS = 20
SHOWN_TASKS = 100


def as_json(model: Model) -> dict[str, Any]:
    """Plain values only, identities and other bytes in hex, enumerants by name. Keys are those of protocol/monitor.capnp."""
    counts = asdict(model.tasks)
    return {
        "unix_seconds": model.unix_seconds,
        "scheduler": {
            **_plain(model.scheduler),
            "cpu_percent": round(model.scheduler_cpu_percent, 1),
            "resident_bytes": model.scheduler_resident_bytes,
        },
        "tasks": counts,
        "tasks_per_second": round(model.charts.rate.last, 1),
        "slots": model.slots,
        "busy_slots": model.busy_slots,
        "round_trip_seconds": model.round_trip,
        "workers": _plain(list(model.workers.values())),
        "clients": _plain(list(model.clients.values())),
        "managers": _plain(model.managers),
        "functions": _plain(list(model.functions.values())),
        "waiting": _plain(model.waiting),
        "graphs": _plain(model.graphs),
        "running": _plain(model.running()),
        "ended": _plain(list(model.ended)[-SHOWN_TASKS:]),
        "failures": _plain(list(model.failures)),
        "objects": _plain(model.objects),
        "log": _plain(list(model.log)),
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.name if isinstance(value, Enum) else value


def summary(model: Model) -> list[str]:
    """The whole in a few lines."""
    tasks, facts = model.tasks, model.scheduler
    started = facts.started_unix_milliseconds / 1000
    up = f", up {span(model.unix_seconds - started)}" if started else ""
    return [
        f"scheduler {facts.address or '?'} (pid {facts.pid} on {facts.host or '?'}, version {facts.version or '?'}){up}"
        f"{', protected' if facts.protected else ''}",
        f"cpu {model.scheduler_cpu_percent:.0f}%, memory {size(model.scheduler_resident_bytes)}, "
        f"lag {duration(facts.lag_microseconds / 1e6)}, round trip to workers {duration(model.round_trip)}",
        f"{plural(len(model.workers), 'worker')}, {model.busy_slots} of {plural(model.slots, 'slot')} busy, "
        f"{plural(len(model.clients), 'client')}, {plural(len(model.managers), 'manager')}",
        f"tasks: {tasks.waiting:,} wait for others, {tasks.ready:,} ready, {tasks.assigned + tasks.running:,} with workers; "
        f"{tasks.succeeded:,} succeeded, {tasks.failed:,} failed, {tasks.cancelled:,} cancelled; "
        f"{model.charts.rate.last:,.0f} a second",
        f"objects: {model.objects.objects:,}, {size(model.objects.bytes)}, of which {size(model.objects.spilled_bytes)} on disk",
        *map(waiting_line, model.waiting),
    ]


def waiting_line(waiting: WaitingTasks) -> str:
    """Why these tasks are with no worker."""
    needs = ", ".join(waiting.capabilities)
    asking = f" that ask for {needs}" if needs else ""
    why = (
        "all workers have enough to do"
        if waiting.offered
        else "no worker offers that"
        if needs
        else "there is no worker"
    )
    return f"{plural(waiting.tasks, 'task')}{asking} wait: {why}"


def as_text(model: Model) -> str:
    """The summary, and the beginning of each table that has rows."""
    parts = ["\n".join(summary(model))]
    tables: tuple[Table[Any], ...] = (WORKERS, RUNNING, FUNCTIONS, GRAPHS, FAILED, MANAGERS, CLIENTS)
    parts += [table_text(table, model) for table in tables if table.rows(model)]
    return "\n\n".join(parts)


def table_text(table: Table[Any], model: Model) -> str:
    """The first rows of a table, in columns."""
    rows = sorted_rows(table, model, table.order)
    lines = [[column.title for column in table.columns]]
    lines += [[column.text(model, row) for column in table.columns] for row in rows[:SHOWN_ROWS]]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = [f"and {len(rows) - SHOWN_ROWS:,} more"] if len(rows) > SHOWN_ROWS else []
    return "\n".join([f"{table.title} ({len(rows):,})", *text, *more])
