"""SchedulerClusterCombo: a local cluster under the names that users of OpenGRIS Scaler know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaler.cluster.local import LocalCluster
from scaler.cluster.parameters import ANY_PORT, checked
from scaler.cluster.scheduler import Scheduler
from scaler.cluster.stack import LocalStack
from scaler.security import SecurityConfig


class SchedulerClusterCombo(Scheduler):
    """Storage, scheduler and workers as child processes of this one, ready when the constructor returns.

    They end with shutdown() or the ``with`` block, and also when this process ends, however it does.

    Args:
        n_workers: how many tasks run at once.
        address: where the scheduler listens, ``tcp://host:port``; any free port of 127.0.0.1 by default.
        object_storage_address: where the object storage listens; any free port of 127.0.0.1 by default.
        monitor_address: where monitors connect; the port of ``address`` + 2 by default, any free port where that is not given.
        per_worker_capabilities: what the workers offer, as names (values are accepted and not counted).
        max_number_of_tasks_waiting: the scheduler refuses more than these; -1 for no limit.
        heartbeat_interval_seconds: how often clients and workers tell the scheduler that all is well.
        client_timeout_seconds: a client that has been silent or gone for so long is forgotten, with its tasks and objects.
        worker_timeout_seconds: a worker that is silent for so long is taken for dead.
        task_timeout_seconds: tasks that run longer are stopped, unless they have a limit of their own; 0 for never.
        death_timeout_seconds: the workers end when there has been no scheduler for so long.
        garbage_collect_interval_seconds: executors with nothing to do collect garbage this often; 0 for when Python does.
        trim_memory_threshold_bytes: an executor that has more memory after a task collects garbage and gives free memory back;
            0 for never. In bytes, or as ``"512M"``, ``"2G"``.
        memory_limit_bytes: tasks that take their executor's memory above this are stopped and end with TaskMemoryError; 0 for
            no limit. In bytes, or as ``"512M"``, ``"2G"``.
        per_worker_task_queue_size: how many tasks may wait at the worker for each slot.
        protected: whether clients may not shut the cluster down.
        scaler_policy: engine and content, as ``--policy-engine-type`` and ``--policy-content`` of scaler_scheduler. Scaling is
            for worker managers that join the cluster; its own workers stay.
        event_loop: ``"uvloop"`` or ``"builtin"``.
        logging_paths: the files that the processes log to.
        logging_level: what is logged: this and what is worse.
        logging_config_file: a file for ``logging.config.fileConfig``, instead of the other three.
        logging_format: ``"text"``, or ``"json"`` for an object a line.
        tracing: whether the scheduler makes OpenTelemetry spans of how long tasks wait that clients trace.
        metrics_address: where the scheduler serves ``/metrics`` and ``/healthz``, ``"host:port"``; nowhere without it.
        worker_manager_id: what monitors call the origin of the workers.
        preload: what each executor calls before its first task, ``"package.module:function('text')"``.
        allow_functions: patterns of the only functions that the workers run, by name: ``["math:sqrt", "mypackage.*"]``.
        security_config: a SecurityConfig: the files with the secret that clients and others have to prove. Without one, also
            in the environment, the cluster makes a secret that only processes of this user find, on this machine.
        object_storage_memory_limit_bytes: what the object storage keeps in memory, the rest is spilled to disk; half of the
            memory that this process may use by default, 0 for no limit.
        object_storage_spill_directory: where it is spilled to; ``TMPDIR`` or ``/var/tmp`` by default.
        worker_io_threads: accepted for compatibility, as the following: there is one thread, and it is not short.
        scheduler_io_threads: the same.
        object_retention_seconds: objects are counted, not timed.
        load_balance_seconds: balancing is continuous.
        load_balance_trigger_times: the same.
        hard_processor_suspend: executors are never suspended.

    Raises ClusterError when it does not start, also because the preload raises; ConfigurationError, naming the
    parameter, for what it cannot be.
    """

    def __init__(
        self,
        n_workers: int,
        address: str | None = None,
        object_storage_address: str | None = None,
        monitor_address: str | None = None,
        per_worker_capabilities: Mapping[str, int] | None = None,
        worker_io_threads: int = 1,
        scheduler_io_threads: int = 1,
        max_number_of_tasks_waiting: int = -1,
        heartbeat_interval_seconds: float = 2,
        client_timeout_seconds: float = 60,
        worker_timeout_seconds: float = 60,
        object_retention_seconds: float = 60,
        task_timeout_seconds: float = 0,
        death_timeout_seconds: float = 300,
        load_balance_seconds: float = 1,
        load_balance_trigger_times: int = 2,
        garbage_collect_interval_seconds: float = 30,
        trim_memory_threshold_bytes: int | str = 1 << 30,
        per_worker_task_queue_size: int = 1000,
        hard_processor_suspend: bool = False,
        protected: bool = True,
        scaler_policy: tuple[str, str] = ("simple", "allocate=even_load; scaling=vanilla"),
        event_loop: str = "uvloop",
        logging_paths: tuple[str, ...] = ("/dev/stdout",),
        logging_level: str = "INFO",
        logging_config_file: str | None = None,
        worker_manager_id: str = "combo",
        security_config: SecurityConfig | None = None,
        preload: str | None = None,
        memory_limit_bytes: int | str = 0,
        object_storage_memory_limit_bytes: int | str | None = None,
        object_storage_spill_directory: str = "",
        logging_format: str = "text",
        metrics_address: str | None = None,
        tracing: bool = False,
        allow_functions: Sequence[str] = (),
    ) -> None:
        paths, level, lines = checked(
            logging_paths=logging_paths, logging_level=logging_level, logging_format=logging_format
        )
        stack = LocalStack(
            *checked(
                n_workers=n_workers,
                address=address or ANY_PORT,
                object_storage_address=object_storage_address or ANY_PORT,
                monitor_address=monitor_address or (None if address else ANY_PORT),
                per_worker_capabilities=per_worker_capabilities or (),
                per_worker_task_queue_size=per_worker_task_queue_size,
                max_number_of_tasks_waiting=max_number_of_tasks_waiting,
                heartbeat_interval_seconds=heartbeat_interval_seconds,
                client_timeout_seconds=client_timeout_seconds,
                worker_timeout_seconds=worker_timeout_seconds,
                task_timeout_seconds=task_timeout_seconds,
                death_timeout_seconds=death_timeout_seconds,
                protected=protected,
                event_loop=event_loop,
                worker_manager_id=worker_manager_id,
                preload=preload or "",
                memory_limit_bytes=memory_limit_bytes,
                garbage_collect_interval_seconds=garbage_collect_interval_seconds,
                trim_memory_threshold_bytes=trim_memory_threshold_bytes,
                object_storage_memory_limit_bytes=object_storage_memory_limit_bytes,
                object_storage_spill_directory=object_storage_spill_directory,
                scaler_policy=scaler_policy,
                metrics_address=metrics_address or "",
                tracing=tracing,
                allow_functions=allow_functions,
            )
        )
        self._cluster = LocalCluster(None, stack, level, paths, logging_config_file, lines, security=security_config)

    @property
    def n_workers(self) -> int:
        """How many tasks run at once."""
        return self._cluster.slots
