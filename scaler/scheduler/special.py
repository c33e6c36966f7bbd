"""What only few tasks have."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.messages import TaskOptions


@dataclass(slots=True)
class Special:
    """What only few tasks have."""

    options: TaskOptions | None = None
    retries_left: int = 0
    retried: int = 0
    """How often it failed by an error of its own and was run again."""
    errors: list[str] = field(default_factory=list)
    """The last of these errors, in a line each."""
    deaths: list[str] = field(default_factory=list)
    unwanted: bool = False
