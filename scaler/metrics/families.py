"""Families of metrics that several processes tell, so that each has one name and one meaning. Needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from scaler.messages import FunctionFacts, ManagerFacts, Statistics
from scaler.monitor.model import Model

TEXT = "text/plain"


class _Families:
    """A collector of what was found out already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(
    families: Iterable[Metric], accept: str = TEXT, registry: CollectorRegistry | None = None
) -> tuple[bytes, str]:
    """The text of all these metrics, and of those in ``registry``, in the format that a request accepts; and its content type."""
    registry = registry or CollectorRegistry()
    registry.register(_Families(list(families)))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def gauge(name: str, text: str, value: float) -> Metric:
    """A family of one value."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """A family of one value that only grows."""
    return CounterMetricFamily(name, text, value=value)


def cluster(model: Model) -> Iterator[Metric]:
    """What a scheduler knows of the cluster, but for the object storage."""
    yield from _tasks(model)
    yield from _capacity(model)
    yield from managers(model.managers)
    yield from _functions(model.functions)


def _tasks(model: Model) -> Iterator[Metric]:
    counts = model.tasks
    states = GaugeMetricFamily("scaler_tasks", "Tasks that have not ended, by state.", labels=["state"])
    for state in ("waiting", "ready", "assigned", "running"):
        states.add_metric([state], getattr(counts, state))
    yield states
    ended = CounterMetricFamily("scaler_tasks_ended", "Tasks that ended since the scheduler's start.", labels=["how"])
    for how in ("succeeded", "failed", "cancelled"):
        ended.add_metric([how], getattr(counts, how))
    yield ended
    yield counter(
        "scaler_tasks_stale", "Results of attempts that were given up, since the scheduler's start.", counts.stale
    )
    yield gauge("scaler_scheduler_cpu_ratio", "Of one core.", model.scheduler_cpu_percent / 100)
    yield gauge("scaler_scheduler_resident_bytes", "Of the scheduler's process.", model.scheduler_resident_bytes)
    yield gauge(
        "scaler_scheduler_lag_seconds",
        "How late the scheduler's event loop was, at worst, in the last second.",
        model.scheduler.lag_microseconds / 1e6,
    )


def _capacity(model: Model) -> Iterator[Metric]:
    yield gauge("scaler_workers", "Workers that are connected.", len(model.workers))
    yield gauge("scaler_slots", "Slots of all workers.", model.slots)
    yield gauge("scaler_busy_slots", "Slots that have a task.", model.busy_slots)
    yield gauge("scaler_clients", "Clients, connected or not yet forgotten.", len(model.clients))
    cpu = sum(worker.cpu_percent for worker in model.workers.values())
    yield gauge("scaler_workers_cpu_ratio", "Of all workers and their executors, in cores.", cpu / 100)
    memory = sum(worker.resident_bytes for worker in model.workers.values())
    yield gauge("scaler_workers_resident_bytes", "Of all workers and their executors.", memory)


def managers(facts: Collection[ManagerFacts]) -> Iterator[Metric]:
    """Worker managers' slots and failures."""
    slots = GaugeMetricFamily("scaler_manager_slots", "Slots of a worker manager.", labels=["manager", "which"])
    failures = CounterMetricFamily("scaler_manager_failures", "Workers that ended unasked.", labels=["manager"])
    for manager in facts:
        for which in ("wanted", "starting", "running", "withheld"):
            slots.add_metric([manager.manager_name, which], getattr(manager, f"{which}_slots"))
        failures.add_metric([manager.manager_name], manager.failures)
    yield slots
    yield failures


def _functions(functions: Mapping[str, FunctionFacts]) -> Iterator[Metric]:
    calls = CounterMetricFamily("scaler_function_calls", "Calls that ended.", labels=["function", "how"])
    wall = CounterMetricFamily("scaler_function_seconds", "Wall time of all calls.", labels=["function"])
    cpu = CounterMetricFamily("scaler_function_cpu_seconds", "CPU time of all calls.", labels=["function"])
    for facts in functions.values():
        calls.add_metric([facts.name, "succeeded"], facts.succeeded)
        calls.add_metric([facts.name, "failed"], facts.failed)
        wall.add_metric([facts.name], facts.wall_microseconds / 1e6)
        cpu.add_metric([facts.name], facts.cpu_microseconds / 1e6)
    yield from (calls, wall, cpu)


_OBJECT_GAUGES = {
    "objects": ("scaler_objects", "Objects in the object storage."),
    "bytes": ("scaler_objects_bytes", "Their size."),
    "owners": ("scaler_objects_owners", "Clients that own objects."),
    "memory_bytes": ("scaler_objects_memory_bytes", "What the object storage has in memory."),
    "memory_limit_bytes": ("scaler_objects_memory_limit_bytes", "The most that it keeps there; 0: no limit."),
    "spilled_objects": ("scaler_objects_spilled", "Objects that are on disk or in S3 only."),
    "spilled_bytes": ("scaler_objects_spilled_bytes", "Their size."),
    "waiting_puts": ("scaler_objects_waiting_puts", "Puts that wait for room."),
    "waiting_gets": ("scaler_objects_waiting_gets", "Gets that wait for an object."),
    "hosts": ("scaler_objects_hosts", "Hosts with an object storage of their own."),
}
_OBJECT_COUNTERS = {
    "puts": ("scaler_objects_puts", "Objects that were put."),
    "gets": ("scaler_objects_gets", "Objects that were asked for."),
    "freed": ("scaler_objects_freed", "Objects that nobody needed any more."),
    "spills": ("scaler_objects_spills", "Objects that were written out of memory."),
    "spill_failures": ("scaler_objects_spill_failures", "Writes of them that failed."),
    "restores": ("scaler_objects_restores", "Objects that were read back."),
    "transfers": ("scaler_objects_transfers", "Objects that went from host to host."),
}


def objects(facts: Statistics) -> Iterator[Metric]:
    """What an object storage tells of itself."""
    for name, (metric, text) in _OBJECT_GAUGES.items():
        yield gauge(metric, text, getattr(facts, name))
    for name, (metric, text) in _OBJECT_COUNTERS.items():
        yield counter(metric, text, getattr(facts, name))
