"""The worker's decisions: its conversation with the scheduler. What its executors do is in ``executors``."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaler._core.claims import Claims
from scaler.errors import ProtocolError
from scaler.ids import RANGE_BIT, SEQUENCE_BITS, sequence_of, u32, u64
from scaler.machine import Outbox, Output, Peer, Stop
from scaler.messages import (
    Assign,
    BeginSampling,
    CancelAssigned,
    DefineForWorker,
    Drain,
    EndSampling,
    ExecutorSettings,
    ForgetForWorker,
    LendSlots,
    Message,
    RegisterWorker,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    Role,
    ShutdownWorker,
    StackSamples,
    Survived,
    TaskOutput,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
    WorkerSettings,
)
from scaler.stuck import Stuck
from scaler.worker.executors import STARTED_SECONDS, Executors
from scaler.worker.memory import MemoryRules, MemoryWatch
from scaler.worker.profiling import Profiling
from scaler.worker.reports import Told
from scaler.worker.tasks import Pairs, Task


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is told at its start. Times in seconds."""

    slots: int
    queue_limit: int = 1000
    capabilities: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0
    manager_name: str = ""
    heartbeat_seconds: float = 2.0
    task_timeout_seconds: float = 0.0
    death_timeout_seconds: float = 300.0
    scheduler_address: str = ""
    preload: str = ""
    """A call that each executor makes first, as scaler.worker.preload reads it."""
    memory_limit_bytes: int = 0
    garbage_collect_seconds: float = 0.0
    trim_memory_bytes: int = 0
    """See MemoryRules."""
    object_storage_address: str = ""
    """Of the object storage of this host, if it has one of its own."""
    worker_name: str = ""
    """What its manager calls it."""
    allow_functions: tuple[str, ...] = ()
    """Patterns of the only functions that its executors run, see scaler.named; any where there are none."""
    grace_seconds: float = 0.0
    """When a signal tells it to end, it may go on for so long with the tasks that it has begun; 0: it ends at once."""


class WorkerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.identity = b""
        """Told by the service."""
        self.vitals: Callable[[], tuple[float, int, int]] = lambda: (0.0, 0, 0)
        """Processor use in percent, resident bytes, free bytes on the host: measured by the service."""
        self.executor_vitals: Callable[[int], tuple[int, float, int]] = lambda executor: (0, 0.0, 0)
        """Of an executor by its number: pid, processor use in percent and resident bytes when ``vitals`` was asked last."""
        self._out = Outbox()
        self._scheduler: int | None = None
        self._executors = Executors(options.slots, self._out, options.preload)
        rules = MemoryRules(options.memory_limit_bytes, options.garbage_collect_seconds, options.trim_memory_bytes)
        label = f"worker {options.host}:{options.pid}"
        self.memory = MemoryWatch(rules, self._executors, self._out, label)
        self._profiling = Profiling(self._executors, self._out, self._send)
        self._stuck = Stuck(self._out.log)
        self._draining = False
        self._heartbeat_at: float | None = None
        self._watch_at: float | None = None
        self._retire_at: float | None = None
        self._leave_at: float | None = None
        """When the time is over that a signal left it."""
        self._told_to_end = ""
        self._lost_at: float | None = 0.0
        self._lost_reason = "never connected"
        self._last_scheduler = b""
        """The identity of the one that it is, or was, connected to."""
        self._owners: dict[int, bytes] = {}
        """Client numbers to identities, of all whose tasks have been here."""
        self._round_trip_us = 0
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            WorkerSettings: self._take_settings,
            DefineForWorker: self._define,
            ForgetForWorker: self._forget,
            Assign: self._assign,
            LendSlots: self._lend,
            Retract: self._retract,
            CancelAssigned: self._cancel,
            Drain: self._drain_requested,
            ShutdownWorker: self._shutdown,
            WorkerHeartbeatEcho: self._echo,
            BeginSampling: self._profiling.begin,
            EndSampling: self._profiling.end,
        }

    # ---- told by the service

    def start(self, now: float) -> None:
        """Once, at the beginning: ask for the executors."""
        self._lost_at = now
        self._executors.start_all()

    def executor_started(self, number: int, claims: Claims) -> None:
        """An executor runs and reads its socket."""
        self._executors.started(number, claims)

    def executor_said(self, number: int, message: Message, now: float) -> None:
        """A message from an executor."""
        if isinstance(message, StackSamples):
            self._profiling.found(number, message)
        else:
            self._executors.said(number, message)

    def printed(self, client: bytes, to_standard_error: bool, content: bytes) -> None:
        """What tasks of a client printed who wants to see it, before their results are heard of."""
        self._send(TaskOutput(client, to_standard_error, content))

    def executor_exited(self, number: int, story: str, now: float) -> None:
        """An executor is gone. ``story`` tells how: signal or exit code, memory, last output."""
        self._executors.exited(number, story)

    def asked_to_end(self, reason: str, now: float) -> None:
        """A signal came: give back what has not begun, and end when the rest has ended, or the time for it is over.

        Without such a time, without a scheduler and at the second signal end now: the scheduler gives to others what is here.
        """
        if not self.options.grace_seconds or self._scheduler is None or self._leave_at is not None:
            self._leave(reason)
            return
        self._leave_at, self._told_to_end = now + self.options.grace_seconds, reason
        self._send(WorkerLeaving(int(self.options.grace_seconds * 1000)))
        self._out.log(20, f"{reason}; it leaves within {self.options.grace_seconds:g} s")

    def _leave(self, reason: str) -> None:
        self._send(WorkerLeaving())
        self._out.add(Stop(reason))

    # ---- told by the driver

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        if who.role != Role.worker:
            return
        options = self.options
        survivors: list[Told] = []
        if who.identity == self._last_scheduler:
            self._executors.abandon_all()
        else:
            survivors = self._executors.resume()
        self._scheduler, self._lost_at, self._last_scheduler = peer, None, who.identity
        self._heartbeat_at = now + options.heartbeat_seconds
        self._out.send(
            peer,
            RegisterWorker(
                options.slots,
                options.queue_limit,
                list(options.capabilities),
                options.host,
                options.pid,
                options.manager_name,
                options.object_storage_address,
                options.worker_name,
                sum(len(message.payloads) for message, _ in survivors),
            ),
        )
        for told in survivors:
            self._out.send(peer, self._survived(*told))
        self._out.log(20, f"connected to the scheduler with {options.slots} slots{_summary(survivors)}")

    def _survived(self, message: Results, sequences: array[int]) -> Survived:
        ids = u64(message.tasks)
        numbers = [id >> SEQUENCE_BITS for id in ids]
        places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
        owner_of = array("I", [places[number] for number in numbers])
        firsts = [first if id & RANGE_BIT else sequence_of(id) for id, first in zip(ids, sequences, strict=True)]
        return Survived(message, [self._owners[number] for number in places], owner_of, array("Q", firsts))

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        handler = self._handlers.get(type(message))
        if peer != self._scheduler or handler is None:
            return
        try:
            handler(message, now)
        except (ProtocolError, ValueError, IndexError, KeyError) as error:
            self._out.close(peer, f"{type(message).__name__}: {error}")
            self.peer_lost(peer, f"it broke the protocol: {type(message).__name__}: {error}", now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """Go on with what runs: if it is the scheduler that has died, that is wanted by the next one."""
        if peer != self._scheduler:
            return
        self._scheduler, self._lost_at, self._lost_reason = None, now, reason
        self._heartbeat_at = None
        self._profiling.forget_all()
        self._executors.suspend()
        if self._draining or self._leave_at is not None:
            self._out.add(Stop("the scheduler is gone"))

    def tick(self, now: float) -> None:
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat_at = now + self.options.heartbeat_seconds
            self._heartbeat(now)
            if self._stuck.due(now):
                self._stuck.found(self._executors.suspects(), now)
        if self._watch_at is not None and now >= self._watch_at:
            self._watch_at = None
            self._executors.watch(now)
        if self._leave_at is not None and now >= self._leave_at:
            self._leave_at = None
            self._leave(self._told_to_end)
        self.memory.tick(now)
        if self._lost_at is not None and now - self._lost_at >= self.options.death_timeout_seconds:
            text = f"no scheduler for {now - self._lost_at:.0f} s ({self._lost_reason}); this worker ends"
            self._out.add(Stop(text, 1))

    def drain(self, now: float) -> list[Output]:
        self._executors.dispatch()
        if self._watch_at is None and self._executors.need_watching:
            self._watch_at = now + STARTED_SECONDS
        if self.memory.unarranged:
            self.memory.arrange(now)
        if self._profiling:
            self._profiling.arrange(now)
        for report in self._executors.reports.take(now) if self._scheduler is not None else ():
            self._send(report)
        self._retire_at = self._executors.retire(now)
        if self._draining and self._scheduler is not None and self._executors.empty:
            self._out.send(self._scheduler, WorkerLeaving())
            self._out.add(Stop("drained"))
        return self._out.take()

    def next_deadline(self) -> float | None:
        end = None if self._lost_at is None else self._lost_at + self.options.death_timeout_seconds
        looking = self.memory.due, self._profiling.due
        times = (self._heartbeat_at, self._watch_at, self._retire_at, *looking, end, self._leave_at)
        return min((time for time in times if time is not None), default=None)

    # ---- from the scheduler

    def _take_settings(self, message: WorkerSettings, now: float) -> None:
        self._executors.take_settings(
            ExecutorSettings(
                self.options.object_storage_address or message.object_storage_address,
                self.options.scheduler_address,
                message.inline_limit_bytes,
                self.identity,
            )
        )

    def _define(self, message: DefineForWorker, now: float) -> None:
        for function in message.functions:
            self._executors.functions[function.number] = function

    def _forget(self, message: ForgetForWorker, now: float) -> None:
        self._executors.forget(u32(message.numbers))

    def _assign(self, message: Assign, now: float) -> None:
        ids, attempts, functions = u64(message.tasks), u32(message.attempts), u32(message.functions)
        count = len(ids)
        if len(functions) == 1:
            functions = functions * count
        timeouts = u64(message.timeout_milliseconds)
        if len(message.payloads) != count or len(attempts) != count or len(functions) != count:
            raise ProtocolError("columns of different lengths")
        unknown = set(functions) - self._executors.functions.keys()
        if unknown:
            raise ProtocolError(f"function {min(unknown)} is not defined")
        ends, sequences = u32(message.inputs.ends), u64(message.sequences)
        if any(len(column) not in (0, count) for column in (message.item_ends, sequences, message.trace_contexts)):
            raise ProtocolError("columns of different lengths")
        for number in set(functions):
            self._owners[ids[functions.index(number)] >> SEQUENCE_BITS] = self._executors.functions[number].owner
        general_us = int(self.options.task_timeout_seconds * 1e6)
        begin = 0
        for i, (id, attempt, function, payload) in enumerate(
            zip(ids, attempts, functions, message.payloads, strict=True)
        ):
            timeout_us = (timeouts[i] * 1000 if timeouts else 0) or general_us
            task = Task(id, attempt, function, payload, timeout_us)
            if message.trace_contexts:
                task.trace_context = message.trace_contexts[i]
            if message.item_ends and len(message.item_ends[i]):
                task.item_ends = message.item_ends[i]
                task.count = len(u32(task.item_ends))
            if sequences:
                task.sequence = sequences[i]
            if ends:
                task.input_statuses = message.inputs.statuses[begin : ends[i]]
                task.inputs = message.inputs.payloads[begin : ends[i]]
                begin = ends[i]
            self._executors.add(task)

    def _lend(self, message: LendSlots, now: float) -> None:
        self._executors.lend(u64(message.tasks))

    def _retract(self, message: Retract, now: float) -> None:
        returned, kept = Pairs(), Pairs()
        for id, attempt in zip(u64(message.tasks), u32(message.attempts), strict=True):
            if self._executors.take_back(id, attempt):
                returned.add(id, attempt)
            else:
                kept.add(id, attempt)
        self._send(Retracted(returned.ids, returned.attempts, kept.ids, kept.attempts))

    def _cancel(self, message: CancelAssigned, now: float) -> None:
        for id, attempt in zip(u64(message.tasks), u32(message.attempts), strict=True):
            self._executors.cancel(id, attempt)

    def _drain_requested(self, message: Drain, now: float) -> None:
        self._draining = True

    def _shutdown(self, message: ShutdownWorker, now: float) -> None:
        self._out.add(Stop(message.text))

    def _echo(self, message: WorkerHeartbeatEcho, now: float) -> None:
        self._round_trip_us = max(0, int(now * 1e6) - message.sent_microseconds)
        self._executors.reports.acknowledged(message.sent_microseconds / 1e6)
        if message.again_milliseconds and self._heartbeat_at is not None:
            self._heartbeat_at = min(self._heartbeat_at, now + message.again_milliseconds / 1000)

    def _heartbeat(self, now: float) -> None:
        cpu, resident, free = self.vitals()
        queued, running = self._executors.queued, self._executors.running
        executors = self._executors.facts(now, self.executor_vitals)
        self._send(
            WorkerHeartbeat(int(now * 1e6), cpu, resident, free, queued, running, self._round_trip_us, executors)
        )

    # ---- to the scheduler

    def _send(self, message: Message) -> None:
        if self._scheduler is not None:
            self._out.send(self._scheduler, message)

    # ---- asked

    def snapshot(self) -> dict[str, Any]:
        return {"connected": self._scheduler is not None, **self._executors.snapshot()}

    def check(self) -> None:
        self._executors.check()


def _summary(survivors: list[Told]) -> str:
    """For people."""
    count = sum(len(message.payloads) for message, _ in survivors)
    running = sum(message.statuses.count(ResultStatus.unspecified) for message, _ in survivors)
    return f"; {running} tasks run, and {count - running} results may not have arrived" if survivors else ""
