"""``scaler_cluster -n 10 ADDRESS``: workers on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scaler.cli import worker_manager
from scaler.cli.options import WORKER, WORKER_UNUSED, run, unused
from scaler.config import Option, address, natural, parse

SECTION = "cluster"
OPTIONS = (
    Option("address", "the scheduler's address: tcp://host:port", None, address, positional=True),
    Option("num_of_workers", "how many tasks run at once (default: as many as there are CPUs)", None, natural, "-n"),
    Option("worker_manager_id", "what monitors call these workers", "cluster", str, "-wmi"),
    Option("worker_scheduler_address", "the scheduler's address for the workers, if it is another one there", None, address, "-wsa"),
    *WORKER,
    unused("worker_io_threads", "-wit", "one thread is enough"),
    *WORKER_UNUSED,
)
DESCRIPTION = """\
Runs tasks on this machine: one worker with so many slots, kept running.

    scaler_cluster -n 10 tcp://127.0.0.1:8516
"""


def serve(given: argparse.Namespace) -> int:
    """Be a worker manager of the kind baremetal_native with a fixed number of slots."""
    given.type, given.max_task_concurrency = "baremetal_native", given.num_of_workers
    return worker_manager.serve(given)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    program = "scaler_cluster"
    given = parse(program, DESCRIPTION, SECTION, OPTIONS, argv)
    return run(program, given, lambda: serve(given))


if __name__ == "__main__":
    sys.exit(main())
