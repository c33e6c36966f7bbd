"""Futures: those of concurrent.futures in full, awaitable, with results that are read when they are asked for."""

from __future__ import annotations

import asyncio
import reprlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client.object_reference import ObjectReference
from scaler.display import duration, html_table
from scaler.errors import (
    ExtraMissingError,
    FunctionNotAllowedError,
    FunctionNotFoundError,
    ObjectLostError,
    RemoteError,
    RemoteTraceback,
    SchedulerFullError,
    SerializationError,
    TaskCrashedError,
    TaskLostError,
    TaskMemoryError,
    TaskTimeoutError,
)
from scaler.messages import ResultStatus

if TYPE_CHECKING:
    from scaler.client.service import ClientService

_ERRORS = {
    ResultStatus.crashed: TaskCrashedError,
    ResultStatus.timed_out: TaskTimeoutError,
    ResultStatus.rejected: SchedulerFullError,
    ResultStatus.lost: TaskLostError,
    ResultStatus.out_of_memory: TaskMemoryError,
    ResultStatus.object_lost: ObjectLostError,
}


_OWN_ERRORS = {
    f"{kind.__module__}.{kind.__qualname__}": kind
    for kind in (
        ExtraMissingError,
        FunctionNotAllowedError,
        FunctionNotFoundError,
        ObjectLostError,
        SerializationError,
    )
}
"""What Scaler itself raises in tasks, by name: of a call by name no exception comes but its texts."""


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """What a task took."""

    duration_s: float
    """Seconds from the begin to the end of the call."""
    memory_peak: int
    """The largest resident size of its executor up to the end of the call, in bytes."""
    cpu_time_s: float
    """Seconds of processor time."""


@dataclass(slots=True)
class Outcome:
    """How a task ended, not yet read."""

    status: int
    payload: bytes
    wall_us: int = 0
    cpu_us: int = 0
    peak_bytes: int = 0


def read_outcome(
    outcome: Outcome, service: ClientService, keep: bool = False, serializer: serialization.Serializer | None = None
) -> tuple[Any, BaseException | None]:
    """(result, None) or (None, exception) of a task that ended. What is stored is freed then, unless told to ``keep`` it.

    Without a ``serializer`` the client's own reads it.
    """
    serializer = serializer or service.serializer
    status = outcome.status
    payload: bytes | memoryview = outcome.payload
    try:
        if status == ResultStatus.stored:
            object_id, place = serialization.stored_id(payload), serialization.stored_place(payload)
            payload = service.objects.read(object_id, place) if keep else service.objects.take(object_id, place)
        if status in (ResultStatus.succeeded, ResultStatus.stored):
            return serialization.read(serializer, payload, "the result"), None
    except Exception as error:
        return None, error
    if status == ResultStatus.failed:
        return None, _remote_exception(outcome.payload, serializer)
    error_type = _ERRORS.get(ResultStatus(status), TaskLostError)
    return None, error_type(outcome.payload.decode(errors="replace"))


def _remote_exception(payload: bytes, serializer: serialization.Serializer) -> BaseException:
    """The task's exception as itself, its traceback as the cause; a RemoteError where it cannot be read."""
    failure = serialization.read_failure(payload)
    # The default one wrote it where the client's own could not.
    for reader in (serializer, serialization.DefaultSerializer()) if failure.exception else ():
        try:
            error = reader.deserialize(failure.exception)
            if isinstance(error, BaseException):
                error.__cause__ = RemoteTraceback(failure.traceback)
                return error
        except Exception:
            pass  # RemoteError tells all there is to tell.
    known = _OWN_ERRORS.get(failure.type_name)
    if known is not None:
        error = known(failure.message)
        error.__cause__ = RemoteTraceback(failure.traceback)
        return error
    return RemoteError(failure.type_name, failure.message, failure.traceback)


_CONDITION = threading.Condition()


class _Waiter:
    """A thread that waits for one future; futures tell it as they tell concurrent.futures.wait."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()

    def release(self, future: Any = None) -> None:
        self.lock.release()

    add_result = add_exception = add_cancelled = release


class _Teller:
    """Has a function called when a future ends; futures tell it as they tell concurrent.futures.wait."""

    __slots__ = ("add_cancelled", "add_exception", "add_result")

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self.add_result = self.add_exception = self.add_cancelled = tell


LOOK_UP_SECONDS = 1.0
"""Nobody waits for longer without looking up: a signal, such as Ctrl-C, that comes just before a lock is waited for would be
noticed only when that is over."""
_CANCELLED = Outcome(ResultStatus.cancelled, b"")


class ScalerFuture(Future):  # type: ignore[type-arg]
    """The result of one task, as Client.submit() returns it.

    It is a ``concurrent.futures.Future`` in full: ``concurrent.futures.wait`` and ``as_completed`` take it. It can be awaited,
    too; a coroutine that is cancelled while it waits cancels the task. A large result stays in the object storage until it
    is asked for, and is freed there when it was fetched or when the future is forgotten.
    """

    def __init__(self, service: ClientService, sequence: int, name: str) -> None:
        # Not Future.__init__: a condition for each of a million futures costs more than the rest of them. All share one
        # that nobody waits on; who waits for a result brings a lock, as concurrent.futures.wait does.
        self._condition = _CONDITION
        self._state = PENDING
        self._result = None
        self._exception = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        self._service = service
        self._sequence = sequence
        self._name = name
        self._read: tuple[Any, BaseException | None] | None = None

    @property
    def task_id(self) -> int:
        """The number this client gave the task."""
        return self._sequence

    @property
    def failed(self) -> bool:
        """Whether the task has ended without a result, or was cancelled. Fetches nothing."""
        if not self.done() or self.cancelled():
            return self.cancelled()
        if self._read is not None:
            return self._read[1] is not None
        outcome = self._result
        return not isinstance(outcome, Outcome) or outcome.status not in (
            ResultStatus.succeeded,
            ResultStatus.stored,
        )

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the task's end; returns its result, the same object each time.

        Args:
            timeout: seconds to wait at most; without end by default.

        Raises what the task raised, with a RemoteTraceback as its cause; TaskError and what is below it where the task ended
        otherwise; CancelledError for a cancelled task; TimeoutError after ``timeout`` seconds, when it goes on.
        """
        value, error = self._outcome(timeout)
        if error is not None:
            try:
                raise error
            finally:
                # Break the cycle between the exception's traceback and this frame.
                self = None  # type: ignore[assignment]  # noqa: PLW0642
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task's end; returns its exception, or None if it has a result.

        Args:
            timeout: seconds to wait at most; without end by default.

        Raises CancelledError for a cancelled task, TimeoutError after ``timeout`` seconds.
        """
        return self._outcome(timeout)[1]

    def _outcome(self, timeout: float | None) -> tuple[Any, BaseException | None]:
        if self._read is None:
            outcome = self._wait(timeout)
            if self._service.output is not None:
                self._service.show_output()
            if isinstance(outcome, BaseException):
                self._read = None, outcome
            else:
                self._read = read_outcome(outcome, self._service, self._lent, self._serializer)
                self._service.collections.add(self._sequence)
        return self._read

    _lent = False
    _serializer: serialization.Serializer | None = None
    """What reads the result, where it is not the client's own."""

    def as_argument(self) -> Any:
        """What becomes the result in the arguments of another task, without being read here; None before the end, after a
        failure, and where the client has a serializer of its own.

        What is stored is taken from where it is, and stays there as long as this future lives.
        """
        outcome = self._result
        if not isinstance(outcome, Outcome) or not isinstance(
            self._serializer or self._service.serializer, serialization.DefaultSerializer
        ):
            return None
        if outcome.status == ResultStatus.succeeded:
            return serialization.Written(outcome.payload)
        if outcome.status != ResultStatus.stored:
            return None
        if not (self._lent or self._is_far()):
            return self.result()  # It was fetched, and freed.
        self._lent = True
        object_id, size = serialization.REFERENCE.unpack_from(outcome.payload)
        return ObjectReference(object_id, size, self._name, place=serialization.stored_place(outcome.payload))

    def _wait(self, timeout: float | None = None) -> Any:
        """How the task ended, once it has. Raises TimeoutError and CancelledError."""
        if not self.done():
            waiter = _Waiter()
            with self._condition:
                if self.done():
                    waiter.release()
                else:
                    self._waiters.append(waiter)
            if timeout is None:
                while not waiter.lock.acquire(timeout=LOOK_UP_SECONDS):
                    pass
            elif not waiter.lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX)):
                with self._condition:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
                raise TimeoutError
        if self.cancelled():
            raise CancelledError
        return self._result

    def running(self) -> bool:
        """Whether it has not ended: what was submitted counts as running, also while it waits for a slot."""
        return not self.done()

    def cancel(self, timeout: float | None = None) -> bool:
        """Cancel the task, also a running one (its executor is replaced), and what depends on it.

        Returns whether it is cancelled: False when it has ended otherwise before.

        Args:
            timeout: accepted for compatibility; the future is cancelled at once.
        """
        if self._end(_CANCELLED):
            self._service.cancel([self._sequence])
        return self.cancelled()

    def profiling_info(self) -> ProfileResult:
        """What the task took. Raises ValueError before its end, CancelledError for a cancelled task."""
        if not self.done():
            raise ValueError(f"{self!r} has not ended: what it took is known afterwards")
        outcome = self._wait()
        if not isinstance(outcome, Outcome):
            return ProfileResult(0.0, 0, 0.0)
        return ProfileResult(outcome.wall_us / 1e6, outcome.peak_bytes, outcome.cpu_us / 1e6)

    def set_result(self, result: Any) -> None:
        """For tests of users: end the future with this, whatever its task does. Raises InvalidStateError when it has ended."""
        with self._condition:
            super().set_result(result)
            self._read = result, None

    def set_exception(self, exception: BaseException | None) -> None:
        """As set_result()."""
        with self._condition:
            super().set_exception(exception)
            self._read = None, exception

    def finish_task(self, sequence: int, outcome: Outcome | BaseException) -> None:
        """As the client's service calls it: a future has one task."""
        self.finish(outcome)

    def finish(self, outcome: Outcome | BaseException) -> None:
        """The task ended. Called by the client; nothing happens if it was cancelled before."""
        if not self._end(outcome):
            self._discard(outcome)
            self._service.collections.add(self._sequence)

    def _end(self, outcome: Outcome | BaseException) -> bool:
        """Whether this is what ends it."""
        with self._condition:
            if self._state is not PENDING and self.done():
                return False
            if isinstance(outcome, Outcome) and outcome.status == ResultStatus.cancelled:
                self._state = CANCELLED_AND_NOTIFIED
            else:
                self._result, self._state = outcome, FINISHED
            if self._waiters:
                told = "add_cancelled" if self._result is None else "add_exception" if self.failed else "add_result"
                for waiter in self._waiters:
                    getattr(waiter, told)(self)
        if self._done_callbacks:
            self._invoke_callbacks()
        return True

    def _invoke_callbacks(self) -> None:
        # They are users' functions, which may wait for other futures: the client's thread has to go on meanwhile.
        if self._done_callbacks:
            self._service.callbacks.run(super()._invoke_callbacks)  # type: ignore[misc]

    def when_done(self, tell: Callable[[Any], None]) -> None:
        """As add_done_callback(), for what never waits: the client's thread itself calls it, with a lock held."""
        with self._condition:
            if not self.done():
                self._waiters.append(_Teller(tell))
                return
        tell(self)

    def _discard(self, outcome: Any) -> None:
        if isinstance(outcome, Outcome) and outcome.status == ResultStatus.stored:
            self._service.objects.release(serialization.stored_id(outcome.payload))

    def __del__(self) -> None:
        # A large result that nobody fetched is freed with its last future.
        outcome = getattr(self, "_result", None)
        if (getattr(self, "_read", self) is None or self._lent) and isinstance(outcome, Outcome):
            self._discard(outcome)
            self._service.collections.add(self._sequence)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        """The result. A large one is fetched by a thread, so that the event loop goes on meanwhile.

        A coroutine that is cancelled while it waits cancels the task, as it does with asyncio.wrap_future.
        """
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: Any) -> None:
            try:
                loop.call_soon_threadsafe(ended.set)
            except RuntimeError:
                pass  # The loop was closed meanwhile: nobody waits any more.

        self.when_done(tell)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.cancelled():
            raise asyncio.CancelledError
        if self._is_far():
            return await asyncio.to_thread(self.result)
        return self.result()

    def _is_far(self) -> bool:
        """Whether reading the result means fetching it from the object storage."""
        outcome = self._result
        return self._read is None and isinstance(outcome, Outcome) and outcome.status == ResultStatus.stored

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "a future cannot be sent to a task or pickled: pass its result(), or make a graph, see Client.get()"
        )

    def __repr__(self) -> str:
        return f"<ScalerFuture {self._sequence} {self._name} {self._described()}>"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"task": self._sequence, "function": self._name, "state": self._described()}
        if self._read is not None:
            value, error = self._read
            if error is None:
                rows["result"] = f"{type(value).__qualname__}: {reprlib.repr(value)}"
            else:
                rows["error"] = f"{type(error).__qualname__}: {reprlib.repr(str(error))}"
        return html_table("ScalerFuture", rows)

    def _described(self) -> str:
        """What is known of it without waiting, or fetching anything."""
        if self.cancelled():
            return "cancelled"
        if not self.done():
            return "pending"
        outcome = self._result
        if not isinstance(outcome, Outcome):
            return f"failed: {type(outcome).__name__}"
        took = f"after {duration(outcome.wall_us / 1e6)}"
        if outcome.status in (ResultStatus.succeeded, ResultStatus.stored):
            return f"finished {took}"
        return f"{ResultStatus(outcome.status).name} {took}".replace("_", " ")
