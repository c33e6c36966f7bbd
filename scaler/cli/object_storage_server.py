"""``scaler_object_storage_server ADDRESS``: the object storage server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scaler.cli.options import EVENT_LOOP, INSECURE, LOGGING, refuse_open_bind, run
from scaler.config import Option, address, parse
from scaler.net.daemon import run_daemon
from scaler.storage.service import StorageService

SECTION = "object_storage_server"
OPTIONS = (
    Option("address", "where to listen: tcp://host:port", None, address, positional=True),
    INSECURE,
    EVENT_LOOP,
    *LOGGING,
)
DESCRIPTION = """\
Keeps large arguments and results. Every cluster has one; its scheduler tells
clients and workers where it is.

    scaler_object_storage_server tcp://127.0.0.1:8517
"""


def serve(given: argparse.Namespace) -> int:
    """Be the server until told to end."""
    refuse_open_bind(given.address, given.insecure)
    return run_daemon("ObjectStorageServer", StorageService(given.address), given.event_loop)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    program = "scaler_object_storage_server"
    given = parse(program, DESCRIPTION, SECTION, OPTIONS, argv)
    return run(program, given, lambda: serve(given))


if __name__ == "__main__":
    sys.exit(main())
