"""ScalerExecutor: a concurrent.futures.Executor, for whatever takes one."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from scaler.client.client import Client
from scaler.client.future import ScalerFuture
from scaler.compat.calls import Calls, slots


class ScalerExecutor(concurrent.futures.Executor):
    """Runs calls on a cluster, through the standard library's interface.

    Args:
        client: a Client, which stays open when the executor ends; or a scheduler's address; or nothing, for the cluster
            that ``Client()`` finds or starts.
        max_workers: slots of the local cluster, if one is started; as many as this process may use CPUs by default.

    ``map`` is that of the standard library; ``chunksize`` is accepted and not needed, since tasks travel in batches anyway.
    """

    def __init__(self, client: Client | str | None = None, max_workers: int | None = None) -> None:
        self._calls = Calls(client, max_workers)
        self._ending = threading.Lock()
        self._shut = False
        self._closed = False

    @property
    def _max_workers(self) -> int:
        """Some libraries, dask among them, ask executors of the standard library for this."""
        return slots(self._calls.client)

    @property
    def client(self) -> Client:
        """The client that the calls go through."""
        return self._calls.client

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture:
        """Run ``fn(*args, **kwargs)`` on the cluster; returns its future at once.

        Raises RuntimeError after shutdown(), SerializationError when the function or an argument cannot be serialized.
        """
        with self._ending:  # as the standard library does: a call is either refused or waited for
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return self._calls.submit(fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        With ``wait`` returns when all have ended; without, a thread stays behind for that. ``cancel_futures`` cancels what
        has not ended, and unlike the standard library also what is running.
        """
        with self._ending:
            self._shut = True
        if cancel_futures:
            self._calls.cancel()
        if wait:
            self._finish()
        else:
            threading.Thread(target=self._finish, name="scaler-executor-shutdown").start()

    def _finish(self) -> None:
        self._calls.wait()
        with self._ending:
            closed, self._closed = self._closed, True
        if not closed:
            self._calls.close()

    def __repr__(self) -> str:
        return f"<ScalerExecutor {'shut down' if self._shut else 'open'}, {self.client!r}>"
