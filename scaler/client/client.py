"""The client: submit, map, starmap, get."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client import by_name, gathering
from scaler.client.batch import Batch, Packer, call_payload
from scaler.client.connecting import service_for
from scaler.client.future import Outcome, ScalerFuture
from scaler.client.graph import analysis_engine, plan
from scaler.client.graph_tasks import FirstFailure, SharedConstants, submit_graph, uncollected
from scaler.client.nested_keys import as_graph, flat, nested
from scaler.client.object_reference import ObjectReference
from scaler.client.options import ExceptionType, task_options, traced
from scaler.client.report import Report, report_of
from scaler.client.service import ClientService
from scaler.client.shared_objects import put_content
from scaler.client.state import Task
from scaler.client.stream import ItemStream, stream
from scaler.client.successor import recover
from scaler.display import html_table, plural
from scaler.errors import ScalerError
from scaler.messages import ResultStatus, TaskOptions
from scaler.nesting import running
from scaler.security import SecurityConfig
from scaler.serialization import Serializer
from scaler.tracing import Tracer

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
        stream_output: what tasks print appears here, on ``sys.stdout`` and ``sys.stderr``, instead of where their workers print.
        object_storage_address: the object storage's, if the one that the scheduler names cannot be reached from here.
        tracing: make OpenTelemetry spans of what is submitted, and of the tasks; needs the extra ``otel``. Without it only
            inside tasks that are traced.
        graph_engine: who analyses graphs: ``core``, or ``graphblas``, which needs the extra of that name.
        security_config: a SecurityConfig: the files with what the cluster asks for. What it does not name is taken from the
            environment (``SCALER_SECRET_FILE``); clusters that this user has started on this machine need neither.
        n_workers: slots of the local cluster, if one is started; as many as this process may use CPUs by default.
        name: for log lines, monitors and reports; and what its work is kept under by a scheduler with ``--journal``: see
            recover().

    Raises AddressError for a malformed address, ConnectionLostError when nobody answers there within timeout_seconds or we are
    not let in, ConfigurationError for files of security_config that cannot be used.
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
        security_config: SecurityConfig | None = None,
        *,
        n_workers: int | None = None,
        name: str | None = None,
        graph_engine: str = "core",
        tracing: bool = False,
    ) -> None:
        self._arguments = (
            timeout_seconds,
            heartbeat_interval_seconds,
            serializer,
            object_storage_address,
            name,
            graph_engine,
            stream_output,
            tracing,
        )
        self._tracer = Tracer("scaler-client") if tracing else None
        self._analysis = analysis_engine(graph_engine)
        self._cluster: LocalCluster | None = None
        self._recovered: list[ClientService] = []
        """Those that took the place of clients that are gone."""
        config = (security_config or SecurityConfig()).completed()
        security = config.load()
        chosen = address or os.environ.get("SCALER_ADDRESS")
        if not chosen:
            from scaler.cluster.local import LocalCluster

            self._cluster = LocalCluster(n_workers, tracing=tracing, security=config)
            chosen = self._cluster.address
        try:
            self._make = functools.partial(service_for, chosen, *self._arguments[:5], stream_output, security)
            self._service = self._make()
        except BaseException:
            if self._cluster is not None:
                self._cluster.shutdown()
            raise
        # After the cluster's own, so that it comes before it: to leave in order is not to lose anything.
        self._at_exit = functools.partial(_leave_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)
        if self._cluster is not None:
            # In a notebook a client may just be forgotten.
            weakref.finalize(self, self._cluster.abandon).atexit = False

    # ---- one task

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ScalerFuture:
        """Run ``fn(*args, **kwargs)`` on the cluster; returns its future at once.

        ``fn`` is anything callable: a function of a module or a script, a lambda, a method, an object. A large argument is
        serialized and sent once, however many calls take the same object: what is changed in it later is not noticed (see
        ``reserialize`` of submit_verbose()). Each task gets an object of its own.

        Raises SerializationError, naming the part, when the function or an argument cannot be serialized.
        """
        if self._tracer is None and running.tracer is None:
            return self._submit_now(fn, args, kwargs, None, False)
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
        retry_on: ExceptionType | Iterable[ExceptionType] | None = None,
        timeout: float | None = 0,
        name: str = "",
    ) -> ScalerFuture:
        """As submit(), with options.

        Args:
            fn: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.
            capabilities: the task runs only on workers that offer all of these.
            reserialize: serialize the function and large arguments anew, though they are known by identity.
            priority: greater goes first.
            retries: how often the task is run again when it raises.
            retry_on: only when it raises one of these: types, or their names (``"package.module.Name"``), subclasses
                included. Any exception by default.
            timeout: seconds after which it is stopped and ends with TaskTimeoutError; 0 for the workers' own limit, if they
                have one.
            name: for people; the function's name by default.

        Raises TypeError or ValueError, naming the option, for what it cannot be; and what submit() raises.
        """
        options = task_options(capabilities, priority, retries, retry_on, timeout, name)
        return self._submit(fn, tuple(args), dict(kwargs), options, reserialize)

    def _submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions | None,
        reserialize: bool,
    ) -> ScalerFuture:
        with self._span("submit", fn, options, waits=False) as options:
            return self._submit_now(fn, args, kwargs, options, reserialize)

    def _submit_now(
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
            payload, object_id = call_payload(service, fn, args, kwargs, reserialize)
            sequence = service.sequences(1)[0]
            future = ScalerFuture(service, sequence, serialization.name_of(fn))
            task = Task(sequence, number, payload, options, object_id=object_id)
            service.submit([task], ((sequence, future),))
        return future

    def submit_by_name(self, path: str, *args: Any, **kwargs: Any) -> ScalerFuture:
        """Call a function that the workers have, which need not exist here: ``submit_by_name("math:sqrt", 2.0)``.

        ``path`` is ``package.module:function`` or ``package.module:Class.method``. Arguments and result travel as MessagePack:
        None, numbers, texts, bytes, lists, dicts, times with a time zone, NumPy arrays; tuples become lists. An exception of the
        function comes as RemoteError.
        Raises ValueError for a malformed path, SerializationError that names the argument that cannot be written,
        ExtraMissingError without the package msgpack. The future raises FunctionNotFoundError where the worker has no such
        function, FunctionNotAllowedError where its --allow-functions does not name it.
        """
        return self._submit_by_name(path, args, kwargs, None)

    def submit_by_name_verbose(
        self,
        path: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        capabilities: Iterable[str] | None = None,
        *,
        priority: int = 0,
        retries: int = 0,
        retry_on: ExceptionType | Iterable[ExceptionType] | None = None,
        timeout: float | None = 0,
        name: str = "",
    ) -> ScalerFuture:
        """As submit_by_name(), with the options of submit_verbose()."""
        options = task_options(capabilities, priority, retries, retry_on, timeout, name)
        return self._submit_by_name(path, tuple(args), dict(kwargs or {}), options)

    def _submit_by_name(
        self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions | None
    ) -> ScalerFuture:
        with self._span("submit", by_name.function(path), options, waits=False) as options:
            return by_name.submit(self._service, path, args, kwargs, options)

    # ---- many tasks

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """``[fn(*args) for args in zip(*iterables)]``, each call a task; returns when all have ended.

        Args:
            fn: what to call. It is sent once.
            iterables: the arguments; the shortest one says how many calls there are.
            capabilities: the calls run only on workers that offer all of these.
            reserialize: as that of submit_verbose().
            progress: show a progress bar on ``sys.stderr``, or in a notebook.

        Raises what the first call that failed raised, the others are cancelled then; SerializationError, naming the part, for
        what cannot be written. The client stays usable.
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
        make = functools.partial(Packer, self._service, fn, reserialize=reserialize)
        return self._map(fn, make, iterable, capabilities, progress)

    def map_by_name(
        self,
        path: str,
        *iterables: Iterable[Any],
        capabilities: Iterable[str] | None = None,
        progress: bool = False,
    ) -> list[Any]:
        """As map(), of a function that the workers have; see submit_by_name() for ``path`` and for what can travel."""
        make = functools.partial(by_name.NamedPacker, self._service, path)
        return self._map(by_name.function(path), make, zip(*iterables, strict=False), capabilities, progress)

    def _map(
        self,
        fn: Callable[..., Any],
        packer: Callable[[TaskOptions | None], Packer],
        calls: Iterable[Sequence[Any]],
        capabilities: Iterable[str] | None,
        progress: bool,
    ) -> list[Any]:
        service = self._service
        service.check_open()
        options = task_options(capabilities)
        with self._span("map", fn, options) as options, service.making_tasks:
            batch = Batch(service, packer(options))
            try:
                batch.submit_all(calls)
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
            capabilities: the calls run only on workers that offer all of these.
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
        """As imap(), with each result as soon as it is there, whatever the order."""
        return self._stream(fn, iterables, capabilities, buffersize, ordered=False)

    def _span(
        self, what: str, fn: Callable[..., Any] | None, options: TaskOptions | None, waits: bool = True
    ) -> AbstractContextManager[TaskOptions | None]:
        """A span in which tasks are submitted, if they are traced; gives the options that they are to have."""
        tracer = self._tracer or running.tracer
        if tracer is None:
            return nullcontext(options)
        name = what if fn is None else f"{what} {serialization.name_of(fn)}"
        return _options_in(tracer.submission(name, waits), options)

    wait = staticmethod(gathering.wait)
    as_completed = staticmethod(gathering.as_completed)
    gather = staticmethod(gathering.gather)

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
        options = task_options(capabilities)
        with self._span("imap", fn, options, waits=False) as options, service.making_tasks:
            packer = Packer(service, fn, options, False)
            return stream(service, packer, zip(*iterables, strict=False), ordered, buffersize)

    # ---- graphs

    def get(
        self,
        graph: Mapping[Any, Any],
        keys: Iterable[Any],
        block: bool = True,
        capabilities: Iterable[str] | None = None,
        reserialize: bool = False,
    ) -> dict[Any, Any]:
        """Compute ``keys`` of a graph, and of the rest only what they need; returns {key: value}.

        A graph is a dict: key -> constant, or tuple (callable_or_key, argument, …) whose arguments may be keys, lists and
        such tuples; dask's task objects are taken too. With ``block=False`` returns {key: future} at once. Tasks with the
        longest chain of others behind them go first. A task that fails, or is cancelled, ends those that depend on it the
        same way; a blocking get raises its error and cancels the rest.

        Args:
            graph: the dict.
            keys: what is wanted, in the order of the result.
            block: wait for the results, instead of returning futures.
            capabilities: all tasks run only on workers that offer all of these.
            reserialize: as that of submit_verbose().

        Raises GraphError, CycleError or MissingKeyError, naming the keys, before anything is sent.
        """
        keys = keys if isinstance(keys, str | bytes | tuple) else list(keys)
        with self._span("get", None, task_options(capabilities), waits=block) as options:
            return self._get(graph, keys, block, options, reserialize)

    def _get(
        self, graph: Mapping[Any, Any], keys: Iterable[Any], block: bool, options: TaskOptions | None, reserialize: bool
    ) -> dict[Any, Any]:
        service = self._service
        service.check_open()
        shared = SharedConstants(functools.partial(put_content, service), service)
        try:
            with uncollected(), service.making_tasks:
                planned = plan(graph, keys, shared.share, self._analysis)
                futures = submit_graph(service, planned.nodes, options, reserialize, shared.references)
        except BaseException:
            service.objects.drop(reference.object_id for reference in shared.references)
            raise
        found: dict[Any, Any] = {}
        for key in keys:
            if key in planned.places:
                found[key] = futures[planned.places[key]]
            else:
                found[key] = planned.constants[key] if block else self._finished(planned.constants[key])
        if not block:
            return found
        try:
            FirstFailure(futures.values()).wait()
            return {key: value.result() if key in planned.places else value for key, value in found.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            raise

    def dask_get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """A scheduler for dask: ``x.compute(scheduler=client.dask_get)``.

        ``dsk`` is the graph; ``keys`` is a key, or keys in nested lists; the results come in the same nesting. Of ``kwargs``,
        what get() takes is passed on (``capabilities``, ``reserialize``) and what is meant for dask's own schedulers is
        passed over. Raises as get() does.
        """
        options = {name: kwargs[name] for name in ("capabilities", "reserialize") if name in kwargs}
        found = self.get(as_graph(dsk), list(dict.fromkeys(flat(keys))), **options)
        return nested(keys, found.__getitem__)

    def _finished(self, value: Any) -> ScalerFuture:
        """A future for a constant."""
        content = serialization.write(self._service.serializer, value, "a constant")
        future = ScalerFuture(self._service, self._service.sequences(1)[0], "constant")
        future.finish(Outcome(ResultStatus.succeeded, content))
        return future

    # ---- objects

    def send_object(self, obj: Any, name: str | None = None) -> ObjectReference:
        """Put an object into the object storage; the reference can be used as an argument of any number of tasks.

        Each task gets an object of its own. It is freed by free_object() and clear(), and when the client leaves.

        Args:
            obj: anything that the client's serializer can write.
            name: for people, in errors and monitors; the name of its type by default.

        Raises SerializationError, naming the part, when it cannot be written; ObjectStorageFullError when there is no room.
        """
        self._service.check_open()
        label = name or type(obj).__name__
        reference = put_content(
            self._service, serialization.write_parts(self._service.serializer, obj, f"object {label}"), label
        )
        self._service.sent_objects.append(reference.object_id)
        return reference

    def fetch_object(self, reference: ObjectReference) -> Any:
        """The object that a reference stands for, a new one each time. Raises ObjectLostError when it was freed."""
        self._service.check_open()
        content = self._service.objects.read(reference.object_id)
        return serialization.read_function(reference.tag, content, f"object {reference.name}")[1]

    def free_object(self, reference: ObjectReference) -> None:
        """Free what this client's send_object() stored, now; a task that takes it later fails with ObjectLostError.

        Nothing happens when it was freed before.
        """
        self._service.check_open()
        self._service.free_sent(reference.object_id)

    # ---- after a restart

    def recover(self) -> dict[str | int, ScalerFuture]:
        """What earlier clients of this name have left, each as a future: tasks and items that have not ended, or whose results
        nobody has read.

        That is kept by a scheduler with ``--journal``, also through its own death, where the earlier client was killed, or lost.
        By the ``name`` of submit_verbose() where only one of them has it, else by number (``task_id``), in the order in which
        they were submitted. What is read is kept no longer; what is not, is kept until this client is disconnected. A second
        call gives what was left since. Results are read by this client's serializer.

        Raises ScalerError for a client without a name, or a scheduler without a journal.
        """
        services, futures = recover(self._service, self._make)
        self._recovered += services
        return futures

    # ---- the end

    @property
    def closed(self) -> bool:
        """Whether it has left its cluster, or has lost it for good."""
        return self._service.closed is not None

    @property
    def identity(self) -> bytes:
        """16 bytes that name this client."""
        return self._service.identity

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(self._service.address)

    @property
    def slots(self) -> int:
        """How many tasks run at once on the cluster, as the scheduler told last."""
        return self._service.slots

    @property
    def cluster(self) -> LocalCluster | None:
        """The local cluster that this client started, if it did."""
        return self._cluster

    def explain(self, future: ScalerFuture) -> str:
        """Why a task is where it is.

        That is what it waits for, which capability is missing on which workers, how many tasks go before it, on which worker
        it is and for how long, and what happened to earlier attempts. Returns several lines, of which the first one is the
        answer in a sentence. Raises ValueError for a future of another client, ConnectionLostError when the scheduler does
        not answer within ``timeout_seconds``.
        """
        self._service.check_open()
        services = [one for one in (self._service, *self._recovered) if one.identity == future._service.identity]
        if not services:
            raise ValueError(f"{future!r} is not of this client")
        told = services[0].explain(future.task_id)
        if future.done() and not told.state:
            return f"it has ended: {future._described()}"
        return told.text

    def report(self) -> Report:
        """What this client's calls took since it connected, by function; also after it has left.

        ``print(client.report())`` at the end of a job; ``client.report().save("report.html")`` for a page.
        """
        slots = self._service.slots or (self._cluster.slots if self._cluster is not None else 0)
        return report_of(self._service, self._arguments[4] or "", slots)

    def clear(self) -> None:
        """Cancel everything that is unfinished, and free the objects that were sent. The client stays usable."""
        self._service.check_open()
        self._service.clear()

    def disconnect(self) -> None:
        """Leave the cluster. Unfinished tasks are cancelled; a local cluster that this client started ends.

        Inside a task this cancels what that task submitted through this client, and keeps the connection for later tasks.
        """
        for service in self._recovered:
            service.close()
        self._service.close()
        atexit.unregister(self._at_exit)
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

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        """As leaving ``with``; the event loop goes on meanwhile."""
        await asyncio.to_thread(self.disconnect)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (str(self._service.address), *self._arguments)

    def __repr__(self) -> str:
        described = "".join(f", {value}" for label, value in self._described().items() if label in ("tasks", "cluster"))
        state = "disconnected from" if self.closed else "connected to"
        return f"<Client {self._service.identity.hex()[:8]} {state} {self._service.address}{described}>"

    def _repr_html_(self) -> str:
        return html_table("Client", self._described())

    def _described(self) -> dict[str, object]:
        rows: dict[str, object] = {
            "name": self._arguments[4] or self._service.identity.hex()[:8],
            "scheduler": self._service.address,
            "state": "disconnected" if self.closed else "connected",
        }
        if not self.closed:
            rows["tasks"] = f"{plural(self._service.waiting, 'task')} under way"
        if self._cluster is not None:
            rows["cluster"] = f"a local cluster of {plural(self._cluster.slots, 'slot')}"
        return rows


@contextmanager
def _options_in(span: AbstractContextManager[str], options: TaskOptions | None) -> Iterator[TaskOptions | None]:
    with span as context:
        yield traced(options, context)


def _leave_at_exit(reference: weakref.ref[Client]) -> None:
    """The program ends without disconnect(): say goodbye, rather than have both sides wonder where the other went."""
    client = reference()
    if client is not None:
        for service in [*client._recovered, client._service]:
            service.close()


def _again(
    address: str,
    timeout: float,
    heartbeat: float,
    serializer: Serializer | None,
    storage: str | None,
    name: str | None,
    graph_engine: str,
    stream_output: bool,
    tracing: bool,
) -> Client:
    """A pickled client, in a task. What it proves is its worker's: secrets are not pickled, nor are their places."""
    own = {"name": name, "graph_engine": graph_engine, "tracing": tracing}
    return Client(address, False, timeout, heartbeat, serializer, stream_output, storage, **own)  # type: ignore[arg-type]
