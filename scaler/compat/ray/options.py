"""The options of remote functions: which mean something here, which do not matter, and which are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.compat.ray.exceptions import UnsupportedError

_WITHOUT_EFFECT = frozenset(["num_cpus", "memory", "max_calls", "enable_task_events", "_metadata"])
"""A task takes one slot, whatever it says; executors are replaced by Scaler's own rules."""
_REFUSED = {
    "num_gpus": "start workers that offer a capability, say --per-worker-capabilities gpu, and ask with resources={'gpu': 1}",
    "accelerator_type": "start workers that offer it as a capability, and ask with resources={name: 1}",
    "label_selector": "start workers that offer the label as a capability, and ask with resources={name: 1}",
    "runtime_env": "install what tasks need where the workers run",
    "placement_group": "ask for capabilities with resources={name: 1}",
    "_generator_backpressure_num_objects": "return a list, or several values with num_returns",
}
_STRATEGIES = (None, "DEFAULT", "SPREAD")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a remote function is called."""

    num_returns: int = 1
    name: str = ""
    retries: int = 0
    """How often it is run again when it raises."""
    retry_on: tuple[type[BaseException], ...] | None = None
    """Only when it raises one of these; None for any exception."""
    capabilities: tuple[str, ...] = ()


def call_options(given: Mapping[str, Any]) -> CallOptions:
    """What these options come to. Raises UnsupportedError for what Scaler does not have, ValueError for a wrong value."""
    for option, value in given.items():
        if option in _REFUSED:
            if value:
                raise UnsupportedError(f"the option {option} is not supported; {_REFUSED[option]}")
        elif option not in _READ and option not in _WITHOUT_EFFECT:
            raise ValueError(f"{option!r} is no option of remote functions")
    for reader in _READ.values():
        reader(given)
    retries, retry_on = _retries(given)
    return CallOptions(_num_returns(given), given.get("name") or "", retries, retry_on, _capabilities(given))


def _num_returns(given: Mapping[str, Any]) -> int:
    number = given.get("num_returns")
    if number in ("dynamic", "streaming"):
        raise UnsupportedError(f"num_returns={number!r} is not supported; return a list, or give a number")
    if number is None:
        return 1
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"num_returns has to be a number of 0 or more, not {number!r}")
    return number


def _retries(given: Mapping[str, Any]) -> tuple[int, tuple[type[BaseException], ...] | None]:
    retried = given.get("retry_exceptions", False)
    types = None if isinstance(retried, bool | None) else retried
    if types is not None and not (
        isinstance(types, list | tuple) and all(isinstance(t, type) and issubclass(t, BaseException) for t in types)
    ):
        raise ValueError(f"retry_exceptions has to be True, False or a list of exception types, not {retried!r}")
    number = given.get("max_retries", 3)
    if not isinstance(number, int) or number < -1:
        raise ValueError(f"max_retries has to be a number of -1 or more, not {number!r}")
    if not retried:
        return 0, None  # A task whose executor dies is run again by Scaler's own rule.
    return (number if number >= 0 else 1_000_000), None if types is None else tuple(types)


def _capabilities(given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name, amount in (given.get("resources") or {}).items() if amount))


def _strategy(given: Mapping[str, Any]) -> None:
    if given.get("scheduling_strategy") not in _STRATEGIES:
        raise UnsupportedError(
            f"scheduling_strategy={given['scheduling_strategy']!r} is not supported; ask for capabilities with "
            "resources={name: 1}"
        )


_READ: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "num_returns": _num_returns,
    "max_retries": _retries,
    "retry_exceptions": _retries,
    "resources": _capabilities,
    "scheduling_strategy": _strategy,
    "name": lambda given: None,
}
