"""The executor: one process for each slot, which runs tasks and nothing else.

It reads batches of tasks from its socket, takes each on the claims page before it runs it, and writes results back. A
worker that is gone closes the socket, and with that the executor ends.
"""

from __future__ import annotations

import io
import mmap
import os
import resource
import socket
import sys
import time
from array import array
from collections import OrderedDict
from itertools import accumulate
from typing import Any

from scaler import serialization
from scaler._core.claims import PAGE_BYTES, Claims
from scaler.errors import TaskLostError
from scaler.ids import Address, new_identity, u32
from scaler.messages import (
    DefineForExecutor,
    ExecutorSettings,
    ForgetForExecutor,
    Function,
    Message,
    Results,
    ResultStatus,
    RunTasks,
)
from scaler.storage.client import StorageClient
from scaler.wire.codec import codec, struct_codec
from scaler.wire.framing import FrameReader, frame_header

FLUSH_NS = 300_000
"""A result waits for others at most this long, counted from the last time results were sent, while tasks keep ending."""
RANGE_FLUSH_NS = 5_000_000
RANGE_FLUSH_BYTES = 256 << 10
"""The same for the items of a range, which end together; and how much of them waits."""
READ_BYTES = 1 << 20
CACHE_BYTES = 256 << 20

current: Executor | None = None
"""The executor that this process is; None in every other process."""


class Executor:
    """Runs tasks that come over a socket until it closes."""

    def __init__(self, link: socket.socket, claims: Claims) -> None:
        self.settings = ExecutorSettings("", "", 64 << 10)
        self._link = link
        self._claims = claims
        self._frames = FrameReader()
        self._frames.handshake_done()
        self._incoming = codec("executor", "WorkerToExecutor")
        self._outgoing = codec("executor", "ExecutorToWorker")
        self._functions: dict[int, Function] = {}
        self._loaded: dict[int, tuple[serialization.Serializer, Any]] = {}
        self._results = _Results()
        self._flushed_ns = 0
        self._storage: StorageClient | None = None
        self._cache: OrderedDict[bytes, bytes | bytearray] = OrderedDict()
        self._cached_bytes = 0

    def serve(self) -> None:
        """Until the worker closes the socket."""
        while data := self._link.recv(READ_BYTES):
            self._frames.feed(data)
            for message, _ in self._frames.frames():
                self._handle(self._incoming.decode(message))
            self._flush()

    def _handle(self, message: Message) -> None:
        if isinstance(message, RunTasks):
            self._run_all(message)
        elif isinstance(message, DefineForExecutor):
            for function in message.functions:
                self._functions[function.number] = function
        elif isinstance(message, ForgetForExecutor):
            for number in u32(message.numbers):
                self._functions.pop(number, None)
                self._loaded.pop(number, None)
        elif isinstance(message, ExecutorSettings):
            self._take_settings(message)

    def _take_settings(self, settings: ExecutorSettings) -> None:
        if self._storage is not None and settings.object_storage_address != self.settings.object_storage_address:
            self._storage.close()
            self._storage = None
        self.settings = settings
        os.environ["SCALER_ADDRESS"] = settings.scheduler_address

    # ---- running

    def _run_all(self, message: RunTasks) -> None:
        functions = u32(message.functions)
        if len(functions) == 1:
            functions = functions * len(message.payloads)
        ends = u32(message.inputs.ends)
        item_ends = message.item_ends
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
                if item_ends and len(item_ends[i]):
                    self._run_range(message.first_position + i, function, payload, u32(item_ends[i]))
                else:
                    self._run(message.first_position + i, function, payload, inputs, started_ns)
                self._claims.rest()

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
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )

    def _run_range(self, position: int, number: int, payload: bytes, ends: array[int]) -> None:
        """The items of a range, one after the other, until the worker has trimmed off the rest."""
        self._claims.open_range(position, len(ends))
        take_item, clock, limit = self._claims.take_item, time.monotonic_ns, self.settings.inline_limit_bytes
        done: list[bytes] = []
        size = begin = 0
        run_ns, cpu_ns = clock(), time.process_time_ns()
        for end in ends:
            now_ns = clock()
            if not take_item(now_ns // 1000):
                break
            if now_ns - self._flushed_ns > RANGE_FLUSH_NS or size > RANGE_FLUSH_BYTES:
                self._add_items(position, done, now_ns - run_ns, cpu_ns)
                self._flush()
                done, size, run_ns, cpu_ns = [], 0, now_ns, time.process_time_ns()
            status, result = self._outcome(number, payload[begin:end], [])
            begin = end
            if status is ResultStatus.succeeded and len(result) <= limit:
                done.append(result)
                size += len(result)
            else:  # An entry of its own.
                self._add_items(position, done, now_ns - run_ns, cpu_ns)
                self._add_items(position, [result], clock() - now_ns, cpu_ns, status)
                done, size, run_ns, cpu_ns = [], 0, clock(), time.process_time_ns()
        self._add_items(position, done, clock() - run_ns, cpu_ns)

    def _add_items(
        self, position: int, done: list[bytes], wall_ns: int, cpu_ns: int, status: int = ResultStatus.succeeded
    ) -> None:
        """Results of items that follow each other, as one entry."""
        if not done:
            return
        ends = array("I", accumulate(map(len, done))).tobytes() if len(done) > 1 else b""
        cpu_us = (time.process_time_ns() - cpu_ns) // 1000
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._results.add(position, status, b"".join(done), wall_ns // 1000, cpu_us, peak_bytes, len(done), ends)

    def _outcome(self, number: int, payload: bytes, inputs: list[tuple[int, bytes]]) -> tuple[ResultStatus, bytes]:
        """How a call ended."""
        try:
            return self._call(number, payload, inputs)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: they end the task, not the executor
            serializer = self._loaded.get(number, (serialization.DefaultSerializer(), None))[0]
            return ResultStatus.failed, serialization.write_failure(serializer, error, skip_frames=2)

    def _call(self, number: int, payload: bytes, inputs: list[tuple[int, bytes]]) -> tuple[ResultStatus, bytes]:
        serializer, function = self._function(number)
        name = self._functions[number].name
        kind = payload[:1]
        if kind == serialization.STORED:
            payload = bytes(self.fetch(serialization.REFERENCE.unpack(payload[1:])[0]))
            kind = payload[:1]
        values = [self._input(serializer, status, data, name) for status, data in inputs]
        if kind == serialization.INPUTS:
            result = function(*values)
        else:
            args, kwargs = serialization.read(serializer, payload[1:], f"the arguments of {name}")
            if kind == serialization.INLINE:
                result = function(*args, **kwargs)
            else:
                result = serialization.call(function, args, kwargs, values)
        return self._written(serializer, result, number)

    def _function(self, number: int) -> tuple[serialization.Serializer, Any]:
        loaded = self._loaded.get(number)
        if loaded is None:
            function = self._functions.get(number)
            if function is None:
                raise TaskLostError(f"function {number} is not defined here")
            content = self.fetch(function.object) if function.object else function.content
            loaded = serialization.read_function(function.serializer, content, function.name)
            self._loaded[number] = loaded
        return loaded

    def _input(self, serializer: serialization.Serializer, status: int, data: bytes, name: str) -> Any:
        if status == ResultStatus.stored:
            data = bytes(self.fetch(serialization.REFERENCE.unpack(data)[0]))
        return serialization.read(serializer, data, f"an input of {name}")

    def _written(self, serializer: serialization.Serializer, result: Any, number: int) -> tuple[ResultStatus, bytes]:
        function = self._functions[number]
        data = serialization.write(serializer, result, f"the result of {function.name}")
        if len(data) <= self.settings.inline_limit_bytes:
            return ResultStatus.succeeded, data
        object_id = new_identity()
        self._storage_client().put(object_id, data, function.owner)
        return ResultStatus.stored, serialization.REFERENCE.pack(object_id, len(data))

    # ---- objects

    def _storage_client(self) -> StorageClient:
        if self._storage is None:
            address = Address.parse(self.settings.object_storage_address)
            self._storage = StorageClient(address, new_identity(), f"executor {os.getpid()}")
        return self._storage

    def fetch(self, object_id: bytes) -> bytes | bytearray:
        """An object's bytes; those used last are kept here."""
        known = self._cache.get(object_id)
        if known is not None:
            self._cache.move_to_end(object_id)
            return known
        content = self._storage_client().get(object_id)
        if len(content) <= CACHE_BYTES:
            self._cache[object_id] = content
            self._cached_bytes += len(content)
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
        return content

    # ---- results

    def _flush(self) -> None:
        if self._results.payloads:
            data = self._outgoing.encode(self._results.take())
            self._link.sendall(frame_header(len(data)) + data)
        self._flushed_ns = time.monotonic_ns()


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
    struct_codec("task", "Failure")


def main(link: int, page: int, stdout: int, stderr: int) -> None:
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
        current = Executor(connection, claims)
        serialization.set_fetch(current.fetch)
        try:
            current.serve()
        except (BrokenPipeError, ConnectionResetError):
            return
