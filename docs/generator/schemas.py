"""Reads the schemas of Cap'n Proto with their comments, which the library's own reader drops.

It understands what the files in ``protocol/`` have: structs, unions without a name, enums, constants and imports, one
declaration a line, with its comment below it. A test holds what it finds against what the library does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

OPENING = re.compile(r"(struct|enum) (\w+) \{$")
FIELD = re.compile(r"(\w+) @(\d+) :([\w.()]+)(?: = (\S+))?;$")
ENUMERANT = re.compile(r"(\w+) @(\d+);$")
CONSTANT = re.compile(r"const (\w+) :(\w+) = (\S+);$")
IMPORT = re.compile(r'using (\w+) = import "(\w+)\.capnp";$')
FILE_ID = re.compile(r"@0x[0-9a-f]+;$")


@dataclass(slots=True)
class Member:
    """A field, an enumerant or a constant."""

    name: str
    number: int
    """-1 for a constant."""
    type: str = ""
    """As written: ``List(Task.Function)``. Empty for an enumerant."""
    value: str = ""
    in_union: bool = False
    comment: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Declared:
    """A struct or an enum."""

    kind: str
    name: str
    comment: list[str] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class Schema:
    """A file."""

    name: str
    comment: list[str] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    """Name in this file -> name of the other file."""
    constants: list[Member] = field(default_factory=list)
    declared: list[Declared] = field(default_factory=list)


def read(path: Path) -> Schema:
    """Raises ValueError, naming the line, for what it does not understand."""
    schema = Schema(path.stem)
    reader = _Reader(schema)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not reader.take(line.strip()):
            raise ValueError(f"{path}:{number}: docs/generator/schemas.py does not understand {line.strip()!r}")
    return schema


class _Reader:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._open: Declared | None = None
        self._union = False
        self._comment = schema.comment
        """Of what stands above."""

    def take(self, line: str) -> bool:
        """Whether the line is understood."""
        if not line:
            return True
        if line.startswith("#"):
            self._comment.append(line[1:].removeprefix(" "))
            return True
        return self._closing(line) or (self._inside(line) if self._open else self._outside(line))

    def _closing(self, line: str) -> bool:
        if line != "}" or self._open is None:
            return False
        if self._union:
            self._union = False
        else:
            self._open = None
        return True

    def _outside(self, line: str) -> bool:
        if found := OPENING.match(line):
            self._open = Declared(found[1], found[2])
            self._schema.declared.append(self._open)
            self._comment = self._open.comment
        elif found := CONSTANT.match(line):
            constant = Member(found[1], -1, found[2], found[3])
            self._schema.constants.append(constant)
            self._comment = constant.comment
        elif found := IMPORT.match(line):
            self._schema.imports[found[1]] = found[2]
        else:
            return bool(FILE_ID.match(line))
        return True

    def _inside(self, line: str) -> bool:
        assert self._open is not None
        if line == "union {":
            self._union = True
            return True
        if found := FIELD.match(line):
            member = Member(found[1], int(found[2]), found[3], found[4] or "", self._union)
        elif (found := ENUMERANT.match(line)) and self._open.kind == "enum":
            member = Member(found[1], int(found[2]))
        else:
            return False
        self._open.members.append(member)
        self._comment = member.comment
        return True
