"""What a browser is told of a model, as plain values that become JSON. No I/O."""

from __future__ import annotations

from itertools import islice
from typing import Any

from scaler.ids import task_label
from scaler.messages import ExecutorState, ResultStatus
from scaler.monitor.model import Model
from scaler.monitor.series import Series

MOST_WORKERS = 500
MOST_FUNCTIONS = 200
MOST_RUNNING = 200
MOST_FAILURES = 100
MOST_LINES = 300
CHARTS = (
    "rate",
    "failure_rate",
    "queue",
    "held",
    "slots",
    "busy_slots",
    "workers",
    "scheduler_cpu",
    "scheduler_memory",
    "workers_cpu",
    "workers_memory",
    "lag",
    "round_trip",
    "objects_bytes",
)


class Screen:
    """What one browser has seen of a model, and what is new to it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._ended = 0
        self._charted = 0.0

    def news(self, connected: bool, text: str) -> dict[str, Any]:
        """All facts, and of the task stream and the charts what was not told before."""
        model = self._model
        return {
            "connected": connected,
            "connection": text,
            "time": model.unix_seconds,
            "overview": overview(model),
            "workers": workers(model),
            "executors": executors(model),
            "managers": managers(model),
            "clients": clients(model),
            "functions": functions(model),
            "running": running(model),
            "waiting": [
                {"needs": ", ".join(w.capabilities) or "nothing in particular", "tasks": w.tasks, "offered": w.offered}
                for w in model.waiting
            ],
            "graphs": graphs(model),
            "objects": objects(model),
            "failures": failures(model),
            "log": [
                {"time": line.unix_milliseconds / 1000, "level": line.level, "text": line.text}
                for line in _last(model.log, MOST_LINES)
            ],
            "stream": self._new_in_stream(),
            "left_out": model.left_out,
            "charts": self._new_in_charts(),
        }

    def _new_in_stream(self) -> list[list[Any]]:
        """[began, seconds, row, function, good, count, status, task] of each entry."""
        model = self._model
        new = min(model.ended_count - self._ended, len(model.ended))
        self._ended = model.ended_count
        return [
            [
                round(task.began, 4),
                round(task.wall, 6),
                f"{model.worker_label(task.worker)} {'' if task.slot is None else task.slot}",
                task.function,
                task.succeeded,
                task.count,
                ResultStatus(task.status).name,
                task_label(task.task),
            ]
            for task in _last(model.ended, new)
        ]

    def _new_in_charts(self) -> dict[str, list[float]]:
        charts = self._model.charts
        series: dict[str, Series] = {name: getattr(charts, name) for name in CHARTS}
        times = series["rate"].times
        new = sum(time > self._charted for time in times)
        self._charted = times[-1] if times else 0.0
        told = {name: list(_last(one.values, new)) for name, one in series.items()}
        return {"times": list(_last(times, new)), **told}


def _last(entries: Any, count: int) -> Any:
    return islice(entries, max(0, len(entries) - count), None)


def overview(model: Model) -> dict[str, Any]:
    """Numbers of the whole cluster."""
    counts, scheduler = model.tasks, model.scheduler
    return {
        "address": scheduler.address,
        "host": scheduler.host,
        "pid": scheduler.pid,
        "version": scheduler.version,
        "started": scheduler.started_unix_milliseconds / 1000,
        "protected": scheduler.protected,
        "lag": scheduler.lag_microseconds / 1e6,
        "cpu": model.scheduler_cpu_percent,
        "memory": model.scheduler_resident_bytes,
        "waiting": counts.waiting,
        "ready": counts.ready,
        "assigned": counts.assigned + counts.running,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "rate": model.charts.rate.last,
        "slots": model.slots,
        "busy_slots": model.busy_slots,
        "workers": len(model.workers),
        "clients": len(model.clients),
        "round_trip": model.round_trip,
    }


def workers(model: Model) -> list[dict[str, Any]]:
    """The busiest first, MOST_WORKERS of them."""
    chosen = sorted(model.workers.values(), key=lambda w: (-w.held, w.host, w.pid))[:MOST_WORKERS]
    return [
        {
            "id": w.identity.hex(),
            "name": model.worker_label(w.identity),
            "host": w.host,
            "pid": w.pid,
            "manager": w.manager_name,
            "slots": w.slots,
            "held": w.held,
            "cpu": w.cpu_percent,
            "memory": w.resident_bytes,
            "lag": w.round_trip_microseconds / 1e6,
            "capabilities": ", ".join(w.capabilities),
            "state": "leaving" if w.draining else "connected",
        }
        for w in chosen
    ]


def executors(model: Model) -> list[dict[str, Any]]:
    """Of the workers that are shown, those that run something first."""
    found = [
        {
            "worker": model.worker_label(identity),
            "slot": executor.slot,
            "pid": executor.pid,
            "state": ExecutorState(executor.state).name,
            "task": task_label(executor.task) if executor.task else "",
            "function": executor.function_name,
            "seconds": executor.running_microseconds / 1e6,
            "cpu": executor.cpu_percent,
            "memory": executor.resident_bytes,
        }
        for identity in islice(model.workers, MOST_WORKERS)
        for executor in model.executors(identity)
    ]
    return sorted(found, key=lambda row: not row["task"])[:MOST_WORKERS]


def managers(model: Model) -> list[dict[str, Any]]:
    """All of them."""
    return [
        {
            "name": m.manager_name,
            "kind": m.kind,
            "mode": "fixed" if m.fixed else "dynamic",
            "most": m.max_slots,
            "wanted": m.wanted_slots,
            "starting": m.starting_slots,
            "running": m.running_slots,
            "withheld": m.withheld_slots,
            "failures": m.failures,
            "last_failure": m.last_failure,
        }
        for m in model.managers
    ]


def clients(model: Model) -> list[dict[str, Any]]:
    """All of them."""
    return [
        {
            "name": model.client_label(c.identity),
            "state": "connected" if c.connected else "gone",
            "unfinished": c.unfinished,
        }
        for c in model.clients.values()
    ]


def functions(model: Model) -> list[dict[str, Any]]:
    """Those that took most time first."""
    chosen = sorted(model.functions.values(), key=lambda f: -f.wall_microseconds)[:MOST_FUNCTIONS]
    return [
        {
            "name": f.name,
            "succeeded": f.succeeded,
            "failed": f.failed,
            "unfinished": f.unfinished,
            "wall": f.wall_microseconds / 1e6,
            "cpu": f.cpu_microseconds / 1e6,
            "mean": f.wall_microseconds / 1e6 / max(1, f.succeeded + f.failed),
            "longest": f.longest_microseconds / 1e6,
            "memory": f.peak_memory_bytes,
        }
        for f in chosen
    ]


def running(model: Model) -> list[dict[str, Any]]:
    """What runs, the longest first."""
    return [
        {
            "task": task_label(task.task),
            "function": task.function,
            "worker": model.worker_label(task.worker),
            "slot": task.slot,
            "seconds": task.seconds,
            "cpu": task.cpu_percent,
            "memory": task.resident_bytes,
        }
        for task in model.running()[:MOST_RUNNING]
    ]


def graphs(model: Model) -> list[dict[str, Any]]:
    """The newest first."""
    return [
        {
            "number": g.number,
            "name": g.name,
            "client": model.client_label(g.client),
            "tasks": g.tasks,
            "finished": g.finished,
            "failed": g.failed,
            "assigned": g.assigned,
            "began": g.submitted_unix_milliseconds / 1000,
            "ended": g.ended_unix_milliseconds / 1000,
        }
        for g in reversed(model.graphs)
    ]


def objects(model: Model) -> dict[str, Any]:
    """What the object storage says of itself, by the protocol's names."""
    facts = model.objects
    return {name: getattr(facts, name) for name in facts.__slots__ if name != "request"}


def failures(model: Model) -> list[dict[str, Any]]:
    """The newest first."""
    return [
        {
            "time": f.unix_milliseconds / 1000,
            "task": task_label(f.task),
            "name": f.name or f.function_name,
            "worker": model.worker_label(f.worker) if f.worker else "",
            "status": ResultStatus(f.status).name,
            "attempt": f.attempt,
            "error": f"{f.type_name}: {f.message}" if f.type_name else f.message,
            "traceback": f.traceback,
            "attempts": f.attempts,
        }
        for f in reversed(list(_last(model.failures, MOST_FAILURES)))
    ]
