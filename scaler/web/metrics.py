"""What the monitor feed tells, as metrics of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from scaler.monitor.model import Model

OBJECTS = ("objects", "bytes")


def exposition(model: Model, connected: bool) -> tuple[bytes, str]:
    """The text of all metrics, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Collector(model, connected))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    def __init__(self, model: Model, connected: bool) -> None:
        self._model = model
        self._connected = connected

    def collect(self) -> Iterator[Metric]:
        """Nothing but whether it is connected, until something was told."""
        yield _gauge("scaler_up", "Whether the dashboard is connected to the scheduler.", float(self._connected))
        if not self._model.updates:
            return
        yield from self._tasks()
        yield from self._capacity()
        yield from self._functions()

    def _tasks(self) -> Iterator[Metric]:
        model, counts = self._model, self._model.tasks
        states = GaugeMetricFamily("scaler_tasks", "Tasks that have not ended, by state.", labels=["state"])
        for state in ("waiting", "ready", "assigned", "running"):
            states.add_metric([state], getattr(counts, state))
        yield states
        ended = CounterMetricFamily(
            "scaler_tasks_ended", "Tasks that ended since the scheduler's start.", labels=["how"]
        )
        for how in ("succeeded", "failed", "cancelled"):
            ended.add_metric([how], getattr(counts, how))
        yield ended
        yield _gauge("scaler_scheduler_cpu_ratio", "Of one core.", model.scheduler_cpu_percent / 100)
        yield _gauge("scaler_scheduler_resident_bytes", "Of the scheduler's process.", model.scheduler_resident_bytes)
        yield _gauge(
            "scaler_scheduler_lag_seconds",
            "How late the scheduler's event loop was, at worst, in the last second.",
            model.scheduler.lag_microseconds / 1e6,
        )
        yield _gauge("scaler_objects", "Objects in the object storage.", model.objects.objects)
        yield _gauge("scaler_objects_bytes", "Their size.", model.objects.bytes)

    def _capacity(self) -> Iterator[Metric]:
        model = self._model
        yield _gauge("scaler_workers", "Workers that are connected.", len(model.workers))
        yield _gauge("scaler_slots", "Slots of all workers.", model.slots)
        yield _gauge("scaler_busy_slots", "Slots that have a task.", model.busy_slots)
        yield _gauge("scaler_clients", "Clients, connected or not yet forgotten.", len(model.clients))
        cpu = sum(worker.cpu_percent for worker in model.workers.values())
        yield _gauge("scaler_workers_cpu_ratio", "Of all workers and their executors, in cores.", cpu / 100)
        memory = sum(worker.resident_bytes for worker in model.workers.values())
        yield _gauge("scaler_workers_resident_bytes", "Of all workers and their executors.", memory)
        slots = GaugeMetricFamily("scaler_manager_slots", "Slots of a worker manager.", labels=["manager", "which"])
        failures = CounterMetricFamily("scaler_manager_failures", "Workers that ended unasked.", labels=["manager"])
        for manager in model.managers:
            for which in ("wanted", "starting", "running", "withheld"):
                slots.add_metric([manager.manager_name, which], getattr(manager, f"{which}_slots"))
            failures.add_metric([manager.manager_name], manager.failures)
        yield slots
        yield failures

    def _functions(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("scaler_function_calls", "Calls that ended.", labels=["function", "how"])
        wall = CounterMetricFamily("scaler_function_seconds", "Wall time of all calls.", labels=["function"])
        cpu = CounterMetricFamily("scaler_function_cpu_seconds", "CPU time of all calls.", labels=["function"])
        for facts in self._model.functions.values():
            calls.add_metric([facts.name, "succeeded"], facts.succeeded)
            calls.add_metric([facts.name, "failed"], facts.failed)
            wall.add_metric([facts.name], facts.wall_microseconds / 1e6)
            cpu.add_metric([facts.name], facts.cpu_microseconds / 1e6)
        yield from (calls, wall, cpu)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
