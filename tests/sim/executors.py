"""Simulated workers: the real worker state, with executors that take tasks from real claims pages and only seem to run."""

from __future__ import annotations

import struct
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from scaler._core.claims import PAGE_BYTES, Claims
from scaler.ids import LOST_OBJECT, NO_INPUT, u32, u64
from scaler.machine import Output
from scaler.messages import (
    BeginSampling,
    DefineForExecutor,
    EndSampling,
    ExecutorSettings,
    ForgetForExecutor,
    Function,
    Message,
    Results,
    ResultStatus,
    Role,
    RunTasks,
    Tidy,
)
from scaler.stacks import Frame, StackCounts
from scaler.wire.codec import codec
from scaler.worker.executors import AskForAttention, KillExecutor, StartExecutor, Tell
from scaler.worker.state import WorkerOptions, WorkerState

from .checkers import Books, Job, Kind, Run, Violation
from .network import Network
from .nodes import SCHEDULER, ClientNode, Node, StorageNode
from .workload import Mix, User

FLUSH_SECONDS, RANGE_FLUSH_SECONDS = 0.000_3, 0.005
FORK_SECONDS = 0.010
EXIT_SECONDS, LONG_EXIT_SECONDS = 0.001, 2.0
"""From the last instruction of a process to the news of its end; a large one takes long to be cleared away."""
LONG_EXITS = 0.1
STOPPED_BY_MANAGER = "its manager stops it"
CHILDREN = Mix(((Kind.PLAIN, 9), (Kind.STORED, 1)))
REFERENCE = struct.Struct("<16sQ")
_INCOMING = codec("executor", "WorkerToExecutor")
_OUTGOING = codec("executor", "ExecutorToWorker")


class WorkerNode(Node):
    """A worker with its executors."""

    def __init__(
        self, network: Network, books: Books, storage: StorageNode, name: str, options: WorkerOptions, check_every: int
    ) -> None:
        super().__init__(network, books, name, WorkerState(options), check_every)
        self.state.identity = self.identity
        self.storage = storage
        self.executors: dict[int, Executor] = {}
        self.host_asleep_until = 0.0
        self.orderly = False
        """Whether it ended by itself, with nothing to do, or was told to."""
        books.worker_added(name, options.slots, options.capabilities)
        self.state.start(self.now)
        self.wake()
        self.dial(SCHEDULER, Role.worker)

    def carry_out(self, output: Output) -> None:
        if isinstance(output, StartExecutor):
            self.executors[output.executor] = Executor(self, output.executor)
        elif isinstance(output, Tell):
            executor = self.executors.get(output.executor)
            if executor is not None:
                executor.tell(output.message)
        elif isinstance(output, KillExecutor):
            executor = self.executors.get(output.executor)
            # Or it ran something else already than what the worker meant.
            poisoned = executor is not None and executor.run is not None and executor.run.job.kind is Kind.POISON
            self.books.hidden_deaths += executor is None or not executor.alive or poisoned
            if executor is not None:
                # Its task had just ended: nobody hears of the result any more.
                self.books.deaths += executor.has_just_answered
                executor.die("killed by its worker")
        elif isinstance(output, AskForAttention):
            executor = self.executors.get(output.executor)
            if executor is not None and executor.run is not None:
                executor.answer()
        else:
            super().carry_out(output)

    def sleep(self, seconds: float) -> None:
        """Alone, or with its executors and the clients in them: the whole machine."""
        super().sleep(seconds)
        if self.clock.chance(0.5):
            self.host_asleep_until = self.asleep_until
            for executor in self.executors.values():
                if executor.user is not None:
                    executor.user.client.sleep(seconds)

    def stopped_until(self) -> float:
        """Until when its executors do nothing."""
        return self.host_asleep_until

    def stop(self, reason: str) -> None:
        super().stop(reason)
        self.orderly = reason in ("drained", STOPPED_BY_MANAGER)
        self._end_executors()

    def kill(self) -> None:
        super().kill()
        self._end_executors()

    def _end_executors(self) -> None:
        for executor in self.executors.values():
            executor.die("its worker is gone")


class Executor:
    """One process of a worker, as the worker sees it: messages in, results out, an end."""

    def __init__(self, worker: WorkerNode, number: int) -> None:
        self.worker = worker
        self.number = number
        self.clock = worker.clock
        self.alive = True
        self.run: Run | None = None
        self._missing = False
        """Whether it has just found that something is lost, and has not said so yet."""
        self.user: User | None = None
        """The client inside its tasks, from the first that needs one on."""
        self._children: list[Job] = []
        self._task = self._attempt = 0
        self._settings = ExecutorSettings("", "", 0)
        self._page = bytearray(PAGE_BYTES)
        self._claims = Claims(self._page)
        self._inbox: deque[Message | _Entry] = deque()
        self._functions: dict[int, Function] = {}
        self._results: list[tuple[int, ResultStatus, bytes, int, int, bytes]] = []
        self._range: _Entry | None = None
        self._item = 0
        self._items: list[tuple[bytes, int]] = []
        """Results of items that ended well one after the other."""
        self._flushed_at = 0.0
        self._profiles: set[int] = set()
        self._arrives_at = self._answers_at = 0.0
        self._after(FORK_SECONDS * (0.5 + self.clock.random.random()), self._started)

    # ---- time

    def _after(self, delay: float, what: Callable[[], None]) -> None:
        self._at(self.clock.now + delay, what)

    def _at(self, time: float, what: Callable[[], None]) -> None:
        """As the clock has it; but on a host that is stopped, nothing happens before it goes on."""
        until = self.worker.stopped_until
        self.clock.at(time, lambda: what() if self.clock.now >= until() else self._at(until(), what))

    # ---- from and to the worker

    def _started(self) -> None:
        if self.alive and self.worker.alive and not self.worker.later(self._started):
            self.worker.state.executor_started(self.number, Claims(self._page))
            self.worker.wake()

    def tell(self, message: Message) -> None:
        """A message from the worker: it arrives a little later, after those before it."""
        data = _INCOMING.encode(message)
        self._arrives_at = max(self._arrives_at, self.clock.now + self.clock.random.random() * 0.000_1)
        self._at(self._arrives_at, lambda: self._arrived(_INCOMING.decode(data)))

    def _arrived(self, message: Message) -> None:
        if not self.alive:
            return
        if isinstance(message, BeginSampling | EndSampling):
            self._sample(message)
            return
        if isinstance(message, RunTasks):
            self._inbox.extend(_tasks(message))
        else:
            self._inbox.append(message)
        if self.run is None and not self._missing:
            self._next()

    def answer(self) -> None:
        """Send what is kept, in the middle of a task."""
        if self._range is not None:
            self._close_items(self._range.position)
        self._flush()

    @property
    def has_just_answered(self) -> bool:
        """Whether a result may not have reached the worker."""
        return self.alive and self.run is None and self.clock.now < self._answers_at + FLUSH_SECONDS

    def _flush(self) -> None:
        self._flushed_at = self.clock.now
        if not self._results:
            return
        positions, statuses, payloads, wall, counts, ends = zip(*self._results, strict=True)
        self._results = []
        nothing = bytes(8 * len(payloads))
        results = Results(
            array("Q", positions), b"", bytes(statuses), list(payloads), array("Q", wall), nothing, nothing
        )
        if max(counts) > 1:
            results.counts, results.item_ends = array("I", counts), list(ends)
        self._say(results)

    def _say(self, message: Message) -> None:
        data = _OUTGOING.encode(message)
        self._answers_at = max(self._answers_at, self.clock.now + self.clock.random.random() * 0.000_1)
        self.clock.at(self._answers_at, lambda: self._answered(data))

    def _answered(self, data: bytes) -> None:
        if self.worker.alive and not self.worker.later(lambda: self._answered(data)):
            self.worker.state.executor_said(self.number, _OUTGOING.decode(data), self.worker.now)
            self.worker.wake()

    def _sample(self, message: BeginSampling | EndSampling) -> None:
        """It finds one stack, again and again, until its time is over."""
        if isinstance(message, EndSampling):
            if message.profile in self._profiles:
                self._end_profile(message.profile)
            return
        self._profiles.add(message.profile)
        self._after(message.milliseconds / 1000, lambda: self._end_profile(message.profile))

    def _end_profile(self, number: int) -> None:
        if self.alive and number in self._profiles:
            self._profiles.remove(number)
            counts = StackCounts()
            counts.add("f", (Frame("f", "f.py", 1),), 1)
            samples = counts.take(number)
            samples.ended = True
            self._say(samples)

    # ---- tasks

    def _next(self) -> None:
        """Take what is in the inbox, up to the next task that may be run."""
        now_us = int(self.worker.now * 1e6)
        while self._inbox or self._range:
            if self._range is not None:
                if self._claims.take_item(now_us):
                    self._begin_item(self._range)
                    return
                self._end_range()
                continue
            entry = self._inbox.popleft()
            if not isinstance(entry, _Entry):
                self._define(entry)
            elif self._claims.take(entry.position, now_us):
                self._task, self._attempt = entry.task, entry.attempt
                if self.clock.now - self._flushed_at > FLUSH_SECONDS:
                    self._flush()
                if len(entry.items) > 1:
                    self._range, self._item = entry, 0
                    self._claims.open_range(entry.position, len(entry.items))
                else:
                    self._begin(entry.position, entry.function, entry.items[0], entry.inputs)
                    return
        self._flush()

    def _begin_item(self, entry: _Entry) -> None:
        if self.clock.now - self._flushed_at > RANGE_FLUSH_SECONDS:
            self._close_items(entry.position)
            self._flush()
        self._item += 1
        self._begin(entry.position, entry.function, entry.items[self._item - 1], [])

    def _close_items(self, position: int) -> None:
        items, self._items = self._items, []
        if items:
            payloads = [payload for payload, _ in items]
            ends = array("I", accumulate(map(len, payloads))).tobytes() if len(items) > 1 else b""
            wall = sum(wall for _, wall in items)
            self._results.append((position, ResultStatus.succeeded, b"".join(payloads), wall, len(items), ends))

    def _end_range(self) -> None:
        assert self._range is not None
        self._close_items(self._range.position)
        self._range = None
        self._claims.rest()

    def _define(self, message: Message) -> None:
        if isinstance(message, DefineForExecutor):
            self._functions.update((function.number, function) for function in message.functions)
        elif isinstance(message, ForgetForExecutor):
            for number in u32(message.numbers):
                self._functions.pop(number, None)
        elif not isinstance(message, Tidy):
            assert isinstance(message, ExecutorSettings)
            self._settings = message

    def _begin(self, position: int, number: int, payload: bytes, inputs: list[tuple[int, bytes]]) -> None:
        function = self._functions.get(number)
        if function is None:
            raise Violation(f"seed {self.clock.seed}: {self} has to run function {number}, which it was never told of")
        values, lost = self._fetched(payload, inputs)
        if lost:
            self.clock.tell(f"{self}: cannot begin {self.worker.books.jobs[payload[:24]]}, of which something is lost")
            self._missing = True
            self._after(0.0, lambda: self._answer(position, ResultStatus.object_lost, lost, 0))
            return
        run = self.run = self.worker.books.began(self.worker.name, payload, values, function.content)
        job = run.job
        if None in values:
            self.clock.tell(f"{self}: an input of {job} is not in the storage")
            self._after(job.seconds, lambda: self._end(run, position, None))
            return
        self.clock.tell(f"{self}: begins {job}")
        if job.kind is Kind.POISON:
            self._after(job.seconds, lambda: self.die("poisoned") if self.run is run else None)
        elif job.kind is Kind.PARENT:
            self._after(job.seconds, lambda: self._submit_children(run, position, function))
        else:
            self._after(job.seconds, lambda: self._end(run, position, function))

    def _submit_children(self, run: Run, position: int, function: Function) -> None:
        if self.run is not run:
            return
        if self.user is None:
            node = self.worker
            client = ClientNode(node.network, node.books, node.storage, f"inside {self}", node._check_every)
            self.user = User(client, node.books, CHILDREN)
        self.worker.books.became_parent(run)
        children = self._children = self.user.run_inside(run.job, self._task, self._settings.worker, self._attempt)
        self.user.client.heard = lambda: self._child_ended(children, run, position, function)

    def _child_ended(self, children: list[Job], run: Run, position: int, function: Function) -> None:
        if self.run is run and all(job.key in self.worker.books.outcomes for job in children):
            self.user.client.heard = lambda: None
            self._after(0.0, lambda: self._end(run, position, function))

    def _fetched(self, payload: bytes, inputs: list[tuple[int, bytes]]) -> tuple[list[bytes | None], bytes]:
        """The values of the inputs, None where one is no more (the real executor fails the task then); and what is lost."""
        values: list[bytes | None] = []
        lost = b""
        for place, (status, data) in enumerate(inputs):
            name = REFERENCE.unpack(data)[0] if status == ResultStatus.stored else b""
            try:
                values.append(self.worker.storage.get(name) if name else data)
            except LookupError:
                lost += LOST_OBJECT.pack(place, name)
        takes = self.worker.books.jobs[payload[:24]].takes
        try:
            if takes and not lost:
                self.worker.storage.get(takes)
        except LookupError:
            lost = LOST_OBJECT.pack(NO_INPUT, takes)
        return values, lost

    def _end(self, run: Run, position: int, function: Function | None) -> None:
        """A task ends by itself; without a function because it could not be called."""
        if not self.alive or self.run is not run:
            return
        status, payload = ResultStatus.failed, b"an input is gone"
        if function is not None:
            status, payload = self._outcome(run.job, function)
        self.worker.books.finished(run, status)
        self.run = None
        self._answer(position, status, payload, int((self.clock.now - run.began) * 1e6))

    def _answer(self, position: int, status: ResultStatus, payload: bytes, wall: int) -> None:
        """A task is over; the next one begins."""
        if not self.alive:
            return
        self._missing = False
        if self._range is not None and status == ResultStatus.succeeded:
            self._items.append((payload, wall))
        else:
            self._close_items(position)
            self._results.append((position, status, payload, wall, 1, b""))
        if self._range is None:
            self._claims.rest()
        self._next()

    def _outcome(self, job: Job, function: Function) -> tuple[ResultStatus, bytes]:
        runs = len(self.worker.books.runs[job.key])
        if job.kind is Kind.FAILS or (job.kind is Kind.FLAKY and runs <= job.flaky_runs):
            return ResultStatus.failed, b"it failed, as it should"
        if job.kind is Kind.STORED:
            name = self.worker.storage.put(job.value, function.owner)
            if name is None:
                return ResultStatus.failed, b"its owner can own nothing any more"
            return ResultStatus.stored, REFERENCE.pack(name, len(job.value))
        return ResultStatus.succeeded, job.value

    # ---- the end

    def die(self, story: str) -> None:
        """The process ends here and now; its worker hears of it a little later."""
        if not self.alive:
            return
        self.alive = False
        self.worker.books.deaths += bool(self.run or self._inbox or self._results or self._range)
        if self.user is not None:
            self.user.client.vanish()
        self.clock.tell(f"{self}: {story}" + (f" while it runs {self.run.job}" if self.run else ""))
        if self.run is not None:
            self.worker.books.interrupted(self.run)
            self.run = None
        longest = LONG_EXIT_SECONDS if self.clock.chance(LONG_EXITS) else EXIT_SECONDS
        self._after(self.clock.random.random() * longest, lambda: self._exited(story))

    def _exited(self, story: str) -> None:
        if self.worker.alive and self.worker.later(lambda: self._exited(story)):
            return
        del self.worker.executors[self.number]
        if self.worker.alive:
            self.worker.state.executor_exited(self.number, story, self.worker.now)
            self.worker.wake()

    def __str__(self) -> str:
        return f"{self.worker.name}/{self.number}"


@dataclass(slots=True)
class _Entry:
    """A task, or a range of several items."""

    position: int
    function: int
    items: list[bytes]
    inputs: list[tuple[int, bytes]]
    task: int
    attempt: int


def _tasks(message: RunTasks) -> list[_Entry]:
    functions = list(u32(message.functions))
    if len(functions) == 1:
        functions *= len(message.payloads)
    ends = list(u32(message.inputs.ends)) or [0] * len(message.payloads)
    begins = [0, *ends[:-1]]
    pairs = list(zip(message.inputs.statuses, message.inputs.payloads, strict=True))
    return [
        _Entry(
            message.first_position + i,
            function,
            _items(payload, message.item_ends[i] if message.item_ends else b""),
            pairs[begins[i] : ends[i]],
            u64(message.tasks)[i],
            u32(message.attempts)[i] if message.attempts else 1,
        )
        for i, (function, payload) in enumerate(zip(functions, message.payloads, strict=True))
    ]


def _items(payload: bytes, item_ends: bytes) -> list[bytes]:
    ends = list(u32(item_ends)) or [len(payload)]
    return [payload[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
