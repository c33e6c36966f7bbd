"""Functions that carry much: noticed, and said what it is that makes them large."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scaler.errors import LargeFunctionWarning
from scaler.serialization import Serializer, name_of

LARGE_BYTES = 10 << 20
"""A function that is larger, as serialized, is warned of."""
_PACKAGE = str(Path(__file__).parent.parent)


def warn_of(function: Callable[..., Any], size: int, serializer: Serializer) -> None:
    """Warn that a function is ``size`` bytes, as serialized, and name the largest thing it carries."""
    sizes = {label: _size(serializer, value) for label, value in _carried(function, serializer)}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    what = f": {largest} is {_megabytes(sizes[largest])}" if largest is not None else ""
    warnings.warn(
        f"function {name_of(function)} takes {_megabytes(size)} as serialized{what}. Every process that runs it loads and keeps "
        "all of it. Pass large values as arguments, or what Client.send_object() returns for them.",
        LargeFunctionWarning,
        stacklevel=_caller_level(),
    )


def _carried(function: Any, serializer: Serializer) -> Iterator[tuple[str, Any]]:
    """What goes with a function, by what to call it."""
    if isinstance(function, functools.partial):
        yield from ((f"argument {place} of the partial", value) for place, value in enumerate(function.args, 1))
        yield from ((f"argument {name!r} of the partial", value) for name, value in function.keywords.items())
        # What is found by its name carries nothing, whatever it refers to.
        if _size(serializer, function.func) > LARGE_BYTES // 10:
            yield from _carried(function.func, serializer)
        return
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield f"the object of the method, a {type(owner).__qualname__},", owner
    inner = getattr(function, "__func__", function)
    code = getattr(inner, "__code__", None)
    if code is None:
        yield from ((f"attribute {name!r}", value) for name, value in getattr(function, "__dict__", {}).items())
        return
    for name, cell in zip(code.co_freevars, inner.__closure__ or (), strict=False):
        try:
            yield f"variable {name!r} of its closure", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    defaults = inner.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][-len(defaults) :] if defaults else ()
    yield from ((f"the default of {name!r}", value) for name, value in zip(names, defaults, strict=True))
    yield from ((f"the default of {name!r}", value) for name, value in (inner.__kwdefaults__ or {}).items())
    known = inner.__globals__
    yield from ((f"global {name!r}", known[name]) for name in code.co_names if name in known)


def _size(serializer: Serializer, value: Any) -> int:
    """In bytes, about as serialized."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    try:
        return len(serializer.serialize(value))
    except Exception:
        return 0


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MB"


def _caller_level() -> int:
    """The stack level, for warnings.warn(), of the code that called this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
