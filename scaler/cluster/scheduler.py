"""Scheduler: a scheduler and its object storage without workers, as child processes."""

from __future__ import annotations

from typing import Self

from scaler.cluster.local import LocalCluster
from scaler.cluster.parameters import ANY_PORT, checked
from scaler.cluster.stack import LocalStack
from scaler.display import html_table
from scaler.security import SecurityConfig


class Scheduler:
    """A scheduler and an object storage as child processes of this one, ready when the constructor returns.

    Workers connect to it: ``scaler_cluster -n 10 ADDRESS``, or a worker manager.

    Args:
        address, object_storage_address, monitor_address: where to listen; any free port of 127.0.0.1 by default.
        max_number_of_tasks_waiting: more than these are refused; -1 for no limit.
        heartbeat_interval_seconds, client_timeout_seconds, worker_timeout_seconds, protected, event_loop, logging_paths,
        logging_level, logging_config_file, logging_format, metrics_address, security_config: as those of SchedulerClusterCombo.

    Raises ClusterError when it does not start; ConfigurationError, naming the parameter, for what it cannot be.
    """

    def __init__(
        self,
        address: str | None = None,
        object_storage_address: str | None = None,
        monitor_address: str | None = None,
        max_number_of_tasks_waiting: int = -1,
        heartbeat_interval_seconds: float = 2,
        client_timeout_seconds: float = 60,
        worker_timeout_seconds: float = 60,
        protected: bool = True,
        event_loop: str = "uvloop",
        logging_paths: tuple[str, ...] = ("/dev/stdout",),
        logging_level: str = "INFO",
        logging_config_file: str | None = None,
        logging_format: str = "text",
        metrics_address: str | None = None,
        security_config: SecurityConfig | None = None,
    ) -> None:
        paths, level, lines = checked(
            logging_paths=logging_paths, logging_level=logging_level, logging_format=logging_format
        )
        listen, storage, monitor, metrics = checked(
            address=address or ANY_PORT,
            object_storage_address=object_storage_address or ANY_PORT,
            monitor_address=monitor_address or (None if address else ANY_PORT),
            metrics_address=metrics_address or "",
        )
        max_waiting_tasks, heartbeat, client_timeout, worker_timeout, protected, event_loop = checked(
            max_number_of_tasks_waiting=max_number_of_tasks_waiting,
            heartbeat_interval_seconds=heartbeat_interval_seconds,
            client_timeout_seconds=client_timeout_seconds,
            worker_timeout_seconds=worker_timeout_seconds,
            protected=protected,
            event_loop=event_loop,
        )
        stack = LocalStack(
            0,
            listen,
            storage,
            monitor,
            max_waiting_tasks=max_waiting_tasks,
            heartbeat_seconds=heartbeat,
            client_timeout_seconds=client_timeout,
            worker_timeout_seconds=worker_timeout,
            protected=protected,
            event_loop=event_loop,
            metrics_address=metrics,
        )
        self._cluster = LocalCluster(None, stack, level, paths, logging_config_file, lines, security=security_config)

    def get_address(self) -> str:
        """For Client(address=…) and for workers."""
        return self._cluster.address

    def get_object_storage_address(self) -> str:
        return self._cluster.object_storage_address

    def get_monitor_address(self) -> str:
        return self._cluster.monitor_address

    def shutdown(self) -> None:
        """End all its processes; returns when they have ended."""
        self._cluster.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(str(value) for value in self._cluster.described().values())}>"

    def _repr_html_(self) -> str:
        rows = {"object storage": self.get_object_storage_address(), "monitor": self.get_monitor_address()}
        return html_table(type(self).__name__, {**self._cluster.described(), **rows})
