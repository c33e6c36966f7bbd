"""Scaler, by its public API."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
from systems.system import System
from systems.work import noop


class Adapter(System):
    distribution = "opengris-scaler"

    def __init__(self, slots: int) -> None:
        from scaler import Client, SchedulerClusterCombo

        self.cluster = SchedulerClusterCombo(n_workers=slots, logging_level="ERROR")
        self.client = Client(address=self.cluster.get_address())
        self.scheduler_port = str(self.cluster.get_address()).rpartition(":")[2]

    def submit(self, count: int) -> list[int]:
        futures = [self.client.submit(noop, i) for i in range(count)]
        return [future.result() for future in futures]

    def map(self, count: int) -> list[int]:
        return list(self.client.map(noop, range(count)))

    def call(self, value: Any) -> Any:
        return self.client.submit(noop, value).result()

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [future.result() for future in [self.client.submit(function, *args) for args in arguments]]

    def compute(self, graph: dict[str, Any], key: str) -> Any:
        return self.client.get(graph, [key])[key]

    def role(self, process: psutil.Process) -> str:
        """By what it listens to and whether it has children, so that it holds for other ways to lay out a cluster."""
        with suppress(psutil.Error):
            ports = {c.laddr.port for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
            if int(self.scheduler_port) in ports:
                return "scheduler"
            if ports:
                return "storage"
            return "worker" if process.children() else super().role(process)
        return "other"

    def stop(self) -> None:
        self.client.disconnect()
        self.cluster.shutdown()
