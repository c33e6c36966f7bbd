"""get, put, wait and cancel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent import futures
from typing import Any

from scaler.compat.ray import session
from scaler.compat.ray.exceptions import GetTimeoutError
from scaler.compat.ray.reference import ObjectRef, Put


def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a reference, or the values of a list of them.

    Raises GetTimeoutError when they are not there after ``timeout`` seconds, TaskCancelledError, WorkerCrashedError, and for
    an exception of the task a RayTaskError that is also an instance of the exception's type.
    """
    if isinstance(object_refs, ObjectRef):
        return _get([object_refs], timeout)[0]
    if not isinstance(object_refs, Sequence) or isinstance(object_refs, str | bytes):
        raise TypeError(f"ray.get takes an ObjectRef or a list of them, not {type(object_refs).__name__}")
    return _get(_checked(object_refs, "ray.get"), timeout)


def _get(refs: Sequence[ObjectRef], timeout: float | None) -> list[Any]:
    deadline = None if timeout is None or timeout < 0 else time.monotonic() + timeout
    values = []
    for ref in refs:
        try:
            value, error = ref.outcome(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise GetTimeoutError(f"{ref!r} has not ended after {timeout} s") from None
        if error is not None:
            raise error
        values.append(value)
    return values


def _checked(refs: Sequence[Any], what: str) -> Sequence[ObjectRef]:
    for position, ref in enumerate(refs):
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"{what} takes ObjectRefs; number {position} in the list is a {type(ref).__name__}")
    return refs


def put(value: Any, **_: Any) -> ObjectRef:
    """Store a value; tasks that are given the reference take it from there. It is freed with the last reference."""
    if isinstance(value, ObjectRef):
        raise TypeError("ray.put takes a value; an ObjectRef is a reference to one already")
    client = session.current().client
    return ObjectRef(Put(client, client.send_object(value)), "put")


def wait(
    object_refs: Sequence[ObjectRef], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """(ended, others), both in the order given; of those that have ended, no more than ``num_returns``.

    Returns when so many have ended, or after ``timeout`` seconds. ``fetch_local`` is accepted: values are fetched by get().
    """
    if isinstance(object_refs, ObjectRef) or not isinstance(object_refs, Sequence):
        raise TypeError(f"ray.wait takes a list of ObjectRefs, not {type(object_refs).__name__}")
    refs = _checked(object_refs, "ray.wait")
    if len(set(refs)) != len(refs):
        raise ValueError("ray.wait takes each ObjectRef once")
    if not 0 < num_returns <= len(refs):
        raise ValueError(f"num_returns={num_returns} has to be between 1 and the number of ObjectRefs, {len(refs)}")
    _wait(refs, num_returns, timeout)
    ended: list[ObjectRef] = []
    others: list[ObjectRef] = []
    for ref in refs:
        (ended if len(ended) < num_returns and ref.source.done() else others).append(ref)
    return ended, others


def _wait(refs: Sequence[ObjectRef], count: int, timeout: float | None) -> None:
    """Until ``count`` of them have ended; several may share one source."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        pending = [ref.source for ref in refs if not ref.source.done()]
        missing = count - (len(refs) - len(pending))
        left = None if deadline is None else deadline - time.monotonic()
        if missing <= 0 or (left is not None and left < 0):
            return
        every = futures.ALL_COMPLETED if missing == len(pending) else futures.FIRST_COMPLETED
        futures.wait(pending, left, every)


def cancel(object_ref: ObjectRef, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the task behind a reference, also a running one; get() raises TaskCancelledError then.

    ``force`` and ``recursive`` are accepted: a running task's executor is always replaced. Nothing happens to what has ended.
    """
    if not isinstance(object_ref, ObjectRef):
        raise TypeError(f"ray.cancel takes an ObjectRef, not {type(object_ref).__name__}")
    object_ref.cancel()
