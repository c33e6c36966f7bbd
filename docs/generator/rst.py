"""Text of reStructuredText, in which the reference is written."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

LINES = "=-~^"
FLAG = re.compile(r"(?<![\w`-])(--[a-z][\w-]*\w)(?![\w`])")


def heading(text: str, level: int = 0) -> str:
    """A title of a level from 0 on."""
    return f"{text}\n{LINES[level] * max(len(text), 4)}\n"


def escaped(text: str) -> str:
    """Plain text as the code's help texts and comments have it: with `code`, --flags, addresses and *emphasis* in it."""
    text = re.sub(r"(?<![\w`-])(--?[a-z](?:[\w-]*\w)?(?:=\w+)?|\w+://[^\s,;)`]*[^\s,;).:`])(?![\w`])", r"`\1`", text)
    parts = re.split(r"`([^`]+)`", text)
    return "".join(_spaced(parts, i) if i % 2 else _plain(part) for i, part in enumerate(parts))


def _plain(text: str) -> str:
    kept = re.split(r"(\*\w[\w ]*\w\*)", text)
    return "".join(part if i % 2 else re.sub(r"([\\*_|<>`])", r"\\\1", part) for i, part in enumerate(kept))


def _spaced(parts: list[str], i: int) -> str:
    """Code may touch nothing but spaces, one of which is not seen, and some punctuation."""
    before, after = parts[i - 1][-1:] not in {"", *" \n("}, parts[i + 1][:1] not in {"", *" \n.,;:!?)"}
    return "\\ " * before + code(parts[i]) + "\\ " * after


def with_flags(text: str) -> str:
    """A text of docstrings: its flags as code, too, lest their dashes become one."""
    return FLAG.sub(r"``\1``", text)


def code(text: str) -> str:
    """Text as code. What begins or ends with a space cannot be written so."""
    return f"``{text.strip()}``" if text.strip() else ""


def indented(text: str, by: int = 3) -> str:
    """Each line further right."""
    return textwrap.indent(text, " " * by)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells of one paragraph each."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'-' if i else '* -'} {cell}".replace("   -", "     -") for i, cell in enumerate(row)]
    return "\n".join([*lines, "", ""])


def definitions(entries: Iterable[tuple[str, str]]) -> str:
    """Terms and what is said of them."""
    return "".join(f"{term}\n{indented(text or '..')}\n\n" for term, text in entries)


def contents(pages: Iterable[str]) -> str:
    """What puts other pages below this one, without a list of them here."""
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {page}\n" for page in pages) + "\n"
