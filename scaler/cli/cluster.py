"""``scaler_cluster -n 10 ADDRESS``: workers on this machine."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, METRICS, WORKERS, check_metrics
from scaler.cli.workers import run_cluster
from scaler.config import Option, address, natural

DESCRIPTION = """Run tasks of a scheduler on this machine, -n at once.

    scaler_cluster -n 10 tcp://127.0.0.1:8516
"""
OPTIONS = (
    Option(
        "address",
        "the scheduler's address, as tcp://host:port, tls://host:port or ipc://path",
        kind=address,
        positional=True,
    ),
    Option(
        "num_of_workers", "how many tasks run at once; as many as there are CPUs without it", kind=natural, short="-n"
    ),
    *WORKERS,
    METRICS,
    INSECURE,
    EVENT_LOOP,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    check_metrics(options)


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    return run_cluster(COMMAND.name, options, options.num_of_workers)


COMMAND = Command("scaler_cluster", "Cluster", "cluster", DESCRIPTION, OPTIONS, check, run)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
