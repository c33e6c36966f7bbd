"""``scaler_scheduler ADDRESS -osa ADDRESS``: places tasks on workers."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, METRICS, SECURITY, check_bind, check_metrics
from scaler.config import COMPATIBILITY, Option, address, boolean, grouped, integer, interval, limit, seconds
from scaler.errors import AddressError, ConfigurationError
from scaler.scheduler.policy import ENGINES, parse_policy

DESCRIPTION = """Run a scheduler: clients give it tasks, it places them on workers.

    scaler_scheduler tcp://127.0.0.1:8516 -osa tcp://127.0.0.1:8517
"""
OPTIONS = (
    Option(
        "address", "where to listen, as tcp://host:port, tls://host:port or ipc://path", kind=address, positional=True
    ),
    Option("object_storage_address", "the object storage server's address; needed", kind=address, short="-osa"),
    Option(
        "advertised_object_storage_address",
        "the object storage's address as clients and workers reach it, if it is another than -osa",
        kind=address,
        short="-aosa",
    ),
    Option("monitor_address", "where monitors connect; the scheduler's port + 2 without it", kind=address, short="-ma"),
    Option("protected", "clients may not shut the cluster down", True, boolean, short="-p"),
    Option("max_number_of_tasks_waiting", "refuse tasks beyond so many; -1: no limit", -1, limit, short="-mt"),
    Option(
        "client_timeout_seconds",
        "forget a client that has been silent or gone for so long, with its tasks and objects",
        60.0,
        interval,
        short="-ct",
    ),
    Option("worker_timeout_seconds", "take a worker that is silent for so long for dead", 60.0, interval, short="-wt"),
    Option(
        "policy_engine_type",
        "how the policy is written: simple, or waterfall_v1: lines of priority, worker_manager_id, max_task_concurrency",
        "simple",
        short="-et",
        choices=ENGINES,
    ),
    Option(
        "policy_content",
        "allocate=even_load or capability; scaling=no, vanilla, capability or target_time; idle_seconds=10; target_seconds=60",
        "allocate=even_load; scaling=vanilla",
        short="-pc",
    ),
    Option(
        "journal",
        "a file to write down what is accepted and how it ends, so that it goes on after a restart, also without its client",
        kind=Path,
        short="-j",
    ),
    Option(
        "journal_sync_seconds",
        "what was written has reached the disk after so long; 0: as soon as it can",
        0.1,
        seconds,
        short="-jss",
    ),
    Option(
        "journal_retention_seconds",
        "with a journal: forget a client that has a name after it has been gone for so long, with its tasks and results",
        7 * 86400.0,
        interval,
        short="-jrs",
    ),
    Option(
        "tracing",
        "make OpenTelemetry spans of how long tasks wait that clients trace; exporters as OTEL_* variables say."
        " Needs the extra otel",
        False,
        boolean,
    ),
    Option(
        "dump_directory",
        "on SIGUSR2 write the state into a file there, for `python -m tests.sim --load FILE`; without users' data,"
        " with names and texts of errors",
        short="-dd",
    ),
    *SECURITY,
    INSECURE,
    METRICS,
    EVENT_LOOP,
    *LOGGING,
    *grouped(
        COMPATIBILITY,
        Option(
            "object_retention_seconds",
            "accepted for compatibility; objects are counted and freed at once when nobody needs them",
            60.0,
            seconds,
            short="-ot",
        ),
        Option(
            "load_balance_seconds", "accepted for compatibility; balancing is continuous", 1.0, seconds, short="-ls"
        ),
        Option(
            "load_balance_trigger_times",
            "accepted for compatibility; balancing is continuous",
            2,
            integer,
            short="-lbt",
        ),
        Option("io_threads", "accepted for compatibility; one thread is not short here", 1, integer, short="-it"),
        Option(
            "status_report_interval_seconds",
            "accepted for compatibility; monitors name their own interval",
            1.0,
            seconds,
            short="-sri",
        ),
    ),
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    if options.object_storage_address is None:
        raise ConfigurationError("--object-storage-address is missing")
    if options.dump_directory and not os.access(options.dump_directory, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--dump-directory: {options.dump_directory} is no directory that can be written to")
    check_bind("ADDRESS", options.address, options)
    check_metrics(options)
    check_bind("--monitor-address", options.monitor_address, options)
    if options.monitor_address is None:
        try:
            options.address.of_monitor()
        except AddressError as error:
            raise ConfigurationError(f"--monitor-address is missing: {error}") from None
    parse_policy(options.policy_engine_type, options.policy_content)


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    from scaler.net.daemon import MetricsPlace, run_daemon
    from scaler.scheduler.service import JournalPlace, SchedulerService
    from scaler.scheduler.settings import SchedulerSettings

    settings = SchedulerSettings(
        str(options.advertised_object_storage_address or options.object_storage_address),
        options.protected,
        options.max_number_of_tasks_waiting,
        options.client_timeout_seconds,
        options.worker_timeout_seconds,
        tracing=options.tracing,
        policy=parse_policy(options.policy_engine_type, options.policy_content),
    )
    journal = None
    if options.journal is not None:
        journal = JournalPlace(options.journal, options.journal_sync_seconds, options.journal_retention_seconds)
    service = SchedulerService(
        settings,
        options.address,
        options.object_storage_address,
        options.monitor_address,
        options.dump_directory or "",
        journal,
    )
    metrics = MetricsPlace(options.metrics_address) if options.metrics_address else None
    return run_daemon(COMMAND.name, service, options.event_loop, metrics=metrics)


COMMAND = Command("scaler_scheduler", "Scheduler", "scheduler", DESCRIPTION, OPTIONS, check, run)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
