"""What every door has: a client, its own or somebody else's, and calls that are under way."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

from scaler.client.client import Client
from scaler.client.future import ScalerFuture

UNKNOWN_SLOTS = 64
"""What is taken for the size of a cluster that has no worker yet; it says how far others look ahead, no more."""


def slots(client: Client) -> int:
    """How many tasks run at once, as far as it is known here."""
    return client.slots or (client.cluster.slots if client.cluster is not None else UNKNOWN_SLOTS)


class Calls:
    """Submits calls and knows which of them are under way, so that a door can wait for its own and cancel its own.

    Args:
        client: a client, which stays open; or an address; or nothing, for what ``Client()`` finds or starts.
        n_workers: slots of a local cluster, if one is started.

    Raises what Client() raises.
    """

    def __init__(self, client: Client | str | None, n_workers: int | None) -> None:
        if client is not None and not isinstance(client, Client | str):
            raise TypeError(f"a Client or an address (tcp://host:port) is expected, not {client!r}")
        self._owned = not isinstance(client, Client)
        self.client = client if isinstance(client, Client) else Client(client, n_workers=n_workers)
        self._open: set[ScalerFuture] = set()
        self._living: weakref.WeakSet[ScalerFuture] = weakref.WeakSet()
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ScalerFuture:
        """As Client.submit, with any keyword: also ``fn`` and ``self``."""
        future = self.client.submit_verbose(fn, args, kwargs)
        with self._lock:
            self._open.add(future)
            if self._owned:
                self._living.add(future)
        future.when_done(self._ended)
        return future

    def _ended(self, future: Any) -> None:
        with self._lock:
            self._open.discard(future)

    def _under_way(self) -> list[ScalerFuture]:
        with self._lock:
            return list(self._open)

    def wait(self) -> None:
        """Until none is under way."""
        while calls := self._under_way():
            wait(calls)

    def cancel(self) -> None:
        """Cancel all that are under way, also running ones."""
        for future in self._under_way():
            future.cancel()

    def close(self) -> None:
        """Leave, if the client is its own. Results can still be read: what is stored far away is fetched now."""
        if not self._owned:
            return
        with self._lock:
            living = list(self._living)
        for future in living:
            if future.done() and not future.cancelled():
                future.exception()
        self.client.disconnect()
