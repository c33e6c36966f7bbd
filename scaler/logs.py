"""Logging as all commands have it: lines for people, or a JSON object a line."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from datetime import datetime
from typing import Any

from scaler.errors import ConfigurationError

FORMAT = "[%(levelname)s]%(asctime)s: %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S%z"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601 with its zone), ``level``, ``logger``, ``message``, ``daemon``, ``pid``, and
    ``exception`` (the traceback) where there is one.

    A logging configuration file can name it, too: ``class=scaler.logs.JsonFormatter``.
    """

    daemon = ""
    """What this process is: see name_daemon()."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "daemon": self.daemon,
            "pid": record.process,
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def name_daemon(name: str) -> None:
    """From here on this process is called so in JSON."""
    JsonFormatter.daemon = name


def set_up_logging(
    level: str = "INFO",
    paths: tuple[str, ...] = ("/dev/stdout",),
    config_file: str | None = None,
    log_format: str = "text",
) -> None:
    """Send log lines to files (/dev/stdout and /dev/stderr included), or where a logging configuration file says.

    ``log_format`` is one of FORMATS. Raises ConfigurationError for a file that cannot be used.
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
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter(FORMAT, DATE_FORMAT)
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
