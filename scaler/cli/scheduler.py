"""``scaler_scheduler ADDRESS -osa ADDRESS``: the scheduler."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, refuse_open_bind, run, unused
from scaler.config import Option, address, boolean, parse, seconds
from scaler.errors import ConfigurationError
from scaler.net.daemon import log, run_daemon
from scaler.scheduler.policy import parse_policy
from scaler.scheduler.service import SchedulerService
from scaler.scheduler.state import SchedulerSettings

SECTION = "scheduler"
OPTIONS = (
    Option("address", "where clients, workers and managers connect: tcp://host:port", None, address, positional=True),
    Option("object_storage_address", "the object storage server's address", None, address, "-osa"),
    Option("advertised_object_storage_address", "told to clients and workers instead of -osa", None, address, "-aosa"),
    Option("monitor_address", "where monitors connect (default: the scheduler's port + 2)", None, address, "-ma"),
    Option("protected", "do not let clients shut the cluster down", True, boolean, "-p"),
    Option("max_number_of_tasks_waiting", "refuse tasks when this many wait; -1: no limit", -1, int, "-mt"),
    Option("client_timeout_seconds", "forget a client that is gone this long", 60.0, seconds, "-ct"),
    Option("worker_timeout_seconds", "take a worker that is silent this long for dead", 60.0, seconds, "-wt"),
    Option("policy_engine_type", "the policy engine", "simple", str, "-et", choices=("simple",)),
    Option("policy_content", "the policy", "allocate=even_load; scaling=vanilla", str, "-pc"),
    INSECURE,
    EVENT_LOOP,
    *LOGGING,
    unused("io_threads", "-it", "one thread is enough"),
    unused("object_retention_seconds", "-ot", "objects are kept while somebody owns them"),
    unused("load_balance_seconds", "-ls", "balancing is continuous"),
    unused("load_balance_trigger_times", "-lbt", "balancing is continuous"),
    unused("status_report_interval_seconds", "-sri", "each monitor says how often it wants to hear"),
)
DESCRIPTION = """\
Takes tasks from clients and gives them to workers.

    scaler_scheduler tcp://127.0.0.1:8516 -osa tcp://127.0.0.1:8517
"""


def serve(given: argparse.Namespace) -> int:
    """Be the scheduler until told to end."""
    if given.object_storage_address is None:
        raise ConfigurationError("say where the object storage server is: -osa tcp://host:port")
    parse_policy(given.policy_engine_type, given.policy_content)
    for listening in filter(None, (given.address, given.monitor_address)):
        refuse_open_bind(listening, given.insecure)
    log.info("Scheduler: logging to %s", given.logging_config_file or ", ".join(given.logging_paths))
    settings = SchedulerSettings(
        str(given.advertised_object_storage_address or given.object_storage_address),
        given.protected,
        given.max_number_of_tasks_waiting,
        given.client_timeout_seconds,
        given.worker_timeout_seconds,
    )
    service = SchedulerService(settings, given.address, given.object_storage_address, given.monitor_address)
    return run_daemon("Scheduler", service, given.event_loop)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    program = "scaler_scheduler"
    given = parse(program, DESCRIPTION, SECTION, OPTIONS, argv)
    return run(program, given, lambda: serve(given))


if __name__ == "__main__":
    sys.exit(main())
