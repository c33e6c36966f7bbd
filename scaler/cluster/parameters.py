"""Parameters of clusters that Python programs start: each is checked as the option of the same name of the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaler.config import (
    address,
    boolean,
    function_pattern,
    http_address,
    interval,
    limit,
    memory_limit,
    natural,
    nearest,
    preload,
    seconds,
    size,
)
from scaler.errors import ConfigurationError
from scaler.logs import FORMATS, LEVELS
from scaler.scheduler.policy import parse_policy

ANY_PORT = "tcp://127.0.0.1:0"


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}{nearest(text, known)}")
        return text

    return read


def _address(text: str) -> str:
    return str(address(text))


def _names(given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{given!r} is no collection of names")
    return tuple(sorted(given))


def _paths(given: Any) -> tuple[str, ...]:
    """One may stand alone."""
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _patterns(given: Any) -> tuple[str, ...]:
    return tuple(map(function_pattern, _paths(given)))


def _policy(given: Any) -> Any:
    if isinstance(given, str) or len(given) != 2:
        raise ValueError(f"{given!r} is no pair of an engine and its content")
    parse_policy(*given)
    return given


_KINDS: dict[str, Callable[[str], Any]] = {
    "n_workers": natural,
    "address": _address,
    "object_storage_address": _address,
    "monitor_address": _address,
    "per_worker_task_queue_size": natural,
    "max_number_of_tasks_waiting": limit,
    "heartbeat_interval_seconds": interval,
    "client_timeout_seconds": interval,
    "worker_timeout_seconds": interval,
    "task_timeout_seconds": seconds,
    "death_timeout_seconds": interval,
    "protected": boolean,
    "tracing": boolean,
    "event_loop": _one_of("uvloop", "builtin"),
    "worker_manager_id": str,
    "preload": lambda text: preload(text) if text else "",
    "memory_limit_bytes": memory_limit,
    "garbage_collect_interval_seconds": seconds,
    "trim_memory_threshold_bytes": size,
    "object_storage_memory_limit_bytes": size,
    "object_storage_spill_directory": str,
    "logging_format": _one_of(*FORMATS),
    "metrics_address": lambda text: str(http_address(text)) if text else "",
    "logging_level": lambda text: _one_of(*LEVELS)(text.upper()),
}


_COLLECTIONS: dict[str, Callable[[Any], Any]] = {
    "per_worker_capabilities": _names,
    "scaler_policy": _policy,
    "logging_paths": _paths,
    "allow_functions": _patterns,
}


def checked(**given: Any) -> list[Any]:
    """The values of these parameters as a cluster takes them, in order; None stays.

    Raises ConfigurationError, naming the parameter, for what it cannot be.
    """
    return [_checked(name, value) for name, value in given.items()]


def _checked(name: str, value: Any) -> Any:
    try:
        if value is None:
            return None
        return _COLLECTIONS[name](value) if name in _COLLECTIONS else _KINDS[name](str(value))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name}: {error}") from None
