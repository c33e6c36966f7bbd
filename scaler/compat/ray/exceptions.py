"""The errors that programs written for Ray expect, and what of Scaler's they stand for."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

from scaler import errors


class RayError(Exception):
    """The root of this tree."""


class RaySystemError(RayError):
    """The cluster could not do what was asked; the cause is Scaler's own error."""


class GetTimeoutError(RayError, TimeoutError):
    """get() waited long enough."""


class TaskCancelledError(RayError):
    """The task was cancelled, or what it needs was."""


class WorkerCrashedError(RayError):
    """Executors died under the task too often; the text tells how each one did."""


class ObjectLostError(RayError):
    """A value is not there any more."""


class UnsupportedError(RayError, NotImplementedError):
    """Something of Ray's that Scaler does not have; the text says what to do instead."""


class RayTaskError(RayError):
    """The task raised an exception: ``cause``.

    What get() raises is also an instance of the cause's type, so that ``except ValueError`` works as if it was raised here.
    """

    def __init__(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        self._describe(function_name, traceback_str, cause)

    def _describe(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.args = cause.args

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of the cause's type too, where such a type can be."""
        made = _of_type(type(self.cause))
        if made is None:
            return self
        error = made.__new__(made)
        error._describe(self.function_name, self.traceback_str, self.cause)
        return error

    def __str__(self) -> str:
        return f"{self.function_name}() failed: {type(self.cause).__name__}: {self.cause}"

    def __getattr__(self, name: str) -> Any:
        if name in ("cause", "function_name", "traceback_str") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.cause, name)

    def __reduce__(self) -> tuple[Any, ...]:
        dual = type(self) is not RayTaskError
        return _again, (self.function_name, self.traceback_str, self.cause, dual)


def _again(function_name: str, traceback_str: str, cause: BaseException, dual: bool) -> RayTaskError:
    error = RayTaskError(function_name, traceback_str, cause)
    return error.as_instanceof_cause() if dual else error


_types: dict[type, type[RayTaskError] | None] = {}


def _of_type(cause: type) -> type[RayTaskError] | None:
    """RayTaskError and this type in one, if there can be such a type."""
    if cause not in _types:
        try:
            made: Any = type(f"RayTaskError({cause.__name__})", (RayTaskError, cause), {"__module__": __name__})
            made.__new__(made)
            _types[cause] = made
        except TypeError:
            _types[cause] = None
    return _types[cause]


def as_ray_error(error: BaseException, function_name: str) -> BaseException:
    """What get() raises for how a task ended."""
    if isinstance(error, RayError):
        return error  # A task that get()s what failed fails with the same.
    if isinstance(error, CancelledError):
        return TaskCancelledError(f"{function_name}() was cancelled")
    if isinstance(error, errors.RemoteError) or not isinstance(error, errors.ScalerError):
        cause = error.__cause__
        trace = cause.traceback if isinstance(cause, errors.RemoteTraceback) else ""
        made: BaseException = RayTaskError(function_name, trace, error).as_instanceof_cause()
    elif isinstance(error, errors.TaskCrashedError):
        made = WorkerCrashedError(str(error))
    elif isinstance(error, errors.ObjectLostError | errors.TaskLostError):
        made = ObjectLostError(str(error))
    else:
        made = RaySystemError(str(error))
    made.__cause__ = error
    return made
