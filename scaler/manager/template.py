"""What all workers of a manager are told, but for their names and slots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scaler.config import WORKER_ORDER
from scaler.manager.backend import WorkerOrder


@dataclass(frozen=True, slots=True)
class WorkerTemplate:
    """See scaler.worker.__main__ for what it is made into."""

    options: Mapping[str, Any]
    """The fields of WorkerOptions."""
    event_loop: str
    logging: tuple[Any, ...]
    """The arguments of set_up_logging."""
    queue_limit_per_slot: int = 1000
    metrics_address: str = ""
    """Where each of them serves its metrics; empty: nowhere."""
    security: Mapping[str, Any] = field(default_factory=dict)
    """The fields of SecurityConfig; paths as the hosts of the workers have them."""

    @property
    def manager(self) -> str:
        """The name of the manager."""
        return str(self.options["manager_name"])

    def fill(self, order: WorkerOrder) -> str:
        """The argument of ``python -m scaler.worker``."""
        own = {
            "worker_name": order.name,
            "slots": order.slots,
            "queue_limit": order.slots * self.queue_limit_per_slot,
        }
        return json.dumps(
            {
                "options": {**self.options, **own},
                "event_loop": self.event_loop,
                "logging": list(self.logging),
                "metrics_address": self.metrics_address,
                "security": dict(self.security),
            }
        )

    def with_grace(self, seconds: float) -> WorkerTemplate:
        """For workers that may go on for so long, with what they have begun, when a signal tells them to end."""
        return replace(self, options={**self.options, "grace_seconds": seconds})

    def environment(self, order: WorkerOrder) -> dict[str, str]:
        """What a container's environment has to hold for ``python -m scaler.worker`` without an argument."""
        return {WORKER_ORDER: self.fill(order)}
