"""Several futures at a time: until they end, as they end, and their results in the shape in which the futures came."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_EXCEPTION, Future
from typing import Any


def wait(
    futures: Iterable[Future[Any]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> tuple[set[Future[Any]], set[Future[Any]]]:
    """Wait for futures; returns those that have ended, and the others.

    Args:
        futures: any futures, of several clients and of the standard library too.
        timeout: seconds to wait at most; without end by default.
        return_when: ``ALL_COMPLETED``, ``FIRST_COMPLETED`` or ``FIRST_EXCEPTION`` of ``concurrent.futures``.

    Raises TypeError for what is no future.
    """
    return concurrent.futures.wait(_checked(futures), timeout, return_when)


def as_completed(futures: Iterable[Future[Any]], timeout: float | None = None) -> Iterator[Future[Any]]:
    """The futures, each as soon as it ends.

    Args:
        futures: any futures, of several clients and of the standard library too.
        timeout: seconds in which all of them have to end; without end by default.

    Raises TimeoutError when ``timeout`` seconds are over before the last one has ended, TypeError for what is no future.
    """
    return concurrent.futures.as_completed(_checked(futures), timeout)


def gather(futures: Any, timeout: float | None = None) -> Any:
    """The results of futures in lists, tuples, sets and values of dicts, nested as they like, in the same shape; also of one.

    Args:
        futures: the shape. What is no future in it stays as it is.
        timeout: seconds to wait at most; without end by default.

    Raises the exception of the first that fails, as soon as it does (the others go on), and TimeoutError after ``timeout``
    seconds.
    """
    end = None if timeout is None else time.monotonic() + timeout
    futures = list(futures) if isinstance(futures, Iterator) else futures
    found = list(_found(futures))
    done, open_ = concurrent.futures.wait(found, timeout, FIRST_EXCEPTION)
    for future in found:
        if future in done and (future.cancelled() or future.exception() is not None):
            future.result()
    if open_:
        raise TimeoutError(f"{len(open_)} of {len(set(found))} futures have not ended after {timeout} s")
    return _shaped(futures, end)


def _checked(futures: Iterable[Future[Any]]) -> list[Future[Any]]:
    if isinstance(futures, Future):
        raise TypeError("a list of futures is expected, not one future")
    given = list(futures)
    for place, future in enumerate(given):
        if not isinstance(future, Future):
            raise TypeError(f"entry {place} is a {type(future).__name__}, not a future")
    return given


def _found(shape: Any) -> Iterator[Future[Any]]:
    if isinstance(shape, Future):
        yield shape
    elif isinstance(shape, list | tuple | set | frozenset):
        for part in shape:
            yield from _found(part)
    elif isinstance(shape, dict):
        yield from _found(list(shape.values()))


def _shaped(shape: Any, end: float | None) -> Any:
    if isinstance(shape, Future):
        return shape.result(None if end is None else max(0.0, end - time.monotonic()))
    if isinstance(shape, dict):
        return {key: _shaped(part, end) for key, part in shape.items()}
    if isinstance(shape, tuple) and hasattr(shape, "_fields"):
        return type(shape)(*[_shaped(part, end) for part in shape])
    if isinstance(shape, list | tuple | set | frozenset):
        return type(shape)([_shaped(part, end) for part in shape])
    return shape
