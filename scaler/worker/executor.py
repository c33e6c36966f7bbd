"""The executor: one process for each slot, which runs tasks and nothing else.

It reads batches of tasks from its socket, takes each on the claims page before it runs it, and writes results back. A
worker that is gone closes the socket, and with that the executor ends.
"""

from __future__ import annotations

import ctypes
import gc
import io
import mmap
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback as tracebacks
from array import array
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from scaler import serialization
from scaler._core.claims import PAGE_BYTES, Claims
from scaler.buffers import LARGE_BYTES, set_copy, size_of
from scaler.errors import ObjectMissingError, TaskLostError
from scaler.ids import LOST_OBJECT, NO_INPUT, Address, new_identity, task_label, u32, u64
from scaler.messages import (
    BeginSampling,
    DefineForExecutor,
    EndSampling,
    ExecutorSettings,
    ForgetForExecutor,
    Function,
    Message,
    Preloaded,
    Results,
    ResultStatus,
    RunTasks,
    StackSamples,
    Tidy,
)
from scaler.named import AllowedFunctions
from scaler.nesting import running
from scaler.neutral import NeutralSerializer
from scaler.serialization import LARGEST_TEXT, frames_after
from scaler.storage.client import StorageClient
from scaler.storage.lent_bytes import LentBytes
from scaler.storage.link import place_of, spare_here
from scaler.storage.segments import Written
from scaler.tracing import OpenSpan, Tracer
from scaler.wire.codec import codec, struct_codec
from scaler.wire.frame_reader import FrameReader
from scaler.worker.output import mark_of
from scaler.worker.preload import Preload
from scaler.worker.sampling import Sampling

FLUSH_NS = 300_000
"""A result waits for others at most this long, counted from the last time results were sent, while tasks keep ending."""
RANGE_FLUSH_NS = 5_000_000
RANGE_FLUSH_BYTES = 256 << 10
"""The same for the items of a range, which end together; and how much of them waits."""
ATTENTION_SIGNAL = signal.SIGURG
"""By which the worker asks for results, and for a look at what it said. Where nobody listens to it, it does nothing."""
READ_BYTES = 256 << 10
CACHE_BYTES = 256 << 20
CACHE_SECONDS = 2.0
"""How much of objects that were used more than once is kept, and how long while there is nothing to do."""
REMEMBERED_FETCHES = 1024

MOST_LENT = 64
"""How many bytes objects of tasks lie in shared memory at once; others are copied."""

_libc = ctypes.CDLL(None)
_lent = LentBytes(LARGE_BYTES, MOST_LENT)

current: Executor | None = None
"""The executor that this process is; None in every other process."""


class Executor:
    """Runs tasks that come over a socket until it closes.

    CPython 3.11 finds attributes faster in objects that have 29 at most: that is 80 ns a task.
    """

    _allowed: AllowedFunctions | None = None
    """In most executors not one of them."""

    def __init__(self, link: socket.socket, claims: Claims, allowed: AllowedFunctions | None = None) -> None:
        """``allowed``: the functions that it may run; any without it."""
        self.settings = ExecutorSettings("", "", 64 << 10)
        self._link = link
        self._sending = threading.RLock()
        """Profiles are sent from threads of their own."""
        self._buffer = bytearray(READ_BYTES)
        self._waiting: deque[Message] = deque()
        """What was read and is not handled yet."""
        self._asked = False
        """Whether a signal came that nobody has looked after yet."""
        self._attending = False
        self._samplings: dict[int, Sampling] = {}
        self._number = 0
        """Of the function that was called last."""
        self._thread = threading.get_ident()
        self._claims = claims
        self._frames = FrameReader()
        self._frames.handshake_done()
        self._incoming = codec("executor", "WorkerToExecutor")
        self._outgoing = codec("executor", "ExecutorToWorker")
        self._functions: dict[int, Function] = {}
        if allowed is not None:
            self._allowed = allowed
        self._loaded: dict[int, tuple[serialization.Serializer, Any]] = {}
        self._results = _Results()
        self._items: _Items | None = None
        """Of the range that runs."""
        self._flushed_ns = 0
        self._streaming = False
        """Whether a client has wanted to see what its tasks print here."""
        self._printing_for = b""
        """That client, if what runs is its."""
        self._calling = False
        """Whether a task's function runs, so that nothing here is half done."""
        self._tracer: Tracer | None = None
        self._span: OpenSpan | None = None
        """Of the task that runs, if it is traced."""
        self._untraced = False
        """Whether it was tried to trace tasks, in vain."""
        self._storage: StorageClient | None = None
        self._cache: OrderedDict[bytes, memoryview] = OrderedDict()
        self._cached_bytes = 0
        self._fetched: dict[bytes, None] = {}

    def preload(self, preload: Preload) -> None:
        """Make the call that comes before all tasks, and tell the worker how it ended."""
        error = ""
        try:
            preload.run()
        except BaseException as raised:  # also SystemExit: it is the worker that decides
            error = "".join(tracebacks.format_exception(raised.with_traceback(frames_after(raised, 2))))
        self._send(Preloaded(error[-LARGEST_TEXT:]))

    def serve(self) -> None:
        """Until the worker closes the socket."""
        while received := self._receive():
            self._read(received)
            while self._waiting:
                self._handle(self._waiting.popleft())
            self._flush()

    def _read(self, received: int) -> None:
        """What has come of messages, in order."""
        self._frames.feed(self._buffer, received)
        for message, _ in iter(self._frames.take, None):
            self._waiting.append(self._incoming.decode(message))

    def _receive(self) -> int:
        """As recv_into(). Objects are not kept while there is nothing to do."""
        if self._cache and not select.select([self._link], [], [], CACHE_SECONDS)[0]:
            self._cache.clear()
            self._cached_bytes = 0
        return self._link.recv_into(self._buffer)

    def _handle(self, message: Message) -> None:
        if isinstance(message, RunTasks):
            self._run_all(message)
        elif isinstance(message, DefineForExecutor):
            for function in message.functions:
                self._functions[function.number] = function
                self._streaming |= function.streams_output
        elif isinstance(message, ForgetForExecutor):
            for number in u32(message.numbers):
                self._functions.pop(number, None)
                self._loaded.pop(number, None)
        elif isinstance(message, Tidy):
            tidy(message.trim)
        elif isinstance(message, BeginSampling | EndSampling):
            self._sample(message)
        elif isinstance(message, ExecutorSettings):
            self._take_settings(message)

    def _take_settings(self, settings: ExecutorSettings) -> None:
        if self._storage is not None and settings.object_storage_address != self.settings.object_storage_address:
            self._storage.close()
            self._storage = None
        self.settings = settings
        running.worker = settings.worker
        os.environ["SCALER_ADDRESS"] = settings.scheduler_address

    # ---- running

    def _run_all(self, message: RunTasks) -> None:
        functions, ids = u32(message.functions), u64(message.tasks)
        if len(functions) == 1:
            functions = functions * len(message.payloads)
        ends = u32(message.inputs.ends)
        item_ends, contexts, attempts = message.item_ends, message.trace_contexts, u32(message.attempts)
        begin = 0
        for i, (function, payload) in enumerate(zip(functions, message.payloads, strict=True)):
            inputs: list[tuple[int, bytes]] = []
            if ends:
                part = slice(begin, ends[i])
                inputs = list(zip(message.inputs.statuses[part], message.inputs.payloads[part], strict=True))
                begin = ends[i]
            started_ns = time.monotonic_ns()
            if self._claims.take(message.first_position + i, started_ns // 1000):
                if started_ns - self._flushed_ns > FLUSH_NS:
                    self._flush()
                running.begin(ids[i], attempts[i] if attempts else 1)
                if contexts and contexts[i]:
                    self._begin_span(contexts[i], function, ids[i], len(item_ends[i]) // 4 if item_ends else 0)
                if self._streaming:
                    self._print_for(function)
                if item_ends and len(item_ends[i]):
                    self._run_range(message.first_position + i, function, payload, u32(item_ends[i]))
                else:
                    self._run(message.first_position + i, function, payload, inputs, started_ns)
                if self._span is not None:
                    self._end_span()
                running.end()
                _lent.sweep()
                if self._printing_for:
                    _flush_output()
                self._claims.rest()

    # ---- traces

    def _begin_span(self, context: str, number: int, task: int, items: int) -> None:
        """What runs next is a child of this span, and what it makes are children of it."""
        if self._tracer is None and not self._untraced:
            try:
                self._tracer = Tracer("scaler-executor")
            except Exception as error:  # Whatever it is, the task is to run.
                self._untraced = True
                sys.stderr.write(f"tasks are not traced here: {error}\n")
        if self._tracer is None:
            return
        function = self._functions.get(number)
        attributes: dict[str, str | int] = {
            "scaler.task": task_label(task),
            "scaler.worker": self.settings.worker.hex()[:8],
        }
        if items:
            attributes["scaler.items"] = items
        name = function.name if function is not None else f"function {number}"
        self._span = OpenSpan(self._tracer.run(context, name, attributes))
        running.tracer = self._tracer

    def _end_span(self) -> None:
        span, self._span, running.tracer = self._span, None, None
        if span is not None:
            span.close()

    def close(self) -> None:
        """Leave nothing that others should have."""
        if self._tracer is not None:
            self._tracer.flush()

    def _print_for(self, number: int) -> None:
        """Say in the output itself whose task comes next, so that it is exact."""
        function = self._functions.get(number)
        client = function.owner if function is not None and function.streams_output else b""
        running.streams_output = bool(client)
        if client != self._printing_for:
            self._printing_for = client
            for descriptor in (1, 2):
                os.write(descriptor, mark_of(self.settings.worker, client))

    def _run(
        self, position: int, number: int, payload: bytes, inputs: list[tuple[int, bytes]], started_ns: int
    ) -> None:
        cpu_ns = time.process_time_ns()
        status, result = self._outcome(number, payload, inputs)
        self._results.add(
            position,
            status,
            result,
            (time.monotonic_ns() - started_ns) // 1000,
            (time.process_time_ns() - cpu_ns) // 1000,
            _peak_bytes(),
        )

    def _run_range(self, position: int, number: int, payload: bytes, ends: array[int]) -> None:
        """The items of a range, one after the other, until the worker has trimmed off the rest."""
        self._claims.open_range(position, len(ends))
        take_item, clock = self._claims.take_item, time.monotonic_ns
        items = self._items = _Items(position)
        begin = 0
        for end in ends:
            now_ns = clock()
            if not take_item(now_ns // 1000):
                break
            if now_ns - self._flushed_ns > RANGE_FLUSH_NS or items.size > RANGE_FLUSH_BYTES:
                self._flush()
            status, result = self._outcome(number, payload[begin:end], [])
            begin = end
            if status is not ResultStatus.succeeded:  # An entry of its own.
                items.end_run(self._results)
            items.add(result)
            if status is not ResultStatus.succeeded:
                items.end_run(self._results, status)
        items.end_run(self._results)
        self._items = None

    def _outcome(self, number: int, payload: bytes, inputs: list[tuple[int, bytes]]) -> tuple[ResultStatus, bytes]:
        """How a call ended."""
        began = False
        self._number = number
        try:
            serializer, function = self._loaded.get(number) or self._load(number)
            args, kwargs = self._arguments(serializer, number, payload, inputs)
            began = self._calling = True
            try:
                if self._asked:
                    self._attend()
                result = function(*args, **kwargs)
            finally:
                self._calling = False
            return self._written(serializer, result, number)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: they end the task, not the executor
            if self._span is not None and self._tracer is not None:
                self._tracer.failed(self._span.span, error)
            if isinstance(error, ObjectMissingError) and not began:
                return ResultStatus.object_lost, self._lost(error, inputs)
            return ResultStatus.failed, serialization.write_failure(self._serializer_of(number), error, skip_frames=1)

    def _arguments(
        self,
        serializer: serialization.Serializer,
        number: int,
        payload: bytes | memoryview,
        inputs: list[tuple[int, bytes]],
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Of a call. Raises ObjectMissingError for lost objects."""
        name = self._functions[number].name
        # A look at the type first: it costs next to nothing, and isinstance() with an abstract class does not.
        if type(serializer) is not serialization.DefaultSerializer and isinstance(serializer, NeutralSerializer):
            return self._arguments_by_name(serializer, name, payload, inputs)
        kind = payload[:1]
        if kind == serialization.STORED:
            payload = self.fetch(serialization.REFERENCE.unpack(payload[1:])[0])
            kind = payload[:1]
        if kind == serialization.INLINE and not inputs:
            args, kwargs = serialization.read(serializer, payload[1:], "the arguments", name)
            return args, kwargs
        values = [self._input(serializer, status, data, name) for status, data in inputs]
        if kind == serialization.INPUTS:
            return values, {}
        args, kwargs = serialization.read(serializer, payload[1:], "the arguments", name)
        if kind == serialization.TEMPLATE:
            args = [serialization.evaluate(entry, values) for entry in args]
            kwargs = {key: serialization.evaluate(entry, values) for key, entry in kwargs.items()}
        return args, kwargs

    def _lost(self, error: ObjectMissingError, inputs: list[tuple[int, bytes]]) -> bytes:
        """What is to be made again before the call can be: all inputs that are gone, or else the object that was missed."""
        lost = b""
        for place, (status, data) in enumerate(inputs):
            if status == ResultStatus.stored:
                name = serialization.stored_id(data)
                try:
                    self.fetch(name)
                except ObjectMissingError:
                    lost += LOST_OBJECT.pack(place, name)
        return lost or LOST_OBJECT.pack(NO_INPUT, error.object_id)

    def _arguments_by_name(
        self, serializer: NeutralSerializer, name: str, payload: bytes | memoryview, inputs: list[tuple[int, bytes]]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """As _arguments(), for the serializers of all languages."""
        values = [self._input(serializer, status, data, name) for status, data in inputs]
        return serializer.arguments(payload, values, self.fetch, f"the arguments of {name}")

    def _serializer_of(self, number: int) -> serialization.Serializer | None:
        """That of a function, which may have failed to load; None for those of all languages, for which there is no pickle."""
        if number in self._loaded:
            return self._loaded[number][0]
        function = self._functions.get(number)
        pickled = function is None or function.serializer in (serialization.DEFAULT_TAG, serialization.CUSTOM_TAG)
        return serialization.DefaultSerializer() if pickled else None

    def _load(self, number: int) -> tuple[serialization.Serializer, Any]:
        """A function that is called for the first time. Raises ObjectMissingError where it is a lost object."""
        function = self._functions.get(number)
        if function is None:
            raise TaskLostError(f"function {number} is not defined here")
        content = self.fetch(function.object) if function.object else function.content
        allowed = self._allowed
        loaded = serialization.read_function(function.serializer, content, function.name, allowed)
        self._loaded[number] = loaded
        return loaded

    def _input(self, serializer: serialization.Serializer, status: int, data: bytes | memoryview, name: str) -> Any:
        if status == ResultStatus.stored:
            data = self.fetch(serialization.stored_id(data), serialization.stored_place(data))
        return serialization.read(serializer, data, "an input", name)

    def _written(self, serializer: serialization.Serializer, result: Any, number: int) -> tuple[ResultStatus, bytes]:
        limit = self.settings.inline_limit_bytes
        small = serialization.write_small(serializer, result, limit)
        if small is not None:
            return ResultStatus.succeeded, small
        function = self._functions[number]
        parts = serialization.write_parts(serializer, result, f"the result of {function.name}")
        if len(parts) == 1 and size_of(parts) <= limit:
            return ResultStatus.succeeded, bytes(parts[0])
        object_id = new_identity()
        shared: list[Written] = []
        self._storage_client().put(object_id, parts, function.owner, shared.append)
        reference = serialization.REFERENCE.pack(object_id, size_of(parts))
        for written in shared:
            if function.takes_places:
                reference += place_of(written)
            written.end(spare_here)
        return ResultStatus.stored, reference

    # ---- objects

    def _storage_client(self) -> StorageClient:
        if self._storage is None:
            address = Address.parse(self.settings.object_storage_address)
            self._storage = StorageClient(address, new_identity(), f"executor {os.getpid()}")
        return self._storage

    def fetch(self, object_id: bytes, place: bytes = b"") -> memoryview:
        """An object's bytes, from where they are on this host or else from the storage; those used last are kept here."""
        known = self._cache.get(object_id)
        if known is not None:
            self._cache.move_to_end(object_id)
            return known
        content = self._storage_client().get(object_id, existed=True, place=place)
        if object_id not in self._fetched:  # What is used once only need not be kept.
            self._fetched[object_id] = None
            if len(self._fetched) > REMEMBERED_FETCHES:
                self._fetched.pop(next(iter(self._fetched)))
        elif len(content) <= CACHE_BYTES:
            self._cache[object_id] = content
            self._cached_bytes += len(content)
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return content

    # ---- profiles

    def _sample(self, message: BeginSampling | EndSampling) -> None:
        sampling = self._samplings.pop(message.profile, None)
        if sampling is not None:
            sampling.end()
        if isinstance(message, BeginSampling):
            sampling = Sampling(message, self._thread, _OUTCOME, self._claims, self._running_name, self._say_samples)
            self._samplings[message.profile] = sampling
            sampling.start()

    def _running_name(self) -> str:
        function = self._functions.get(self._number)
        return function.name if function is not None else ""

    def _say_samples(self, samples: StackSamples) -> None:
        self._send(samples)
        if samples.ended:
            self._samplings.pop(samples.profile, None)

    # ---- asked while a task runs

    def asked(self, *_: Any) -> None:
        """A signal: the worker sees that a task runs for long, and results of those before it should not wait for its end; or it
        wants what it said to be read now."""
        self._asked = True
        if self._calling and not self._attending:
            self._attend()

    def _attend(self) -> None:
        """In the middle of a task: send what is kept, and read what has come. Another signal may come meanwhile."""
        while self._asked:
            self._attending, self._asked = True, False
            self._flush()
            self._look_for_messages()
            self._attending = False

    def _look_for_messages(self) -> None:
        """Do what need not wait for the end of the task, and keep the rest."""
        while select.select([self._link], [], [], 0)[0]:
            received = self._link.recv_into(self._buffer)
            if not received:
                return  # The worker is gone: serve() sees it, too.
            self._read(received)
        for message in [m for m in self._waiting if isinstance(m, BeginSampling | EndSampling)]:
            self._waiting.remove(message)
            self._sample(message)

    # ---- results

    def _send(self, message: Message) -> None:
        with self._sending:
            self._link.sendall(self._outgoing.frame(message))

    def _flush(self) -> None:
        if self._items is not None:
            self._items.end_run(self._results)
        if self._results.payloads:
            self._send(self._results.take())
        self._flushed_ns = time.monotonic_ns()


_OUTCOME = Executor._outcome.__code__


def tidy(trim: bool) -> None:
    """Collect garbage; with ``trim`` also have the allocator give free memory back, where it can be told to (glibc)."""
    gc.collect()
    _lent.sweep()
    if trim:
        with suppress(AttributeError):
            _libc.malloc_trim(0)


class _Items:
    """Results of a range's items that follow each other and ended alike, which become one entry."""

    def __init__(self, position: int) -> None:
        self.size = 0
        self._position = position
        self._done: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._began_ns, self._cpu_ns = time.monotonic_ns(), time.process_time_ns()

    def add(self, result: bytes) -> None:
        self._done.append(result)
        self.size += len(result)

    def end_run(self, results: _Results, status: int = ResultStatus.succeeded) -> None:
        """Make an entry of what there is."""
        done, self._done, self.size = self._done, [], 0
        if done:
            ends = array("I", accumulate(map(len, done))).tobytes() if len(done) > 1 else b""
            wall_us = (time.monotonic_ns() - self._began_ns) // 1000
            cpu_us = (time.process_time_ns() - self._cpu_ns) // 1000
            results.add(self._position, status, b"".join(done), wall_us, cpu_us, _peak_bytes(), len(done), ends)
        self._begin()


def _flush_output() -> None:
    """Also what C code of the task has printed."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    _libc.fflush(None)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Results:
    """Results that wait to be sent, as columns."""

    def __init__(self) -> None:
        self.positions = array("Q")
        self.statuses = bytearray()
        self.payloads: list[bytes] = []
        self.wall = array("Q")
        self.cpu = array("Q")
        self.peak = array("Q")
        self.counts = array("I")
        self.item_ends: list[bytes] = []

    def add(
        self,
        position: int,
        status: int,
        payload: bytes,
        wall_us: int,
        cpu_us: int,
        peak_bytes: int,
        count: int = 1,
        item_ends: bytes = b"",
    ) -> None:
        self.positions.append(position)
        self.statuses.append(status)
        self.payloads.append(payload)
        self.wall.append(wall_us)
        self.cpu.append(cpu_us)
        self.peak.append(peak_bytes)
        self.counts.append(count)
        self.item_ends.append(item_ends)

    def take(self) -> Results:
        results = Results(self.positions, b"", bytes(self.statuses), self.payloads, self.wall, self.cpu, self.peak)
        if max(self.counts) > 1:
            results.counts, results.item_ends = self.counts, self.item_ends
        self.__init__()  # type: ignore[misc]
        return results


def load_codecs() -> None:
    """Before executors are forked, so that they share them."""
    for union in ("WorkerToExecutor", "ExecutorToWorker", "WorkerToForkServer", "ForkServerToWorker"):
        codec("executor", union)
    for union in ("ClientToScheduler", "SchedulerToClient"):  # for clients that run inside tasks
        codec("client", union)
    struct_codec("task", "Failure")


def main(
    link: int,
    page: int,
    stdout: int,
    stderr: int,
    preload: Preload | None = None,
    allowed: AllowedFunctions | None = None,
) -> None:
    """What a freshly forked executor does: take its descriptors, and serve."""
    global current
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    sys.stdout = io.TextIOWrapper(
        io.FileIO(1, "w", closefd=False), encoding="utf-8", line_buffering=True, write_through=True
    )
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", line_buffering=True, write_through=True
    )
    claims = Claims(mmap.mmap(page, PAGE_BYTES))
    os.close(page)
    with socket.socket(fileno=link) as connection:
        current = Executor(connection, claims, allowed)
        serialization.set_fetch(current.fetch)
        set_copy(_lent.copy)
        signal.signal(ATTENTION_SIGNAL, current.asked)
        signal.siginterrupt(ATTENTION_SIGNAL, False)
        try:
            if preload is not None:
                current.preload(preload)
            current.serve()
            current.close()
        except (BrokenPipeError, ConnectionResetError):
            return
