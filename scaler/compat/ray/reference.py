"""ObjectRef: a value that is, or will be, somewhere in the cluster."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import CancelledError, Future
from typing import Any

from scaler import serialization
from scaler.client.client import Client
from scaler.client.future import ScalerFuture
from scaler.client.object_reference import ObjectReference
from scaler.compat.ray.exceptions import as_ray_error
from scaler.errors import ScalerError


class Ahead(Future):  # type: ignore[type-arg]
    """A task that is submitted when what it waits for has ended. Its result is the submitted task's future, once ended."""

    inner: ScalerFuture | None = None

    def begun(self, inner: ScalerFuture) -> None:
        """It was submitted."""
        self.inner = inner
        if self.cancelled():
            inner.cancel()
        inner.add_done_callback(self._inner_ended)

    def _inner_ended(self, inner: Any) -> None:
        if inner.cancelled():
            self.cancel()
        else:
            self.finish(inner, None)

    def finish(self, inner: ScalerFuture | None, error: BaseException | None) -> None:
        """It ended, or never began."""
        try:
            self.set_exception(error) if error is not None else self.set_result(inner)
        except Exception:
            pass  # It was cancelled.

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        self.set_running_or_notify_cancel()
        if self.inner is not None:
            self.inner.cancel()
        return True


class Put(Future):  # type: ignore[type-arg]
    """What put() stored: its result is the reference to it."""

    def __init__(self, client: Client, reference: ObjectReference) -> None:
        super().__init__()
        self.client = client
        self.set_result(reference)

    def __del__(self) -> None:
        try:
            self.client.free_object(self.result())
        except ScalerError:
            pass  # The client has left, and with it the object.


class Failed:
    """In the place of a value that could not be had."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class ObjectRef:
    """A future value. As an argument of a remote function it becomes the value; inside of other arguments it stays a reference.

    In another process it is a value that has arrived: who pickles one waits for it first. ``await`` works too.
    """

    __slots__ = ("__weakref__", "_index", "_source", "function_name")

    def __init__(self, source: Future[Any], function_name: str, index: int | None = None) -> None:
        self._source = source
        self._index = index
        self.function_name = function_name

    @property
    def source(self) -> Future[Any]:
        """Ends when this does; several references may share one."""
        return self._source

    def outcome(self, timeout: float | None = None) -> tuple[Any, BaseException | None]:
        """(value, None) or (None, Ray's error). Raises TimeoutError after ``timeout`` seconds."""
        try:
            source = self._source
            error = source.exception(timeout)
            if error is None and isinstance(source, Ahead):
                source = source.result()
                error = source.exception()
            value: Any = source.result() if error is None else None
            if isinstance(source, Put):
                value = source.client.fetch_object(value)
        except CancelledError as cancelled:
            error = cancelled
        except TimeoutError:
            raise
        except Exception as lost:
            error = lost
        if error is not None:
            return None, as_ray_error(error, self.function_name)
        return value if self._index is None else value[self._index], None

    def carried(self) -> Any:
        """What stands for it in the arguments of a task: the value, written or stored as it came, or Failed."""
        source = self._source
        if isinstance(source, Ahead) and source.done() and not source.cancelled() and source.exception() is None:
            source = source.result()
        if isinstance(source, Put):
            return source.result()
        if isinstance(source, ScalerFuture) and self._index is None:
            argument = source.as_argument()
            if argument is not None:
                return argument
        value, error = self.outcome()
        return value if error is None else Failed(error)

    def cancel(self) -> None:
        """Cancel the task behind it, also a running one."""
        self._source.cancel()

    def future(self) -> Future[Any]:
        """A concurrent.futures.Future of the value."""
        made: Future[Any] = Future()

        def ended(_: Any) -> None:
            value, error = self.outcome()
            made.set_result(value) if error is None else made.set_exception(error)

        self._source.add_done_callback(ended)
        return made

    def __await__(self) -> Generator[Any, None, Any]:
        import asyncio

        return asyncio.wrap_future(self.future()).__await__()

    def hex(self) -> str:
        """A name for it, unique in this process."""
        return f"{id(self._source):016x}{0 if self._index is None else self._index:04x}"

    def __repr__(self) -> str:
        state = "ended" if self._source.done() else "pending"
        return f"ObjectRef({self.function_name}, {state})"

    def __reduce__(self) -> tuple[Any, ...]:
        refs = _packing.refs
        if refs is not None:
            return _arrived, (refs.setdefault(self, len(refs)),)
        if serialization.in_task() or not isinstance(self._source, Put):
            value, error = self.outcome()
            return _landed, (value if error is None else Failed(error), self.function_name)
        return _landed, (self._source.result(), self.function_name)


class _Packing(threading.local):
    refs: dict[ObjectRef, int] | None = None
    """While arguments are packed: the references in them, and their numbers."""
    values: list[Any] | None = None
    """While they are unpacked: what these stand for."""


_packing = _Packing()


def _landed(value: Any, function_name: str) -> ObjectRef:
    source: Future[Any] = Future()
    if isinstance(value, Failed):
        source.set_exception(value.error)
    else:
        source.set_result(value)
    return ObjectRef(source, function_name)


def _arrived(number: int) -> ObjectRef:
    assert _packing.values is not None
    return _landed(_packing.values[number], "an argument")


class Packed:
    """The arguments of a call, written at once, and the references in them, which become values by and by."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
        refs: dict[ObjectRef, int] = {}
        _packing.refs = refs
        try:
            self._content = serialization.write(
                serialization.DefaultSerializer(), (args, kwargs), f"the arguments of {name}"
            )
        finally:
            _packing.refs = None
        self.refs = list(refs)
        self.values: list[Any] = []

    def __getstate__(self) -> tuple[bytes, list[Any]]:
        return self._content, self.values

    def __setstate__(self, state: tuple[bytes, list[Any]]) -> None:
        self._content, self.values = state

    def unpack(self) -> tuple[list[Any], dict[str, Any]]:
        """(args, kwargs), in the task."""
        _packing.values = self.values
        try:
            args, kwargs = serialization.DefaultSerializer.deserialize(self._content)
        finally:
            _packing.values = None
        return [_value(value) for value in args], {name: _value(value) for name, value in kwargs.items()}


def _value(argument: Any) -> Any:
    """Arguments that are references themselves become values."""
    if not isinstance(argument, ObjectRef):
        return argument
    value, error = argument.outcome()
    if error is not None:
        raise error
    return value
