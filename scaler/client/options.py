"""The options of a task, as users give them: checked where they are given."""

from __future__ import annotations

import builtins
import math
import operator
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, SupportsFloat, TypeAlias

from scaler.messages import TaskOptions
from scaler.serialization import type_name

MOST_PRIORITY = 1 << 24
"""What is beyond counts as this, either way."""
MOST_RETRIES = (1 << 32) - 1
LONGEST_MILLISECONDS = 1 << 53

ExceptionType: TypeAlias = type[BaseException] | str
"""An exception's type, or its qualified name, ``"package.module.Name"``."""


def task_options(
    capabilities: Iterable[str] | None = None,
    priority: int = 0,
    retries: int = 0,
    retry_on: ExceptionType | Iterable[ExceptionType] | None = None,
    timeout: float | None = 0,
    name: str | None = "",
) -> TaskOptions | None:
    """The options of a task, None for those of most. See Client.submit_verbose() for what they mean.

    Raises TypeError and ValueError, naming the option, for what none of them can be.
    """
    options = TaskOptions(
        _capabilities(capabilities),
        max(-MOST_PRIORITY, min(_integer("priority", priority), MOST_PRIORITY)),
        _retries(retries),
        0 if timeout is None else _milliseconds(timeout),
        "" if name is None else _text("name", name),
        [] if retry_on is None else _type_names(retry_on),
    )
    return None if options == TaskOptions() else options


def traced(options: TaskOptions | None, context: str) -> TaskOptions:
    """The same for a task that belongs to a trace."""
    return replace(options or TaskOptions(), trace_context=context)


def _capabilities(given: Iterable[str] | None) -> list[str]:
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"capabilities has to be several names, as in ['gpu'], not {given!r}")
    return sorted({_text("a capability", each) for each in given})


def _integer(option: str, given: Any) -> int:
    if type(given) is int:
        return given
    try:
        if not isinstance(given, bool):
            return operator.index(given)
    except TypeError:
        pass
    raise TypeError(f"{option} has to be a whole number, not {given!r}")


def _text(option: str, given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{option} has to be a text, not {given!r}")
    return given


def _retries(given: Any) -> int:
    number = _integer("retries", given)
    if not 0 <= number <= MOST_RETRIES:
        raise ValueError(f"retries has to be a number from 0 to {MOST_RETRIES}, not {given}")
    return number


def _milliseconds(timeout: Any) -> int:
    """Rounded up, since 0 means that there is no limit."""
    if isinstance(timeout, bool) or not isinstance(timeout, SupportsFloat):
        raise TypeError(f"timeout has to be a number of seconds, not {timeout!r}")
    seconds = float(timeout)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"timeout has to be a number of seconds, or 0 for no limit, not {timeout!r}")
    return min(math.ceil(seconds * 1000), LONGEST_MILLISECONDS)


def _type_names(given: ExceptionType | Iterable[ExceptionType]) -> list[str]:
    several = [given] if isinstance(given, type | str) or not isinstance(given, Iterable) else list(given)
    if not several:
        raise ValueError(
            "retry_on names no exception; leave it out to retry after any, or set retries=0 to retry after none"
        )
    return [_type_name(each) for each in several]


def _type_name(given: Any) -> str:
    found = _named(given) if isinstance(given, str) else given
    if isinstance(found, type) and issubclass(found, BaseException):
        return type_name(found)
    if isinstance(given, str) and found is None and "." in given and all(map(str.isidentifier, given.split("."))):
        return given
    expected = "the types of exceptions, or their names as texts: 'package.module.Name'"
    raise TypeError(f"retry_on has to be {expected}; {given!r} is neither")


def _named(name: str) -> Any:
    """What a name stands for, if it is known here: its type may have been defined elsewhere, under another name."""
    module, _, last = name.rpartition(".")
    return getattr(sys.modules.get(module) if module else builtins, last, None)
