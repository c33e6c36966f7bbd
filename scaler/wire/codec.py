"""The codecs of the conversations, made from the schemas.

A codec belongs to one direction of a conversation, or to one struct. For each class in ``scaler.messages`` the schema says, once,
which field stands where; ``segment`` follows these plans, and leaves what is unusual to ``dynamic``. Columns and payloads are
never looked into.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from scaler import messages
from scaler.wire import schema
from scaler.wire.dynamic import DynamicStruct, DynamicUnion, snake
from scaler.wire.segment import StructPlan, StructSegments, UnionSegments

_plans: dict[int, StructPlan] = {}


def _plan(struct: Any) -> StructPlan:
    """How a struct lies in a segment. Raises KeyError for a field of a type that segment does not know."""
    node = struct.node
    if node.id not in _plans:
        message = getattr(messages, node.displayName[node.displayNamePrefixLength :])
        layout = node.struct
        planned = [_field(struct, field) for field in layout.fields]
        _plans[node.id] = StructPlan(message, layout.dataWordCount, layout.pointerCount, planned)
    return _plans[node.id]


def _field(struct: Any, field: Any) -> tuple[str, int, str, StructPlan | None]:
    """(type, offset, attribute, plan of the struct or of the list's structs) of one field."""
    name = str(field.name)
    if field.slot.hadExplicitDefault:
        raise KeyError(f"{name}: defaults other than zero")
    which = str(field.slot.type.which())
    nested = None
    if which == "struct":
        nested = _plan(struct.fields[name].schema)
    elif which == "list":
        element = str(field.slot.type.list.elementType.which())
        which = f"list of {element}"
        if element == "struct":
            nested = _plan(struct.fields[name].schema.elementType)
    return which, field.slot.offset, snake(name), nested


class StructCodec(StructSegments):
    """One struct as a message of its own, such as Failure."""

    def __init__(self, file: str, struct: str) -> None:
        kind = getattr(schema.load(file), struct)
        super().__init__(_plan(kind.schema), DynamicStruct(kind))


class UnionCodec(UnionSegments):
    """One direction of a conversation: a struct that is nothing but a union of messages."""

    def __init__(self, file: str, union: str) -> None:
        self.name = union
        kind = getattr(schema.load(file), union)
        layout = kind.schema.node.struct
        if (layout.dataWordCount, layout.pointerCount) != (1, 1):
            raise KeyError(f"{union} is more than a union of structs")
        arms: list[StructPlan | None] = [None] * layout.discriminantCount
        for field in layout.fields:
            if str(field.slot.type.which()) == "struct":
                arms[field.discriminantValue] = _plan(kind.schema.fields[str(field.name)].schema)
        self.vocabulary = frozenset(plan.message for plan in arms if plan is not None)
        """The classes that can be said in this direction."""
        super().__init__(arms, layout.discriminantOffset, DynamicUnion(union, kind))


@cache
def codec(file: str, union: str) -> UnionCodec:
    """The codec of one direction, made once."""
    return UnionCodec(file, union)


@cache
def struct_codec(file: str, struct: str) -> StructCodec:
    """The codec of one struct, made once."""
    return StructCodec(file, struct)
