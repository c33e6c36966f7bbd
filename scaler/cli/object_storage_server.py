"""``scaler_object_storage_server ADDRESS``: holds what is too large to travel in a message."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, SPILLING, check_bind
from scaler.config import Option, address

if TYPE_CHECKING:
    from scaler.storage.settings import StorageSettings

DESCRIPTION = """Run an object storage server: it holds large arguments and results.

    scaler_object_storage_server tcp://127.0.0.1:8517
"""
OPTIONS = (
    Option("address", "where to listen, as tcp://host:port or ipc://path", kind=address, positional=True),
    *SPILLING,
    INSECURE,
    EVENT_LOOP,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    check_bind("ADDRESS", options.address, options.insecure)
    _settings(options).check()


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    from scaler.net.daemon import run_daemon
    from scaler.storage.service import StorageService

    return run_daemon(COMMAND.name, StorageService(options.address, _settings(options)), options.event_loop)


def _settings(options: Namespace) -> StorageSettings:
    from scaler.storage.settings import StorageSettings

    return StorageSettings(
        options.memory_limit_bytes, options.spill_directory or "", options.spill_url or "", options.durable
    )


COMMAND = Command(
    "scaler_object_storage_server", "ObjectStorageServer", "object_storage_server", DESCRIPTION, OPTIONS, check, run
)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
