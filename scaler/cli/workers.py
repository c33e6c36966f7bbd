"""How the commands that bring workers start them."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scaler.cli.command import logging_arguments
from scaler.cli.options import security_of
from scaler.config import available_cpus
from scaler.errors import ConfigurationError
from scaler.keyring import is_loopback
from scaler.security import FILES, at

if TYPE_CHECKING:
    from scaler.manager.backend import Backend
    from scaler.manager.state import ManagerOptions
    from scaler.manager.template import WorkerTemplate

log = logging.getLogger("scaler")

SHOWN = 20
"""How many workers a dry run names."""


def run_cluster(name: str, options: Namespace, slots: int | None) -> int:
    """A fixed manager of this machine, until told to end; returns the exit code."""
    from scaler.manager.baremetal_native import NativeWorkers
    from scaler.manager.state import ManagerOptions

    told = ManagerOptions(
        manager_name(options),
        "baremetal_native",
        slots or available_cpus(),
        options.per_worker_capabilities,
        options.heartbeat_interval_seconds,
        options.death_timeout_seconds,
        instance=_instance(),
    )
    return _run(name, options, told, NativeWorkers(template(options, told.name), told.slots, fixed=True))


def run_manager(name: str, options: Namespace) -> int:
    """A manager of any kind, or what it would do (dry run), or the end of what it left (sweep); returns the exit code."""
    from scaler.manager.kinds import load
    from scaler.manager.state import ManagerOptions

    told = ManagerOptions(
        manager_name(options),
        options.type,
        options.max_task_concurrency or 0,
        options.per_worker_capabilities,
        options.heartbeat_interval_seconds,
        options.death_timeout_seconds,
        fixed=getattr(options, "mode", "dynamic") == "fixed",
        instance=_instance(),
        worker_slots=options.slots_per_worker,
        max_workers=options.max_workers,
        max_hours=options.max_worker_hours,
        start_timeout_seconds=options.start_timeout_seconds,
        cost_tier=options.cost_tier,
    )
    _warn_of_own_address(options)
    backend = load(options.type).make(options, template(options, told.name))
    if options.dry_run or options.sweep:
        try:
            return asyncio.run((_rehearse if options.dry_run else _sweep)(told, backend))
        except OSError as error:
            raise ConfigurationError(f"cannot see or end workers: {error}") from None
    return _run(name, options, told, backend)


def _run(name: str, options: Namespace, told: ManagerOptions, backend: Backend) -> int:
    from scaler.manager.service import ManagerService
    from scaler.net.daemon import MetricsPlace, run_daemon

    metrics = MetricsPlace(options.metrics_address) if options.metrics_address else None
    return run_daemon(name, ManagerService(told, options.address, backend), options.event_loop, metrics=metrics)


def _warn_of_own_address(options: Namespace) -> None:
    """Workers that run elsewhere would not find the scheduler."""
    address = options.worker_scheduler_address or options.address
    if options.type != "baremetal_native" and is_loopback(address):
        text = (
            "workers on other machines cannot reach %s; say --worker-scheduler-address, with an address that they can"
        )
        log.warning(text, address)


def manager_name(options: Namespace) -> str:
    """As it was given; otherwise one that no other manager has."""
    return options.worker_manager_id or f"{platform.node()}-{os.getpid()}"


def _instance() -> str:
    return os.urandom(4).hex()


async def _rehearse(told: ManagerOptions, backend: Backend) -> int:
    """Print what would be started if the scheduler asked for all."""
    from scaler.manager.backend import WorkerOrder
    from scaler.manager.service import sized

    await backend.prepare()
    there = await backend.list()
    sizes = sized(told, backend)
    number = -(-sizes.slots // sizes.worker_slots)
    if sizes.max_workers and not sizes.fixed:
        number = min(number, sizes.max_workers)
    print(f"manager {told.name} ({told.kind}), {'fixed' if told.fixed else 'dynamic'}")
    print(f"at most {number} workers of {sizes.worker_slots} slots, {sizes.slots} slots in all")
    print(f"hours of workers: {told.max_hours:g} in all" if told.max_hours else "hours of workers: no limit")
    for sighting in there:
        print(f"there already: {sighting.label or sighting.name}, {sighting.slots or sizes.worker_slots} slots")
    for n in range(min(number, SHOWN)):
        slots = min(sizes.worker_slots, sizes.slots - n * sizes.worker_slots)
        print(f"would start: {backend.describe(WorkerOrder(f'{told.name}-{told.instance}-{n}', slots))}")
    if number > SHOWN:
        print(f"and {number - SHOWN} more")
    await backend.close()
    return 0


async def _sweep(told: ManagerOptions, backend: Backend) -> int:
    """End what earlier managers of this name left."""
    from scaler.manager.backend import Phase

    await backend.prepare()
    there = [sighting for sighting in await backend.list() if sighting.phase != Phase.ENDED]
    for sighting in there:
        print(f"ending {sighting.label or sighting.name}")
    await backend.stop([sighting.name for sighting in there])
    await backend.close()
    print(f"{len(there)} workers of {told.name} ended")
    return 0


def template(options: Namespace, manager: str) -> WorkerTemplate:
    """What the workers of a manager are told."""
    from scaler.manager.template import WorkerTemplate
    from scaler.worker.state import WorkerOptions

    worker = WorkerOptions(
        1,
        capabilities=options.per_worker_capabilities,
        manager_name=manager,
        heartbeat_seconds=options.heartbeat_interval_seconds,
        task_timeout_seconds=options.task_timeout_seconds,
        death_timeout_seconds=options.death_timeout_seconds,
        scheduler_address=str(options.worker_scheduler_address or options.address),
        preload=options.preload,
        allow_functions=options.allow_functions,
        memory_limit_bytes=options.memory_limit_bytes,
        garbage_collect_seconds=options.garbage_collect_interval_seconds,
        trim_memory_bytes=options.trim_memory_threshold_bytes,
        object_storage_address=str(options.object_storage_address or ""),
    )
    return WorkerTemplate(
        asdict(worker),
        options.event_loop,
        logging_arguments(options),
        options.per_worker_task_queue_size,
        str(options.worker_metrics_address or ""),
        _security_there(options),
    )


def _security_there(options: Namespace) -> dict[str, Any]:
    """As the hosts of the workers have it: they ask nobody for a certificate."""
    from scaler.manager.kubernetes import SECURITY_DIRECTORY

    told = {name: value for name, value in asdict(security_of(options)).items() if value}
    told.pop("tls_require_client_certificate", None)
    here = {name: str(value) for name, value in told.items() if name in FILES}
    kind = getattr(options, "type", "baremetal_native")
    directory = getattr(options, "worker_security_directory", None) or (
        SECURITY_DIRECTORY if kind == "kubernetes" else ""
    )
    if here and kind.startswith(("aws", "orb_aws")) and not directory:
        raise ConfigurationError(
            f"workers of {kind} need {', '.join(here.values())}: put these files into the image, and say"
            " --worker-security-directory, where they are"
        )
    return at(directory, told)
