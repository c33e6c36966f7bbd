"""Scaler as a backend of joblib, and so of scikit-learn.

import scaler.compat.joblib

with joblib.parallel_config("scaler"):
    search.fit(X, y)
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend, register_parallel_backend

from scaler.client.client import Client
from scaler.client.object_reference import ObjectReference
from scaler.compat.calls import Calls, slots

SEND_ONCE_BYTES = 100_000
"""An argument that is larger, in bytes, is stored once for all calls of one Parallel."""

_clients: dict[tuple[str | None, int | None, int], Client] = {}
"""Clients that backends opened, kept as long as the process: a Parallel is short, starting a cluster is not."""
_opening = threading.Lock()


def _shared_client(address: str | None, n_workers: int | None) -> Client:
    key = (address, n_workers, os.getpid())
    with _opening:
        if key not in _clients or _clients[key].closed:
            _clients[key] = client = Client(address, n_workers=n_workers)
            atexit.register(client.disconnect)  # before its cluster ends, which would look like a loss
        return _clients[key]


def _run(batch: Callable[[], list[Any]]) -> list[Any]:
    return batch()


class ScalerBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What ``joblib.parallel_config("scaler", ...)`` makes.

    Args:
        client: a Client to use; or
        address: of a scheduler. Without both: the cluster that ``Client()`` finds or starts, kept for later calls.
        n_workers: slots of the local cluster, if one is started.
        nested: whether Parallel calls inside tasks go to the cluster too. Otherwise they run one after the other in
            their task.

    ``n_jobs`` says how many batches joblib keeps under way; -1 stands for the slots of a local cluster.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self,
        client: Client | None = None,
        address: str | None = None,
        n_workers: int | None = None,
        nested: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._given = client
        self._address = address
        self._n_workers = n_workers
        self._nested = nested
        self._calls: Calls | None = None
        self._sent: dict[int, tuple[Any, ObjectReference]] = {}
        self._callbacks: ThreadPoolExecutor | None = None

    @property
    def client(self) -> Client:
        """The client that calls go through."""
        return self._given or _shared_client(self._address, self._n_workers)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        return max(slots(self.client) + 1 + n_jobs, 1)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_: Any) -> int:
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    # ---- one call of Parallel

    def start_call(self) -> None:
        self._calls = Calls(self.client, None)
        # Not the client's thread: joblib makes the next batches in callbacks, which may take a while.
        self._callbacks = ThreadPoolExecutor(1, "scaler-joblib-callbacks")

    def stop_call(self) -> None:
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False)
        sent, self._sent = self._sent, {}
        for _, reference in sent.values():
            if not self.client.closed:
                self.client.free_object(reference)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._calls is not None:
            self._calls.cancel()

    def terminate(self) -> None:
        self.reset_batch_stats()

    # ---- one batch

    def submit(self, func: Any, callback: Callable[[Future[Any]], Any] | None = None) -> Future[Any]:
        assert self._calls is not None
        assert self._callbacks is not None
        self._send_large_once(func)
        future = self._calls.submit(_run, (func,), {})
        callbacks = self._callbacks
        if callback is not None:
            future.add_done_callback(lambda ended: self._tell(callbacks, callback, ended))
        return future

    @staticmethod
    def _tell(callbacks: ThreadPoolExecutor, callback: Callable[[Future[Any]], Any], ended: Future[Any]) -> None:
        try:
            callbacks.submit(callback, ended)
        except RuntimeError:
            pass  # The Parallel call is over, and does not want to know.

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def _send_large_once(self, batch: Any) -> None:
        """Put references in the place of large arguments, such as the data that each call of a grid search takes."""
        for position, (function, args, kwargs) in enumerate(batch.items):
            sent = [self._sent_once(value) for value in args]
            sent_by_name = {name: self._sent_once(value) for name, value in kwargs.items()}
            batch.items[position] = (function, sent, sent_by_name)

    def _sent_once(self, value: Any) -> Any:
        if _size(value) < SEND_ONCE_BYTES or isinstance(value, ObjectReference):
            return value
        known = self._sent.get(id(value))
        if known is None:
            known = self._sent[id(value)] = (value, self.client.send_object(value))
        return known[1]

    # ---- inside tasks

    def get_nested_backend(self) -> tuple[Any, int | None]:
        level = (self.nesting_level or 0) + 1
        if self._nested:
            return ScalerBackend(nested=True, nesting_level=level), -1
        return SequentialBackend(nesting_level=level), None

    def __reduce__(self) -> tuple[Any, ...]:
        # Into a task, where Client() finds the scheduler that runs it.
        return _nested_backend, (self.nesting_level,)


def _nested_backend(nesting_level: int) -> ScalerBackend:
    return ScalerBackend(nested=True, nesting_level=nesting_level)


def _size(value: Any) -> int:
    """About how many bytes it takes, found out without walking it."""
    size = getattr(value, "nbytes", None)
    return size if isinstance(size, int) else sys.getsizeof(value, 0)


register_parallel_backend("scaler", ScalerBackend)
