"""Logging as all commands have it."""

from __future__ import annotations

import logging
import logging.config
import sys
import time

from scaler.errors import ConfigurationError

FORMAT = "[%(levelname)s]%(asctime)s: %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S%z"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def set_up_logging(
    level: str = "INFO", paths: tuple[str, ...] = ("/dev/stdout",), config_file: str | None = None
) -> None:
    """Send log lines to files (/dev/stdout and /dev/stderr included), or where a logging configuration file says.

    Raises ConfigurationError for a file that cannot be used.
    """
    if config_file:
        try:
            logging.config.fileConfig(config_file, disable_existing_loggers=False)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise ConfigurationError(f"cannot use the logging configuration {config_file}: {error}") from None
        return
    handlers: list[logging.Handler] = []
    for path in paths:
        try:
            handlers.append(_handler(path))
        except OSError as error:
            raise ConfigurationError(f"cannot log to {path}: {error.strerror}") from None
    formatter = logging.Formatter(FORMAT, DATE_FORMAT)
    formatter.converter = time.localtime
    for handler in handlers:
        handler.setFormatter(formatter)
    logger = logging.getLogger("scaler")
    logger.handlers = handlers
    logger.setLevel(level)
    logger.propagate = False


def _handler(path: str) -> logging.Handler:
    if path in ("/dev/stdout", "/dev/stderr"):
        return logging.StreamHandler(sys.stdout if path == "/dev/stdout" else sys.stderr)
    return logging.FileHandler(path)
