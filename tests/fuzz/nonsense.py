"""Messages that can be said and mean little: led by the schemas, of numbers so small that they often name something."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

from scaler.ids import RANGE_BIT, SEQUENCE_BITS
from scaler.wire.codec import UnionCodec, snake
from tests.wire.random_messages import CLASSES, STRUCTS

IDENTITIES = [bytes([n]) * 16 for n in range(1, 6)]
NUMBERS = [int.from_bytes(identity[:3], "little") + 1 for identity in IDENTITIES]
"""What schedulers call clients of these identities."""
WORDS = ("", "a", "gpu", "f", "x" * 300)
LARGEST = {"uint16": 2**16 - 1, "enum": 12, "uint32": 2**32 - 1, "uint64": 2**64 - 1, "int32": 2**31 - 1}


class Babbler:
    """Says what comes to its mind, the same for the same seed."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def message(self, codec: UnionCodec) -> Any:
        """One of a direction of a conversation, as it comes from the wire."""
        kind = self.chance.choice(sorted(codec.vocabulary, key=lambda one: one.__name__))
        return codec.decode(codec.encode(self._struct(kind.__name__)))

    def _struct(self, name: str) -> Any:
        fields = STRUCTS[name].node.struct.fields
        count = self.chance.choice((0, 1, 1, 2, 3))
        said = {snake(str(f.name)): self._value(STRUCTS[name], f, count) for f in fields}
        return CLASSES[name](**said)

    def _value(self, owner: Any, field: Any, count: int) -> Any:
        kind = field.slot.type
        which = str(kind.which())
        if which == "struct":
            return self._struct(_name(owner.fields[str(field.name)].schema))
        if which == "list":
            element = str(kind.list.elementType.which())
            if element == "struct":
                inner = _name(owner.fields[str(field.name)].schema.elementType)
                return [self._struct(inner) for _ in range(self._length(count))]
            return [self._scalar(element, count) for _ in range(self._length(count))]
        return self._scalar(which, count)

    def _length(self, count: int) -> int:
        """Mostly as long as the other columns of the message."""
        return count if self.chance.random() < 0.9 else self.chance.randrange(4)

    def _scalar(self, which: str, count: int) -> Any:
        chance = self.chance
        if which == "bool":
            return chance.random() < 0.5
        if which == "float32":
            return chance.choice((0.0, 1.0, -1.0, 1e30))
        if which == "text":
            return chance.choice(WORDS)
        if which == "data":
            return self._data(count)
        small = chance.choice((0, 1, 1, 2, 3, 4, 16))
        return small if chance.random() < 0.95 else LARGEST[which]

    def _data(self, count: int) -> bytes:
        chance, length = self.chance, self._length(count)
        column: dict[str, Callable[[], bytes]] = {
            "u32": lambda: struct.pack(f"<{length}I", *[chance.randrange(4) for _ in range(length)]),
            "u64": lambda: struct.pack(f"<{length}Q", *[self._id() for _ in range(length)]),
            "u8": lambda: bytes(chance.randrange(12) for _ in range(length)),
            "identity": lambda: chance.choice(IDENTITIES),
            "identities": lambda: b"".join(chance.choice(IDENTITIES) for _ in range(length)),
            "bytes": lambda: chance.randbytes(chance.randrange(9)),
            "nothing": lambda: b"",
        }
        kinds = ("u32", "u32", "u64", "u64", "u64", "u8", "identity", "identities", "bytes", "nothing")
        return column[chance.choice(kinds)]()

    def _id(self) -> int:
        """A sequence, or the id of a task or range."""
        chance = self.chance
        sequence = chance.randrange(5)
        number = chance.choice((0, 0, *NUMBERS))
        minted = RANGE_BIT if chance.random() < 0.2 else 0
        return sequence if chance.random() < 0.4 else number << SEQUENCE_BITS | minted | sequence


def _name(schema: Any) -> str:
    return str(schema.node.displayName[schema.node.displayNamePrefixLength :])
