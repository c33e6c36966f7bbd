"""``scaler_worker_manager TYPE ADDRESS``: brings workers to a scheduler, as many as it asks for."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, METRICS, WORKERS, check_metrics
from scaler.cli.workers import run_manager
from scaler.config import Option, address, boolean, count, interval, natural, seconds
from scaler.errors import ConfigurationError
from scaler.manager.kinds import KINDS, load

DESCRIPTION = f"""Run a worker manager: it starts workers when the scheduler asks for them, and replaces those that fail.

    scaler_worker_manager baremetal_native tcp://127.0.0.1:8516 --max-task-concurrency 10
    scaler_worker_manager baremetal_native tcp://127.0.0.1:8516 --mode fixed -mtc 10
    scaler_worker_manager ssh tcp://10.0.0.1:8516 --hosts node1 node2=16

Each type has options of its own: scaler_worker_manager TYPE --help tells them.

{chr(10).join(f"    {name:<18} {where}" for name, where in KINDS.items())}
"""
OPTIONS = (
    Option("type", "where the workers run", positional=True, choices=tuple(KINDS)),
    Option(
        "address",
        "the scheduler's address, as tcp://host:port, tls://host:port or ipc://path",
        kind=address,
        positional=True,
    ),
    Option(
        "max_task_concurrency",
        "how many tasks run at once at most; as many as there are CPUs without it",
        kind=natural,
        short="-mtc",
    ),
    Option("slots_per_worker", "how many of them each worker runs; 0: as suits the type", 0, count, short="-spw"),
    Option("max_workers", "a hard limit: never more workers at a time; 0: none", 0, count, short="-mw"),
    Option(
        "max_worker_hours",
        "a hard limit: when all workers together have lived for so many hours, no more are started; 0: none",
        0.0,
        seconds,
        short="-mwh",
    ),
    Option(
        "start_timeout_seconds",
        "stop a worker that has run for so long and is not connected to the scheduler",
        300.0,
        interval,
        short="-sts",
    ),
    Option("cost_tier", "of several managers those of the lowest tier are used first", 0, count, short="-ct"),
    Option("dry_run", "print what would be started at most, and end", False, boolean),
    Option("sweep", "end all workers that managers of this --worker-manager-id have left, and end", False, boolean),
    Option(
        "worker_security_directory",
        "where the hosts of the workers have the files that --secret-file and its like name; the same paths without it",
        short="-wsd",
    ),
    *WORKERS,
    METRICS,
    INSECURE,
    EVENT_LOOP,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    if options.sweep and not options.worker_manager_id:
        raise ConfigurationError("--sweep needs --worker-manager-id: it ends the workers of managers of that name")
    check_metrics(options)
    load(options.type).check(options)


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    return run_manager(COMMAND.name, options)


def options_of(kind: str) -> Sequence[Option]:
    """Those that only managers of this kind have."""
    return load(kind).OPTIONS


COMMAND = Command(
    "scaler_worker_manager",
    "WorkerManager",
    "worker_manager",
    DESCRIPTION,
    OPTIONS,
    check,
    run,
    tuple(KINDS),
    options_of,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
