"""``scaler_object_storage_server ADDRESS``: holds what is too large to travel in a message."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaler.cli.command import Command
from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, METRICS, SECURITY, SPILLING, check_bind, check_metrics
from scaler.config import Option, address
from scaler.errors import ConfigurationError

if TYPE_CHECKING:
    from scaler.storage.settings import StorageSettings

DESCRIPTION = """Run an object storage server: it holds large arguments and results.

    scaler_object_storage_server tcp://127.0.0.1:8517

With --center it keeps what tasks of one host make, and other hosts get it there:

    scaler_object_storage_server tcp://10.0.0.7:8517 --center tcp://10.0.0.5:8517 --secret-file secret
    scaler_cluster -n 10 tcp://10.0.0.5:8516 -osa tcp://10.0.0.7:8517
"""
OPTIONS = (
    Option(
        "address", "where to listen, as tcp://host:port, tls://host:port or ipc://path", kind=address, positional=True
    ),
    Option(
        "center",
        "the object storage server of all; this one is for one host then, whose workers are told of it with -osa",
        kind=address,
    ),
    Option(
        "advertised_address",
        "this server's as other hosts reach it, if it is another than ADDRESS",
        kind=address,
        short="-aa",
    ),
    *SPILLING,
    *SECURITY,
    INSECURE,
    METRICS,
    EVENT_LOOP,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    check_bind("ADDRESS", options.address, options)
    check_metrics(options)
    _settings(options).check()
    if options.center and options.durable:
        raise ConfigurationError("--durable is for the object storage server of all, not for that of one host")
    if options.advertised_address and not options.center:
        raise ConfigurationError("--advertised-address is for the object storage of one host; give --center, too")


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    from scaler.net.daemon import MetricsPlace, run_daemon
    from scaler.storage.service import StorageService

    service = StorageService(options.address, _settings(options), options.center, options.advertised_address)
    metrics = MetricsPlace(options.metrics_address) if options.metrics_address else None
    return run_daemon(COMMAND.name, service, options.event_loop, metrics=metrics)


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
