"""Functions by name: ``package.module:function`` and ``package.module:Class.method``, and which of them may be called."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from scaler.errors import FunctionNotAllowedError, FunctionNotFoundError

OPTION = "--allow-functions"
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_PATTERN = re.compile(r"[\w.:*?\[\]!-]+")
_WILD = frozenset("*?[")
_FORM = "write package.module:function, or package.module:Class.method"


def check_path(path: str) -> str:
    """The same text. Raises ValueError for one that can name no function."""
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"{path!r:.200} names no function; {_FORM}")
    return path


def check_pattern(pattern: str) -> str:
    """The same text. Raises ValueError for one that can match no function's name."""
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(f"{pattern!r} is no pattern of function names; {_FORM}, or package.* for all below a package")
    if ":" not in pattern and not _WILD.intersection(pattern):
        raise ValueError(f"{pattern!r} names no function; write {pattern}:* for all that it defines")
    return pattern


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A function that is known by its name only, as one that can be submitted."""

    path: str
    tag: str
    """Of the serializer of its calls."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The call, made here. Raises FunctionNotFoundError, and what the function raises."""
        return find(self.path)(*args, **kwargs)


def find(path: str) -> Callable[..., Any]:
    """The function that a path names, whose module is imported. Raises FunctionNotFoundError."""
    try:
        module, _, attributes = check_path(path).partition(":")
        found: Any = importlib.import_module(module)
    except ValueError as error:
        raise FunctionNotFoundError(str(error)) from None
    except Exception as error:
        raise FunctionNotFoundError(f"{path}: {module} cannot be imported: {type(error).__name__}: {error}") from error
    done = module
    for depth, name in enumerate(attributes.split(".")):
        # Modules import others: what they have of these has a name there.
        if depth and not isinstance(found, type):
            raise FunctionNotFoundError(f"{path}: {done} is a {type(found).__name__}, no class; {_FORM}")
        try:
            found = getattr(found, name)
        except AttributeError:
            raise FunctionNotFoundError(f"{path}: {done} has no {name!r}") from None
        done = f"{done}{'.' if depth else ':'}{name}"
    if not callable(found):
        raise FunctionNotFoundError(f"{path} is a {type(found).__name__}, and cannot be called")
    return found  # type: ignore[no-any-return]


class AllowedFunctions:
    """Patterns of the names that a worker calls; it runs nothing else, so it refuses pickled functions."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def check_pickled(self, name: str) -> None:
        """Raises FunctionNotAllowedError: whoever can send code needs no names."""
        raise FunctionNotAllowedError(
            f"function {name} was sent as code, and this worker runs only functions by name: {self._told()}"
        )

    def find(self, path: str) -> Callable[..., Any]:
        """As find(). Raises FunctionNotAllowedError, before anything is imported, for a name that no pattern matches."""
        if not self._match(path):
            raise FunctionNotAllowedError(f"{path} may not be called on this worker: {self._told()}")
        found = find(path)
        if path not in self._patterns:
            self._check_home(path, found)
        return found

    def _check_home(self, path: str, found: Any) -> None:
        """A pattern of many names means what is defined there, and not what these modules import (``from os import system``)."""
        home, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
        if not (isinstance(home, str) and isinstance(name, str) and self._match(f"{home}:{name}")):
            where = f"is {home}:{name}" if isinstance(home, str) else "does not say where it is defined"
            raise FunctionNotAllowedError(
                f"{path} {where}, which may not be called on this worker: {self._told()}; written out in full it is allowed"
            )

    def _match(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self._patterns)

    def _told(self) -> str:
        return f"it was started with {OPTION} {' '.join(self._patterns)}"
