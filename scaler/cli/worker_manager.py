"""``scaler_worker_manager TYPE ADDRESS``: brings workers to a scheduler."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, LOGGING, WORKERS
from scaler.cli.workers import run_native
from scaler.config import Option, address, natural

DESCRIPTION = """Run a worker manager: it starts workers for a scheduler when there is work for them, watches them and
replaces those that fail. Workers that have been idle for a while leave.

    scaler_worker_manager baremetal_native tcp://127.0.0.1:8516 --max-task-concurrency 10
"""
TYPES = ("baremetal_native",)
OPTIONS = (
    Option(
        "type", "where the workers run; baremetal_native: processes of this machine", positional=True, choices=TYPES
    ),
    Option("address", "the scheduler's, as tcp://host:port or ipc://path", kind=address, positional=True),
    Option(
        "mode",
        "dynamic: as many slots as the scheduler has work for; fixed: all of them all the time",
        "dynamic",
        choices=("dynamic", "fixed"),
    ),
    Option(
        "max_task_concurrency",
        "how many tasks run at once, at most; as many as there are CPUs without it",
        kind=natural,
        short="-mtc",
    ),
    *WORKERS,
    EVENT_LOOP,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Nothing is wrong that could be known before it starts."""


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    return run_native(COMMAND.name, options, options.max_task_concurrency, options.mode == "fixed")


COMMAND = Command("scaler_worker_manager", "WorkerManager", "worker_manager", DESCRIPTION, OPTIONS, check, run)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
