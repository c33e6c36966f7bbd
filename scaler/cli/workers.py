"""How the commands that bring workers start them."""

from __future__ import annotations

import os
import platform
from argparse import Namespace
from dataclasses import asdict
from typing import Any


def run_native(name: str, options: Namespace, slots: int | None, fixed: bool) -> int:
    """A manager whose workers are processes of this machine, until told to end; returns the exit code."""
    from scaler.cluster.stack import available_cpus
    from scaler.manager.baremetal_native import NativeWorkers
    from scaler.manager.service import ManagerService
    from scaler.manager.state import ManagerOptions
    from scaler.net.daemon import run_daemon

    told = ManagerOptions(
        options.worker_manager_id or f"{platform.node()}-{os.getpid()}",
        "baremetal_native",
        slots or available_cpus(),
        options.per_worker_capabilities,
        options.heartbeat_interval_seconds,
        options.death_timeout_seconds,
        fixed,
    )
    backend = NativeWorkers(lambda slots: _order(options, slots, told.name))
    return run_daemon(name, ManagerService(told, options.address, backend), options.event_loop)


def _order(options: Namespace, slots: int, manager: str) -> dict[str, Any]:
    """What a worker process is told: see scaler.worker.__main__."""
    from scaler.worker.state import WorkerOptions

    scheduler = str(options.worker_scheduler_address or options.address)
    worker = WorkerOptions(
        slots,
        options.per_worker_task_queue_size * slots,
        options.per_worker_capabilities,
        manager_name=manager,
        heartbeat_seconds=options.heartbeat_interval_seconds,
        task_timeout_seconds=options.task_timeout_seconds,
        death_timeout_seconds=options.death_timeout_seconds,
        scheduler_address=scheduler,
        preload=options.preload,
        memory_limit_bytes=options.memory_limit_bytes,
        garbage_collect_seconds=options.garbage_collect_interval_seconds,
        trim_memory_bytes=options.trim_memory_threshold_bytes,
        object_storage_address=str(options.object_storage_address or ""),
    )
    return {
        "options": asdict(worker),
        "event_loop": options.event_loop,
        "logging": [options.logging_level, options.logging_paths, options.logging_config_file],
    }
