"""Log lines: for people, and as JSON."""

import json
import logging
import os
from datetime import datetime

import pytest

from scaler.errors import ConfigurationError
from scaler.logs import name_daemon, set_up_logging


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Logs as JSON into a file; returns what is in it."""
    logger = logging.getLogger("scaler")
    before = logger.handlers, logger.level, logger.propagate
    path = tmp_path / "log"
    set_up_logging("INFO", (str(path),), log_format="json")
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
    logger.handlers[0].close()
    logger.handlers, logger.level, logger.propagate = before
    name_daemon("")


def test_each_line_is_an_object(lines):
    name_daemon("Scheduler")
    log = logging.getLogger("scaler")
    log.debug("not this")
    log.warning('%s: two\nlines and 5 € "quoted"', "Scheduler")
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "WARNING",
        "logger": "scaler",
        "message": 'Scheduler: two\nlines and 5 € "quoted"',
        "daemon": "Scheduler",
        "pid": os.getpid(),
    }


def test_an_exception_comes_with_its_traceback(lines):
    try:
        raise ValueError("thirteen")
    except ValueError:
        logging.getLogger("scaler").exception("it failed")
    (line,) = lines()
    assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: thirteen")


def test_a_configuration_file_can_have_it_too(tmp_path, lines):
    (tmp_path / "logging.ini").write_text(
        f"""
[loggers]
keys=root,scaler
[handlers]
keys=file
[formatters]
keys=json
[logger_root]
handlers=
[logger_scaler]
handlers=file
qualname=scaler
[handler_file]
class=FileHandler
args=({str(tmp_path / "other")!r},)
formatter=json
[formatter_json]
class=scaler.logs.JsonFormatter
"""
    )
    set_up_logging(config_file=str(tmp_path / "logging.ini"))
    logging.getLogger("scaler").warning("hello")
    assert json.loads((tmp_path / "other").read_text())["message"] == "hello"
    with pytest.raises(ConfigurationError, match="cannot use the logging configuration /no/such"):
        set_up_logging(config_file="/no/such")
