"""The worker's decisions: which executor runs what, what goes back to the scheduler, who has to die.

Executors are told of in numbers that are never used again. With each comes its claims page, on which worker and executor
agree who has a task; it is the one thing here that somebody else may change, and only by taking what was offered.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from scaler._core.claims import POSITIONS, Claims
from scaler.errors import ProtocolError
from scaler.ids import u32, u64
from scaler.machine import Outbox, Output, Peer, Stop
from scaler.messages import (
    MESSAGE_BYTES,
    Assign,
    CancelAssigned,
    DefineForExecutor,
    DefineForWorker,
    Drain,
    ExecutorDeaths,
    ExecutorSettings,
    ForgetForExecutor,
    ForgetForWorker,
    Function,
    Inputs,
    Message,
    RegisterWorker,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    Role,
    RunTasks,
    ShutdownWorker,
    Started,
    Trimmed,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
    WorkerSettings,
    function_runs,
    runs,
)

AHEAD_US = 2_000
"""How much measured work an executor may have before it, so that it need not wait for the worker between short tasks."""
MAX_AHEAD = 256
STARTED_SECONDS = 0.010
"""A task that runs for this long is reported as started, and no other waits behind it."""
MAX_FAILED_FORKS = 5
NEWEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker is told at its start. Times in seconds."""

    slots: int
    queue_limit: int = 1000
    capabilities: tuple[str, ...] = ()
    host: str = ""
    pid: int = 0
    manager_name: str = ""
    version: str = ""
    heartbeat_seconds: float = 2.0
    task_timeout_seconds: float = 0.0
    death_timeout_seconds: float = 300.0
    scheduler_address: str = ""


@dataclass(slots=True)
class StartExecutor:
    """Fork an executor; it is told of by executor_started(), or executor_exited() if that fails."""

    executor: int


@dataclass(slots=True)
class KillExecutor:
    """SIGKILL to an executor; executor_exited() follows."""

    executor: int


@dataclass(slots=True)
class Tell:
    """A message to an executor."""

    executor: int
    message: Message


@dataclass(slots=True, eq=False)
class _Task:
    id: int
    attempt: int
    function: int
    payload: bytes
    timeout_us: int
    input_statuses: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    item_ends: bytes = b""
    """Of a range: where each item ends in the payload."""
    count: int = 1
    """Its items; of a trimmed range those that are left to it."""
    done: int = 0
    """Items of which the executor has sent results."""
    base: int = 0
    """Items that an executor before had done."""

    def keep_rest(self) -> None:
        """Drop the items that are done or were trimmed off: another executor gets the others."""
        ends = u32(self.item_ends)
        if not ends or (not self.done and self.count == len(ends)):
            return
        begin, rest = ends[self.done - 1] if self.done else 0, ends[self.done : self.count]
        self.payload = self.payload[begin : rest[-1]]
        self.item_ends = array("I", [end - begin for end in rest]).tobytes() if len(rest) > 1 else b""
        self.base += self.done
        self.count, self.done = len(rest), 0


@dataclass(slots=True, eq=False)
class _Executor:
    number: int
    claims: Claims | None = None
    """None until it has started."""
    sent: dict[int, _Task] = field(default_factory=dict)
    """By position, in order: what it has and has not answered."""
    next_position: int = 0
    known: set[int] = field(default_factory=set)
    reported: int = -1
    """The last position reported as started."""
    watched: int = -1
    """The position that ran when it was looked at last."""
    killed_for: tuple[int, ResultStatus, str] | None = None
    """(position, status, text): why we are killing it."""

    def item(self, position: int, task: _Task) -> int:
        """Of a range the item that began last, counted from its assignment; 0 of a single task."""
        return 0 if self.claims is None else task.base + self.claims.item(position)


class WorkerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self.vitals: Callable[[], tuple[float, int, int]] = lambda: (0.0, 0, 0)
        """Processor use in percent, resident bytes, free bytes on the host: measured by the service."""
        self._out = Outbox()
        self._scheduler: int | None = None
        self._settings: WorkerSettings | None = None
        self._functions: dict[int, Function] = {}
        self._means: dict[int, float] = {}
        self._queue: deque[_Task] = deque()
        self._executors: dict[int, _Executor] = {}
        self._numbers = 0
        self._failed_forks = 0
        self._places: dict[int, tuple[_Executor, int]] = {}
        """Task id to where it was sent."""
        self._ready: dict[int, _Task] = {}
        """Task id to what waits in the queue."""
        self._done: list[tuple[int, int, int, bytes, int, int, int, int, bytes]] = []
        self._deaths: list[tuple[int, int, str, int, ResultStatus]] = []
        self._draining = False
        self._heartbeat_at: float | None = None
        self._watch_at: float | None = None
        self._lost_at: float | None = 0.0
        self._lost_reason = "never connected"
        self._round_trip_us = 0
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            WorkerSettings: self._take_settings,
            DefineForWorker: self._define,
            ForgetForWorker: self._forget,
            Assign: self._assign,
            Retract: self._retract,
            CancelAssigned: self._cancel,
            Drain: self._drain_requested,
            ShutdownWorker: self._shutdown,
            WorkerHeartbeatEcho: self._echo,
        }

    # ---- told by the service

    def start(self, now: float) -> None:
        """Once, at the beginning: ask for the executors."""
        self._lost_at = now
        for _ in range(self.options.slots):
            self._start_executor()

    def executor_started(self, number: int, claims: Claims) -> None:
        """An executor runs and reads its socket."""
        executor = self._executors.get(number)
        if executor is not None:
            executor.claims = claims
            self._failed_forks = 0
            self._tell_settings(executor)

    def executor_said(self, number: int, message: Message, now: float) -> None:
        """A message from an executor."""
        executor = self._executors.get(number)
        if executor is not None and isinstance(message, Results):
            self._take_results(executor, message)

    def executor_exited(self, number: int, story: str, now: float) -> None:
        """An executor is gone. ``story`` tells how: signal or exit code, memory, last output."""
        executor = self._executors.pop(number, None)
        if executor is None:
            return
        if executor.claims is None:
            self._failed_forks += 1
            if self._failed_forks > MAX_FAILED_FORKS:
                self._out.add(Stop(f"executors do not start: {story}", 1))
                return
        self._bury(executor, story)
        self._start_executor()

    def leave(self, reason: str) -> None:
        """End now: the scheduler gives to others what is here."""
        self._send(WorkerLeaving())
        self._out.add(Stop(reason))

    # ---- told by the driver

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        if who.role != Role.worker:
            return
        options = self.options
        self._scheduler, self._lost_at = peer, None
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
                options.version,
            ),
        )
        self._out.log(20, f"connected to the scheduler with {options.slots} slots")

    def receive(self, peer: int, message: Message, now: float, attachment: bytes = b"") -> None:
        handler = self._handlers.get(type(message))
        if peer != self._scheduler or handler is None:
            return
        try:
            handler(message, now)
        except (ProtocolError, ValueError, IndexError, KeyError) as error:
            self._out.close(peer, f"{type(message).__name__}: {error}")
            self.peer_lost(peer, f"it broke the protocol: {type(message).__name__}: {error}", now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        """The scheduler gives our tasks to others now: stop them, and come back with nothing."""
        if peer != self._scheduler:
            return
        self._scheduler, self._lost_at, self._lost_reason = None, now, reason
        self._heartbeat_at = None
        self._queue.clear()
        self._ready.clear()
        self._done.clear()
        self._deaths.clear()
        self._functions.clear()
        self._means.clear()
        for executor in self._executors.values():
            if executor.sent:
                self._abandon(executor)
            elif executor.known:
                self._out.add(Tell(executor.number, ForgetForExecutor(array("I", executor.known))))
                executor.known.clear()
        if self._draining:
            self._out.add(Stop("the scheduler is gone"))

    def tick(self, now: float) -> None:
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat_at = now + self.options.heartbeat_seconds
            self._heartbeat(now)
        if self._watch_at is not None and now >= self._watch_at:
            self._watch_at = None
            self._watch(now)
        if self._lost_at is not None and now - self._lost_at >= self.options.death_timeout_seconds:
            text = f"no scheduler for {now - self._lost_at:.0f} s ({self._lost_reason}); this worker ends"
            self._out.add(Stop(text, 1))

    def drain(self, now: float) -> list[Output]:
        if self._queue:
            self._dispatch()
        if self._watch_at is None and any(self._needs_watching(executor) for executor in self._executors.values()):
            self._watch_at = now + STARTED_SECONDS
        self._report()
        if self._draining and self._scheduler is not None and not self._queue and not self._places:
            self._out.send(self._scheduler, WorkerLeaving())
            self._out.add(Stop("drained"))
        return self._out.take()

    def next_deadline(self) -> float | None:
        end = None if self._lost_at is None else self._lost_at + self.options.death_timeout_seconds
        return min((time for time in (self._heartbeat_at, self._watch_at, end) if time is not None), default=None)

    # ---- from the scheduler

    def _take_settings(self, message: WorkerSettings, now: float) -> None:
        self._settings = message
        for executor in self._executors.values():
            self._tell_settings(executor)

    def _tell_settings(self, executor: _Executor) -> None:
        if self._settings is not None and executor.claims is not None:
            settings = self._settings
            told = ExecutorSettings(
                settings.object_storage_address, self.options.scheduler_address, settings.inline_limit_bytes
            )
            self._out.add(Tell(executor.number, told))

    def _define(self, message: DefineForWorker, now: float) -> None:
        for function in message.functions:
            self._functions[function.number] = function

    def _forget(self, message: ForgetForWorker, now: float) -> None:
        numbers = u32(message.numbers)
        for number in numbers:
            self._functions.pop(number, None)
            self._means.pop(number, None)
        for executor in self._executors.values():
            known = executor.known.intersection(numbers)
            if known:
                executor.known -= known
                self._out.add(Tell(executor.number, ForgetForExecutor(array("I", sorted(known)))))

    def _assign(self, message: Assign, now: float) -> None:
        ids, attempts, functions = u64(message.tasks), u32(message.attempts), u32(message.functions)
        count = len(ids)
        if len(functions) == 1:
            functions = functions * count
        timeouts = u64(message.timeout_milliseconds)
        if len(message.payloads) != count or len(attempts) != count or len(functions) != count:
            raise ProtocolError("columns of different lengths")
        unknown = set(functions) - self._functions.keys()
        if unknown:
            raise ProtocolError(f"function {min(unknown)} is not defined")
        ends = u32(message.inputs.ends)
        if len(message.item_ends) not in (0, count):
            raise ProtocolError("columns of different lengths")
        general_us = int(self.options.task_timeout_seconds * 1e6)
        begin = 0
        for i, (id, attempt, function, payload) in enumerate(
            zip(ids, attempts, functions, message.payloads, strict=True)
        ):
            timeout_us = (timeouts[i] * 1000 if timeouts else 0) or general_us
            task = _Task(id, attempt, function, payload, timeout_us)
            if message.item_ends and len(message.item_ends[i]):
                task.item_ends = message.item_ends[i]
                task.count = len(u32(task.item_ends))
            if ends:
                task.input_statuses = message.inputs.statuses[begin : ends[i]]
                task.inputs = message.inputs.payloads[begin : ends[i]]
                begin = ends[i]
            self._ready[id] = task
            self._queue.append(task)

    def _retract(self, message: Retract, now: float) -> None:
        returned, kept = _Pairs(), _Pairs()
        for id, attempt in zip(u64(message.tasks), u32(message.attempts), strict=True):
            if self._take_back(id, attempt):
                returned.add(id, attempt)
            else:
                kept.add(id, attempt)
        self._send(Retracted(returned.ids, returned.attempts, kept.ids, kept.attempts))

    def _take_back(self, id: int, attempt: int) -> bool:
        """Take a task that has not begun out of the queue or away from its executor."""
        task = self._ready.get(id)
        if task is not None and task.attempt == attempt:
            del self._ready[id]
            self._queue.remove(task)
            return True
        place = self._places.get(id)
        if place is None or place[0].sent[place[1]].attempt != attempt or place[0].claims is None:
            return False
        executor, position = place
        if executor.claims is not None and executor.claims.revoke(position):
            del executor.sent[position], self._places[id]
            return True
        return False

    def _cancel(self, message: CancelAssigned, now: float) -> None:
        for id, attempt in zip(u64(message.tasks), u32(message.attempts), strict=True):
            if not self._take_back(id, attempt):
                place = self._places.get(id)
                if place is not None and place[0].sent[place[1]].attempt == attempt:
                    self._kill(place[0], place[1], ResultStatus.cancelled, "")

    def _drain_requested(self, message: Drain, now: float) -> None:
        self._draining = True

    def _shutdown(self, message: ShutdownWorker, now: float) -> None:
        self._out.add(Stop(message.text))

    def _echo(self, message: WorkerHeartbeatEcho, now: float) -> None:
        self._round_trip_us = max(0, int(now * 1e6) - message.sent_microseconds)

    def _heartbeat(self, now: float) -> None:
        cpu, resident, free = self.vitals()
        running = sum(1 for e in self._executors.values() if e.claims is not None and e.claims.running is not None)
        queued = len(self._queue) + max(0, len(self._places) - running)
        self._send(WorkerHeartbeat(int(now * 1e6), cpu, resident, free, queued, running, self._round_trip_us))

    # ---- executors

    def _start_executor(self) -> None:
        number = self._numbers
        self._numbers += 1
        self._executors[number] = _Executor(number)
        self._out.add(StartExecutor(number))

    def _dispatch(self) -> None:
        """Give queued tasks to executors: idle ones first, then ahead of time where tasks are short."""
        living = [e for e in self._executors.values() if e.claims is not None and e.killed_for is None]
        for executor in living:
            if not executor.sent and self._queue:
                self._give(executor, 1)
        for executor in living:
            if not self._queue:
                return
            if executor.reported in executor.sent:
                continue  # What it runs takes long: nothing should wait behind it.
            ahead = self._ahead(self._queue[0])
            # Topped up by halves, so that a busy executor gets batches and not single tasks.
            if len(executor.sent) <= ahead // 2:
                share = -(-len(self._queue) // len(living))
                self._give(executor, min(ahead - len(executor.sent), max(1, share)))

    def _ahead(self, task: _Task) -> int:
        """How many such tasks an executor may have, the one it runs included."""
        mean = self._means.get(task.function)
        if mean is None:
            return 1
        if task.count > 1:
            return 2  # A range is as long as it should be; another one keeps the executor from waiting.
        return max(1, min(MAX_AHEAD, int(AHEAD_US / (mean + 1.0))))

    def _give(self, executor: _Executor, count: int) -> None:
        tasks: list[_Task] = []
        claims = executor.claims
        assert claims is not None
        oldest = next(iter(executor.sent), executor.next_position)
        count = min(count, POSITIONS - (executor.next_position - oldest))
        size = 0
        while self._queue and len(tasks) < count and size < MESSAGE_BYTES:
            task = self._queue.popleft()
            size += len(task.payload) + 4 * task.count + sum(map(len, task.inputs))
            del self._ready[task.id]
            position = executor.next_position + len(tasks)
            claims.offer(position)
            executor.sent[position] = task
            self._places[task.id] = executor, position
            tasks.append(task)
        if not tasks:
            return
        self._define_for(executor, tasks)
        functions = array("I", [task.function for task in tasks])
        if functions.count(functions[0]) == len(functions):
            functions = functions[:1]
        payloads = [task.payload for task in tasks]
        item_ends = [task.item_ends for task in tasks] if any(task.count > 1 for task in tasks) else []
        run = RunTasks(executor.next_position, functions, payloads, _inputs(tasks), item_ends)
        self._out.add(Tell(executor.number, run))
        executor.next_position += len(tasks)

    def _define_for(self, executor: _Executor, tasks: Iterable[_Task]) -> None:
        fresh = {task.function for task in tasks} - executor.known
        if fresh:
            executor.known |= fresh
            for functions in function_runs([self._functions[number] for number in sorted(fresh)]):
                self._out.add(Tell(executor.number, DefineForExecutor(functions)))

    def _take_results(self, executor: _Executor, message: Results) -> None:
        sums: dict[int, list[float]] = {}
        for position, status, payload, wall, cpu, peak, count, ends in zip(
            u64(message.tasks),
            message.statuses,
            message.payloads,
            u64(message.wall_microseconds),
            u64(message.cpu_microseconds),
            u64(message.peak_memory_bytes),
            u32(message.counts) or repeat(1, len(message.payloads)),
            message.item_ends or repeat(b"", len(message.payloads)),
            strict=True,
        ):
            task = executor.sent.get(position)
            if task is None:
                continue
            task.done += count
            self._done.append((task.id, task.attempt, status, payload, wall, cpu, peak, count, ends))
            self._forget_if_done(executor, position, task)
            entry = sums.setdefault(task.function, [0.0, 0.0])
            entry[0] += wall
            entry[1] += count
        for function, (total, count) in sums.items():
            mean, old = total / count, self._means.get(function)
            self._means[function] = mean if old is None else old + (mean - old) * NEWEST_SHARE

    def _forget_if_done(self, executor: _Executor, position: int, task: _Task) -> None:
        if task.done >= task.count:
            del executor.sent[position], self._places[task.id]

    def _needs_watching(self, executor: _Executor) -> bool:
        """Whether it has a task that may be running, and nobody has looked at yet; or one with a time limit."""
        if not executor.sent or executor.claims is None or executor.killed_for is not None:
            return False
        position, task = next(iter(executor.sent.items()))
        return executor.reported < position or len(executor.sent) > 1 or bool(task.timeout_us) or task.count > 1

    def _watch(self, now: float) -> None:
        """Look at what runs: report what has run for a while, free what waits behind it, stop what runs too long."""
        now_us = int(now * 1e6)
        started, trimmed, kept = _Pairs(), _Pairs(), array("I")
        for executor in list(self._executors.values()):
            claims = executor.claims
            running = None if claims is None else claims.running
            if claims is None or running is None or running not in executor.sent or executor.killed_for is not None:
                continue
            task, ran_us = executor.sent[running], now_us - claims.started_us
            if task.count > 1 and executor.watched == running and self._trim(executor, running, task):
                trimmed.add(task.id, task.attempt)
                kept.append(task.base + task.count)
                if running not in executor.sent:
                    continue
            executor.watched = running
            if task.timeout_us and ran_us >= task.timeout_us:
                name = self._functions[task.function].name
                text = f"{name} ran for {ran_us / 1e6:.3f} s; its limit is {task.timeout_us / 1e6:.3f} s"
                self._kill(executor, running, ResultStatus.timed_out, text)
            elif ran_us >= STARTED_SECONDS * 1e6 * 0.9:
                self._free_those_behind(executor, running)
                if executor.reported < running:
                    executor.reported = running
                    started.add(task.id, task.attempt)
        if started.ids:
            self._send(Started(started.ids, started.attempts))
        if trimmed.ids:
            self._report()  # The results of their items come first.
            self._send(Trimmed(trimmed.ids, trimmed.attempts, kept))

    def _trim(self, executor: _Executor, position: int, task: _Task) -> bool:
        """Take back what has not begun of a range that runs for longer than it should: others may have it sooner."""
        begun = executor.claims.trim(position) if executor.claims is not None else None
        if begun is None or begun >= task.count:
            return False
        task.count = begun
        self._forget_if_done(executor, position, task)
        return True

    def _free_those_behind(self, executor: _Executor, running: int) -> None:
        """Take back what waits behind a task that runs for long: another executor may have it sooner."""
        waiting = [position for position in executor.sent if position > running]
        self._requeue(executor, waiting)

    def _requeue(self, executor: _Executor, positions: list[int]) -> None:
        """Back to the front of the queue, in order, what the executor has not begun."""
        claims = executor.claims
        for position in reversed(positions):
            if claims is not None and claims.revoke(position):
                task = executor.sent.pop(position)
                del self._places[task.id]
                self._ready[task.id] = task
                self._queue.appendleft(task)

    def _kill(self, executor: _Executor, position: int, status: ResultStatus, text: str) -> None:
        """Stop the executor for the sake of one task; the others go on elsewhere."""
        if executor.killed_for is None:
            executor.killed_for = position, status, text
            self._requeue(executor, [other for other in executor.sent if other != position])
            self._out.add(KillExecutor(executor.number))
        if status == ResultStatus.cancelled:
            # Nobody asks for it any more: it must not run again, and may be given anew before the executor has ended.
            del self._places[executor.sent.pop(position).id]

    def _abandon(self, executor: _Executor) -> None:
        """Stop the executor and forget what it has."""
        for task in executor.sent.values():
            self._places.pop(task.id, None)
        executor.sent.clear()
        executor.killed_for = executor.killed_for or (-1, ResultStatus.cancelled, "")
        self._out.add(KillExecutor(executor.number))

    def _bury(self, executor: _Executor, story: str) -> None:
        """What an executor had when it ended: the task that ran is told of, the others run again."""
        running = executor.claims.running if executor.claims is not None else None
        survivors: list[_Task] = []
        for position, task in executor.sent.items():
            del self._places[task.id]
            if executor.killed_for is not None and executor.killed_for[0] == position:
                _, status, text = executor.killed_for
                if len(task.item_ends) or task.base:
                    self._deaths.append((task.id, task.attempt, text, executor.item(position, task), status))
                else:
                    self._done.append((task.id, task.attempt, status, text.encode(), 0, 0, 0, 1, b""))
            elif position == running and executor.killed_for is None:
                died = executor.item(position, task)
                self._deaths.append((task.id, task.attempt, story, died, ResultStatus.crashed))
            else:
                task.keep_rest()
                survivors.append(task)
        for task in reversed(survivors):
            self._ready[task.id] = task
            self._queue.appendleft(task)
        if executor.killed_for is None:
            self._out.log(30, f"an executor died: {story}")

    # ---- to the scheduler

    def _send(self, message: Message) -> None:
        if self._scheduler is not None:
            self._out.send(self._scheduler, message)

    def _report(self) -> None:
        """All that ended since the last pass, in one message."""
        done, self._done = self._done, []
        for first, last in runs([len(entry[3]) + 4 * entry[7] for entry in done]) if done else ():
            ids, attempts, statuses, payloads, wall, cpu, peak, counts, ends = zip(*done[first:last], strict=True)
            results = Results(
                array("Q", ids),
                array("I", attempts),
                bytes(statuses),
                list(payloads),
                array("Q", wall),
                array("Q", cpu),
                array("Q", peak),
            )
            if max(counts) > 1:
                results.counts, results.item_ends = array("I", counts), list(ends)
            self._send(results)
        if self._deaths:
            ids, attempts, stories, items, statuses = zip(*self._deaths, strict=True)
            self._deaths = []
            deaths = ExecutorDeaths(array("Q", ids), array("I", attempts), list(stories))
            if any(items) or min(statuses) != max(statuses) or statuses[0] != ResultStatus.crashed:
                deaths.items, deaths.statuses = array("I", items), bytes(statuses)
            self._send(deaths)

    # ---- asked

    def snapshot(self) -> dict[str, Any]:
        return {
            "connected": self._scheduler is not None,
            "queued": len(self._queue),
            "sent": len(self._places),
            "executors": sum(1 for e in self._executors.values() if e.claims is not None),
            "functions": len(self._functions),
        }

    def check(self) -> None:
        assert {task.id: task for task in self._queue} == self._ready
        assert len(self._queue) == len(self._ready)
        sent = {task.id: (e, p) for e in self._executors.values() for p, task in e.sent.items()}
        assert sent.keys() == self._places.keys()
        assert all(self._places[id][0] is e and self._places[id][1] == p for id, (e, p) in sent.items())
        assert not self._ready.keys() & self._places.keys()
        for executor in self._executors.values():
            assert list(executor.sent) == sorted(executor.sent)
            assert executor.claims is not None or not executor.sent


@dataclass(slots=True)
class _Pairs:
    """Columns of ids and attempts that grow together."""

    ids: array[int] = field(default_factory=lambda: array("Q"))
    attempts: array[int] = field(default_factory=lambda: array("I"))

    def add(self, id: int, attempt: int) -> None:
        self.ids.append(id)
        self.attempts.append(attempt)


def _inputs(tasks: list[_Task]) -> Inputs:
    if not any(task.inputs for task in tasks):
        return Inputs()
    inputs = Inputs(array("I"), b"".join(task.input_statuses for task in tasks), [])
    for task in tasks:
        inputs.payloads.extend(task.inputs)
        inputs.ends.append(len(inputs.payloads))  # type: ignore[union-attr]
    return inputs
