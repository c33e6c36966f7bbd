"""Remote functions."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from scaler import serialization
from scaler.client.future import ScalerFuture
from scaler.compat.ray import session
from scaler.compat.ray.exceptions import RaySystemError, UnsupportedError
from scaler.compat.ray.options import CallOptions, call_options
from scaler.compat.ray.reference import Ahead, Failed, ObjectRef, Packed, Put

_PLAIN = frozenset([int, float, complex, bool, str, bytes, type(None)])


def remote(*args: Any, **options: Any) -> Any:
    """Make a function remote: ``@ray.remote``, or ``@ray.remote(num_returns=2)``.

    Raises UnsupportedError for classes (actors) and for options that Scaler does not have.
    """
    if len(args) == 1 and callable(args[0]) and not options:
        return RemoteFunction(args[0], {})
    if args or not options:
        raise TypeError("use @ray.remote, or @ray.remote(option=value)")
    return lambda function: RemoteFunction(function, options)


class RemoteFunction:
    """A function that runs elsewhere, by ``.remote(...)``."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if inspect.isclass(function):
            raise UnsupportedError(
                f"{function.__name__} is a class, and actors are not supported; keep state in the program, pass it to tasks "
                "as arguments and take it from their results"
            )
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise UnsupportedError(
                f"{function.__name__} is a generator or coroutine function, which is not supported; return a list, or give "
                "num_returns"
            )
        self._function = function
        self._given = dict(options)
        self._options = call_options(options)
        self._bodies: dict[int, _Body] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *_: Any, **__: Any) -> Any:
        name = serialization.name_of(self._function)
        raise TypeError(f"remote functions cannot be called directly; use {name}.remote() instead of {name}()")

    def options(self, **options: Any) -> RemoteFunction:
        """The same function, called with other options."""
        made = RemoteFunction(self._function, {**self._given, **options})
        made._bodies = self._bodies
        return made

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; returns a reference at once, a list of them for ``num_returns`` above 1, None for 0.

        References among the arguments become values first: the call begins when they have ended. Raises
        SerializationError, naming the part, for arguments that cannot be written.
        """
        options = self._options
        body = self._bodies.get(options.num_returns)
        if body is None:
            body = self._bodies[options.num_returns] = _Body(self._function, options.num_returns)
        source = _call(session.current(), body, options, args, kwargs)
        name = options.name or body.__qualname__
        if options.num_returns == 1:
            return ObjectRef(source, name)
        return [ObjectRef(source, name, index) for index in range(options.num_returns)] or None

    def bind(self, *_: Any, **__: Any) -> Any:
        """Ray's lazy graphs are not supported."""
        raise UnsupportedError(
            ".bind() is not supported; call .remote() with the references of what comes before, or use Client.get for graphs"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # In two steps, since the function may name this very object: a recursive remote function does.
        return _empty, (RemoteFunction, "ray" in sys.modules), (self._function, self._given)

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<RemoteFunction {serialization.name_of(self._function)}>"


class _Body:
    """What runs in the task."""

    def __init__(self, function: Callable[..., Any], num_returns: int) -> None:
        self._function = function
        self._num_returns = num_returns
        self.__qualname__ = serialization.name_of(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and type(args[0]) is Packed:
            unpacked, kwargs = args[0].unpack()
            result = self._function(*unpacked, **kwargs)
        else:
            result = self._function(*args, **kwargs)
        if self._num_returns == 1:
            return result
        if not self._num_returns:
            return None
        values = list(result)
        if len(values) != self._num_returns:
            raise ValueError(
                f"{self.__qualname__}() returned {len(values)} values where num_returns={self._num_returns}"
            )
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (_Body, "ray" in sys.modules), (self._function, self._num_returns)

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def _empty(kind: Any, installed: bool) -> Any:
    """Before its state is read: modules that it names may import ``ray``, which has to be this one there too."""
    if installed:
        from scaler.compat.ray import install

        install()
    return kind.__new__(kind)


# ---- one call


def _call(
    at: session.Session, body: _Body, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Future[Any]:
    """The future of a call, or of one that waits for others first."""
    if all(map(_is_plain, args)) and all(map(_is_plain, kwargs.values())):
        return _submit(at, body, options, args, kwargs)
    packed = Packed(args, kwargs, body.__qualname__)
    top = {id(value) for value in (*args, *kwargs.values())}
    start = _Start(at, body, options, packed, [ref for ref in packed.refs if id(ref) in top])
    return start.begin()


def _is_plain(value: Any) -> bool:
    """Whether there can be no reference in it: a number, a text, an array of such."""
    return type(value) in _PLAIN or getattr(getattr(value, "dtype", None), "hasobject", True) is False


def _submit(
    at: session.Session, body: _Body, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ScalerFuture:
    return at.client.submit_verbose(
        body,
        args,
        kwargs,
        options.capabilities,
        retries=options.retries,
        retry_on=options.retry_on,
        name=options.name,
    )


class _Start:
    """A call with references among its arguments, up to its submission."""

    def __init__(
        self, at: session.Session, body: _Body, options: CallOptions, packed: Packed, needed: list[ObjectRef]
    ) -> None:
        self._session = at
        self._body = body
        self._options = options
        self._packed = packed
        self._needed = needed
        self._ahead = Ahead()
        self._lock = threading.Lock()
        self._open = 0

    def begin(self) -> Future[Any]:
        """Submit it now if nothing has to be waited for, else as soon as all has ended."""
        waited = {ref.source for ref in self._packed.refs if not ref.source.done()}
        if not waited and all(isinstance(ref.source, Put) for ref in self._packed.refs):
            return self._submitted()
        self._open = len(waited) + 1
        for source in waited:
            source.add_done_callback(self._one_ended)
        self._one_ended(None)
        return self._ahead

    def _one_ended(self, _: Any) -> None:
        with self._lock:
            self._open -= 1
            if self._open:
                return
        try:
            self._session.starter.submit(self._start)
        except RuntimeError:
            self._ahead.finish(None, RaySystemError("ray.shutdown() was called before the task began"))

    def _start(self) -> None:
        if self._ahead.cancelled():
            return
        try:
            self._ahead.begun(self._submitted())
        except Exception as error:
            self._ahead.finish(None, error)

    def _submitted(self) -> ScalerFuture:
        """Raises Ray's error of the first argument that failed."""
        packed = self._packed
        packed.values = [ref.carried() for ref in packed.refs]
        for ref, value in zip(packed.refs, packed.values, strict=True):
            if isinstance(value, Failed) and ref in self._needed:
                raise value.error
        future = _submit(self._session, self._body, self._options, (packed,), {})
        future.add_done_callback(_Kept(packed.refs))
        packed.refs = []
        return future


class _Kept:
    """Keeps what a task takes stored until it has ended."""

    def __init__(self, refs: list[ObjectRef]) -> None:
        self._refs = refs

    def __call__(self, _: Any) -> None:
        self._refs = []
