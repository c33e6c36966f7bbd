"""The client's decisions: what to tell the scheduler, and what to tell it again after a lost connection."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from scaler.client.arrays import ArrayTask, ItemsEnded, OpenArrays
from scaler.client.collected import Collections
from scaler.client.tally import Tally
from scaler.errors import ProtocolError
from scaler.ids import task_id, u32, u64
from scaler.machine import Outbox, Output, Peer
from scaler.messages import (
    AllOffered,
    Awaiting,
    Cancel,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    ClusterEnding,
    DefineFunctions,
    ExplainTask,
    Explanation,
    ForgetFunctions,
    Function,
    HeartbeatEcho,
    Message,
    Recover,
    Recovered,
    RecoveredClient,
    Restore,
    Restored,
    Results,
    ResultStatus,
    Resuming,
    RunningInside,
    ShutdownCluster,
    ShutdownRefused,
    Submit,
    TaskOptions,
    TaskOutput,
    function_runs,
    runs,
)

MESSAGE_TASKS = 20_000
"""At most so many tasks in one message."""


@dataclass(slots=True)
class Group:
    """Tasks of one graph, kept for a second offer until all that were asked for among them have ended."""

    open_targets: int
    members: list[int] = field(default_factory=list)
    ended: dict[int, Task] = field(default_factory=dict)
    """Those whose results were delivered: a restarted scheduler needs them again, for their dependents."""
    tasks: list[Task] = field(default_factory=list)
    """All of them, by sequence without gaps: what results are made again from."""
    shared: list[bytes] = field(default_factory=list)
    """The objects that several tasks' arguments refer to."""
    arguments: list[bytes] = field(default_factory=list)
    """Once it is closed: the objects that hold its tasks' arguments."""
    results: list[bytes] = field(default_factory=list)
    """Stored results that were fetched, and are inputs of others until it is closed. The service keeps them here."""

    @property
    def closed(self) -> bool:
        """Whether nothing of it will be offered again."""
        return not self.open_targets


@dataclass(slots=True, eq=False)
class Task:
    """A task as the scheduler is told of it."""

    sequence: int
    function: int
    payload: bytes
    options: TaskOptions | None = None
    dependencies: tuple[int, ...] = ()
    wanted: bool = True
    group: Group | None = None
    object_id: bytes = b""
    """Where its arguments are, when they are in the object storage: ids, one after the other."""
    cancelled: bool = False


@dataclass(slots=True)
class Ended:
    """Tasks ended: the results, and those of them that are news."""

    results: Results
    tasks: list[Task | None]
    """In the order of the results; None for what had ended before."""
    items: list[ItemsEnded] = field(default_factory=list)
    """Items of arrays among them."""
    closed: list[Group] = field(default_factory=list)
    """Groups that ended with these."""


@dataclass(slots=True)
class Connected:
    """The scheduler told its settings."""

    settings: ClientSettings


@dataclass(slots=True)
class LeftBehind:
    """What clients of the same name have left, as far as this tells."""

    clients: list[RecoveredClient]
    more: bool
    """Whether there is more to come."""


@dataclass(slots=True)
class Slots:
    """The scheduler told how many tasks run at once."""

    slots: int


@dataclass(slots=True)
class Refusal:
    """The cluster is not to be shut down by clients."""

    text: str


@dataclass(slots=True)
class RestoreAsked:
    """Put these objects (ids one after the other) again; to be answered by restored()."""

    objects: bytes


@dataclass(slots=True)
class ClusterEnded:
    """The scheduler stops; nothing will be answered."""

    text: str


class ClientState:
    """See scaler.machine.State for the contract."""

    def __init__(self, heartbeat_seconds: float = 2.0, timeout_seconds: float = 60.0, name: str = "") -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._timeout_seconds = timeout_seconds
        self._out = Outbox()
        self._scheduler: int | None = None
        self._heard = 0.0
        self._heartbeat_at: float | None = None
        self._inside: RunningInside | None = None
        self._functions: dict[int, Function] = {}
        self._uses: Counter[int] = Counter()
        self._retired: set[int] = set()
        self._unfinished: dict[int, Task] = {}
        self._arrays = OpenArrays()
        self._fresh: list[Task] = []
        """Submitted since the last drain."""
        self._said: list[Message] = []
        """Everything else to say, in order, since the last drain."""
        self._last_scheduler = b""
        """The identity of the one that it is, or was, connected to."""
        self._slots = 0
        """Of all workers, as it told last."""
        self.tally = Tally()
        self._number = 0
        """By which the scheduler knows this client, 0 until it says so."""
        self._name = name
        self.collections = Collections()
        """What is told of results, where the scheduler keeps them for a client of this name."""
        self._recovering = False
        """Whether it has asked what was left behind, and not heard all."""
        self._awaited: set[int] = set()
        """Numbers of functions of tasks that another one submitted: they are awaited, not offered."""
        self._questions: dict[int, int] = {}
        """Request to sequence: why is that task where it is?"""
        self._handlers: dict[type, Callable[[Any], None]] = {
            ClientSettings: self._settings,
            Explanation: self._explanation,
            Results: self._results,
            HeartbeatEcho: self._echo,
            ShutdownRefused: lambda message: self._out.add(Refusal(message.text)),
            ClusterEnding: self._ending,
            TaskOutput: self._out.add,
            Recovered: self._recovered,
            Restore: lambda message: self._out.add(RestoreAsked(message.objects)),
        }

    # ---- told by the user's threads, through the service

    def run_inside(self, inside: RunningInside) -> None:
        """What is submitted from now on is submitted inside this task."""
        self._inside = inside
        self._say(inside)

    def define(self, function: Function) -> None:
        """A function that tasks will name."""
        self._functions[function.number] = function
        self.tally.define(function.number, function.name)
        self._say(DefineFunctions([function]))

    def retire(self, number: int) -> None:
        """No more tasks will name this function."""
        self._retired.add(number)
        self._forget_if_unused(number)

    def submit(self, tasks: Iterable[Task]) -> None:
        """New tasks. Their sequences are new."""
        for task in tasks:
            self._unfinished[task.sequence] = task
            self._uses[task.function] += 1
            self._fresh.append(task)

    def submit_array(self, task: ArrayTask) -> None:
        """A new array. Its sequences are new."""
        self._arrays.add(task)
        self._uses[task.function] += 1
        self.tally.arguments_bytes += len(task.items)
        for message in task.offers():
            self._say(message)

    def cancel_array(self, task: ArrayTask) -> None:
        """Stop those of its items that have not ended."""
        if task.left:
            task.cancelled = True
            self._say(task.cancellation())

    def submit_alone(self, tasks: list[Task], now: float) -> tuple[int, Message] | None:
        """Submit a task where that is all there is to do: the scheduler's number and what to tell it, at once.

        None, and nothing happened, where it should go with others: while tasks are unfinished, or anything is to be said.
        """
        busy = self._unfinished or self._fresh or self._said or self._out.outputs
        if self._scheduler is None or busy or len(tasks) != 1 or tasks[0].options is not None:
            return None
        self.submit(tasks)
        self._fresh = []
        self.tally.arguments_bytes += len(tasks[0].payload)
        self.tally.began(now)
        return self._scheduler, _submission(tasks)

    def cancel(self, sequences: Iterable[int]) -> None:
        """Stop these, as far as they have not ended."""
        open_ones = array("Q", [sequence for sequence in sequences if sequence in self._unfinished])
        for sequence in open_ones:
            self._unfinished[sequence].cancelled = True
        if open_ones:
            self._say(Cancel(open_ones))

    def clear(self) -> None:
        """Stop all. Not by ClearTasks: said after a lost connection, that would stop what was submitted meanwhile."""
        self.cancel(list(self._unfinished))
        for task in list(self._arrays):
            self.cancel_array(task)

    def recover(self) -> None:
        """Ask what clients of the same name have left behind; answered by LeftBehind, once or more."""
        self._recovering = True
        if self._number:
            self._say(Recover())

    def _recovered(self, message: Recovered) -> None:
        self._recovering = self._recovering and message.more
        self._out.add(LeftBehind(message.clients, message.more))

    def take_over(self, number: int, sequences: Iterable[int], arrays: Iterable[ArrayTask]) -> None:
        """Tasks and arrays that a client before this one has submitted, as calls of a function of this number. They are awaited.

        Before the first connection.
        """
        self._awaited.add(number)
        self._retired.add(number)
        self._functions[number] = Function(number, "", name="(recovered)")
        self.tally.define(number, "(recovered)")
        # Which of them take results of others is not known: as in a graph, these stay until all have ended.
        group = Group(0)
        group.tasks = [Task(sequence, number, b"", group=group) for sequence in sequences]
        group.members = [task.sequence for task in group.tasks]
        group.open_targets = self._uses[number] = len(group.tasks)
        self._unfinished.update((task.sequence, task) for task in group.tasks)
        for whole in arrays:
            self._arrays.add(whole)
            self._uses[number] += 1
        self._forget_if_unused(number)

    def restored(self, objects: bytes, failures: list[str]) -> None:
        """These are in the object storage again, or why not. A lost connection may lose it: then it is asked again."""
        self._say(Restored(objects, failures))

    def explain(self, request: int, sequence: int) -> None:
        """Ask why a task is where it is; answered by an Explanation. A lost connection may have it asked again."""
        self._questions[request] = sequence
        if self._number:
            self._say(ExplainTask(request, task_id(self._number, sequence)))

    def _echo(self, message: HeartbeatEcho) -> None:
        self.collections.answered(message.sent_microseconds)
        self._slots = message.slots
        self._out.add(Slots(message.slots))

    def _settings(self, message: ClientSettings) -> None:
        self._number = message.client_number
        self._slots = max(self._slots, message.slots)
        self.collections.on = bool(self._name and message.kept_seconds)
        if self._recovering:
            self._say(Recover())
        for request, sequence in self._questions.items():
            self._say(ExplainTask(request, task_id(self._number, sequence)))
        self._out.add(Connected(message))

    def _explanation(self, message: Explanation) -> None:
        if self._questions.pop(message.request, None) is not None:
            self._out.add(message)

    def goodbye(self) -> None:
        """Leave for good."""
        self._say(ClientGoodbye())

    def shutdown(self) -> None:
        """Stop the cluster; answered by ClusterEnded or Refusal."""
        self._say(ShutdownCluster())

    def _say(self, message: Message) -> None:
        # What was submitted before goes before.
        self._offer(self._fresh)
        self._fresh = []
        self._said.append(message)

    # ---- told by the driver

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        """Offer everything that is unfinished, again or for the first time."""
        self._scheduler, self._heard, self._number = peer, now, 0
        self.collections.connected()
        self._heartbeat_at = now + self._heartbeat_seconds
        self._fresh = []
        said = [message for message in self._said if isinstance(message, (ClientGoodbye, ShutdownCluster))]
        # Those said before may not have arrived.
        cancelled = array("Q", [task.sequence for task in self._unfinished.values() if task.cancelled])
        resuming = self._last_scheduler not in (b"", who.identity) and self.unfinished > 0
        self._said = [Resuming(self._slots)] if resuming else []
        self._last_scheduler = who.identity
        self._said += [] if self._inside is None else [self._inside]
        functions = [function for number, function in self._functions.items() if number not in self._awaited]
        if functions:
            self._said += [DefineFunctions(some) for some in function_runs(functions)]
        # Dependencies go before their dependents, also where what is offered is cut into several messages.
        offered = [*self._needed_again(), *self._unfinished.values()]
        if self._awaited:
            awaited = array("Q", [task.sequence for task in offered if task.function in self._awaited])
            offered = [task for task in offered if task.function not in self._awaited]
            self._said += [Awaiting(awaited)] if awaited else []
        self._offer(sorted(offered, key=lambda task: task.sequence))
        for whole in self._arrays:
            self._said += whole.offers_again()
        if cancelled:
            self._said.append(Cancel(cancelled))
        self._said += [whole.cancellation() for whole in self._arrays if whole.cancelled]
        self._said += [AllOffered()] if resuming else []
        self._said += said

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        handler = self._handlers.get(type(message))
        if peer != self._scheduler or handler is None:
            return
        self._heard = now
        try:
            handler(message)
        except (ProtocolError, ValueError, IndexError, KeyError, OverflowError) as error:
            reason = f"{type(message).__name__}: {error}"
            self._out.log(30, f"the scheduler broke the protocol ({reason}); connecting again")
            self._out.close(peer, reason)
            self.peer_lost(peer, reason, now)
        if not self._unfinished and self.tally.busy_since is not None and not len(self._arrays):
            self.tally.finished(now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        if peer == self._scheduler:
            self._scheduler = self._heartbeat_at = None
            self._number = 0

    def tick(self, now: float) -> None:
        if self._heartbeat_at is None or now < self._heartbeat_at or self._scheduler is None:
            return
        late = now - self._heartbeat_at
        self._heartbeat_at = now + self._heartbeat_seconds
        if late > self._heartbeat_seconds:
            self._heard += (
                late  # This process did nothing so long: what the scheduler said meanwhile is still to be read.
            )
        if now - self._heard > self._timeout_seconds:
            peer, self._scheduler = self._scheduler, None
            self._heartbeat_at = None
            self._out.log(30, f"the scheduler was silent for {now - self._heard:.0f} s; connecting again")
            self._out.close(peer, "silent for too long")
        else:
            collected = self.collections.take(int(now * 1e6))
            if collected is not None:
                self._out.send(self._scheduler, collected)
            self._out.send(self._scheduler, ClientHeartbeat(int(now * 1e6)))

    def drain(self, now: float) -> list[Output]:
        if self.tally.busy_since is None and (self._unfinished or len(self._arrays)):
            self.tally.began(now)
        if self._scheduler is not None:
            self._offer(self._fresh)
            self._fresh = []
            for message in self._said:
                self._out.send(self._scheduler, message)
            self._said = []
        return self._out.take()

    def next_deadline(self) -> float | None:
        return self._heartbeat_at

    # ---- inside

    def _needed_again(self) -> list[Task]:
        """Tasks that ended and whose results unfinished tasks take as input, should the scheduler not know them."""
        needed: dict[int, Task] = {}
        pending = [task for task in self._unfinished.values() if task.group is not None and task.group.ended]
        while pending:
            task = pending.pop()
            assert task.group is not None
            for sequence in task.dependencies:
                ended = task.group.ended.get(sequence)
                if ended is not None and sequence not in needed:
                    needed[sequence] = replace(ended, wanted=False)
                    pending.append(ended)
        return list(needed.values())

    def _offer(self, tasks: list[Task]) -> None:
        parts: list[list[Task]] = []
        for start in range(0, len(tasks), MESSAGE_TASKS):
            some = tasks[start : start + MESSAGE_TASKS]
            sizes = [len(task.payload) + 8 * len(task.dependencies) for task in some]
            self.tally.arguments_bytes += sum(sizes)
            parts += [some[first:last] for first, last in runs(sizes)]
        submissions = [_submission(part) for part in parts]
        # A graph is sent as a whole: what is depended on in a later part must not be done and forgotten before.
        grouped = [number for number, part in enumerate(parts) if any(task.group is not None for task in part)]
        for submission in submissions[: grouped[-1]] if grouped else ():
            submission.more = True
        self._said += submissions

    def _results(self, message: Results) -> None:
        message = _checked(message)
        ended = Ended(message, [self._unfinished.pop(sequence, None) for sequence in u64(message.tasks)])
        self.tally.note(message, ended.tasks)
        for task in ended.tasks:
            if task is not None:
                self._uses[task.function] -= 1
                if task.group is not None and task.group.open_targets:
                    task.group.ended[task.sequence] = task
                    self._uses[task.function] += 1
                    if task.wanted:
                        self._one_target_less(task.group, ended)
        if len(self._arrays) and None in ended.tasks:
            self._end_items(message, ended)
        self._out.add(ended)
        for number in list(self._retired):
            self._forget_if_unused(number)

    def _end_items(self, message: Results, ended: Ended) -> None:
        counts = u32(message.counts)
        for i, (sequence, task) in enumerate(zip(u64(message.tasks), ended.tasks, strict=True)):
            whole = self._arrays.find(sequence) if task is None else None
            if whole is None:
                continue
            begin = sequence - whole.first
            ends = u32(message.item_ends[i]) if message.item_ends else array("I")
            for first, last in whole.end(begin, min(begin + (counts[i] if counts else 1), len(whole))):
                payload, part = message.payloads[i], ends[first - begin : last - begin]
                if part and len(part) < len(ends):
                    before = ends[first - begin - 1] if first > begin else 0
                    payload, part = payload[before : part[-1]], array("I", [end - before for end in part])
                self.tally.items_ended(whole.function, whole.first + first, last - first, message, i)
                ended.items.append(ItemsEnded(whole, first, last, message.statuses[i], payload, part))
            if not whole.left:
                self._arrays.remove(whole)
                self._uses[whole.function] -= 1

    def _one_target_less(self, group: Group, ended: Ended) -> None:
        group.open_targets -= 1
        if group.open_targets:
            return
        for sequence in group.members:
            task = self._unfinished.pop(sequence, None) or group.ended.get(sequence)
            if task is not None:
                self._uses[task.function] -= 1
                if task.object_id:
                    group.arguments.append(task.object_id)
        group.ended.clear()
        ended.closed.append(group)

    def _forget_if_unused(self, number: int) -> None:
        if not self._uses[number] and number in self._functions:
            self._retired.discard(number)
            del self._functions[number], self._uses[number]
            if number in self._awaited:
                self._awaited.remove(number)  # The scheduler does not know it.
                return
            self._say(ForgetFunctions(array("I", [number])))

    def _ending(self, message: ClusterEnding) -> None:
        self._out.add(ClusterEnded(message.text))

    # ---- asked

    @property
    def unfinished(self) -> int:
        """How many tasks and items have not ended."""
        return len(self._unfinished) + sum(whole.left for whole in self._arrays)

    def function_name(self, number: int) -> str:
        """What to call a function to people."""
        function = self._functions.get(number)
        return function.name if function is not None else f"function {number}"

    def snapshot(self) -> dict[str, Any]:
        return {
            "connected": self._scheduler is not None,
            "unfinished": self.unfinished,
            "functions": len(self._functions),
        }

    def check(self) -> None:
        groups = {id(task.group): task.group for task in self._unfinished.values() if task.group is not None}
        uses = Counter(task.function for task in self._unfinished.values())
        uses.update(whole.function for whole in self._arrays)
        uses.update(task.function for group in groups.values() for task in group.ended.values())
        assert +self._uses == uses
        assert uses.keys() <= self._functions.keys()


def _submission(tasks: list[Task]) -> Submit:
    """One message of columns."""
    functions = array("I", [task.function for task in tasks])
    if functions.count(functions[0]) == len(functions):
        functions = functions[:1]
    submit = Submit(array("Q", [task.sequence for task in tasks]), u32(functions), [task.payload for task in tasks])
    if any(task.options is not None for task in tasks):
        _add_options(submit, tasks)
    if any(task.dependencies for task in tasks):
        ends, dependencies = array("I"), array("Q")
        for task in tasks:
            dependencies.extend(task.dependencies)
            ends.append(len(dependencies))
        submit.dependency_ends, submit.dependencies = ends, dependencies
    if not all(task.wanted for task in tasks):
        submit.wanted = bytes(task.wanted for task in tasks)
    return submit


def _add_options(submit: Submit, tasks: list[Task]) -> None:
    none = TaskOptions()
    numbers: dict[int, int] = {}
    column = array("I")
    for task in tasks:
        options = task.options or none
        if id(options) not in numbers:
            numbers[id(options)] = len(submit.option_sets)
            submit.option_sets.append(options)
        column.append(numbers[id(options)])
    submit.options = column[:1] if len(submit.option_sets) == 1 else column


def _checked(message: Results) -> Results:
    """Raises ProtocolError when its columns do not fit together, before anything is made of it."""
    count, counts = len(message.payloads), u32(message.counts)
    columns = message.wall_microseconds, message.cpu_microseconds, message.peak_memory_bytes
    if len(u64(message.tasks)) != count or len(message.statuses) != count:
        raise ProtocolError("columns of different lengths")
    if any(len(u64(column)) != count for column in columns) or len(u32(message.retried)) not in (0, count):
        raise ProtocolError("columns of different lengths")
    if len(counts) not in (0, count) or len(message.item_ends) not in (0, count):
        raise ProtocolError("columns of different lengths")
    if message.statuses and max(message.statuses) > max(ResultStatus):
        raise ProtocolError(f"there is no result status {max(message.statuses)}")
    for i, ends in enumerate(map(u32, message.item_ends)):
        if ends and (len(ends) != (counts[i] if counts else 1) or ends[-1] != len(message.payloads[i])):
            raise ProtocolError("the results of items do not fit together")
    return message
