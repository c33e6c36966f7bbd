"""Fixtures for the tests of programs that use Scaler; pytest finds them by itself where Scaler is installed.

    def test_mine(scaler_client):
        assert scaler_client.submit(abs, -1).result() == 1

``--scaler-workers N``, or ``scaler_workers = N`` in pytest's configuration, says how many tasks run at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scaler.client.client import Client
    from scaler.cluster.combo import SchedulerClusterCombo

# Every run of pytest imports this: what it needs of Scaler is imported by the tests that use it.

DEFAULT_WORKERS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    text = f"how many tasks the cluster of the scaler_* fixtures runs at once (default: {DEFAULT_WORKERS})"
    parser.getgroup("scaler").addoption("--scaler-workers", metavar="N", help=text)
    parser.addini("scaler_workers", text)


def _workers(config: pytest.Config) -> int:
    given = config.getoption("--scaler-workers") or config.getini("scaler_workers") or str(DEFAULT_WORKERS)
    try:
        number = int(given)
    except ValueError:
        number = 0
    if number < 1:
        raise pytest.UsageError(f"scaler_workers has to be a number of 1 or more, not {given!r}")
    return number


def pytest_configure(config: pytest.Config) -> None:
    _workers(config)  # bad usage is told before any test runs


@pytest.fixture(scope="session")
def scaler_cluster(request: pytest.FixtureRequest) -> Iterator[SchedulerClusterCombo]:
    """A local cluster for all tests of the session that ask for it."""
    from scaler.cluster.combo import SchedulerClusterCombo

    with SchedulerClusterCombo(_workers(request.config), logging_level="WARNING") as cluster:
        yield cluster


@pytest.fixture
def scaler_client(scaler_cluster: SchedulerClusterCombo) -> Iterator[Client]:
    """A client of that cluster, for one test: what the test leaves behind is cancelled and freed when it ends."""
    from scaler.client.client import Client

    with Client(scaler_cluster.get_address()) as client:
        yield client
