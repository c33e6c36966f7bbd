"""Messages to Cap'n Proto bytes and back, led by the schemas.

A codec belongs to one struct. For each class in ``scaler.messages`` it reads from the schema which field is written how,
once; after that an encode or a decode is one loop over the fields. Columns and payloads are never looked into.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

import capnp

from scaler import messages
from scaler.errors import ProtocolError
from scaler.messages import Message
from scaler.wire import schema

_NESTING_LIMIT = 16
_SMALLEST_TRAVERSAL_WORDS = 1024


def snake(name: str) -> str:
    """``wallMicroseconds`` -> ``wall_microseconds``."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _bytes(value: Any) -> Any:
    return value.tobytes() if isinstance(value, array) else value


class _Struct:
    """How one struct is written into a builder and read from a reader."""

    def __init__(self, struct: Any) -> None:
        self.message = getattr(messages, struct.node.displayName[struct.node.displayNamePrefixLength :])
        self._writers: list[tuple[str, Callable[[Any, Any], None]]] = []
        self._readers: list[Callable[[Any], Any]] = []
        for entry in struct.node.struct.fields:
            write, read = _field(struct, str(entry.name), entry.slot.type)
            self._writers.append((snake(str(entry.name)), write))
            self._readers.append(read)

    def write(self, builder: Any, message: Any) -> None:
        for attribute, write in self._writers:
            write(builder, getattr(message, attribute))

    def read(self, reader: Any) -> Any:
        return self.message(*[read(reader) for read in self._readers])


def _field(struct: Any, name: str, kind: Any) -> tuple[Callable[[Any, Any], None], Callable[[Any], Any]]:
    """The writer and the reader of one field, by its type in the schema."""
    which = str(kind.which())
    if which == "struct":
        nested = _struct(struct.fields[name].schema)

        def write_struct(builder: Any, value: Any) -> None:
            nested.write(builder.init(name), value)

        return write_struct, lambda reader: nested.read(getattr(reader, name))
    if which == "list" and str(kind.list.elementType.which()) == "struct":
        element = _struct(struct.fields[name].schema.elementType)

        def write_list(builder: Any, values: Any) -> None:
            if values:
                for place, value in zip(builder.init(name, len(values)), values, strict=True):
                    element.write(place, value)

        return write_list, lambda reader: [element.read(entry) for entry in getattr(reader, name)]
    if which == "list":

        def write_values(builder: Any, values: Any) -> None:
            if values:
                setattr(builder, name, values)

        return write_values, lambda reader: list(getattr(reader, name))
    if which == "enum":
        return lambda builder, value: setattr(builder, name, int(value)), lambda reader: getattr(reader, name).raw
    if which == "data":

        def write_data(builder: Any, value: Any) -> None:
            if len(value):
                setattr(builder, name, _bytes(value))

        return write_data, lambda reader: getattr(reader, name)
    return lambda builder, value: setattr(builder, name, value), lambda reader: getattr(reader, name)


_structs: dict[int, _Struct] = {}


def _struct(struct: Any) -> _Struct:
    known = _structs.get(struct.node.id)
    if known is None:
        known = _structs[struct.node.id] = _Struct(struct)
    return known


class StructCodec:
    """One struct as a message of its own, such as Failure."""

    def __init__(self, file: str, struct: str) -> None:
        self._type = getattr(schema.load(file), struct)
        self._struct = _struct(self._type.schema)

    def encode(self, message: Message) -> bytes:
        builder = self._type.new_message()
        self._struct.write(builder, message)
        data: bytes = builder.to_bytes()
        return data

    def decode(self, data: bytes) -> Any:
        """Raises ProtocolError for bytes that are no such message."""
        return _read(self._type, data, self._struct.read)


class UnionCodec:
    """One direction of a conversation: a struct that is nothing but a union of messages."""

    def __init__(self, file: str, union: str) -> None:
        self.name = union
        self._type = getattr(schema.load(file), union)
        self._arms: dict[str, _Struct] = {}
        self._names: dict[type, str] = {}
        for entry in self._type.schema.node.struct.fields:
            if str(entry.slot.type.which()) == "struct":
                name = str(entry.name)
                arm = _struct(self._type.schema.fields[name].schema)
                self._arms[name] = arm
                self._names[arm.message] = name

    @property
    def vocabulary(self) -> frozenset[type]:
        """The classes that can be said in this direction."""
        return frozenset(self._names)

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
        with kind.from_bytes(data, traversal_limit_in_words=limit, nesting_limit=_NESTING_LIMIT) as reader:
            return read(reader)
    except (capnp.KjException, ValueError, OverflowError) as error:
        raise ProtocolError(f"not a readable message: {str(error).splitlines()[0][:200]}") from None


@cache
def codec(file: str, union: str) -> UnionCodec:
    """The codec of one direction, made once."""
    return UnionCodec(file, union)


@cache
def struct_codec(file: str, struct: str) -> StructCodec:
    """The codec of one struct, made once."""
    return StructCodec(file, struct)
