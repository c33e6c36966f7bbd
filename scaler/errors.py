"""Every error that Scaler raises, as one tree.

- ScalerError
    - AddressError: a text that is no address (also a ValueError)
    - ConfigurationError: an option, a file or a section that cannot be used (also a ValueError)
    - ExtraMissingError: an optional dependency is not installed (also an ImportError)
    - ConnectionLostError: the scheduler cannot be reached (also a ConnectionError)
    - ProtocolError: the peer said something it may not say
        - RefusedError: the peer did not let us in, and said why
            - NotTrustedError: we do not trust its certificate
    - SerializationError: a function, argument or result that cannot be written or read (also a TypeError)
    - GraphError: a graph that cannot be computed (also a ValueError)
        - CycleError
        - MissingKeyError (also a KeyError)
    - TaskError: how a task ended, other than by an exception of its own
        - TaskCrashedError: its executor or worker died under it too often
            - TaskMemoryError: it took more memory than an executor may have (also a MemoryError)
        - TaskTimeoutError: it ran longer than it may (also a TimeoutError)
        - TaskLostError: something it needs is gone
        - SchedulerFullError: the scheduler takes no more tasks
        - FunctionNotFoundError: there is no function of this name at its worker (also a LookupError)
        - FunctionNotAllowedError: its worker may not call this function (also a PermissionError)
        - RemoteError: its exception could not be brought here as itself
    - RemoteTraceback: the traceback of a task, as the cause of its exception
    - ClientClosedError: the client was disconnected (also a RuntimeError)
    - ClusterError: a local cluster that did not start or end as it should (also a RuntimeError)
    - ObjectStorageError: an object that cannot be put or fetched
        - ObjectLostError: it was freed, or its owner is gone
            - ObjectMissingError: the object storage lost it, with what it held when it was restarted
        - ObjectStorageFullError: there is room for it neither in memory nor on disk

LargeFunctionWarning, a UserWarning, is no error: a function carries much.

A cancelled task raises ``concurrent.futures.CancelledError``, as the standard library does.
"""

from __future__ import annotations


class ScalerError(Exception):
    """The root of the tree."""


class AddressError(ScalerError, ValueError):
    """A text that is no address."""


class ConfigurationError(ScalerError, ValueError):
    """An option, a file or a section that cannot be used."""


class ExtraMissingError(ScalerError, ImportError):
    """Something needs an optional dependency that is not installed; the text names the extra."""


class ConnectionLostError(ScalerError, ConnectionError):
    """The scheduler cannot be reached."""


class ProtocolError(ScalerError):
    """The peer said something it may not say."""


class RefusedError(ProtocolError):
    """The peer did not let us in, and said why."""


class NotTrustedError(RefusedError):
    """We did not let ourselves in with a peer whose TLS certificate is not to be trusted."""


class SerializationError(ScalerError, TypeError):
    """A function, argument or result that cannot be written or read; the text names the part."""


class GraphError(ScalerError, ValueError):
    """A graph that cannot be computed."""


class CycleError(GraphError):
    """Keys that depend on each other in a circle; the text shows it."""


class MissingKeyError(GraphError, KeyError):
    """A key that is asked for and is not in the graph."""

    __str__ = Exception.__str__


class TaskError(ScalerError):
    """How a task ended, other than by an exception of its own."""


class TaskCrashedError(TaskError):
    """Executors or workers died under this task too often; the text tells how each one did."""


class TaskMemoryError(TaskCrashedError, MemoryError):
    """The task took more memory than the workers' --memory-limit-bytes allows, and was stopped."""


class TaskTimeoutError(TaskError, TimeoutError):
    """The task ran longer than it may."""


class TaskLostError(TaskError):
    """Something that the task needs is gone."""


class SchedulerFullError(TaskError):
    """The scheduler takes no more tasks: its limit of waiting tasks is reached."""


class FunctionNotFoundError(TaskError, LookupError):
    """A task calls a function by its name, and its worker has none of this name; the text tells what was missing."""


class FunctionNotAllowedError(TaskError, PermissionError):
    """The task's worker was told by --allow-functions what it may call, and this function is not among it."""


class RemoteError(TaskError):
    """A task's exception that could not be brought here as itself: its type's name, text and traceback."""

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}\n\n{self.traceback}"


class RemoteTraceback(ScalerError):
    """The traceback of a task, as the ``__cause__`` of its exception."""

    def __init__(self, traceback: str) -> None:
        super().__init__(traceback)
        self.traceback = traceback

    def __str__(self) -> str:
        return f'\n"""\n{self.traceback}"""'


class ClientClosedError(ScalerError, RuntimeError):
    """The client was disconnected."""


class ClusterError(ScalerError, RuntimeError):
    """A local cluster did not start or end as it should."""


class ObjectStorageError(ScalerError):
    """An object cannot be put or fetched."""


class ObjectLostError(ObjectStorageError):
    """The object was freed, or its owner is gone."""


class ObjectMissingError(ObjectLostError):
    """The object is not in the object storage any more, and nobody has freed it; it can often be made again."""

    def __init__(self, text: str, object_id: bytes = b"") -> None:
        super().__init__(text)
        self.object_id = object_id


class ObjectStorageFullError(ObjectStorageError):
    """The object storage's memory is full and its disk takes nothing; the text says what to do."""


class LargeFunctionWarning(UserWarning):
    """A function carries much in its closure, defaults, globals or bound arguments; the text names the largest."""
