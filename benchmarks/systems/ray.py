"""Ray: one node with a raylet and one process for each slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
from systems.system import System
from systems.work import noop


class Adapter(System):
    distribution = "ray"

    def __init__(self, slots: int) -> None:
        import ray

        self.ray = ray
        ray.init(num_cpus=slots, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        self.noop = ray.remote(noop)

    def submit(self, count: int) -> list[int]:
        return list(self.ray.get([self.noop.remote(i) for i in range(count)]))

    def map(self, count: int) -> list[int]:
        """Ray has no map of tasks; this is how its users write one."""
        return self.submit(count)

    def call(self, value: Any) -> Any:
        return self.ray.get(self.noop.remote(value))

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        remote = self.ray.remote(function)
        # An argument that is used again is put once: that is how its users write it.
        values = {id(value): value for args in arguments for value in args}
        shared = {key for key in values if sum(id(value) == key for args in arguments for value in args) > 1}
        stored = {key: self.ray.put(values[key]) for key in shared}
        return list(self.ray.get([remote.remote(*[stored.get(id(v), v) for v in args]) for args in arguments]))

    def role(self, process: psutil.Process) -> str:
        name = process.name()
        if name.startswith("ray::"):
            return "executor"
        return {"raylet": "worker", "gcs_server": "scheduler"}.get(name, "other")

    def stop(self) -> None:
        self.ray.shutdown()
