"""What a command is: options, read and checked before anything starts, then a service that runs until it ends."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scaler.cli.arguments import DAEMON_ENDS, parse
from scaler.cli.options import security_of
from scaler.config import Option, grouped, read_toml
from scaler.errors import ConfigurationError, ScalerError
from scaler.logs import name_daemon, set_up_logging

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
    kinds: Sequence[str] = ()
    """What the option ``type`` may be, where it says which other options there are."""
    options_of_kind: Callable[[str], Sequence[Option]] = lambda kind: ()
    logs: bool = True
    """Whether it has the options of LOGGING."""

    def options_for(self, kind: object) -> Sequence[Option]:
        """All options of the command, those of one kind included."""
        if kind not in self.kinds:
            return self.options
        return (*grouped(f"options of {kind}", *self.options_of_kind(str(kind))), *self.options)

    def parse(self, argv: Sequence[str]) -> Namespace:
        """The options as given, from flags, environment and file. Raises SystemExit with 2 for bad usage.

        Which options there are is known only when the kind is; it mostly comes first.
        """
        kind = next((word for word in argv if word in self.kinds), None) or self._kind_elsewhere(argv)
        options = parse(self.program, self.description, self.section, self.options_for(kind), argv, DAEMON_ENDS)
        if self.kinds and options.type != kind:
            options = parse(
                self.program, self.description, self.section, self.options_for(options.type), argv, DAEMON_ENDS
            )
        return options

    def _kind_elsewhere(self, argv: Sequence[str]) -> Any:
        """As the environment or the file has it."""
        if not self.kinds:
            return None
        told = os.environ.get(f"SCALER_{self.section.upper()}_TYPE")
        files = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word in ("-c", "--config")]
        if told or not files:
            return told
        try:
            table = read_toml(files[0]).get(self.section, {})
        except ConfigurationError as error:
            raise SystemExit(refuse(self.program, error)) from None
        return (table[0] if isinstance(table, list) and table else table or {}).get("type")

    def main(self, argv: Sequence[str] | None) -> int:
        """Be the command; returns the exit code, or raises SystemExit with 2 for bad usage."""
        options = self.parse(sys.argv[1:] if argv is None else argv)
        try:
            self.check_all(options)
            self.start_logging(options)
        except ConfigurationError as error:
            return refuse(self.program, error)
        return self.serve(options)

    def check_all(self, options: Namespace) -> None:
        """Raises ConfigurationError for bad usage, and for files of security that cannot be used."""
        self.check(options)
        security_of(options).load()

    def start_logging(self, options: Namespace) -> None:
        """Log as the options say. Raises ConfigurationError for a file that cannot be used."""
        if not self.logs:
            return
        name_daemon(self.name)
        set_up_logging(*logging_arguments(options))
        where = options.logging_config_file or ", ".join(options.logging_paths)
        log.info("%s: logging to %s", self.name, where)

    def serve(self, options: Namespace) -> int:
        """Run the service; what the user has to mend is one line of the log, and exit code 1."""
        # A client inside a task is to use the scheduler that runs the task.
        os.environ.pop("SCALER_ADDRESS", None)
        # Where the secret is: for the service, and for what it starts.
        os.environ.update(security_of(options).environment())
        try:
            return self.run(options)
        except ScalerError as error:
            log.error("%s: %s", self.name, error)
            return 1
        except KeyboardInterrupt:
            return 0


def logging_arguments(options: Namespace) -> tuple[str, tuple[str, ...], str | None, str]:
    """Those of set_up_logging."""
    return options.logging_level, options.logging_paths, options.logging_config_file, options.logging_format


def refuse(program: str, error: object) -> int:
    """Say in one line what cannot be used; returns the exit code for it."""
    sys.stderr.write(f"{program}: {error}; see {program} --help\n")
    return BAD_USAGE
