"""``scaler_gui MONITOR_ADDRESS``: the web dashboard."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from scaler.cli.command import Command
from scaler.cli.options import INSECURE, LOGGING, SECURITY, check_bind, security_of
from scaler.config import Option, address, http_address
from scaler.errors import ExtraMissingError

DESCRIPTION = """Show a cluster in the browser: what runs where and for how long, workers, graphs, objects, failures, the log.

    scaler_gui tcp://127.0.0.1:8518
    scaler_gui tcp://127.0.0.1:8518 --gui-address 127.0.0.1:50001

Where the scheduler asks for a secret, the page does so, too: open the address that is printed, or type the secret in.
Prometheus finds metrics at /metrics (with the secret as its bearer token), load balancers the state at /healthz.
"""


OPTIONS = (
    Option("address", "the scheduler's monitor address, its port + 2: tcp://host:8518", kind=address, positional=True),
    Option("gui_address", "where to serve the page, as host:port", "127.0.0.1:50001", http_address, short="-ga"),
    Option("allowed_hosts", "further names by which browsers may call this server", (), many=True),
    *SECURITY,
    INSECURE,
    *LOGGING,
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    check_bind("--gui-address", options.gui_address, options)


def run(options: Namespace) -> int:
    """Until told to end; returns the exit code."""
    try:
        from scaler.web.server import serve
    except ImportError as error:
        raise ExtraMissingError(f"the dashboard needs {error.name}: pip install 'opengris-scaler[gui]'") from None

    async def until_stopped() -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        security = security_of(options).load()
        await serve(options.address, options.gui_address, options.allowed_hosts, stopped, security)

    asyncio.run(until_stopped())
    return 0


COMMAND = Command("scaler_gui", "WebMonitor", "gui", DESCRIPTION, OPTIONS, check, run)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    return COMMAND.main(argv)


if __name__ == "__main__":
    sys.exit(main())
