"""The pages about the protocol's schemas: each message and field with its type and its comment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from docs.generator import rst, schemas
from docs.generator.schemas import Declared, Member, Schema

ORDER = ("handshake", "task", "client", "storage", "worker", "manager", "monitor", "profile", "host", "executor")
"""As a reader needs them; others follow by name."""
INTRODUCTION = """\
Made from the schemas in ``protocol/``, which are the specification; :doc:`/protocol/README` says what is common to all of them:
frames, secrets, TLS, serializers, and how the protocol may change. A field is shown as its name, its number and its type.
"""


def pages(directory: Path) -> dict[str, str]:
    """Name of a file -> its text."""
    found = {path.stem: schemas.read(path) for path in sorted(directory.glob("*.capnp"))}
    ordered = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    texts = {f"protocol/{name}": _Page(schema, found).text() for name, schema in found.items()}
    return {"protocol": _index([found[name] for name in ordered]), **texts}


def _index(ordered: Iterable[Schema]) -> str:
    parts = [rst.heading("Protocol"), INTRODUCTION, rst.contents(f"protocol/{schema.name}" for schema in ordered)]
    for schema in ordered:
        names = ", ".join(f":ref:`{one.name} <{label(schema.name, one.name)}>`" for one in schema.declared)
        about = schema.comment[0].rstrip(".") if schema.comment else ""
        parts += [
            rst.heading(f"{schema.name}.capnp", 1),
            f"{rst.escaped(about)}. :doc:`All of it <protocol/{schema.name}>`.\n",
            f"{names}\n",
        ]
    return "\n".join(parts)


def label(file: str, name: str) -> str:
    """What references to a struct or an enum lead to."""
    return f"capnp-{file}-{name}".lower()


class _Page:
    def __init__(self, schema: Schema, known: dict[str, Schema]) -> None:
        self._schema = schema
        self._known = known

    def text(self) -> str:
        parts = [rst.heading(f"{self._schema.name}.capnp"), self._comment(self._schema.comment)]
        if self._schema.constants:
            parts.append(rst.heading("Constants", 1))
            parts.append(
                rst.definitions(self._entry(f"``{c.name}`` = ``{c.value}``", c) for c in self._schema.constants)
            )
        for declared in self._schema.declared:
            parts += [f".. _{label(self._schema.name, declared.name)}:\n", self._declared(declared)]
        return "\n".join(parts)

    def _declared(self, declared: Declared) -> str:
        parts = [rst.heading(declared.name, 1), f"*{declared.kind}*\n", self._comment(declared.comment)]
        for in_union, title in ((False, ""), (True, "One of:\n\n")):
            members = [member for member in declared.members if member.in_union == in_union]
            if members:
                parts.append(title + rst.definitions(self._entry(f"``{m.name}`` @{m.number}", m) for m in members))
        return "\n".join(parts)

    def _entry(self, term: str, member: Member) -> tuple[str, str]:
        """What it is, and what is said of it."""
        kind = f" {self._type(member.type)}" if member.type else ""
        default = f" = ``{member.value}``" if member.value and member.number >= 0 else ""
        return f"{term}{kind}{default}", self._comment(member.comment) or self._meant(member)

    def _meant(self, member: Member) -> str:
        """Of a field that says nothing: the first sentence of what it holds."""
        found = self._find(member.type.removeprefix("List(").removesuffix(")"))
        declared = next((one for one in found[0].declared if one.name == found[1]), None) if found else None
        text = " ".join(declared.comment).split(". ")[0] if declared else ""
        return f"{self._linked(rst.escaped(text)).rstrip('.')}.\n" if text else ""

    def _type(self, text: str) -> str:
        """A type, with a link where it is one of ours."""
        inner = re.fullmatch(r"List\((.*)\)", text)
        if inner:
            return f"List of {self._type(inner[1])}"
        found = self._find(text)
        return f":ref:`{found[1]} <{label(found[0].name, found[1])}>`" if found else text

    def _find(self, text: str) -> tuple[Schema, str] | None:
        """The file and the name that a type means; None for those of the language."""
        alias, _, name = text.rpartition(".")
        schema = self._known[self._schema.imports[alias]] if alias else self._schema
        return (schema, name) if any(one.name == name for one in schema.declared) else None

    def _comment(self, lines: list[str]) -> str:
        """Paragraphs; what is indented stays as it is."""
        blocks: list[str] = []
        for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
            if block.startswith("  "):
                blocks.append(".. code-block:: text\n\n" + rst.indented(block))
            elif block:
                blocks.append(self._linked(rst.escaped(block)))
        return "".join(f"{block}\n\n" for block in blocks)

    def _linked(self, text: str) -> str:
        """With references where it names other files, messages, or their fields."""
        text = re.sub(r"(?<![\w/])README\.md", ":doc:`/protocol/README`", text)
        text = re.sub(rf"(?<!\w)({'|'.join(self._known)})\.capnp", r":doc:`/reference/protocol/\1`", text)
        return re.sub(
            r"``([A-Z]\w+)``|\b([A-Z]\w*[a-z][A-Z]\w*|[A-Z]\w+(?=\.[a-z]))(\.[a-z]\w*)?", self._reference, text
        )

    def _reference(self, found: re.Match[str]) -> str:
        name, member = found[1] or found[2], found[3] or ""
        places = [
            schema for schema in (self._schema, *self._known.values()) if any(name == d.name for d in schema.declared)
        ]
        return f":ref:`{name}{member} <{label(places[0].name, name)}>`" if places else found[0]
