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

    Workers connect to it: ``scaler_cluster -n 10 ADDRESS``, or a worker manager. The parameters are those of
    SchedulerClusterCombo that have to do with it.

    Args:
        address: where the scheduler listens, ``tcp://host:port``; any free port of 127.0.0.1 by default.
        object_storage_address: where the object storage listens; any free port of 127.0.0.1 by default.
        monitor_address: where monitors connect; the port of ``address`` + 2 by default, any free port where that is not given.
        max_number_of_tasks_waiting: more than these are refused; -1 for no limit.
        heartbeat_interval_seconds: how often clients tell the scheduler that all is well.
        client_timeout_seconds: a client that has been silent or gone for so long is forgotten, with its tasks and objects.
        worker_timeout_seconds: a worker that is silent for so long is taken for dead.
        protected: whether clients may not shut the cluster down.
        event_loop: ``"uvloop"`` or ``"builtin"``.
        logging_paths: the files that the processes log to.
        logging_level: what is logged: this and what is worse.
        logging_config_file: a file for ``logging.config.fileConfig``, instead of the other three.
        logging_format: ``"text"``, or ``"json"`` for an object a line.
        metrics_address: where the scheduler serves ``/metrics`` and ``/healthz``, ``"host:port"``; nowhere without it.
        security_config: a SecurityConfig: the files with the secret that all others have to prove. Without one, also in the
            environment, it makes a secret that only processes of this user find, on this machine.

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
        """For workers and clients that cannot reach the one that the scheduler names."""
        return self._cluster.object_storage_address

    def get_monitor_address(self) -> str:
        """For scaler_top and scaler_gui."""
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
