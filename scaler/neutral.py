"""The language-neutral serializers: functions by name, arguments and results in MessagePack or JSON.

protocol/README.md is their specification. Nothing that comes from elsewhere is unpickled here.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import Buffer

from scaler.errors import ExtraMissingError, ScalerError, SerializationError

if TYPE_CHECKING:
    import numpy as np

Fetch = Callable[[bytes], Buffer]
ARRAY, INPUT, OBJECT = 1, 2, 3
"""MessagePack's extension types."""
_REFERENCE = struct.Struct("<16sQ")
_DTYPE_KINDS = "biufcMmSU"
"""Of NumPy's types those whose elements are nothing but bytes."""
_DEEPEST = 16
"""Objects may refer to others, so many in a row."""
_LARGEST_EXTENSION = (1 << 32) - 1


class NeutralSerializer(ABC):
    """What a serializer of this kind has to tell; as a ``Serializer`` it reads and writes results."""

    tag = ""

    @abstractmethod
    def serialize(self, obj: Any) -> bytes:
        """Raises TypeError, ValueError or OverflowError for what cannot be written."""

    def serialize_parts(self, obj: Any) -> list[Buffer]:
        """The same in parts that follow each other."""
        return [self.serialize(obj)]

    def deserialize(self, data: Buffer) -> Any:
        """A value that contains neither inputs nor references. Raises ValueError or TypeError for other bytes."""
        return self.read(data, _no_input, None)

    @abstractmethod
    def read(self, data: Buffer, take: Callable[[int], Any], fetch: Fetch | None, depth: int = 0) -> Any:
        """A value, ``depth`` objects below another; ``take`` gives a task's inputs by number, ``fetch`` objects' content."""

    def _read_object(self, name: bytes, take: Callable[[int], Any], fetch: Fetch | None, depth: int) -> Any:
        if fetch is None:
            raise ValueError(f"it refers to object {name.hex()}, which only the arguments of a task may")
        if depth == _DEEPEST:
            raise ValueError(f"object {name.hex()} is the {_DEEPEST + 1}th in a row that another one refers to")
        return self.read(fetch(name), take, fetch, depth + 1)

    def arguments(
        self, payload: Buffer, inputs: Sequence[Any], fetch: Fetch, what: str
    ) -> tuple[list[Any], dict[str, Any]]:
        """Of a call: the positional ones, and those by keyword. Raises SerializationError that names ``what``."""

        def take(index: int) -> Any:
            if type(index) is not int or not 0 <= index < len(inputs):
                raise ValueError(f"input {index!r:.50} of a task that has {len(inputs)}")
            return inputs[index]

        try:
            value = self.read(payload, take, fetch)
        except ScalerError:
            raise
        except Exception as error:
            raise SerializationError(f"{what} cannot be read: {type(error).__name__}: {error}") from error
        args, kwargs = value if isinstance(value, list) and len(value) == 2 else (None, None)
        if not (isinstance(args, list) and isinstance(kwargs, dict) and all(isinstance(name, str) for name in kwargs)):
            text = "an array of two, the positional arguments as an array and the keyword arguments as a map by name"
            raise SerializationError(f"{what} have to be {text}, not {value!r:.200}")
        return args, kwargs


class MessagePackSerializer(NeutralSerializer):
    """MessagePack: numbers, texts, bytes, lists, dicts, times with a time zone, NumPy arrays. Tuples become lists."""

    tag = "msgpack"

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError:
            raise ExtraMissingError(
                "tasks in MessagePack need the package msgpack, which is not installed here: pip install msgpack"
            ) from None
        self._unpack = partial(msgpack.unpackb, raw=False, strict_map_key=False, timestamp=3)
        self._pack = partial(msgpack.packb, default=self._extended, use_bin_type=True, datetime=True)
        self._extension = msgpack.ExtType

    def serialize(self, obj: Any) -> bytes:
        return self._pack(obj)  # type: ignore[no-any-return]

    def serialize_parts(self, obj: Any) -> list[Buffer]:
        """An array alone is not copied."""
        if not _is_array(obj):
            return [self.serialize(obj)]
        head, content = _array_parts(obj)
        size = len(head) + content.nbytes
        if size > _LARGEST_EXTENSION:
            raise OverflowError(f"an array of {content.nbytes} bytes, and MessagePack has at most 4 GiB for one")
        return [struct.pack(">BIB", 0xC9, size, ARRAY) + head, content]

    def reference(self, object_id: bytes, size: int) -> bytes:
        """What stands for a value that is in the object storage, in so many bytes."""
        return self.serialize(self._extension(OBJECT, _REFERENCE.pack(object_id, size)))

    def read(self, data: Buffer, take: Callable[[int], Any], fetch: Fetch | None, depth: int = 0) -> Any:
        def extension(code: int, content: bytes) -> Any:
            if code == ARRAY:
                return _array_of(content)
            if code == INPUT and len(content) == 4:
                return take(int.from_bytes(content, "little"))
            if code == OBJECT and len(content) == _REFERENCE.size:
                return self._read_object(_REFERENCE.unpack(content)[0], take, fetch, depth)
            raise ValueError(f"extension type {code} of {len(content)} bytes, which means nothing here")

        return self._unpack(data, ext_hook=extension)

    def _extended(self, value: Any) -> Any:
        if _is_array(value):
            return self._extension(ARRAY, b"".join(_array_parts(value)))
        if _is_scalar(value):
            return value.item()
        if isinstance(value, int):
            raise OverflowError("MessagePack has integers of 64 bits at most")
        raise TypeError(f"MessagePack has nothing for a {type(value).__qualname__}")


class JsonSerializer(NeutralSerializer):
    """JSON: as MessagePack, with an object of one member whose name begins with ``$`` for what JSON does not have."""

    tag = "json"

    def serialize(self, obj: Any) -> bytes:
        return json.dumps(_plain(obj), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def read(self, data: Buffer, take: Callable[[int], Any], fetch: Fetch | None, depth: int = 0) -> Any:
        def object_of(name: Any) -> Any:
            return self._read_object(bytes.fromhex(name), take, fetch, depth)

        special: dict[str, Callable[[Any], Any]] = {
            "$bytes": _decoded,
            "$array": lambda told: _array(told["dtype"], told["shape"], _decoded(told["data"])),
            "$float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
            "$input": take,
            "$object": object_of,
        }
        try:
            return _special(json.loads(bytes(data), parse_constant=_no_constant), special)
        except RecursionError:
            raise ValueError("its lists and objects are nested too deeply") from None


def neutral(tag: str) -> NeutralSerializer | None:
    """The serializer of this name, if it is one of these. Raises ExtraMissingError where what it needs is not installed."""
    known: dict[str, type[NeutralSerializer]] = {"msgpack": MessagePackSerializer, "json": JsonSerializer}
    return known[tag]() if tag in known else None


def _no_input(index: int) -> Any:
    raise ValueError(f"it stands for input {index} of a task, and there is none here")


# ---- NumPy


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) in (numpy.ndarray, numpy.memmap)


def _is_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in "biufSU"


def _little(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same, little-endian and in C order. Raises TypeError for elements that are more than their bytes."""
    import numpy as np

    if value.dtype.kind not in _DTYPE_KINDS or value.dtype.hasobject:
        raise TypeError(f"an array of dtype {value.dtype}: its elements cannot be written as bytes")
    return np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")


def _array_parts(value: Any) -> tuple[bytes, memoryview]:
    """What an array's extension holds: (all before the elements, the elements)."""
    plain = _little(value)
    name = plain.dtype.str.encode()
    head = bytes([len(name)]) + name + bytes([plain.ndim]) + struct.pack(f"<{plain.ndim}Q", *plain.shape)
    return head, memoryview(plain.reshape(-1).view("u1").data if plain.nbytes else b"")


def _array_of(content: bytes) -> Any:
    try:
        length = content[0]
        name, rank = content[1 : 1 + length].decode("ascii"), content[1 + length]
        shape = list(struct.unpack_from(f"<{rank}Q", content, 2 + length))
    except (IndexError, struct.error):
        raise ValueError(f"an array in {len(content)} bytes, which end before its shape does") from None
    return _array(name, shape, content[2 + length + 8 * rank :])


def _array(name: Any, shape: Any, content: bytes) -> Any:
    """An array of its own, which can be written to. Raises ValueError where these do not fit each other."""
    try:
        import numpy as np
    except ImportError:
        raise ValueError("it has an array, and NumPy is not installed here") from None
    if not (isinstance(name, str) and name[:1] in ("<", "|") and name[1:2] in tuple(_DTYPE_KINDS)):
        raise ValueError(f"an array of dtype {name!r:.50}: it has to be little-endian, of a kind in {_DTYPE_KINDS}")
    if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError(f"an array of shape {shape!r:.100}")
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = None
    if dtype is None or dtype.str != name:  # Names of several fields, for instance.
        raise ValueError(f"an array of dtype {name!r:.50}, which NumPy does not know by this name")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of dtype {name} and shape {shape} in {len(content)} bytes")
    return np.frombuffer(bytearray(content), dtype).reshape(shape)


# ---- JSON


def _plain(value: Any) -> Any:
    """What the json module writes as the specification has it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("JSON has only texts as keys")
        walked = {key: _plain(entry) for key, entry in value.items()}
        return {"$plain": walked} if _is_special(walked) else walked
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": _encoded(value)}
    if _is_array(value):
        array = _little(value)
        return {"$array": {"dtype": array.dtype.str, "shape": list(array.shape), "data": _encoded(array.tobytes())}}
    if _is_scalar(value):
        return _plain(value.item())
    raise TypeError(f"JSON has nothing for a {type(value).__qualname__}")


def _special(value: Any, special: dict[str, Callable[[Any], Any]]) -> Any:
    """The opposite of _plain()."""
    if isinstance(value, list):
        return [_special(entry, special) for entry in value]
    if not isinstance(value, dict):
        return value
    if not _is_special(value):
        return {key: _special(entry, special) for key, entry in value.items()}
    ((name, content),) = value.items()
    if name == "$plain" and isinstance(content, dict):
        return {key: _special(entry, special) for key, entry in content.items()}
    if name not in special:
        raise ValueError(f"an object of one member, {name!r:.50}, which means nothing here; write it below $plain")
    try:
        return special[name](content)
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{json.dumps(value)[:100]} is no {name}") from None


def _is_special(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _no_constant(text: str) -> Any:
    raise ValueError(f'{text} is no JSON; write {{"$float": "nan"}}, "inf" or "-inf"')


def _encoded(content: Buffer) -> str:
    return base64.b64encode(content).decode("ascii")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
