"""What one placement pass gives to one worker."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from scaler.messages import Inputs


@dataclass(slots=True)
class Placement:
    """Tasks given to one worker, in columns."""

    worker: int
    ids: array[int]
    attempts: array[int]
    functions: array[int]
    payloads: list[bytes]
    timeouts: array[int] | None
    inputs: Inputs
    item_ends: list[bytes] = field(default_factory=list)
    sequences: array[int] | None = None
    """Both as in Assign."""
    trace_contexts: list[str] = field(default_factory=list)
