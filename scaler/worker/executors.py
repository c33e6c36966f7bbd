"""The worker's executors: who runs what, who has it ahead of time, and what becomes of it when one dies.

Executors are told of in numbers that are never used again. With each comes its claims page, on which worker and executor
agree who has a task; it is the one thing here that somebody else may change, and only by taking what was offered.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat

from scaler._core.claims import POSITIONS, Claims
from scaler.ids import u32, u64
from scaler.machine import UNFIT, Outbox, Stop
from scaler.messages import (
    MESSAGE_BYTES,
    DefineForExecutor,
    ExecutorFacts,
    ExecutorSettings,
    ExecutorState,
    ForgetForExecutor,
    Function,
    Message,
    Preloaded,
    Results,
    ResultStatus,
    RunTasks,
    Started,
    function_runs,
)
from scaler.stuck import Finding
from scaler.worker.reports import Done, Reports, Told, results
from scaler.worker.suspects import find
from scaler.worker.tasks import Executor, Pairs, Task, inputs_of

AHEAD_US = 4_000
"""How much measured work an executor may have behind the task it runs, so that it need not wait between short tasks."""
MAX_AHEAD = 256
STARTED_SECONDS = 0.010
"""A task that runs for this long is reported as started, and no other waits behind it."""
MAX_FAILED_FORKS = 5
SPARE_SECONDS = 10.0
"""Executors that ran on lent slots are kept for so long after their last task, since forking one takes as long as many tasks."""
NEWEST_SHARE = 0.3
FORGOTTEN = -1
"""The number of a function of a scheduler that is gone."""


@dataclass(slots=True)
class StartExecutor:
    """Fork an executor; it is told of by executor_started(), or executor_exited() if that fails."""

    executor: int


@dataclass(slots=True)
class KillExecutor:
    """SIGKILL to an executor; executor_exited() follows."""

    executor: int


@dataclass(slots=True)
class AskForAttention:
    """Have an executor send the results it has kept and read what it was told of profiles, though it runs a task."""

    executor: int


@dataclass(slots=True)
class Prepared:
    """All executors are ready for the first time; or never will be."""

    error: str = ""


@dataclass(slots=True)
class Tell:
    """A message to an executor."""

    executor: int
    message: Message


class Executors:
    """All executors of a worker, and the queue before them. What the scheduler is to hear of them is in ``reports``."""

    def __init__(self, slots: int, out: Outbox, preload: str = "") -> None:
        self.functions: dict[int, Function] = {}
        self.reports = Reports()
        self._slots = slots
        self._preload = preload
        self._starting: dict[int, Claims] = {}
        """Executors that run, but are not ready for tasks yet."""
        self._prepared = False
        """Whether all were ready once."""
        self._lending: set[int] = set()
        """Ids of tasks that lend their slots, as the scheduler told last."""
        self._out = out
        self._suspended = False
        """Whether there is no scheduler, and what runs goes on."""
        self._settings: ExecutorSettings | None = None
        self._means: dict[int, float] = {}
        self._queue: deque[Task] = deque()
        self._living: dict[int, Executor] = {}
        self._numbers = 0
        self._failed_forks = 0
        self._places: dict[int, tuple[Executor, int]] = {}
        """Task id to where it was sent."""
        self._ready: dict[int, Task] = {}
        """Task id to what waits in the queue."""

    # ---- coming and going

    def start_all(self) -> None:
        """Once, at the beginning: ask for one for each slot."""
        self._start_missing()

    def _start_missing(self) -> None:
        """One for each slot, and each that is lent."""
        while len(self._living) < self._usable:
            number = self._numbers
            self._numbers += 1
            taken = {executor.slot for executor in self._living.values()}
            slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            self._living[number] = Executor(number, slot)
            self._out.add(StartExecutor(number))

    @property
    def _usable(self) -> int:
        """How many may have tasks at a time."""
        return self._slots + sum(1 for id in self._lending if self._runs(id))

    def _runs(self, id: int) -> bool:
        """Whether an executor runs this task now."""
        place = self._places.get(id)
        return place is not None and place[0].claims is not None and place[0].claims.running == place[1]

    def lend(self, ids: Iterable[int]) -> None:
        """These tasks wait for others: each lends its slot, and nothing should wait behind it."""
        self._lending = set(ids)
        for executor, position in [self._places[id] for id in self._lending if id in self._places]:
            self._free_those_behind(executor, position)
            if executor.claims is not None and executor.claims.running == position:
                self._ask_for_results(executor, position, executor.claims.item(position))
                self._trim(executor, position)
        self._start_missing()

    def retire(self, now: float) -> float | None:
        """End executors that were not needed for a while; returns when to look again, None when there is no need to."""
        spare = sum(1 for e in self._living.values() if e.killed_for is None) - self._usable
        if len(self._living) == self._slots:
            return None
        for executor in list(self._living.values()):
            if executor.sent or executor.claims is None or executor.killed_for is not None:
                executor.idle_since = None
            elif executor.idle_since is None:
                executor.idle_since = now
            elif spare > 0 and now - executor.idle_since >= SPARE_SECONDS:
                spare -= 1
                executor.killed_for = -1, ResultStatus.cancelled, ""
                self._out.add(KillExecutor(executor.number))
        idle = [e.idle_since for e in self._living.values() if e.idle_since is not None and e.killed_for is None]
        return max(now, min(idle) + SPARE_SECONDS) if spare > 0 and idle else None

    def started(self, number: int, claims: Claims) -> None:
        """An executor runs and reads its socket."""
        executor = self._living.get(number)
        if executor is not None:
            self._starting[number] = claims
            self._begin(executor)

    def _preloaded(self, executor: Executor, error: str) -> None:
        """An executor has made the call that comes before all tasks. If that failed once it would again: the worker ends."""
        if error:
            self._give_up(f"the preload {self._preload} failed:\n{error}")
        elif executor.claims is None:
            executor.preloaded = True
            self._begin(executor)

    def _begin(self, executor: Executor) -> None:
        """Give it tasks from now on, if it is ready. What it says may be heard before it is known to have started."""
        if executor.number not in self._starting or (self._preload and not executor.preloaded):
            return
        executor.claims = self._starting.pop(executor.number)
        self._failed_forks = 0
        self._tell_settings(executor)
        if self._preload and not self._prepared and all(e.claims is not None for e in self._living.values()):
            self._prepared = True
            self._out.add(Prepared())

    def _give_up(self, reason: str) -> None:
        """There will be no executors."""
        if self._preload and not self._prepared:
            self._out.add(Prepared(reason))
        self._out.add(Stop(reason, UNFIT if self._preload and not self._prepared else 1))

    def exited(self, number: int, story: str) -> None:
        """An executor is gone. ``story`` tells how: signal or exit code, memory, last output."""
        executor = self._living.pop(number, None)
        if executor is None:
            return
        if executor.claims is None:
            self._starting.pop(number, None)
            self._failed_forks += 1
            if self._failed_forks > MAX_FAILED_FORKS:
                self._give_up(f"executors do not start: {story}")
                return
        self._bury(executor, story)
        self._start_missing()

    def _bury(self, executor: Executor, story: str) -> None:
        """What an executor had when it ended: the task that ran is told of, the others run again."""
        running = executor.claims.running if executor.claims is not None else None
        survivors: list[Task] = []
        for position, task in executor.sent.items():
            del self._places[task.id]
            if executor.killed_for is not None and executor.killed_for[0] == position:
                _, status, text = executor.killed_for
                if len(task.item_ends) or task.base:
                    self.reports.deaths.append((task.id, task.attempt, text, executor.item(position, task), status))
                else:
                    self.reports.done.append(
                        (task.id, task.attempt, status, text.encode(), 0, 0, 0, 1, b"", executor.slot, task.sequence)
                    )
            elif position == running and executor.killed_for is None:
                died = executor.item(position, task)
                self.reports.deaths.append((task.id, task.attempt, story, died, ResultStatus.crashed))
            elif task.function == FORGOTTEN:  # It cannot run here again.
                self.reports.deaths.append((task.id, task.attempt, story, 0, ResultStatus.unspecified))
            else:
                task.keep_rest()
                survivors.append(task)
        for task in reversed(survivors) if not self._suspended else ():
            self._ready[task.id] = task
            self._queue.appendleft(task)
        if executor.killed_for is None:
            self._out.log(30, f"an executor died: {story}")

    def take_settings(self, settings: ExecutorSettings) -> None:
        """Tell all executors, also those to come."""
        self._settings = settings
        for executor in self._living.values():
            self._tell_settings(executor)

    def _tell_settings(self, executor: Executor) -> None:
        if self._settings is not None and executor.claims is not None:
            self._out.add(Tell(executor.number, self._settings))

    # ---- tasks from the scheduler, and back to it

    def add(self, task: Task) -> None:
        """Queue a task."""
        self._ready[task.id] = task
        self._queue.append(task)

    def forget(self, numbers: Iterable[int]) -> None:
        """No task will name these functions any more."""
        for number in numbers:
            self.functions.pop(number, None)
            self._means.pop(number, None)
        for executor in self._living.values():
            known = executor.known.intersection(numbers)
            if known:
                executor.known -= known
                self._out.add(Tell(executor.number, ForgetForExecutor(array("I", sorted(known)))))

    def take_back(self, id: int, attempt: int) -> bool:
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

    def cancel(self, id: int, attempt: int) -> None:
        """Forget a task; stop the executor that runs it."""
        if not self.take_back(id, attempt):
            place = self._places.get(id)
            if place is not None and place[0].sent[place[1]].attempt == attempt:
                self._kill(place[0], place[1], ResultStatus.cancelled, "")

    def suspend(self) -> None:
        """The scheduler is gone: what runs goes on, what has not begun is forgotten."""
        self._suspended = True
        self._queue.clear()
        self._ready.clear()
        self._lending.clear()
        for executor in self._living.values():
            claims, running = executor.claims, executor.running
            for position in [position for position in executor.sent if claims is not None and claims.revoke(position)]:
                del self._places[executor.sent.pop(position).id]
            if claims is not None and running is not None and executor.killed_for is None:
                self._ask_for_results(executor, running, claims.item(running))
                self._trim(executor, running)
        self.reports.forget_unfinished()

    def abandon_all(self) -> None:
        """The scheduler has given our tasks to others: stop them, and forget everything."""
        self._suspended = False
        self.reports = Reports()
        for executor in self._living.values():
            if executor.sent:
                self._abandon(executor)
        self._forget_functions()

    def resume(self) -> list[Told]:
        """There is another scheduler: what it is to know of tasks that were here before, results and what runs.

        It names functions anew. Of a range that runs it knows what is left, and counts items from there.
        """
        self._suspended = False
        survivors, running = self.reports.unacknowledged(), list[Done]()
        self.reports = Reports()
        for executor in self._living.values():
            for task in executor.sent.values():
                task.function_name, task.function = self._name(task.function), FORGOTTEN
                task.sequence += task.base + task.done
                task.base = -task.done
                running.append(_running(executor, task))
        self._forget_functions()
        return [results(running), *survivors] if running else survivors

    def _forget_functions(self) -> None:
        """The scheduler that named them so is gone. What runs has been told of its own."""
        self.functions.clear()
        self._means.clear()
        for executor in self._living.values():
            if executor.known:
                self._out.add(Tell(executor.number, ForgetForExecutor(array("I", executor.known))))
                executor.known.clear()

    # ---- giving out

    def dispatch(self) -> None:
        """Give queued tasks to executors: idle ones first, then ahead of time where tasks are short."""
        if not self._queue:
            return
        self._start_missing()
        living = self.at_work()
        room = self._usable - sum(1 for e in self._living.values() if e.sent or e.killed_for is not None)
        for executor in living:
            if room > 0 and not executor.sent and self._queue:
                self._give(executor, 1)
                room -= 1
        if room < 0:
            return  # Tasks that lent their slots go on before those that run there have ended.
        for executor in living:
            if not self._queue:
                return
            if not executor.sent or executor.reported in executor.sent or self._lends(executor):
                continue  # It is to stay idle, or what it runs takes long: nothing should wait behind it.
            ahead = self._ahead(self._queue[0])
            # Topped up by halves, so that a busy executor gets batches and not single tasks.
            if len(executor.sent) <= ahead // 2:
                share = -(-len(self._queue) // len(living))
                self._give(executor, min(ahead - len(executor.sent), max(1, share)))

    def _lends(self, executor: Executor) -> bool:
        return bool(self._lending) and any(task.id in self._lending for task in executor.sent.values())

    def _ahead(self, task: Task) -> int:
        """How many such tasks an executor may have, the one it runs included."""
        mean = self._means.get(task.function)
        if mean is None:
            return 1
        if task.count > 1:
            return 2  # A range is as long as it should be; another one keeps the executor from waiting.
        return min(MAX_AHEAD, 1 + int(AHEAD_US / (mean + 1.0)))

    def _give(self, executor: Executor, count: int) -> None:
        tasks: list[Task] = []
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
        ids = array("Q", [task.id for task in tasks])
        contexts = [task.trace_context for task in tasks] if any(task.trace_context for task in tasks) else []
        attempts = array("I", [task.attempt for task in tasks])
        again = attempts if attempts.count(1) < len(attempts) else b""
        run = RunTasks(executor.next_position, functions, payloads, inputs_of(tasks), item_ends, ids, contexts, again)
        self._out.add(Tell(executor.number, run))
        executor.next_position += len(tasks)

    def _define_for(self, executor: Executor, tasks: Iterable[Task]) -> None:
        fresh = {task.function for task in tasks} - executor.known
        if fresh:
            executor.known |= fresh
            for functions in function_runs([self.functions[number] for number in sorted(fresh)]):
                self._out.add(Tell(executor.number, DefineForExecutor(functions)))

    # ---- what executors say and do

    def said(self, number: int, message: Message) -> None:
        """A message from an executor."""
        executor = self._living.get(number)
        if executor is not None and isinstance(message, Results):
            self._take_results(executor, message)
        elif executor is not None and isinstance(message, Preloaded):
            self._preloaded(executor, message.error)

    def _take_results(self, executor: Executor, message: Results) -> None:
        sums: dict[int, list[float]] = {}
        slot = executor.slot
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
            first = task.sequence + task.base + task.done
            task.done += count
            self.reports.done.append(
                (task.id, task.attempt, status, payload, wall, cpu, peak, count, ends, slot, first)
            )
            self._forget_if_done(executor, position, task)
            entry = sums.setdefault(task.function, [0.0, 0.0])
            entry[0] += wall
            entry[1] += count
        for function, (total, count) in sums.items():
            mean, old = total / count, self._means.get(function)
            self._means[function] = mean if old is None else old + (mean - old) * NEWEST_SHARE

    def _forget_if_done(self, executor: Executor, position: int, task: Task) -> None:
        if task.done >= task.count:
            del executor.sent[position], self._places[task.id]

    @property
    def need_watching(self) -> bool:
        """Whether watch() should come in STARTED_SECONDS."""
        return any(self._needs_watching(executor) for executor in self._living.values())

    def _needs_watching(self, executor: Executor) -> bool:
        """Whether it has a task that may be running, and nobody has looked at yet; or one with a time limit."""
        if not executor.sent or executor.claims is None or executor.killed_for is not None:
            return False
        position, task = next(iter(executor.sent.items()))
        return executor.reported < position or len(executor.sent) > 1 or bool(task.timeout_us) or task.count > 1

    def watch(self, now: float) -> None:
        """Look at what runs: report what has run for a while, free what waits behind it, stop what runs too long."""
        now_us = int(now * 1e6)
        started = Pairs()
        for executor in list(self._living.values()):
            claims, running = executor.claims, executor.running
            if claims is None or running is None or executor.killed_for is not None:
                continue
            task, ran_us = executor.sent[running], now_us - claims.started_us
            if executor.watched == running:
                self._trim(executor, running)
                if running not in executor.sent:
                    continue
            executor.watched = running
            if task.timeout_us and ran_us >= task.timeout_us:
                text = f"ran for {ran_us / 1e6:.3f} s; its limit is {task.timeout_us / 1e6:.3f} s"
                self._kill(executor, running, ResultStatus.timed_out, text)
            elif ran_us >= STARTED_SECONDS * 1e6 * 0.9:
                self._free_those_behind(executor, running)
                self._ask_for_results(executor, running, claims.item(running))
                if executor.reported < running:
                    executor.reported = running
                    started.add(task.id, task.attempt)
        if started.ids:
            self.reports.messages.append(Started(started.ids, started.attempts))

    def _trim(self, executor: Executor, position: int) -> None:
        """Give back what has not begun of a range that runs for longer than it should: others may have it sooner."""
        task = executor.sent[position]
        begun = executor.claims.trim(position) if executor.claims is not None and task.count > 1 else None
        if begun is not None and begun < task.count:
            task.count = begun
            self.reports.trimmed.append((task.id, task.attempt, task.base + begun))
            self._forget_if_done(executor, position, task)

    def _ask_for_results(self, executor: Executor, running: int, item: int) -> None:
        """Once for each task or item that runs long: those before it ended, and should not wait for it."""
        kept = next(iter(executor.sent)) < running or item > executor.sent[running].done
        if kept and executor.asked != (running, item):
            executor.asked = running, item
            self._out.add(AskForAttention(executor.number))

    def _free_those_behind(self, executor: Executor, running: int) -> None:
        """Take back what waits behind a task that runs for long: another executor may have it sooner."""
        waiting = [position for position in executor.sent if position > running]
        self._requeue(executor, waiting)

    def _requeue(self, executor: Executor, positions: list[int]) -> None:
        """Back to the front of the queue, in order, what the executor has not begun."""
        claims = executor.claims
        for position in reversed(positions):
            if claims is not None and claims.revoke(position):
                task = executor.sent.pop(position)
                del self._places[task.id]
                self._ready[task.id] = task
                self._queue.appendleft(task)

    def _kill(self, executor: Executor, position: int, status: ResultStatus, text: str) -> None:
        """Stop the executor for the sake of one task; the others go on elsewhere."""
        if executor.killed_for is None:
            executor.killed_for = position, status, text
            self._requeue(executor, [other for other in executor.sent if other != position])
            self._out.add(KillExecutor(executor.number))
        if status == ResultStatus.cancelled:
            # Nobody asks for it any more: it must not run again, and may be given anew before the executor has ended.
            del self._places[executor.sent.pop(position).id]

    def end_running(self, executor: Executor, status: ResultStatus, text: str) -> None:
        """End the task that runs: ``text`` says why, without its name."""
        if executor.running is not None:
            self._kill(executor, executor.running, status, text)

    def replace(self, executor: Executor, reason: str) -> None:
        """End an executor through no fault of its tasks: they run elsewhere, also the one that runs."""
        self._out.log(30, f"{reason}; it is replaced")
        self._kill(executor, -1, ResultStatus.unspecified, "")

    def _abandon(self, executor: Executor) -> None:
        """Stop the executor and forget what it has."""
        for task in executor.sent.values():
            self._places.pop(task.id, None)
        executor.sent.clear()
        executor.killed_for = executor.killed_for or (-1, ResultStatus.cancelled, "")
        self._out.add(KillExecutor(executor.number))

    # ---- asked

    @property
    def empty(self) -> bool:
        """Whether no task is here."""
        return not self._queue and not self._places

    def at_work(self) -> list[Executor]:
        """Those that can have tasks."""
        return [e for e in self._living.values() if e.claims is not None and e.killed_for is None]

    @property
    def running(self) -> int:
        """How many tasks run."""
        return sum(1 for e in self._living.values() if e.claims is not None and e.claims.running is not None)

    @property
    def queued(self) -> int:
        """How many tasks have not begun."""
        return len(self._queue) + max(0, len(self._places) - self.running)

    def facts(self, now: float, vitals: Callable[[int], tuple[int, float, int]]) -> list[ExecutorFacts]:
        """What monitors are told of each. ``vitals`` knows an executor's pid, processor use in percent and resident bytes."""
        return [self._facts(e, int(now * 1e6), *vitals(e.number)) for e in sorted(self._living.values(), key=_slot)]

    def _facts(self, executor: Executor, now_us: int, pid: int, cpu: float, resident: int) -> ExecutorFacts:
        facts = ExecutorFacts(executor.slot, pid, ExecutorState.idle, cpu_percent=cpu, resident_bytes=resident)
        running = executor.running
        facts.queued = len(executor.sent) - (running is not None)
        if running is not None and executor.claims is not None:
            task = executor.sent[running]
            facts.state, facts.task = ExecutorState.running, task.id
            facts.function_name = task.function_name or self._name(task.function)
            facts.running_microseconds = max(0, now_us - executor.claims.started_us)
        if executor.killed_for is not None:
            facts.state = ExecutorState.ending
        elif executor.claims is None:
            facts.state = ExecutorState.starting
        return facts

    def suspects(self) -> list[Finding]:
        """Executors that do not do what they were told."""
        return list(find(self._living.values(), self._preload if self._starting else "", self._name))

    def _name(self, number: int) -> str:
        function = self.functions.get(number)
        return function.name if function is not None else ""

    def snapshot(self) -> dict[str, int]:
        return {
            "queued": len(self._queue),
            "sent": len(self._places),
            "executors": sum(1 for e in self._living.values() if e.claims is not None),
            "functions": len(self.functions),
        }

    def check(self) -> None:
        assert {task.id: task for task in self._queue} == self._ready
        assert len(self._queue) == len(self._ready)
        sent = {task.id: (e, p) for e in self._living.values() for p, task in e.sent.items()}
        assert sent.keys() == self._places.keys()
        assert all(self._places[id][0] is e and self._places[id][1] == p for id, (e, p) in sent.items())
        assert not self._ready.keys() & self._places.keys()
        for executor in self._living.values():
            assert list(executor.sent) == sorted(executor.sent)
            assert executor.claims is not None or not executor.sent


def _slot(executor: Executor) -> int:
    return executor.slot


def _running(executor: Executor, task: Task) -> Done:
    """A task that runs, or what is left of a range."""
    nothing = ResultStatus.unspecified, b"", 0, 0, 0
    return task.id, task.attempt, *nothing, task.count - task.done, b"", executor.slot, task.sequence
