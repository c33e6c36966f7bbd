"""What a command is: options, read and checked before anything starts, then a service that runs until it ends."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scaler.config import Option, parse
from scaler.errors import ConfigurationError, ScalerError
from scaler.logs import set_up_logging

log = logging.getLogger("scaler")

BAD_USAGE = 2


@dataclass(frozen=True, slots=True)
class Command:
    """A daemon's command. ``check`` raises ConfigurationError for bad usage; ``run`` returns the exit code."""

    program: str
    name: str
    """What the daemon is called in the log."""
    section: str
    description: str
    options: Sequence[Option]
    check: Callable[[Namespace], None]
    run: Callable[[Namespace], int]

    def main(self, argv: Sequence[str] | None) -> int:
        """Be the command; returns the exit code, or raises SystemExit with 2 for bad usage."""
        options = parse(self.program, self.description, self.section, self.options, argv)
        try:
            self.check(options)
            self.start_logging(options)
        except ConfigurationError as error:
            return refuse(self.program, error)
        return self.serve(options)

    def start_logging(self, options: Namespace) -> None:
        """Log as the options say. Raises ConfigurationError for a file that cannot be used."""
        set_up_logging(options.logging_level, options.logging_paths, options.logging_config_file)
        where = options.logging_config_file or ", ".join(options.logging_paths)
        log.info("%s: logging to %s", self.name, where)

    def serve(self, options: Namespace) -> int:
        """Run the service; what the user has to mend is one line of the log, and exit code 1."""
        # A client inside a task is to use the scheduler that runs the task.
        os.environ.pop("SCALER_ADDRESS", None)
        try:
            return self.run(options)
        except ScalerError as error:
            log.error("%s: %s", self.name, error)
            return 1
        except KeyboardInterrupt:
            return 0


def refuse(program: str, error: object) -> int:
    """Say in one line what cannot be used; returns the exit code for it."""
    sys.stderr.write(f"{program}: {error}; see {program} --help\n")
    return BAD_USAGE
