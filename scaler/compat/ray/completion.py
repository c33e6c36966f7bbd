"""What programs know as ``ray.util``: results as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from scaler.compat.ray.exceptions import UnsupportedError
from scaler.compat.ray.function import RemoteFunction
from scaler.compat.ray.reference import ObjectRef
from scaler.compat.ray.retrieval import get, wait

CHUNK = 10
BACKPRESSURE = 100
_UNSUPPORTED = frozenset(
    [
        "ActorPool",
        "accelerators",
        "collective",
        "get_placement_group",
        "inspect_serializability",
        "list_named_actors",
        "metrics",
        "placement_group",
        "placement_group_table",
        "queue",
        "remove_placement_group",
        "scheduling_strategies",
        "state",
        "tracing",
    ]
)


def as_completed(
    refs: Sequence[ObjectRef], *, chunk_size: int = CHUNK, yield_obj_refs: bool = False, **waiting: Any
) -> Iterator[Any]:
    """Values, or the references themselves, in batches of ``chunk_size`` as they come; ``waiting`` goes to wait()."""
    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    return _by_chunks(list(refs), chunk_size, yield_obj_refs, waiting)


def _by_chunks(refs: list[ObjectRef], chunk_size: int, yield_obj_refs: bool, waiting: dict[str, Any]) -> Iterator[Any]:
    while refs:
        ended, refs = wait(refs, num_returns=min(chunk_size, len(refs)), **waiting)
        yield from ended if yield_obj_refs else get(ended)


def map_unordered(
    fn: RemoteFunction,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = BACKPRESSURE,
    chunk_size: int = CHUNK,
    yield_obj_refs: bool = False,
    **waiting: Any,
) -> Iterator[Any]:
    """``fn.remote(item)`` for each, as as_completed() yields them, with at most ``backpressure_size`` under way."""
    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if backpressure_size is None:
        backpressure_size = 0
    elif backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    return _mapped(fn, items, backpressure_size, chunk_size, yield_obj_refs, waiting)


def _mapped(
    fn: RemoteFunction, items: Iterable[Any], most: int, chunk_size: int, yield_obj_refs: bool, waiting: dict[str, Any]
) -> Iterator[Any]:
    refs: list[ObjectRef] = []
    for item in items:
        if most and len(refs) >= most:
            ended, refs = wait(refs, num_returns=min(chunk_size, len(refs)), **waiting)
            yield from ended if yield_obj_refs else get(ended)
        refs.append(fn.remote(item))
    yield from _by_chunks(refs, chunk_size, yield_obj_refs, waiting)


def __getattr__(name: str) -> Any:
    if name in _UNSUPPORTED:
        raise UnsupportedError(f"ray.util.{name} is not supported on Scaler")
    raise AttributeError(f"module 'ray.util' has no attribute {name!r}")
