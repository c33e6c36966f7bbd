"""A Pool as multiprocessing has it, on a cluster.

``from scaler.compat.multiprocessing import Pool`` instead of ``from multiprocessing import Pool``.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import TimeoutError, cpu_count
from typing import Any

from scaler.client.client import Client
from scaler.client.future import ScalerFuture
from scaler.client.stream import ItemStream, StreamTimeoutError
from scaler.compat.calls import Calls, slots

__all__ = ["AsyncResult", "IMapIterator", "Pool", "TimeoutError", "cpu_count"]

_Callback = Callable[[Any], Any]


class Pool:
    """multiprocessing.pool.Pool, with a cluster's executors for its processes.

    Args:
        processes: slots of the local cluster, if one is started; as many as this process may use CPUs by default.
        initializer: called with ``initargs`` in an executor before it runs the first call of each function of this pool.
        maxtasksperchild, context: accepted; executors live as long as their worker.
        client: a Client, which stays open when the pool ends; or a scheduler's address; or nothing, for the cluster that
            ``Client()`` finds or starts.

    ``chunksize`` is accepted everywhere and not needed, since tasks travel in batches anyway.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        client: Client | str | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._initializer = (initializer, tuple(initargs)) if initializer else None
        self._prepared: dict[int, _Prepared] = {}
        self._calls = Calls(client, processes)
        self._running = True
        self._streams: weakref.WeakSet[ItemStream] = weakref.WeakSet()
        self._callbacks: ThreadPoolExecutor | None = None

    @property
    def _processes(self) -> int:
        """Some libraries ask pools for this."""
        return slots(self._calls.client)

    # ---- one call

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> Any:
        """``func(*args, **kwds)``, waited for."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
    ) -> AsyncResult:
        """``func(*args, **kwds)``; ``callback`` gets the result, ``error_callback`` the exception, both in a thread."""
        function = self._function(func)
        future = self._calls.submit(function, tuple(args), dict(kwds or {}))
        return AsyncResult([future], lambda values: values[0], self._callback(callback, error_callback))

    # ---- many calls

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """``[func(x) for x in iterable]``; the first failure is raised, and the other calls are cancelled."""
        return self._calls.client.map(self._function(func), iterable)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """``[func(*x) for x in iterable]``, as map() otherwise."""
        return self._calls.client.starmap(self._function(func), (tuple(args) for args in iterable))

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
    ) -> AsyncResult:
        """As map(), not waited for."""
        return self.starmap_async(func, ((x,) for x in iterable), chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
    ) -> AsyncResult:
        """As starmap(), not waited for."""
        function = self._function(func)
        futures = [self._calls.submit(function, tuple(args), {}) for args in iterable]
        return AsyncResult(futures, lambda values: values, self._callback(callback, error_callback))

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> IMapIterator:
        """Results in order, one by one; ``iterable`` is read as far ahead as keeps the cluster busy."""
        return self._stream(self._calls.client.imap(self._function(func), iterable))

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> IMapIterator:
        """Results as they come, one by one; ``iterable`` is read as in imap()."""
        return self._stream(self._calls.client.imap_unordered(self._function(func), iterable))

    # ---- the end

    def close(self) -> None:
        """Take no more calls; those under way go on."""
        self._running = False

    def terminate(self) -> None:
        """Take no more calls, cancel those under way, and leave."""
        self._running = False
        self._calls.cancel()
        for stream in list(self._streams):
            stream.close()
        self._finish()

    def join(self) -> None:
        """Until all calls have ended and callbacks have returned. Raises ValueError before close() or terminate()."""
        if self._running:
            raise ValueError("Pool is still running")
        self._calls.wait()
        self._finish()

    def _finish(self) -> None:
        if self._callbacks is not None:
            self._callbacks.shutdown()
        self._calls.close()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"<Pool {'running' if self._running else 'closed'}, {self._calls.client!r}>"

    # ---- inside

    def _check_running(self) -> None:
        if not self._running:
            raise ValueError("Pool not running")

    def _function(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """What is sent for a function: itself, or, with an initializer, a pair that is the same for all its calls."""
        self._check_running()
        if self._initializer is None:
            return func
        prepared = self._prepared.get(id(func))
        if prepared is None:
            prepared = self._prepared[id(func)] = _Prepared(func, *self._initializer)
        return prepared

    def _stream(self, stream: ItemStream) -> IMapIterator:
        self._streams.add(stream)
        return IMapIterator(stream)

    def _callback(self, callback: _Callback | None, error_callback: _Callback | None) -> _Told | None:
        if callback is None and error_callback is None:
            return None
        if self._callbacks is None:
            self._callbacks = ThreadPoolExecutor(1, "scaler-pool-callbacks")
        return _Told(self._callbacks, callback, error_callback)


class _Prepared:
    """A function with the pool's initializer, which is called where it was not yet."""

    def __init__(
        self, function: Callable[..., Any], initializer: Callable[..., Any], initargs: tuple[Any, ...]
    ) -> None:
        self._function = function
        self._initializer = initializer
        self._initargs = initargs
        self._done = False

    @property
    def __name__(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__qualname__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # An executor keeps the function it has read, and with it that this was done.
        if not self._done:
            self._initializer(*self._initargs)
            self._done = True
        return self._function(*args, **kwargs)


class _Told:
    """Callbacks, and the thread that calls them: not the client's, which has the connection to look after."""

    def __init__(
        self, thread: ThreadPoolExecutor, callback: _Callback | None, error_callback: _Callback | None
    ) -> None:
        self.thread = thread
        self.callback = callback
        self.error_callback = error_callback


class AsyncResult:
    """What the ``*_async`` methods return; ready when all its calls have ended and its callback has returned."""

    def __init__(
        self, futures: list[ScalerFuture], shape: Callable[[list[Any]], Any], told: _Told | None = None
    ) -> None:
        self._futures = futures
        self._shape = shape
        self._told = told
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._open = len(futures)
        for future in futures:
            future.when_done(self._one_ended)
        if not futures:
            self._all_ended()

    def _one_ended(self, _: Any) -> None:
        with self._lock:
            self._open -= 1
            last = not self._open
        if last:
            self._all_ended()

    def _all_ended(self) -> None:
        if self._told is None:
            self._event.set()
            return
        try:
            self._told.thread.submit(self._tell)
        except RuntimeError:  # terminated: nobody is told any more
            self._event.set()

    def _tell(self) -> None:
        assert self._told is not None
        error = self._error()
        chosen = self._told.callback if error is None else self._told.error_callback
        try:
            if chosen is not None:
                chosen(self._value() if error is None else error)
        finally:
            self._event.set()

    def _error(self) -> BaseException | None:
        """The first failure, in the order of the calls."""
        for future in self._futures:
            try:
                error = future.exception()
            except BaseException as cancelled:
                return cancelled
            if error is not None:
                return error
        return None

    def _value(self) -> Any:
        return self._shape([future.result() for future in self._futures])

    def get(self, timeout: float | None = None) -> Any:
        """The result, or the exception raised. Raises multiprocessing.TimeoutError after ``timeout`` seconds."""
        if not self._event.wait(timeout):
            raise TimeoutError
        error = self._error()
        if error is not None:
            raise error
        return self._value()

    def wait(self, timeout: float | None = None) -> None:
        """Until it is ready, or ``timeout`` seconds."""
        self._event.wait(timeout)

    def ready(self) -> bool:
        """Whether it has ended."""
        return self._event.is_set()

    def successful(self) -> bool:
        """Whether it ended without an exception. Raises ValueError when it has not ended."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error() is None


class IMapIterator:
    """What imap() and imap_unordered() return. It goes on after a failure."""

    def __init__(self, stream: ItemStream) -> None:
        self._stream = stream

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next result, or its exception raised. Raises multiprocessing.TimeoutError after ``timeout`` seconds."""
        try:
            return self._stream.next(timeout)
        except StreamTimeoutError:
            raise TimeoutError from None

    __next__ = next
