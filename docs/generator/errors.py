"""The page about errors: the tree of their classes, and each with its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import scaler
from docs.generator import rst
from scaler import errors

INTRODUCTION = """\
All errors that Scaler raises are below :exc:`~scaler.errors.ScalerError`; many are one of the standard library's, too, so that
code which expects that one works. What a task itself raises arrives as itself, with the remote traceback as its cause; a
cancelled task raises :exc:`concurrent.futures.CancelledError`.

Those marked * are offered by ``scaler`` itself, all by ``scaler.errors``.
"""


def page() -> str:
    """The whole page."""
    roots = [errors.ScalerError, *_warnings()]
    parts = [rst.heading("Errors"), INTRODUCTION, *(line for root in roots for line in _branch(root, 0)), ""]
    for root in roots:
        parts += [f".. autoexception:: scaler.errors.{kind.__name__}\n   :show-inheritance:\n" for kind in _all(root)]
    return "\n".join(parts)


def _branch(kind: type, depth: int) -> Iterator[str]:
    """A list of an error and those below it."""
    others = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception]
    also = f" (also {_article(others[0])})" if others else ""
    star = "*" if kind.__name__ in scaler.__all__ else ""
    about = rst.with_flags((inspect.getdoc(kind) or "").split(": ")[0].splitlines()[0].rstrip("."))
    yield f"{'  ' * depth}- :exc:`~scaler.errors.{kind.__name__}`\\ {rst.escaped(star)}{also}: {about}"
    below = _below(kind)
    if below:
        yield ""
    for child in below:
        yield from _branch(child, depth + 1)
    if below:
        yield ""


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} ``{name}``"


def _below(kind: type) -> list[type]:
    return [other for other in vars(errors).values() if inspect.isclass(other) and kind in other.__bases__]


def _all(kind: type) -> list[type]:
    return [kind, *(deeper for child in _below(kind) for deeper in _all(child))]


def _warnings() -> list[type]:
    return [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Warning)]
