"""``scaler_worker_manager KIND ADDRESS``: a worker manager."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scaler.cli.options import WORKER, WORKER_UNUSED, default_slots, run, unused, worker_options
from scaler.config import Option, address, natural, parse
from scaler.manager.baremetal_native import BaremetalNative
from scaler.manager.service import ManagerService
from scaler.manager.state import ManagerOptions
from scaler.net.daemon import run_daemon

SECTION = "worker_manager"
KINDS = ("baremetal_native",)
OPTIONS = (
    Option("type", "what brings the workers", "baremetal_native", str, positional=True, choices=KINDS),
    Option("address", "the scheduler's address: tcp://host:port", None, address, positional=True),
    Option("mode", "fixed: the same number of slots always", "fixed", str, choices=("fixed",)),
    Option("max_task_concurrency", "how many tasks run at once (default: as many as there are CPUs)", None, natural, "-mtc"),
    Option("worker_manager_id", "what monitors call this manager", "baremetal_native", str, "-wmi"),
    Option("worker_scheduler_address", "the scheduler's address for the workers, if it is another one there", None, address, "-wsa"),
    *WORKER,
    unused("worker_io_threads", "-wit", "one thread is enough"),
    *WORKER_UNUSED,
)
DESCRIPTION = """\
Starts workers and keeps them running; they connect to the scheduler.

    scaler_worker_manager baremetal_native tcp://127.0.0.1:8516 --max-task-concurrency 8
"""


def serve(given: argparse.Namespace) -> int:
    """Be the manager until told to end."""
    slots = given.max_task_concurrency or default_slots()
    scheduler = str(given.worker_scheduler_address or given.address)
    worker = worker_options(given, slots, given.worker_manager_id, scheduler)
    logging = (given.logging_level, tuple(given.logging_paths), given.logging_config_file)
    options = ManagerOptions(
        given.worker_manager_id,
        given.type,
        slots,
        capabilities=given.per_worker_capabilities,
        heartbeat_seconds=given.heartbeat_interval_seconds,
    )
    backend = BaremetalNative(worker, given.event_loop, logging)
    return run_daemon("WorkerManager", ManagerService(options, given.address, backend), given.event_loop)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    program = "scaler_worker_manager"
    given = parse(program, DESCRIPTION, SECTION, OPTIONS, argv)
    return run(program, given, lambda: serve(given))


if __name__ == "__main__":
    sys.exit(main())
