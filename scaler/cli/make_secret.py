"""``scaler make-secret FILE``: a new secret, which all processes of a cluster are to have."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scaler.cli.arguments import parse
from scaler.config import Option
from scaler.errors import ConfigurationError
from scaler.security import make_secret

PROGRAM = "scaler make-secret"
DESCRIPTION = """Make a secret that all processes of a cluster prove to each other, in a file that only its owner can read.

    scaler make-secret ~/.scaler-secret
    scaler_scheduler tcp://10.0.0.5:8516 -osa tcp://10.0.0.5:8517 --secret-file ~/.scaler-secret

Copy the file to the other hosts of the cluster and to those who may submit tasks, and to nobody else.
"""
OPTIONS = (Option("file", "where to write it; nothing is overwritten", positional=True),)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    options = parse(PROGRAM, DESCRIPTION, "", OPTIONS, argv)
    try:
        make_secret(options.file)
    except ConfigurationError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    print(f"{options.file} has a new secret; name it with --secret-file, or in SCALER_SECRET_FILE")
    return 0
