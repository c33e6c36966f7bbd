"""What all tests have."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell has what it starts in the background ignore SIGINT; processes that tests interrupt are not to inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that runs inside a test sets up logging; the tests after it see the lines of theirs all the same."""
    logger = logging.getLogger("scaler")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA, and certificates for servers of this machine and for clients."""
    from scaler.certificates import make_certificates

    where = tmp_path_factory.mktemp("certificates")
    make_certificates(where, ["localhost", "127.0.0.1", "::1"])
    return where
