"""Preloads: a call that each executor makes before its first task, written as ``package.module:function('text', key=1)``."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass, field
from functools import reduce
from typing import Any


@dataclass(frozen=True, slots=True)
class Preload:
    """What to call."""

    module: str
    attributes: tuple[str, ...]
    """From the module to the callable."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Import and call it. Raises whatever that raises."""
        function: Any = reduce(getattr, self.attributes, importlib.import_module(self.module))
        function(*self.args, **self.kwargs)


def parse_preload(text: str) -> Preload:
    """Read a preload; nothing is imported. Raises ValueError, saying what is wrong, for what is none."""
    module, colon, called = text.partition(":")
    if not colon or not all(map(str.isidentifier, module.split("."))):
        raise ValueError(
            f"{text!r} is no preload; write package.module:function, or package.module:function('text', 1)"
        )
    try:
        expression = ast.parse(called.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise ValueError(f"{text!r} is no preload: {called!r} is no function, and no call of one") from None
    call = expression if isinstance(expression, ast.Call) else ast.Call(expression, [], [])
    attributes = _attributes(call.func)
    if not attributes:
        raise ValueError(f"{text!r} is no preload: {called!r} is no function of {module}, and no call of one")
    kwargs = {keyword.arg: _literal(text, keyword.value) for keyword in call.keywords if keyword.arg is not None}
    if len(kwargs) < len(call.keywords):
        raise ValueError(f"{text!r} is no preload: write each argument once, without **")
    return Preload(module, attributes, tuple(_literal(text, argument) for argument in call.args), kwargs)


def _attributes(node: ast.expr) -> tuple[str, ...]:
    """The names in ``a.b.c``; none of anything else."""
    if isinstance(node, ast.Name):
        return (node.id,)
    inner = _attributes(node.value) if isinstance(node, ast.Attribute) else ()
    return (*inner, node.attr) if inner and isinstance(node, ast.Attribute) else ()


def _literal(text: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        part = ast.unparse(node)
        raise ValueError(
            f"{text!r} is no preload: {part} is no literal (text, number, list, dict, True, None)"
        ) from None
