"""Messages to Cap'n Proto bytes and back through the readers and builders of the Cap'n Proto library.

For each class in ``scaler.messages`` the schema says which field is written how. This knows all of Cap'n Proto and says what
is wrong with a message; ``scaler.wire.segment`` does the same for what everybody writes, much faster.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import capnp

from scaler import messages
from scaler.errors import ProtocolError
from scaler.messages import Message
from scaler.wire.framing import MAX_STRUCTS

_NESTING_LIMIT = 16
_ONE_SEGMENT = bytes(4)
_SMALLEST_TRAVERSAL_WORDS = 1024


def snake(name: str) -> str:
    """``wallMicroseconds`` -> ``wall_microseconds``."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


class _Struct:
    """How one struct is written into a builder and read from a reader.

    The two functions are made as source text, one statement a field, as the standard library does for dataclasses: a
    loop over fields would cost more than Cap'n Proto itself. What equals the default is not written.
    """

    def __init__(self, struct: Any) -> None:
        self.message = getattr(messages, struct.node.displayName[struct.node.displayNamePrefixLength :])
        names: dict[str, Any] = {"array": array, "message": self.message, "bounded": _bounded}
        writes, reads = [], []
        for entry in struct.node.struct.fields:
            write, read = _statements(struct, str(entry.name), entry.slot.type, names)
            writes.append(write)
            reads.append(read)
        source = ["def write(b, m):", *writes, " return b", f"def read(r): return message({', '.join(reads)})"]
        exec("\n".join(source), names)
        self.write: Callable[[Any, Any], None] = names["write"]
        self.read: Callable[[Any], Any] = names["read"]


def _statements(struct: Any, name: str, kind: Any, names: dict[str, Any]) -> tuple[str, str]:
    """The statement that writes a field and the expression that reads it, by its type in the schema."""
    which = str(kind.which())
    value = f"v = m.{snake(name)}"
    if which == "struct":
        nested = names[f"{name}_"] = _struct(struct.fields[name].schema)
        names[f"{name}_default"] = nested.message() if _has_default(nested.message) else None
        return (
            f" {value}\n if v != {name}_default: {name}_.write(b.init({name!r}), v)",
            f"{name}_.read(r.{name})",
        )
    if which == "list" and str(kind.list.elementType.which()) == "struct":
        names[f"{name}_"] = _struct(struct.fields[name].schema.elementType)
        return (
            f" {value}\n if v:\n  for place, entry in zip(b.init({name!r}, len(v)), v): {name}_.write(place, entry)",
            f"[{name}_.read(entry) for entry in bounded(r.{name})]",
        )
    if which == "list":
        return f" {value}\n if v: b.{name} = v", f"list(r.{name})"
    if which == "enum":
        return f" b.{name} = int(m.{snake(name)})", f"r.{name}.raw"
    if which == "data":
        return f" {value}\n if v: b.{name} = v.tobytes() if type(v) is array else v", f"r.{name}"
    return f" {value}\n if v: b.{name} = v", f"r.{name}"


def _bounded(structs: Any) -> Any:
    if len(structs) > MAX_STRUCTS:
        raise ProtocolError(f"a list of {len(structs)} structs is longer than the limit ({MAX_STRUCTS})")
    return structs


def _has_default(message: type) -> bool:
    return all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(message))


_structs: dict[int, _Struct] = {}


def _struct(struct: Any) -> _Struct:
    known = _structs.get(struct.node.id)
    if known is None:
        known = _structs[struct.node.id] = _Struct(struct)
    return known


class DynamicStruct:
    """One struct as a message of its own, such as Failure."""

    def __init__(self, kind: Any) -> None:
        self._type = kind
        self._struct = _struct(self._type.schema)

    def encode(self, message: Message) -> bytes:
        builder = self._type.new_message()
        self._struct.write(builder, message)
        data: bytes = builder.to_bytes()
        return data

    def decode(self, data: bytes) -> Any:
        """Raises ProtocolError for bytes that are no such message."""
        return _read(self._type, data, self._struct.read)


class DynamicUnion:
    """One direction of a conversation: a struct that is nothing but a union of messages."""

    def __init__(self, name: str, kind: Any) -> None:
        self.name = name
        self._type = kind
        self._arms: dict[str, _Struct] = {}
        self._names: dict[type, str] = {}
        for entry in self._type.schema.node.struct.fields:
            if str(entry.slot.type.which()) == "struct":
                name = str(entry.name)
                arm = _struct(self._type.schema.fields[name].schema)
                self._arms[name] = arm
                self._names[arm.message] = name

    def encode(self, message: Message) -> bytes:
        """Raises ProtocolError for a message that this direction does not have."""
        name = self._names.get(type(message))
        if name is None:
            raise ProtocolError(f"{type(message).__name__} cannot be said in {self.name}")
        builder = self._type.new_message()
        self._arms[name].write(builder.init(name), message)
        data: bytes = builder.to_bytes()
        return data

    def decode(self, data: bytes) -> Message:
        """Raises ProtocolError for bytes that are no message of this direction."""
        return _read(self._type, data, self._read_arm)

    def _read_arm(self, reader: Any) -> Message:
        name = reader.which()
        arm = self._arms.get(name)
        if arm is None:
            raise ProtocolError(f"{name!r} is no message of {self.name}")
        return arm.read(getattr(reader, name))


def _read(kind: Any, data: bytes, read: Callable[[Any], Any]) -> Any:
    # A pointer may be followed more than once; the limit keeps a small frame from being read as a huge message.
    limit = max(_SMALLEST_TRAVERSAL_WORDS, len(data) // 4)
    try:
        if data[:4] == _ONE_SEGMENT and int.from_bytes(data[4:8], "little") * 8 == len(data) - 8:
            # What everybody writes. Reading the segment itself is faster than having its table read.
            segment = memoryview(data)[8:]
            return read(kind.from_segments([segment], traversal_limit_in_words=limit, nesting_limit=_NESTING_LIMIT))
        with kind.from_bytes(data, traversal_limit_in_words=limit, nesting_limit=_NESTING_LIMIT) as reader:
            return read(reader)
    except (capnp.KjException, ValueError, OverflowError) as error:
        raise ProtocolError(f"not a readable message: {str(error).splitlines()[0][:200]}") from None
