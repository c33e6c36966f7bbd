"""A cluster for the tests of the doors."""

from collections.abc import Iterator

import pytest

from scaler import Client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client with a local cluster of two slots, shared by the tests of a module."""
    with Client(n_workers=2, timeout_seconds=20) as client:
        yield client
