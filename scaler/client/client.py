"""The client: submit, map, starmap, get."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client.batch import Batch, Packer, arguments
from scaler.client.future import Outcome, ScalerFuture
from scaler.client.graph import Node, plan
from scaler.client.nested import nested_service
from scaler.client.object_reference import ObjectReference
from scaler.client.service import ClientService
from scaler.client.state import Group, Task
from scaler.client.stream import ItemStream, stream
from scaler.errors import ScalerError
from scaler.ids import Address
from scaler.messages import ResultStatus, TaskOptions
from scaler.nesting import running
from scaler.serialization import INLINE, TEMPLATE, DefaultSerializer, Serializer

if TYPE_CHECKING:
    from scaler.cluster.local import LocalCluster


class Client:
    """Runs functions on a cluster.

    Args:
        address: the scheduler's, ``tcp://host:port``. Without one: inside a task the scheduler that runs it, else
            ``SCALER_ADDRESS``, else a local cluster is started, which ends with the client. Clients inside tasks share a
            connection, which stays for later tasks of the same process.
        profiling: accepted for compatibility; every task is profiled always.
        timeout_seconds: how long a lost scheduler is tried for before every future ends with ConnectionLostError.
        heartbeat_interval_seconds: how often the scheduler is told that this client lives.
        serializer: writes and reads functions, arguments and results.
        stream_output: accepted for compatibility; tasks print where their worker does.
        object_storage_address: the object storage's, if the one that the scheduler names cannot be reached from here.
        n_workers: slots of the local cluster, if one is started; as many as this process may use CPUs by default.
        name: for log lines and monitors.

    Raises AddressError for a malformed address, ConnectionLostError when nobody answers there within timeout_seconds.
    """

    def __init__(
        self,
        address: str | None = None,
        profiling: bool = False,
        timeout_seconds: float = 60,
        heartbeat_interval_seconds: float = 2,
        serializer: Serializer | None = None,
        stream_output: bool = False,
        object_storage_address: str | None = None,
        security_config: None = None,
        *,
        n_workers: int | None = None,
        name: str | None = None,
    ) -> None:
        self._arguments = (timeout_seconds, heartbeat_interval_seconds, serializer, object_storage_address, name)
        self._cluster: LocalCluster | None = None
        chosen = address or os.environ.get("SCALER_ADDRESS")
        if not chosen:
            from scaler.cluster.local import LocalCluster

            self._cluster = LocalCluster(n_workers)
            chosen = self._cluster.address
        try:
            self._service = _service(chosen, *self._arguments)
        except BaseException:
            if self._cluster is not None:
                self._cluster.shutdown()
            raise

    # ---- one task

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ScalerFuture:
        """Run ``fn(*args, **kwargs)`` on the cluster; returns its future at once.

        Raises SerializationError, naming the part, when the function or an argument cannot be serialized.
        """
        return self._submit(fn, args, kwargs, None, False)

    def submit_verbose(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
        *,
        priority: int = 0,
        retries: int = 0,
        timeout: float = 0,
        name: str = "",
    ) -> ScalerFuture:
        """As submit(), with options.

        Args:
            capabilities: the task runs only on workers that offer all of these.
            reserialize: serialize the function anew, though it is known by identity.
            priority: greater goes first.
            retries: how often the task is run again when it raises.
            timeout: seconds after which it is stopped and ends with TaskTimeoutError; 0 for no limit.
            name: for people; the function's name by default.
        """
        options = self._service.options(
            capabilities=sorted(capabilities or ()),
            priority=priority,
            retries=retries,
            timeout_milliseconds=int(timeout * 1000),
            name=name,
        )
        return self._submit(fn, tuple(args), dict(kwargs), options, reserialize)

    def _submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions | None,
        reserialize: bool,
    ) -> ScalerFuture:
        service = self._service
        service.check_open()
        with service.making_tasks:
            number = service.function(fn, reserialize)
            payload, object_id = service.payload(INLINE, arguments(service, fn, args, kwargs))
            sequence = service.sequences(1)[0]
            future = ScalerFuture(service, sequence, serialization.name_of(fn))
            task = Task(sequence, number, payload, options, object_id=object_id)
            service.submit([task], ((sequence, future),))
        return future

    # ---- many tasks

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """``[fn(*args) for args in zip(*iterables)]``, each call a task.

        The first failure is raised, and the other tasks are cancelled. ``progress`` shows a progress bar.
        """
        return self.starmap(
            fn,
            zip(*iterables, strict=False),
            capabilities=capabilities,
            reserialize=reserialize,
            progress=progress,
        )

    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Sequence[Any]],
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """``[fn(*args) for args in iterable]``, each call a task. As map() otherwise."""
        service = self._service
        service.check_open()
        options = service.options(capabilities=sorted(capabilities or ()))
        with service.making_tasks:
            batch = Batch(service, Packer(service, fn, options, reserialize))
            try:
                batch.submit_all(iterable)
                return batch.results(serialization.name_of(fn) if progress else None)
            except BaseException:
                batch.cancel()
                raise

    def imap(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        capabilities: Iterable[str] | None = None,
        buffersize: int | None = None,
    ) -> ItemStream:
        """As map(), but yields the results one by one, in order, and takes from the iterables only what is needed.

        So they may be endless. A call that raises does so when its result is asked for; the ones after it go on.

        Args:
            buffersize: how many calls may be under way, or wait to be asked for, at a time. By default as many as keep the
                cluster busy.
        """
        return self._stream(fn, iterables, capabilities, buffersize, ordered=True)

    def imap_unordered(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        capabilities: Iterable[str] | None = None,
        buffersize: int | None = None,
    ) -> ItemStream:
        """As imap(), with each result as soon as it is there."""
        return self._stream(fn, iterables, capabilities, buffersize, ordered=False)

    def _stream(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        capabilities: Iterable[str] | None,
        buffersize: int | None,
        ordered: bool,
    ) -> ItemStream:
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be at least 1, not {buffersize}")
        service = self._service
        service.check_open()
        options = service.options(capabilities=sorted(capabilities or ()))
        with service.making_tasks:
            packer = Packer(service, fn, options, False)
            return stream(service, packer, zip(*iterables, strict=False), ordered, buffersize)

    # ---- graphs

    def get(
        self,
        graph: Mapping[Any, Any],
        keys: Sequence[Any],
        block: bool = True,
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
    ) -> dict[Any, Any]:
        """Compute ``keys`` of a graph, and of the rest only what they need; returns {key: value}.

        A graph is a dict: key -> constant, or tuple (callable_or_key, argument, …) whose arguments may be keys, lists and
        such tuples. With ``block=False`` returns {key: future} at once. Raises GraphError, CycleError or MissingKeyError,
        naming the keys, before anything is sent.
        """
        self._service.check_open()
        keys = list(keys)
        planned = plan(graph, keys)
        options = self._service.options(capabilities=sorted(capabilities or ()))
        with self._service.making_tasks:
            futures = self._submit_graph(planned.nodes, options, reserialize)
        found: dict[Any, Any] = {}
        for key in keys:
            if key in planned.places:
                found[key] = futures[planned.places[key]]
            else:
                found[key] = planned.constants[key] if block else self._finished(planned.constants[key])
        if not block:
            return found
        try:
            return {key: value.result() if isinstance(value, ScalerFuture) else value for key, value in found.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            raise

    def _submit_graph(
        self, nodes: list[Node], options: TaskOptions | None, reserialize: bool
    ) -> dict[int, ScalerFuture]:
        """Send the tasks of a graph; returns the futures of those wanted, by position."""
        service = self._service
        sequences = service.sequences(len(nodes)) if nodes else range(0)
        group = Group(sum(node.wanted for node in nodes), list(sequences))
        futures: dict[int, ScalerFuture] = {}
        tasks: list[Task] = []
        for position, node in enumerate(nodes):
            function = service.function(node.function, reserialize)
            name = serialization.name_of(node.function)
            content = serialization.write(service.serializer, node.template, f"the arguments of {name} at {node.key!r}")
            payload, object_id = service.payload(TEMPLATE, content)
            sequence = sequences[position]
            dependencies = tuple(sequences[d] for d in node.dependencies)
            tasks.append(Task(sequence, function, payload, options, dependencies, node.wanted, group, object_id))
            if node.wanted:
                futures[position] = ScalerFuture(service, sequence, name)
        if tasks:
            service.submit(tasks, ((sequences[position], future) for position, future in futures.items()))
        return futures

    def _finished(self, value: Any) -> ScalerFuture:
        """A future for a constant."""
        content = serialization.write(self._service.serializer, value, "a constant")
        future = ScalerFuture(self._service, self._service.sequences(1)[0], "constant")
        future.finish(Outcome(ResultStatus.succeeded, content))
        return future

    # ---- objects

    def send_object(self, obj: Any, name: str | None = None) -> ObjectReference:
        """Put an object into the object storage; the reference can be used as an argument of any number of tasks.

        Each task gets an object of its own. It is freed with clear(), or when the client leaves.
        """
        self._service.check_open()
        label = name or type(obj).__name__
        content = serialization.write(self._service.serializer, obj, f"object {label}")
        tag = serialization.DEFAULT_TAG
        if not isinstance(self._service.serializer, DefaultSerializer):
            tag, content = serialization.CUSTOM_TAG, _with_serializer(self._service.serializer, content)
        object_id = self._service.put_object(content)
        self._service.sent_objects.append(object_id)
        return ObjectReference(object_id, len(content), label, tag)

    # ---- the end

    @property
    def identity(self) -> bytes:
        """16 bytes that name this client."""
        return self._service.identity

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(self._service.address)

    @property
    def cluster(self) -> LocalCluster | None:
        """The local cluster that this client started, if it did."""
        return self._cluster

    def clear(self) -> None:
        """Cancel everything that is unfinished, and free the objects that were sent."""
        self._service.check_open()
        self._service.clear()

    def disconnect(self) -> None:
        """Leave the cluster. Unfinished tasks are cancelled; a local cluster that this client started ends.

        Inside a task this cancels what that task submitted through this client, and keeps the connection for later tasks.
        """
        self._service.close()
        if self._cluster is not None:
            self._cluster.shutdown()

    def shutdown(self) -> None:
        """Stop the cluster and leave. Raises ScalerError when the cluster is protected against it."""
        if self._cluster is None:
            self._service.check_open()
            refusal = self._service.ask_for_shutdown()
            if refusal is not None:
                raise ScalerError(refusal)
        self.disconnect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def __del__(self) -> None:
        # At the end of a script everything ends anyway; in a notebook this frees a forgotten local cluster.
        cluster = getattr(self, "_cluster", None)
        if cluster is not None:
            cluster.abandon()

    def __reduce__(self) -> tuple[Any, ...]:
        timeout, heartbeat, serializer, storage, name = self._arguments
        return _again, (str(self._service.address), timeout, heartbeat, serializer, storage, name)

    def __repr__(self) -> str:
        state = "disconnected" if self._service.closed is not None else "connected"
        return f"<Client {self._service.identity.hex()[:8]} {state} at {self._service.address}>"


def _service(
    address: str, timeout: float, heartbeat: float, serializer: Serializer | None, storage: str | None, name: str | None
) -> ClientService:
    """A connection of its own, or inside a task a share of the one that its process has."""
    scheduler, serializer = Address.parse(address), serializer or DefaultSerializer()
    storage_address = Address.parse(storage) if storage else None

    def make() -> ClientService:
        return ClientService(scheduler, storage_address, serializer, name or "", heartbeat, timeout)

    if running.task:
        return nested_service(scheduler, storage_address, serializer, make)
    return make()


def _again(
    address: str, timeout: float, heartbeat: float, serializer: Serializer | None, storage: str | None, name: str | None
) -> Client:
    """A pickled client, in a task."""
    return Client(address, False, timeout, heartbeat, serializer, False, storage, name=name)


def _with_serializer(serializer: Serializer, content: bytes) -> bytes:
    return DefaultSerializer.serialize((serializer, content))
