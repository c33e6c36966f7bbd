"""What a scheduler is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.scheduler.policy import Policy


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """What a scheduler is told at its start. Times in seconds."""

    object_storage_address: str
    protected: bool = True
    max_waiting_tasks: int = -1
    client_timeout_seconds: float = 60.0
    worker_timeout_seconds: float = 60.0
    heartbeat_seconds: float = 2.0
    resume_seconds: float = 1.0
    """How long clients of a scheduler before this one wait for its workers to come back."""
    inline_limit_bytes: int = 64 << 10
    journal: bool = False
    """Whether what is accepted, and how it ends, is written down."""
    kept_seconds: float = 7 * 86400.0
    """With a journal: how long clients with a name that are gone are kept."""
    tracing: bool = False
    """Whether spans are made of how long traced tasks wait."""
    policy: Policy = field(default_factory=Policy)
