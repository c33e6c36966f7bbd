"""``scaler make-certificate DIRECTORY --host NAME``: certificates for a cluster, for trying TLS and for small sites."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scaler.cli.arguments import parse
from scaler.config import Option, natural
from scaler.errors import ConfigurationError, ExtraMissingError

PROGRAM = "scaler make-certificate"
DESCRIPTION = """Make a CA, a certificate for servers and one for clients, with keys that only their owner can read.

    scaler make-certificate certificates --host 10.0.0.5 node5.example

Scheduler and object storage get server.pem and server-key.pem, clients and workers client.pem and client-key.pem where
they are asked for a certificate, and all of them ca.pem. ca-key.pem stays where it is: who has it can make more.
Again with the same directory it makes new certificates by the same CA; running daemons take them by themselves.
"""
OPTIONS = (
    Option("directory", "where to write them; made where it is missing", positional=True),
    Option(
        "host", "the names and addresses by which servers are reached", ("localhost", "127.0.0.1", "::1"), many=True
    ),
    Option("days", "how long they are good for; the CA is for ten years", 365, natural),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    options = parse(PROGRAM, DESCRIPTION, "", OPTIONS, argv)
    try:
        from scaler.certificates import make_certificates

        made = make_certificates(options.directory, options.host, options.days)
    except (ConfigurationError, ExtraMissingError) as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    print(f"{options.directory}: new {', '.join(made)}, for {', '.join(options.host)}, good for {options.days} days")
    return 0
