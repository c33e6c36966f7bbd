"""Dask distributed: a local cluster of processes with one thread each. Its scheduler runs in the client's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from systems.system import System
from systems.work import noop


class Adapter(System):
    distribution = "distributed"

    def __init__(self, slots: int) -> None:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(n_workers=slots, threads_per_worker=1, processes=True, dashboard_address=None)
        self.client = Client(self.cluster)

    def submit(self, count: int) -> list[int]:
        # pure=False: otherwise a call with known arguments is answered without being run.
        return list(self.client.gather([self.client.submit(noop, i, pure=False) for i in range(count)]))

    def map(self, count: int) -> list[int]:
        return list(self.client.gather(self.client.map(noop, range(count), pure=False)))

    def call(self, value: Any) -> Any:
        return self.client.submit(noop, value, pure=False).result()

    def calls(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        return list(self.client.gather([self.client.submit(function, *args, pure=False) for args in arguments]))

    def compute(self, graph: dict[str, Any], key: str) -> Any:
        return self.client.get(graph, [key], optimize_graph=False)[0]

    def stop(self) -> None:
        self.client.close()
        self.cluster.close()
