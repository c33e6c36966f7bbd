"""Storage, scheduler and workers as children of one supervisor: what a local cluster consists of."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from scaler import tracing
from scaler.cluster.supervisor import Ready, Supervisor
from scaler.errors import ClusterError
from scaler.ids import Address
from scaler.net.daemon import MetricsPlace, run_daemon
from scaler.scheduler.policy import parse_policy
from scaler.scheduler.service import SchedulerService
from scaler.scheduler.settings import SchedulerSettings
from scaler.security import Security, from_environment
from scaler.storage.service import StorageService
from scaler.storage.settings import StorageSettings
from scaler.worker.service import run_worker
from scaler.worker.state import WorkerOptions

PRELOAD_SECONDS = 600.0


@dataclass(slots=True)
class LocalStack:
    """What to start. Times in seconds; port 0 in an address means any free port."""

    slots: int
    address: str = "tcp://127.0.0.1:0"
    object_storage_address: str = "tcp://127.0.0.1:0"
    monitor_address: str | None = "tcp://127.0.0.1:0"
    capabilities: tuple[str, ...] = ()
    queue_limit_per_slot: int = 1000
    max_waiting_tasks: int = -1
    heartbeat_seconds: float = 2.0
    client_timeout_seconds: float = 60.0
    worker_timeout_seconds: float = 60.0
    task_timeout_seconds: float = 0.0
    death_timeout_seconds: float = 300.0
    protected: bool = True
    event_loop: str = "uvloop"
    manager_name: str = ""
    preload: str = ""
    memory_limit_bytes: int = 0
    garbage_collect_seconds: float = 30.0
    trim_memory_bytes: int = 1 << 30
    storage_memory_limit_bytes: int | None = None
    """See StorageSettings, also for the next."""
    spill_directory: str = ""
    policy: tuple[str, str] = ("simple", "")
    """Engine and content, for worker managers that join."""
    metrics_address: str = ""
    """Where the scheduler serves metrics; empty: nowhere."""
    tracing: bool = False
    """Whether the scheduler makes spans."""
    allow_functions: tuple[str, ...] = ()
    """See WorkerOptions."""


def start_stack(supervisor: Supervisor, stack: LocalStack) -> dict[str, str]:
    """Start all three; returns their addresses. Raises ClusterError if one does not start, ExtraMissingError and
    ConfigurationError for metrics and tracing where what they need is not installed."""
    if stack.metrics_address:
        from scaler.metrics.server import check_extra

        check_extra()
    if stack.tracing:
        tracing.check_environment()
    security = from_environment()
    if not security.asks:
        security = security.with_own_secret()
    # What a storage had is put or made again when another one takes its place, at the same address.
    storage = supervisor.start(
        "the object storage server",
        lambda ready: _run_storage(stack, security, stack.object_storage_address, ready),
        again=lambda address: lambda ready: _run_storage(stack, security, address, ready),
    )
    addresses = supervisor.start("the scheduler", lambda ready: _run_scheduler(stack, security, storage, ready))
    scheduler, monitor = addresses.split("\t")
    if stack.slots:
        _start_worker(supervisor, stack, security, scheduler)
    return {"address": scheduler, "object_storage_address": storage, "monitor_address": monitor}


def _start_worker(supervisor: Supervisor, stack: LocalStack, security: Security, scheduler: str) -> None:
    """Where there is a preload it is waited for: it may fail, and who asked for the cluster has to know."""

    def run(ready: Ready) -> int:
        return _run_worker(stack, security, scheduler, lambda error: ready(json.dumps(error)))

    told = supervisor.start("the worker", run, wait=bool(stack.preload), patience=PRELOAD_SECONDS)
    error = json.loads(told) if told else ""
    if error:
        raise ClusterError(error)


def _run_storage(stack: LocalStack, security: Security, address: str, ready: Ready) -> int:
    settings = StorageSettings(stack.storage_memory_limit_bytes, stack.spill_directory)
    service = StorageService(Address.parse(address), settings)
    return run_daemon("ObjectStorageServer", service, stack.event_loop, lambda: ready(str(service.address)), security)


def scheduler_settings(stack: LocalStack, storage: str) -> SchedulerSettings:
    """What the scheduler of a stack is told."""
    return SchedulerSettings(
        storage,
        stack.protected,
        stack.max_waiting_tasks,
        stack.client_timeout_seconds,
        stack.worker_timeout_seconds,
        stack.heartbeat_seconds,
        tracing=stack.tracing,
        policy=parse_policy(*stack.policy),
    )


def _run_scheduler(stack: LocalStack, security: Security, storage: str, ready: Ready) -> int:
    monitor = Address.parse(stack.monitor_address) if stack.monitor_address else None
    service = SchedulerService(
        scheduler_settings(stack, storage), Address.parse(stack.address), Address.parse(storage), monitor
    )
    metrics = MetricsPlace(Address.parse(stack.metrics_address)) if stack.metrics_address else None

    def started() -> None:
        ready(f"{service.address}\t{service.monitor_address}")

    return run_daemon("Scheduler", service, stack.event_loop, started, security, metrics)


def _run_worker(stack: LocalStack, security: Security, scheduler: str, prepared: Callable[[str], None]) -> int:
    options = WorkerOptions(
        stack.slots,
        stack.queue_limit_per_slot * stack.slots,
        tuple(stack.capabilities),
        platform.node(),
        os.getpid(),
        stack.manager_name,
        stack.heartbeat_seconds,
        stack.task_timeout_seconds,
        stack.death_timeout_seconds,
        scheduler,
        stack.preload,
        stack.memory_limit_bytes,
        stack.garbage_collect_seconds,
        stack.trim_memory_bytes,
        allow_functions=stack.allow_functions,
    )
    return run_worker(options, scheduler, stack.event_loop, prepared=prepared, security=security)
