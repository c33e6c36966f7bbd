"""Objects on their way from another storage into this one, each in a thread: got there, and put here, as any user would."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from scaler.ids import Address, new_identity
from scaler.storage.client import StorageClient
from scaler.storage.outputs import Fetch
from scaler.storage.upstream import NOBODY

MOST_AT_ONCE = 4
PATIENCE_SECONDS = 5.0
"""How long a host is tried that cannot be reached. Others may have the object too."""


class Fetches:
    """``failed`` is told, in a thread, of what could not be had, and why. What was had comes as a put of nobody's."""

    def __init__(self, here: Address, center: Address | None, failed: Callable[[bytes, str], None]) -> None:
        self._center = center
        self._failed = failed
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "scaler-fetch")
        self._here = StorageClient(here, new_identity(), "fetched objects")
        self._there: dict[Address, StorageClient] = {}

    def begin(self, fetch: Fetch) -> None:
        """Get an object. Called by one thread."""
        address = Address.parse(fetch.address) if fetch.address else self._center
        assert address is not None
        client = self._there.get(address)
        if client is None:
            client = StorageClient(address, new_identity(), "the storage of a host", timeout_seconds=PATIENCE_SECONDS)
            self._there[address] = client
        self._threads.submit(self._fetch, client, fetch.name)

    def close(self) -> None:
        """Those under way are given up."""
        self._here.close()
        for client in self._there.values():
            client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, client: StorageClient, name: bytes) -> None:
        try:
            self._here.put(name, client.get(name, existed=True), NOBODY)
        except Exception as error:  # whatever it is, somebody waits for the object
            self._failed(name, str(error) or type(error).__name__)
