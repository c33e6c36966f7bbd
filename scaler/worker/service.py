"""The worker's service: the connection to the scheduler, the fork server, the executors' sockets and output."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psutil

from scaler._core.claims import PAGE_BYTES, Claims
from scaler.errors import ConfigurationError
from scaler.ids import Address
from scaler.machine import Output
from scaler.messages import (
    DefineForExecutor,
    ExecutorExited,
    ExecutorForked,
    ForkExecutor,
    ForkServerReady,
    Message,
    Role,
    RunTasks,
)
from scaler.net.connection import Connection
from scaler.net.daemon import Daemon, MetricsPlace, run_daemon
from scaler.security import Security, from_environment
from scaler.software import software
from scaler.wire.codec import codec
from scaler.worker.executor import ATTENTION_SIGNAL
from scaler.worker.executors import AskForAttention, KillExecutor, Prepared, StartExecutor, Tell
from scaler.worker.fork_server import PACKET_BYTES, start_fork_server
from scaler.worker.output import OutputStream
from scaler.worker.state import WorkerOptions, WorkerState
from scaler.worker.usage import Usage

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TAIL_LINES = 5
TAIL_CHARACTERS = 600
READ_BYTES = 64 << 10
OUTPUT_BYTES_PER_SECOND = 4 << 20
"""How fast what an executor prints is read, if it goes to a client."""
FINISH_SECONDS = 2.0
"""How long executors that have traced tasks may take to export the spans."""
UNFINISHED_LINE_SECONDS = 0.2
"""How long the begin of a line waits for the rest of it."""


@dataclass(slots=True)
class _Process:
    """What the service holds of one executor."""

    page: mmap.mmap
    link: socket.socket
    pid: int = 0
    connection: Connection | None = None
    adopted: asyncio.Task[None] | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    peak_bytes: int = 0
    streams: dict[int, OutputStream] = field(default_factory=dict)
    """Where it prints, by the descriptors of our ends, as long as they are open."""
    traced: bool = False
    """Whether it has run tasks that are traced, of which it may still have to tell somebody."""
    streaming: bool = False
    """Whether it was told of functions whose client wants to see what they print."""


class WorkerService:
    """Carries what a WorkerState decides."""

    def __init__(
        self,
        options: WorkerOptions,
        scheduler: Address,
        fork_server: tuple[int, socket.socket],
        prepared: Callable[[str], None] | None = None,
    ) -> None:
        self.state = WorkerState(options)
        self._prepared = prepared
        self._scheduler = scheduler
        self._fork_pid, self._control = fork_server
        self._control.setblocking(False)
        self._said = codec("executor", "WorkerToForkServer")
        self._heard = codec("executor", "ForkServerToWorker")
        self._codecs = codec("executor", "ExecutorToWorker"), codec("executor", "WorkerToExecutor")
        self._processes: dict[int, _Process] = {}
        self._told: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._usage = Usage()
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        """Fork the executors and dial the scheduler."""
        self._daemon = daemon
        self.state.vitals = self._vitals
        self.state.executor_vitals = self._executor_vitals
        self.state.memory.resident = self._resident
        self.state.identity = daemon.driver.identity
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._fork_server_speaks)
        self.state.start(time.monotonic())
        daemon.driver.after_turn = self._flush
        daemon.driver.wake()
        daemon.driver.software = software()
        daemon.driver.dial(self._scheduler, Role.worker, "the scheduler")

    def asked_to_end(self, reason: str) -> None:
        self.state.asked_to_end(reason, time.monotonic())
        self._daemon.driver.wake()

    async def close(self) -> None:
        """End the fork server, and with it the executors."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control.fileno())
        await self._let_finish([process for process in self._processes.values() if process.traced and process.pid])
        for process in self._processes.values():
            if process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            self._release(process)
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._fork_pid, 0)

    async def _let_finish(self, processes: list[_Process]) -> None:
        """Executors that have nothing to do end by themselves when their link closes, and export their spans before."""
        for process in processes:
            if process.connection is not None:
                process.connection.close("this worker ends")
        deadline = time.monotonic() + FINISH_SECONDS
        while any(psutil.pid_exists(process.pid) for process in processes) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def carry_out(self, output: Output) -> None:
        """StartExecutor, KillExecutor, AskForAttention, Tell and Prepared."""
        if isinstance(output, Tell):
            process = self._processes.get(output.executor)
            if process is not None and process.connection is not None:
                process.connection.send(output.message)
                self._told.add(output.executor)
                if type(output.message) is RunTasks and output.message.trace_contexts:
                    process.traced = True
                if type(output.message) is DefineForExecutor and not process.streaming:
                    process.streaming = any(function.streams_output for function in output.message.functions)
        elif isinstance(output, StartExecutor):
            self._fork(output.executor)
        elif isinstance(output, KillExecutor):
            self._signal(output.executor, signal.SIGKILL)
        elif isinstance(output, AskForAttention):
            process = self._processes.get(output.executor)
            if process is not None and process.connection is not None:
                process.connection.flush()  # What it is to read comes first.
            self._signal(output.executor, ATTENTION_SIGNAL)
        elif isinstance(output, Prepared) and self._prepared is not None:
            self._prepared(output.error)

    def health(self) -> str:
        """It needs the scheduler, and executors that are ready."""
        told = self.state.snapshot()
        if not told["connected"]:
            return f"not connected to the scheduler at {self._scheduler}"
        return "" if told["executors"] else "no executor is ready"

    def metrics(self) -> list[Metric]:
        """What it has to do, and what it uses."""
        from scaler.metrics.families import gauge

        told, cpu, resident = self.state.snapshot(), 0.0, 0
        for percent, size in self._usage.of.values():
            cpu, resident = cpu + percent / 100, resident + size
        return [
            gauge("scaler_worker_slots", "How many tasks it runs at once.", self.state.options.slots),
            gauge("scaler_worker_executors", "Executors that are ready.", told["executors"]),
            gauge("scaler_worker_queued_tasks", "Tasks that no executor has yet.", told["queued"]),
            gauge("scaler_worker_given_tasks", "Tasks that executors run, or have ahead of time.", told["sent"]),
            gauge("scaler_worker_cpu_ratio", "Of it and its executors, in cores, at the last heartbeat.", cpu),
            gauge("scaler_worker_resident_bytes", "Of it and its executors, at the last heartbeat.", resident),
        ]

    def _signal(self, executor: int, number: signal.Signals) -> None:
        process = self._processes.get(executor)
        if process is not None and process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _flush(self) -> None:
        """Write to the executors, each in one go, what this turn had for them."""
        told, self._told = self._told, set()
        for number in told:
            process = self._processes.get(number)
            if process is not None and process.connection is not None:
                process.connection.flush()

    # ---- the fork server

    def _fork(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        page = os.memfd_create(f"scaler-claims-{number}")
        os.ftruncate(page, PAGE_BYTES)
        out_read, out_write = os.pipe()
        error_read, error_write = os.pipe()
        descriptors = [theirs.fileno(), page, out_write, error_write]
        process = self._processes[number] = _Process(mmap.mmap(page, PAGE_BYTES), ours)
        for descriptor, is_error in ((out_read, False), (error_read, True)):
            os.set_blocking(descriptor, False)
            process.streams[descriptor] = OutputStream(self.state.identity, is_error)
        try:
            socket.send_fds(self._control, [self._said.encode(ForkExecutor(number))], descriptors)
        except OSError as error:
            self._daemon.stop(f"the fork server is gone ({error}); this worker ends", 1)
        theirs.close()
        for descriptor in descriptors[1:]:
            os.close(descriptor)

    def _fork_server_speaks(self) -> None:
        while True:
            try:
                data = self._control.recv(PACKET_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                self._daemon.stop("the fork server is gone; this worker ends", 1)
                return
            self._heard_from_fork_server(self._heard.decode(data))
        self._daemon.driver.wake()

    def _heard_from_fork_server(self, message: Message) -> None:
        if isinstance(message, ExecutorForked):
            process = self._processes[message.executor]
            process.pid = message.pid
            process.adopted = self._spawn(self._adopt(message.executor))
        elif isinstance(message, ExecutorExited):
            self._spawn(self._exited(message))
        elif isinstance(message, ForkServerReady) and message.error:
            self._daemon.stop(message.error, 1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _adopt(self, number: int) -> None:
        """A new executor: listen to its socket and to what it prints."""
        process = self._processes[number]
        loop = asyncio.get_running_loop()

        def received(connection: Connection, message: Message, attachment: bytes | bytearray) -> None:
            if process.streaming:  # What was printed before a result is told before it.
                self._read_all(process)
            self.state.executor_said(number, message, time.monotonic())

        def make() -> Connection:
            wake = self._daemon.driver.wake_after_reading
            return Connection(None, lambda peer: self._codecs, _ignore, received, _ignore, read_all=wake)

        _, process.connection = await loop.create_connection(make, sock=process.link)
        for descriptor in process.streams:
            loop.add_reader(descriptor, self._read, process, descriptor)
        self.state.executor_started(number, Claims(process.page))
        self._daemon.driver.wake()

    def _read(self, process: _Process, descriptor: int) -> None:
        """Some of what an executor printed."""
        data = self._read_some(process, descriptor)
        loop = asyncio.get_running_loop()
        if process.streaming and data and descriptor in process.streams:
            # A task that prints without end waits, and does not flood scheduler and client.
            loop.remove_reader(descriptor)
            loop.call_later(len(data) / OUTPUT_BYTES_PER_SECOND, self._read_again, process, descriptor)
            if process.streams[descriptor].holds:
                loop.call_later(UNFINISHED_LINE_SECONDS, self._pass_on_rest, process, descriptor)
        self._daemon.driver.wake()

    def _read_again(self, process: _Process, descriptor: int) -> None:
        if descriptor in process.streams:
            asyncio.get_running_loop().add_reader(descriptor, self._read, process, descriptor)

    def _read_all(self, process: _Process) -> None:
        """All that an executor has printed so far."""
        for descriptor in list(process.streams):
            while self._read_some(process, descriptor):
                pass
            self._pass_on_rest(process, descriptor, ended=True)

    def _read_some(self, process: _Process, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return b""
        stream = process.streams[descriptor]
        if data:
            self._pass_on(process, stream, stream.feed(data))
        else:
            self._pass_on(process, stream, stream.rest(ended=True))
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            del process.streams[descriptor]
        return data

    def _pass_on_rest(self, process: _Process, descriptor: int, ended: bool = False) -> None:
        stream = process.streams.get(descriptor)
        if stream is not None:
            self._pass_on(process, stream, stream.rest(ended))
            self._daemon.driver.wake()

    def _pass_on(self, process: _Process, stream: OutputStream, pieces: Iterable[tuple[bytes, bytes]]) -> None:
        """To clients who want it, the rest to where the worker prints; the last lines of errors are remembered."""
        for client, content in pieces:
            if stream.is_error:
                lines = content.decode(errors="replace").splitlines()
                process.tail.extend(line for line in lines if line.strip())
            if client:
                self.state.printed(client, stream.is_error, content)
            else:
                with contextlib.suppress(OSError):
                    os.write(2 if stream.is_error else 1, content)

    async def _exited(self, message: ExecutorExited) -> None:
        process = self._processes.get(message.executor)
        if process is None:
            return
        if process.adopted is not None:  # It may have ended while its socket was being taken over.
            await process.adopted
        self._read_all(process)
        del self._processes[message.executor]
        self._release(process)
        self.state.executor_exited(message.executor, _story(message.exit_code, process), time.monotonic())
        self._daemon.driver.wake()

    def _release(self, process: _Process) -> None:
        loop = asyncio.get_running_loop()
        for descriptor in process.streams:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        process.streams.clear()
        if process.connection is not None:
            process.connection.close("the executor ended")
        else:
            process.link.close()

    # ---- measuring

    def _resident(self, executor: int) -> int:
        process = self._processes.get(executor)
        with contextlib.suppress(psutil.Error):
            if process is not None and process.pid:
                return int(psutil.Process(process.pid).memory_info().rss)
        return 0

    def _vitals(self) -> tuple[float, int, int]:
        """Of the worker and its executors together."""
        pids = [os.getpid(), *(process.pid for process in self._processes.values() if process.pid)]
        return *self._usage.measure(pids), int(psutil.virtual_memory().available)

    def _executor_vitals(self, executor: int) -> tuple[int, float, int]:
        """As they were at the last _vitals()."""
        process = self._processes.get(executor)
        pid = process.pid if process is not None else 0
        return pid, *self._usage.of.get(pid, (0.0, 0))


def _ignore(*_: Any) -> None:
    """For an executor's link: it is the fork server that tells of its end."""


def _story(exit_code: int, process: _Process) -> str:
    """How an executor ended, for people."""
    if exit_code < 0:
        try:
            how = f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            how = f"killed by signal {-exit_code}"
        if exit_code == -signal.SIGKILL:
            how += " (by somebody, or by the kernel for want of memory)"
    else:
        how = f"ended with exit code {exit_code}"
    tail = "\n      ".join(process.tail)[-TAIL_CHARACTERS:]
    said = f"; its last output on standard error:\n      {tail}" if tail else ""
    return f"executor {process.pid} was {how}{said}" if exit_code < 0 else f"executor {process.pid} {how}{said}"


def run_worker(
    options: WorkerOptions,
    scheduler: str,
    event_loop: str = "uvloop",
    name: str = "Worker",
    prepared: Callable[[str], None] | None = None,
    security: Security | None = None,
    metrics: Address | None = None,
) -> int:
    """Be a worker until told to end; returns the exit code. Must be called before this process has threads.

    ``prepared`` is called once: with an empty text when all executors are ready, or with what keeps them from it.
    """
    try:
        address = Address.parse(scheduler)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    security = security or from_environment()
    fork_server = start_fork_server(options.preload, options.allow_functions)
    service = WorkerService(replace(options, pid=os.getpid()), address, fork_server, prepared)
    # Its tasks are more than its metrics: others on this host may have the port.
    place = MetricsPlace(metrics, needed=False) if metrics is not None else None
    return run_daemon(name, service, event_loop, security=security, metrics=place)
