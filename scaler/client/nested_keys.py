"""Keys and values as dask's schedulers take and give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scaler.errors import GraphError


def as_graph(dsk: Any) -> Mapping[Any, Any]:
    """The dict of what dask hands to its schedulers: a dict, a HighLevelGraph or an expression.

    Raises GraphError for anything else.
    """
    if isinstance(dsk, dict):
        return dsk
    make = getattr(dsk, "__dask_graph__", None)
    if make is not None:
        dsk = make()
    if not isinstance(dsk, Mapping):
        raise GraphError(f"a graph of dask's is a dict, a HighLevelGraph or an expression, not a {type(dsk).__name__}")
    return dict(dsk)


def flat(keys: Any) -> list[Any]:
    """All keys of nested lists, in order."""
    if isinstance(keys, list):
        return [key for part in keys for key in flat(part)]
    return [keys]


def nested(keys: Any, value_of: Callable[[Any], Any]) -> Any:
    """The values in the nesting of their keys."""
    if isinstance(keys, list):
        return [nested(part, value_of) for part in keys]
    return value_of(keys)
