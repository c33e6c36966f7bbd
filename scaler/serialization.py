"""How Python functions, arguments and results become bytes and come back: what the client writes, executors read.

Schedulers, storage and managers never import this: to them all of it is opaque.

A function's *content* is, by its tag: ``cloudpickle``, the function as the default serializer writes it; ``custom``, a
cloudpickled pair of the client's serializer and the function as that one writes it; ``msgpack`` and ``json``, its name, see
``neutral``, also for the arguments of these. Those of the others are one payload a task:

    byte 0: INLINE    then (args, kwargs), serialized
    byte 0: TEMPLATE  then (args, kwargs), serialized, in which Input, Call and lists stand for values made at the worker
    byte 0: STORED    then 16 bytes object id and u64 size of an object that holds such a payload
    byte 0: INPUTS    then nothing: the task's inputs, in order, are its positional arguments
"""

from __future__ import annotations

import io
import pickle
import struct
import traceback as tracebacks
from collections import ChainMap
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any, Protocol

import cloudpickle
from typing_extensions import Buffer

from scaler import buffers
from scaler.errors import ObjectLostError, ObjectMissingError, SerializationError
from scaler.ids import OBJECT_ID_BYTES
from scaler.messages import Failure
from scaler.named import AllowedFunctions, NamedFunction, find
from scaler.neutral import NeutralSerializer, neutral
from scaler.wire.codec import struct_codec

INLINE, TEMPLATE, STORED, INPUTS = b"\0", b"\1", b"\2", b"\3"
REFERENCE = struct.Struct("<16sQ")
"""Begins the payload of a stored result."""
PROTOCOL = 5
LARGEST_FAILURE = 1 << 20
"""An exception that is larger, in bytes, arrives as its text."""
LARGEST_TEXT = 100_000
DEFAULT_TAG, CUSTOM_TAG = "cloudpickle", "custom"
NO_FILE = "<dynamic-code>"
"""What cloudpickle calls the file of any code."""
MAIN_MODULES = (b"__main__", b"__mp_main__")
"""What names the module of a script: another one at the worker."""


def stored_id(payload: bytes | memoryview) -> bytes:
    """The object that a stored result is in."""
    return bytes(payload[:OBJECT_ID_BYTES])


def stored_place(payload: bytes | memoryview) -> bytes:
    """Where a stored result may be read on this host, without asking for it; empty where that was not said."""
    return bytes(payload[REFERENCE.size :])


class Serializer(Protocol):
    """Writes and reads functions, arguments and results: what ``Client(serializer=…)`` takes. Both methods may be static.

    It goes to the workers with each function, by cloudpickle: a class of a module has to be importable there.
    """

    def serialize(self, obj: Any) -> bytes:
        """The object as bytes. What it raises becomes a SerializationError that names the argument."""
        ...

    def deserialize(self, data: bytes) -> Any:
        """The object that serialize() wrote. It is called in other processes than that."""
        ...


class DefaultSerializer:
    """pickle, protocol 5, where it suffices; cloudpickle where it does not (lambdas, closures, what ``__main__`` defines)."""

    @staticmethod
    def serialize(obj: Any) -> bytes:
        """The object as bytes. Raises what pickle and cloudpickle do."""
        return _pickled(obj)

    @staticmethod
    def serialize_parts(obj: Any) -> list[Buffer]:
        """The same in parts that follow each other: large buffers are not copied. Without such there is one part, of bytes."""
        return buffers.dump(obj, _pickled)

    @staticmethod
    def deserialize(data: bytes) -> Any:
        """The object. Large buffers in it are views of ``data``, which nobody may write to."""
        return buffers.load(data)


def _pickled(
    obj: Any,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    start_again: Callable[[], None] = lambda: None,
) -> bytes:
    try:
        data = pickle.dumps(obj, PROTOCOL, buffer_callback=buffer_callback)
        # A reference into __main__ means another module at the worker.
        if not (MAIN_MODULES[0] in data or MAIN_MODULES[1] in data):
            return data
    except buffers.LargeBufferError:
        raise
    except Exception:
        pass  # cloudpickle writes more, and tells what it cannot.
    start_again()
    return _cloudpickled(obj, buffer_callback)


def _cloudpickled(obj: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    file = io.BytesIO()
    _Pickler(file, PROTOCOL, buffer_callback).dump(obj)
    return file.getvalue()


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """As cloudpickle does, with the name of the file: since 3.1.3 it leaves that out, and tracebacks would show no lines."""
    made, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    file = "".join(code.co_filename)  # a string of its own: whether others share it must not change what is written
    return made, tuple(file if part == NO_FILE else part for part in parts)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


class Input:
    """In a template: the result of the task's dependency with this number."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return Input, (self.index,)


class Written:
    """In arguments: what the default serializer wrote before; in the task it has become the object."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return DefaultSerializer.deserialize, (self._content,)


class Call:
    """In a template: the result of a call made at the worker."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Any, args: list[Any], kwargs: dict[str, Any] | None = None) -> None:
        self.function = function
        """A callable, or an Input or a Call that gives one."""
        self.args = args
        self.kwargs = kwargs or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.function, self.args, self.kwargs) if self.kwargs else (self.function, self.args)


def evaluate(template: Any, inputs: list[Any]) -> Any:
    """The value of a template: inputs put in, lists walked, inline calls made."""
    kind = type(template)
    if kind is Input:
        return inputs[template.index]
    if kind is list:
        return [evaluate(entry, inputs) for entry in template]
    if kind is Call:
        return call(evaluate(template.function, inputs), template.args, template.kwargs, inputs)
    return template


def call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], inputs: list[Any]) -> Any:
    """The result of a call whose arguments are templates."""
    made = {name: evaluate(entry, inputs) for name, entry in kwargs.items()}
    return function(*[evaluate(entry, inputs) for entry in args], **made)


def name_of(function: Any) -> str:
    """What to call a function to people."""
    if isinstance(function, NamedFunction):
        return function.path
    inner = getattr(function, "func", None)  # functools.partial
    if inner is not None and not hasattr(function, "__name__"):
        return name_of(inner)
    return str(
        getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or type(function).__qualname__
    )


def type_name(kind: type) -> str:
    """The qualified name of a type, by which client, scheduler and executors know it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def write(serializer: Serializer, obj: Any, what: str) -> bytes:
    """The object as bytes. Raises SerializationError that names ``what`` and, where it can be found, the offending part."""
    try:
        return serializer.serialize(obj)
    except Exception as error:
        part = _offending_part(serializer, obj, what)
        raise SerializationError(f"{part} cannot be serialized: {_text(error)}") from error


def write_small(serializer: Serializer, obj: Any, limit: int) -> bytes | None:
    """The object as bytes. None where these are more than ``limit``, which is found out with as little copying as can be, where
    the object cannot be written, and for serializers other than the default one: write_parts() is for all of these."""
    if type(serializer) is not DefaultSerializer or (type(obj) is bytes and len(obj) > limit):
        return None
    try:
        data = _pickled(obj, buffers.refuse_large)
    except Exception:
        return None
    return data if len(data) <= limit else None


def write_parts(serializer: Serializer, obj: Any, what: str) -> list[Buffer]:
    """As write(), in parts that follow each other: our own serializers copy no large buffers where they can."""
    if not isinstance(serializer, DefaultSerializer | NeutralSerializer):
        return [write(serializer, obj, what)]
    with suppress(Exception):
        return serializer.serialize_parts(obj)
    return [write(serializer, obj, what)]  # which tells what is wrong


def read(serializer: Serializer, data: bytes | memoryview, what: str, of: str = "") -> Any:
    """The object. Raises SerializationError that names ``what``, and of which function it is; ObjectLostError for a reference to
    what was freed."""
    if type(data) is not bytes and type(serializer) is not DefaultSerializer:
        data = bytes(data)
    try:
        return serializer.deserialize(data)  # type: ignore[arg-type]
    except ObjectLostError:  # A reference inside: it says which.
        raise
    except Exception as error:
        label = f"{what} of {of}" if of else what
        raise SerializationError(f"{label} cannot be deserialized: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _offending_part(serializer: Serializer, obj: Any, where: str, depth: int = 0) -> str:
    """The innermost part that cannot be serialized by itself, as a path: ``argument 1['lock'] (a _thread.lock)``."""
    # Those for all languages write no objects by their attributes.
    if depth < 6 and (isinstance(obj, dict | list | tuple) or not isinstance(serializer, NeutralSerializer)):
        for label, part in _parts(obj):
            try:
                serializer.serialize(part)
            except Exception:
                return _offending_part(serializer, part, f"{where}{label}", depth + 1)
    return f"{where} (a {type(obj).__module__}.{type(obj).__qualname__})".replace("builtins.", "")


def _parts(obj: Any) -> list[tuple[str, Any]]:
    if isinstance(obj, dict):
        return [(f"[{key!r}]", value) for key, value in obj.items()]
    if isinstance(obj, list | tuple | set | frozenset):
        return [(f"[{i}]", value) for i, value in enumerate(obj)]
    closure = getattr(obj, "__closure__", None)
    if closure:
        names = obj.__code__.co_freevars
        cells = [(name, cell) for name, cell in zip(names, closure, strict=True) if _filled(cell)]
        return [(f" (variable {name!r} of its closure)", cell.cell_contents) for name, cell in cells]
    if hasattr(obj, "__dict__") and not isinstance(obj, type) and not callable(obj):
        return [(f".{name}", value) for name, value in vars(obj).items()]
    return []


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def write_function(serializer: Serializer, function: Callable[..., Any]) -> tuple[str, list[Buffer]]:
    """(tag, content in parts) of a function. Raises SerializationError that names it."""
    if isinstance(function, NamedFunction):
        return function.tag, [function.path.encode()]
    return tagged(serializer, write_parts(serializer, function, f"function {name_of(function)}"))


def tagged(serializer: Serializer, content: list[Buffer]) -> tuple[str, list[Buffer]]:
    """(tag, content) from which read_function() knows the serializer."""
    if isinstance(serializer, DefaultSerializer):
        return DEFAULT_TAG, content
    return CUSTOM_TAG, [_cloudpickled((serializer, b"".join(content)))]


def read_function(
    tag: str, content: bytes | memoryview, name: str, allowed: AllowedFunctions | None = None
) -> tuple[Serializer, Callable[..., Any]]:
    """The serializer and the function. Raises SerializationError that names it; FunctionNotFoundError for a name that nothing
    has, and FunctionNotAllowedError for what is not among those ``allowed``, of which no byte is unpickled."""
    by_name = neutral(tag)
    if by_name is not None:
        path = bytes(content).decode(errors="replace")
        return by_name, find(path) if allowed is None else allowed.find(path)
    if allowed is not None:
        allowed.check_pickled(name)
    serializer: Serializer = DefaultSerializer()
    if tag == CUSTOM_TAG:
        serializer, content = read(serializer, content, f"the serializer of function {name}")
    elif tag != DEFAULT_TAG:
        raise SerializationError(f"function {name} is written by {tag!r}, which this worker does not know")
    return serializer, read(serializer, content, f"function {name}")


def write_failure(serializer: Serializer | None, error: BaseException, skip_frames: int = 0) -> bytes:
    """An exception as the payload of a failed result, without the frames of the executor itself.

    Without a serializer, and with those for all languages, it is its texts only.
    """
    text = "".join(tracebacks.format_exception(type(error), error, frames_after(error, skip_frames)))
    types = [type_name(kind) for kind in type(error).__mro__]
    try:
        message = str(error)
    except Exception:
        message = "<its text cannot be shown>"
    written = b""
    if serializer is not None and not isinstance(serializer, NeutralSerializer):
        written = _write_exception(serializer, error) or _write_exception(DefaultSerializer(), error)
    failure = Failure(types[0], message[:LARGEST_TEXT], text[-LARGEST_TEXT:], written, types)
    return struct_codec("task", "Failure").encode(failure)


def frames_after(error: BaseException, skip_frames: int) -> TracebackType | None:
    """Its traceback without the first frames; the last one stays."""
    trace = error.__traceback__
    for _ in range(skip_frames):
        trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    return trace


def _write_exception(serializer: Serializer, error: BaseException) -> bytes:
    """The exception, empty where it cannot be written and read, or is too large."""
    try:
        written = serializer.serialize(error)
        # Some exceptions are written without complaint and cannot be read again: find out here.
        if type(serializer.deserialize(written)) is type(error) and len(written) <= LARGEST_FAILURE:
            return written
    except Exception:
        pass  # It arrives as its text.
    return b""


def read_failure(payload: bytes) -> Failure:
    """What write_failure() wrote. Raises ProtocolError for other bytes."""
    failure: Failure = struct_codec("task", "Failure").decode(payload)
    return failure


_fetch: Callable[[bytes, bytes], memoryview] | None = None
"""How this process gets objects by their ids and places: set in executors only."""


def set_fetch(fetch: Callable[[bytes, bytes], memoryview] | None) -> None:
    """Say how ObjectReferences are turned into what they stand for, in this process."""
    global _fetch
    _fetch = fetch


def in_task() -> bool:
    """Whether this process is an executor."""
    return _fetch is not None


def resolve(object_id: bytes, size: int, name: str, tag: str, place: bytes = b"") -> Any:
    """What an unpickled ObjectReference becomes: the object itself in an executor, a reference elsewhere."""
    if _fetch is None:
        from scaler.client.object_reference import ObjectReference

        return ObjectReference(object_id, size, name, tag, place)
    label = f"object {name or object_id.hex()}"
    try:
        content = _fetch(object_id, place)
    except ObjectMissingError:  # It is put again, and the call made then.
        raise
    except ObjectLostError as error:
        raise ObjectLostError(f"{label} is gone: its client freed it, or has left ({error})") from None
    serializer, value = read_function(tag, content, label)
    del serializer
    return value
