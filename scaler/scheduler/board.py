"""The board: every task the scheduler knows, in columns. No peers, no messages to send, no time.

``_core`` counts and orders; the lists here hold the bytes that travel. A task is a dense index everywhere inside; ids are
for the edges.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from scaler._core.balance import place, retract
from scaler._core.graph import Graph
from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues
from scaler._core.slots import NONE, Slots
from scaler._core.table import clear_objects, fill, gather, gather_objects, same_high, scatter, scatter_objects
from scaler.ids import SEQUENCE_BITS, task_id
from scaler.messages import Inputs, ResultStatus, TaskOptions
from scaler.scheduler.arrays import TaskArray
from scaler.scheduler.clock import Clock
from scaler.scheduler.ends import Counters, End
from scaler.scheduler.failures import Failures
from scaler.scheduler.functions import Functions
from scaler.scheduler.graphs import Graphs
from scaler.scheduler.kept_results import KeptResults
from scaler.scheduler.life import TaskEvent, TaskState, table
from scaler.scheduler.lineage import Lineage
from scaler.scheduler.locality import Locality
from scaler.scheduler.owed import GivenUp
from scaler.scheduler.placement import Placement
from scaler.scheduler.ranges import Ranges
from scaler.scheduler.ranks import MAX_DEPTH, alike, rank, signed
from scaler.scheduler.requirements import Requirements
from scaler.scheduler.retries import MAX_DEATHS, is_retried, note_error, times_retried
from scaler.scheduler.special import Special
from scaler.scheduler.times import Times
from scaler.scheduler.traces import Traces

TARGET_US = 10_000
"""How much measured work a worker holds at most, for each slot."""
LARGEST_INPUTS = 48 << 20
"""What the inputs of one task may come to, in bytes, since they travel in one message. Large ones do not: they are stored."""


_ENDED = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


class Board:
    """The tasks and who holds them."""

    def __init__(self, target_us: int = TARGET_US, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.times = Times(self.clock)
        self.graphs = Graphs(self.clock)
        self.failures = Failures(self)
        self.slots = Slots()
        self.life = Lifecycle(table(), len(TaskState), len(TaskEvent))
        self.graph = Graph()
        self.queues = ReadyQueues()
        self.loads = Loads(target_us)
        self.requirements = Requirements(self.loads)
        self.functions = Functions(target_us)
        self.ranges = Ranges(self)
        self.traces = Traces(self)
        self.lineage = Lineage(self)
        self.counters = Counters()
        self.released_objects: list[tuple[bytes, bytes]] = []
        """(payload, owner) of stored results that nobody will fetch."""
        self.given_up = GivenUp()
        self.changed = False
        """Whether there is something for a placement pass to see."""
        self.any_unwanted = False
        self.stopped: list[tuple[int, int, int]] = []
        """(worker, task id, attempt) of tasks that workers hold and nobody wants any more."""
        self._payloads: list[Any] = []
        self._function = array("I")
        self._class = array("I")
        self._priority = array("I")
        self._share = array("I")
        self.special: dict[int, Special] = {}
        self.results = KeptResults(self)
        self.locality = Locality(self)
        self._held: set[int] = set()
        self._timed = 0
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.slots)

    # ---- coming

    def add(
        self,
        ids: array[int],
        functions: array[int],
        payloads: list[bytes],
        groups: list[tuple[TaskOptions, array[int]]],
        depth: int = 0,
        share: int = 0,
    ) -> array[int]:
        """Enter new tasks of one client, in state waiting; returns their indexes.

        ``functions`` has one entry for all or one for each. ``groups`` says which options (positions in the columns) go
        with which; positions not named have none. ``depth`` says inside how many tasks they were submitted, and ``share`` for
        whom (u32): all for whom there are tasks get as much. Raises KeyError for an id that is known.
        """
        tasks = self.slots.add(ids)
        self._counts[ids[0] >> SEQUENCE_BITS] += len(ids)
        scatter_objects(self._payloads, tasks, payloads)
        if len(functions) == 1:
            fill(self._function, tasks, functions[0])
            self.functions.use_same(functions[0], len(tasks))
        else:
            scatter(self._function, tasks, functions)
            self.functions.use(functions, 1)
        fill(self._class, tasks, self.requirements.class_of(()))
        fill(self._priority, tasks, rank(0, depth))
        fill(self._share, tasks, share)
        for options, positions in groups:
            chosen = tasks if len(positions) == len(tasks) else array("I", [tasks[p] for p in positions])
            self._set_options(chosen, options, depth)
        self.life.open(tasks, TaskState.WAITING)
        self.times.came(tasks)
        return tasks

    def hold(self, tasks: array[int]) -> None:
        """None of these new tasks begins before it is released: more that depends on them is to come."""
        self._held.update(tasks)

    def enter_range(self, id: int, whole: TaskArray) -> int:
        """Enter a task for a range of this array, in state waiting; returns its index."""
        tasks = self.add(array("Q", [id]), array("I", [whole.function]), [b""], [], share=whole.share)
        fill(self._class, tasks, self.requirements.class_of(whole.options.capabilities))
        fill(self._priority, tasks, rank(whole.options.priority, whole.depth))
        self._timed += bool(whole.options.timeout_milliseconds)
        return tasks[0]

    def _set_options(self, tasks: array[int], options: TaskOptions, depth: int) -> None:
        fill(self._class, tasks, self.requirements.class_of(options.capabilities))
        fill(self._priority, tasks, rank(options.priority, depth))
        if options.trace_context:
            self.traces.came(tasks, options)
        if options.retries or options.timeout_milliseconds or options.name:
            for task in tasks:
                self.special[task] = Special(options, options.retries)
            if options.timeout_milliseconds:
                self._timed += len(tasks)

    def mark_unwanted(self, tasks: Iterable[int]) -> None:
        """Nobody but dependents wants these results."""
        for task in tasks:
            self._special_of(task).unwanted = True
            self.any_unwanted = True

    def depend(self, task: int, dependencies: array[int]) -> None:
        """``task`` takes these results (indexes of known tasks) as input, in this order."""
        for dependency in dependencies:
            if self.life.state(dependency) == TaskState.SUCCEEDED:
                self.graph.mark_finished(dependency)
        self.graph.add(task, dependencies)

    def is_held(self, task: int) -> bool:
        """Whether it is not to begin before it is released."""
        return task in self._held

    def release(self, tasks: array[int]) -> list[End]:
        """Let these new tasks go to the queues, as far as nothing is missing; returns those that cannot ever run.

        The others take the places they have now among all tasks when they are ready. So what was submitted first goes first,
        and a client that submits the tasks of a graph longest chain first has them run in that order.
        """
        self._held.difference_update(tasks)
        if not len(self.graph):
            self.queue(self.life.apply(TaskEvent.UNBLOCK, tasks))
            return []
        too_large: list[int] = []
        for waits, some in groupby(tasks, lambda task: self.graph.missing(task) > 0):
            run = array("I", some)
            if waits:
                self.queues.reserve(run)
            else:
                too_large += self._queue_unblocked(run)
        return self._end_too_large(too_large)

    def _unblock(self, tasks: array[int]) -> list[End]:
        """All inputs of these are there: queue them, unless the inputs are too large to travel."""
        return self._end_too_large(self._queue_unblocked(tasks))

    def _queue_unblocked(self, tasks: array[int]) -> list[int]:
        """Queue those that are not held, and whose inputs can travel; returns the ones whose inputs are too large."""
        fitting, too_large = array("I"), []
        for task in tasks:
            if task in self._held or self.life.state(task) != TaskState.WAITING:
                continue
            if self.results.input_bytes(task) > LARGEST_INPUTS:
                too_large.append(task)
            else:
                fitting.append(task)
        self.queue(self.life.apply(TaskEvent.UNBLOCK, fitting))
        return too_large

    def _end_too_large(self, tasks: list[int]) -> list[End]:
        ends: list[End] = []
        for task in tasks:
            if self.life.state(task) != TaskState.WAITING:
                continue  # The end of another one ended it just now.
            text = (
                f"the inputs of {self.label(task)} come to {self.results.input_bytes(task)} bytes in "
                f"{len(self.graph.dependencies(task))} parts; at most {LARGEST_INPUTS} can travel with one task. "
                "Combine them in a tree of smaller steps"
            )
            ends += self.end(task, ResultStatus.lost, text.encode())
        return ends

    def queue(self, tasks: array[int], front: bool = False) -> None:
        """These are ready."""
        push = self.queues.push_front if front else self.queues.push
        if self.lineage and (blocked := set(self.lineage.blocked(tasks))):
            tasks = array("I", [task for task in tasks if task not in blocked])
        if not tasks:
            return
        self.times.queued(tasks)
        if self.locality:
            self.locality.prefer(tasks)
        if len(self.ranges):
            self.ranges.mark_divisible(tasks)
        for (requirement_class, priority, share), chosen in alike(tasks, self._class, self._priority, self._share):
            push(chosen, requirement_class, signed(priority), share)

    # ---- placing

    def place(self) -> list[Placement]:
        """One pass: ready tasks to workers with room."""
        placements: list[Placement] = []
        divisible = 0
        while divisible != NONE:
            placed, divisible = place(
                self.queues,
                self.loads,
                self._function,
                self.functions.costs,
                self.ranges.own_costs,
                self.locality.preferred,
            )
            placements += [self._placement(worker, tasks) for worker, tasks in placed]
            if divisible != NONE:
                self.ranges.divide(divisible)
        return placements

    def _placement(self, worker: int, tasks: array[int]) -> Placement:
        self.life.apply(TaskEvent.ASSIGN, tasks)
        self.times.assigned(tasks)
        if self.locality:
            self.locality.placed(worker, tasks)
        timeouts = None
        if self._timed:
            timeouts = array("Q", [self._timeout(task) for task in tasks])
        placement = Placement(
            worker,
            self.slots.ids(tasks),
            self.life.bump(tasks),
            gather(self._function, tasks),
            gather_objects(self._payloads, tasks),
            timeouts,
            self.results.inputs(tasks) if len(self.graph) else Inputs(),
        )
        if len(self.ranges):
            self._put_in_ranges(placement, tasks)
        self.traces.placed(placement, tasks)
        return placement

    def _put_in_ranges(self, placement: Placement, tasks: array[int]) -> None:
        """Say of tasks that are ranges what their items are."""
        item_ends, sequences = [b""] * len(tasks), array("Q", bytes(8 * len(tasks)))
        for i, task in enumerate(tasks):
            found = self.ranges.get(task)
            if found is not None:
                found.assigned = found.begin
                placement.payloads[i], item_ends[i], sequences[i] = found.payload, found.item_ends, found.sequence
        placement.sequences = sequences
        if any(item_ends):
            placement.item_ends = item_ends

    def _timeout(self, task: int) -> int:
        options = self._options(task)
        return options.timeout_milliseconds if options else 0

    def _options(self, task: int) -> TaskOptions | None:
        found, special = self.ranges.get(task), self.special.get(task)
        return found.whole.options if found is not None else special.options if special else None

    def adopt(self, task: int, worker: int, attempt: int, running: bool) -> None:
        """A task that waits or is ready has been with this worker already, under this attempt, and is so again."""
        one = array("I", [task])
        self._held.discard(task)
        self.queues.remove(one)
        self.times.queued(self.life.apply(TaskEvent.UNBLOCK, one))
        self.life.apply(TaskEvent.ASSIGN, one)
        self.life.set_attempt(task, attempt)
        self.loads.assign(task, worker, self.functions.costs[self._function[task]])
        self.times.assigned(one)
        if self.locality:
            self.locality.placed(worker, one)
        self.lineage.adopted(task)
        if running:
            self.life.apply(TaskEvent.START, one)

    def retract(self) -> list[tuple[int, array[int]]]:
        """Choose tasks to ask back for idle slots, and mark them."""
        asked = retract(self.loads, self.life, TaskState.ASSIGNED, self._class, self.life.count(TaskState.RETRACTING))
        for _, tasks in asked:
            self.life.apply(TaskEvent.RETRACT, tasks)
        return asked

    # ---- ending

    def measure(self, tasks: array[int], wall: array[int], *more: array[int]) -> None:
        """Learn what functions cost, from tasks that ran to their end; as Functions.ended() has the columns."""
        if wall:
            self.functions.ended(gather(self._function, tasks), wall, *more)

    def succeed(self, tasks: array[int], statuses: bytes, payloads: list[bytes]) -> list[End]:
        """These ended well: release dependents, keep what they need, forget the rest; returns what can never run."""
        if self.locality and ResultStatus.stored in statuses:
            for task, status in zip(tasks, statuses, strict=True):
                if status == ResultStatus.stored:
                    self.locality.made(task, self.loads.worker_of(task))
        self.loads.release(tasks)
        self.life.apply(TaskEvent.SUCCEED, tasks)
        self.counters.succeeded += len(tasks)
        if self.graphs:
            self.graphs.succeeded(tasks)
        if not len(self.graph):
            if self.any_unwanted:
                for task, status, payload in zip(tasks, statuses, payloads, strict=True):
                    self.drop_result(task, status, payload)
            self._forget(tasks)
            return []
        unneeded = array("I")
        for task, status, payload in zip(tasks, statuses, payloads, strict=True):
            if self.graph.users(task):
                self.results.keep(task, status, payload)
            else:
                self.drop_result(task, status, payload)
                unneeded.append(task)
        unblocked = self.graph.finish(tasks)
        self.lineage.succeeded(tasks)
        self._use_up(tasks, statuses)
        self._leave(unneeded)
        return self._unblock(unblocked)

    def _use_up(self, tasks: array[int], statuses: bytes) -> None:
        """Free what these took, as far as nothing else will: results in the object storage, and the rows of tasks.

        A stored result may be lost and has to be made again: its row, with its arguments, and those of its inputs stay.
        """
        self.results.drop_inputs(tasks)
        if ResultStatus.stored in statuses:
            tasks = array("I", [t for t, status in zip(tasks, statuses, strict=True) if status != ResultStatus.stored])
        clear_objects(self._payloads, tasks)
        self._leave(self._going(self.graph.detach(tasks)))

    def wanted(self, task: int) -> bool:
        special = self.special.get(task)
        return special is None or not special.unwanted

    def retry(self, task: int, failure: bytes) -> bool:
        """Whether a task that failed is run again; it is queued if so. Raises ProtocolError for what is no Failure."""
        found, special = self.ranges.get(task), self.special.get(task)
        options = self._options(task)
        if options is None or not options.retries or not is_retried(options, failure):
            return False
        if found is not None:
            # The first item of a range failed: it is tried again alone.
            task = task if len(found) == 1 else self.ranges.first_alone(task)
            special = self._special_of(task)
        if special is None or special.retries_left < 1:
            return False
        special.retries_left -= 1
        note_error(special, failure)
        self._again(task)
        return True

    def _special_of(self, task: int) -> Special:
        special = self.special.get(task)
        if special is None:
            found = self.ranges.get(task)
            special = self.special[task] = Special(None, found.whole.options.retries if found is not None else 0)
        return special

    def _again(self, task: int) -> None:
        """Run a task again, which is with a worker, or an item that has just become a task of its own."""
        if self.life.state(task) == TaskState.WAITING:
            self.queue(self.life.apply(TaskEvent.UNBLOCK, array("I", [task])), front=True)
        else:
            self.requeue(array("I", [task]))

    def finish_range(self, task: int) -> None:
        """All items of a range have ended, or belong to others."""
        tasks = array("I", [task])
        self.loads.release(tasks)
        self.life.apply(TaskEvent.SUCCEED, tasks)
        self._forget(tasks)

    def drop_range(self, task: int) -> None:
        """All items of a queued range belong to others."""
        tasks = array("I", [task])
        self.queues.remove(tasks)
        self._forget(tasks)

    def end(self, task: int, status: ResultStatus, payload: bytes) -> list[End]:
        """A task ends without a result, and so does what depends on it; returns all these ends."""
        if not self.life.state(task) or self.life.state(task) in _ENDED:
            return []
        doomed = array("I", [task, *(self.lineage.waiting_for(task) if self.lineage else self.graph.descendants(task))])
        ends = [self._ended(gone, status, payload) for gone in doomed if self.wanted(gone)]
        self._stop(doomed, status)
        self._leave(array("I", [gone for gone in doomed if not self.graph.users(gone)]))
        return ends

    def client_id(self, task: int) -> int:
        """Its id to its client; of a range that of the first item without a result."""
        found = self.ranges.get(task)
        return self.slots.ids(array("I", [task]))[0] if found is None else task_id(found.whole.client, found.sequence)

    def _ended(self, task: int, status: ResultStatus, payload: bytes) -> End:
        found = self.ranges.get(task)
        count = 1 if found is None else len(found)
        return End(task, self.client_id(task), status, payload, count, retried=times_retried(self.special.get(task)))

    def _stop(self, tasks: array[int], status: ResultStatus) -> None:
        """Take tasks out of everything but the graph, as failed or cancelled."""
        cancelled = status == ResultStatus.cancelled
        for task in tasks:
            worker = self.loads.worker_of(task)
            if worker != NONE:
                self.stopped.append((worker, self.slots.ids(array("I", [task]))[0], self.life.attempt(task)))
        self.queues.remove(tasks)
        self.loads.release(tasks)
        self.life.apply(TaskEvent.CANCEL if cancelled else TaskEvent.FAIL, tasks)
        count = sum(len(self.ranges.get(task) or (0,)) for task in tasks) if len(self.ranges) else len(tasks)
        if self.graphs:
            self.graphs.failed(tasks)
        if cancelled:
            self.counters.cancelled += count
        else:
            self.counters.failed += count

    def item_alone(self, task: int, item: int) -> int | None:
        """The task that was running when an executor died: of a range that one item, if it has not ended yet."""
        found = self.ranges.get(task)
        return task if found is None or len(found) == 1 else self.ranges.isolate(task, item)

    def die(self, task: int, story: str, worker: bytes = b"") -> list[End]:
        """The executor or worker died while this task was running: run it again, or give up."""
        if not self.life.state(task):
            return []  # The end of another one ended it just now.
        special = self._special_of(task)
        special.deaths.append(story)
        if len(special.deaths) <= MAX_DEATHS:
            self._again(task)
            return []
        told = "\n".join(f"  {number}. {death}" for number, death in enumerate(special.deaths, 1))
        name = self.functions.name(self._function[task])
        text = f"{name} was running in {len(special.deaths)} deaths of its executor or worker:\n{told}"
        self.failures.note(task, ResultStatus.crashed, text.encode(), worker)
        return self.end(task, ResultStatus.crashed, text.encode())

    def requeue(self, tasks: array[int]) -> None:
        """Back to the front of the queue: these were here before the others."""
        self.loads.release(tasks)
        self.queue(self.life.apply(TaskEvent.REQUEUE, tasks), front=True)

    def give_back(self, tasks: array[int]) -> None:
        """Their worker had not begun them."""
        self.loads.release(tasks)
        self.queue(self.life.apply(TaskEvent.RETURN, tasks), front=True)

    def lose_worker(self, worker: int, story: str, identity: bytes = b"") -> list[End]:
        """A worker is gone with all it held. Only tasks known to be running count it against themselves."""
        held = self.loads.remove_worker(worker)
        self.locality.worker_left(worker)
        running = [task for task in held if self.life.state(task) == TaskState.RUNNING]
        at_risk = set(running)
        self.requeue(array("I", [task for task in held if task not in at_risk]))
        ends: list[End] = []
        for task in running:
            found = self.ranges.get(task)
            if found is not None and len(found) > 1:
                self.ranges.halve(task)
            else:
                ends += self.die(task, story, identity)
        return ends

    def _leave(self, tasks: Iterable[int]) -> None:
        """Forget ended tasks without users, and in turn what was kept, or is still to run, only for them."""
        pending = list(tasks)
        while pending:
            task = pending.pop()
            self.graph.finish(array("I", [task]))  # Failed or cancelled, it needs its inputs no more either.
            self.results.drop_inputs((task,))
            pending += self._going(self.graph.remove(task))
            self.results.drop(task)
            self._forget(array("I", [task]))

    def _going(self, unused: array[int]) -> list[int]:
        """Of tasks without users those to forget; they have ended then."""
        going = []
        for task in unused:
            if self.life.state(task) not in _ENDED:
                if self.wanted(task):
                    continue
                self._stop(array("I", [task]), ResultStatus.cancelled)
            going.append(task)
        return going

    def drop_result(self, task: int, status: int, payload: bytes) -> None:
        """No dependent needs it any more: free its object, unless its client has it."""
        if status == ResultStatus.stored and not self.wanted(task):
            self.released_objects.append((payload, self.owner(task)))

    def _forget(self, tasks: array[int]) -> None:
        functions = gather(self._function, tasks)
        self.functions.use(functions, -1)
        self.traces.forget(tasks)
        if self._held:
            self._held.difference_update(tasks)
        if self.lineage:
            self.lineage.forget(tasks)
        if self.locality:
            self.locality.forget(tasks)
        if self.graphs:
            self.graphs.forget(tasks)
        clear_objects(self._payloads, tasks)
        if self.special:
            for task in tasks:
                special = self.special.pop(task, None)
                if special and special.options and special.options.timeout_milliseconds:
                    self._timed -= 1
            self.any_unwanted = self.any_unwanted and bool(self.special)
        if len(self.ranges):
            for task in tasks:
                found = self.ranges.forget(task)
                self._timed -= bool(found and found.whole.options.timeout_milliseconds)
        ids = self.slots.ids(tasks)
        number = same_high(ids)
        if number >= 0:
            self._counts[number] -= len(ids)
        else:
            for id in ids:
                self._counts[id >> SEQUENCE_BITS] -= 1
        self.life.close(tasks)
        self.slots.remove(tasks)

    # ---- tasks inside tasks

    def depth(self, task: int) -> int:
        """Inside how many tasks it was submitted."""
        return self._priority[task] & MAX_DEPTH

    def share(self, task: int) -> int:
        """For whom it was submitted."""
        return self._share[task]

    def nests(self, task: int) -> None:
        """This task submits others."""
        self.functions.nests(self._function[task])

    # ---- asking

    def label(self, task: int) -> str:
        """What to call a task to people."""
        options = self._options(task)
        return options.name if options and options.name else self.functions.name(self._function[task])

    def owner(self, task: int) -> bytes:
        """The identity of the client that submitted it."""
        return self.functions.get(self._function[task]).owner

    def places(self, tasks: array[int]) -> list[int]:
        """The place of the name of each one's function."""
        return self.functions.places(gather(self._function, tasks))

    def class_of(self, task: int) -> int:
        """Its requirement class."""
        return self._class[task]

    def function_of(self, task: int) -> int:
        """The scheduler's number of its function."""
        return self._function[task]

    def waiting(self) -> int:
        """Tasks and items that no worker has."""
        return self.count_in(TaskState.WAITING) + self.count_in(TaskState.READY)

    def count_in(self, state: TaskState) -> int:
        """How many tasks and items are in this state."""
        return self.life.count(state) + (self.ranges.more_in_state()[state] if len(self.ranges) else 0)

    def count_of(self, number: int) -> int:
        """How many tasks and items of this client are here."""
        return self._counts[number] + self.ranges.more_items(number)

    def has_tasks(self, number: int) -> bool:
        """Whether any task of this client is here."""
        return self._counts[number] > 0

    def of_client(self, number: int) -> array[int]:
        """All tasks of a client. Looks at every task: for clients that leave, and parents that are stopped."""
        if not self._counts[number]:
            return array("I")
        alive = array("I", [task for task in range(self.slots.capacity) if self.life.state(task)])
        ids = self.slots.ids(alive)
        return array("I", [task for task, id in zip(alive, ids, strict=True) if id >> SEQUENCE_BITS == number])

    def check(self) -> None:
        """Recompute what is derived; raises AssertionError where it differs."""
        for part in (
            self.slots,
            self.life,
            self.graph,
            self.queues,
            self.loads,
            self.ranges,
            self.results,
            self.lineage,
            self.locality,
        ):
            part.check()
        alive = [task for task in range(self.slots.capacity) if self.life.state(task)]
        assert len(alive) == len(self.slots)
        for task in alive:
            state = self.life.state(task)
            held = state in (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.RETRACTING)
            assert (task in self.queues) == (state == TaskState.READY), task
            assert (self.loads.worker_of(task) != NONE) == held, task
            blocked = self.graph.missing(task) > 0 or task in self._held
            # What has begun or ended does not mind that an input is lost meanwhile.
            assert state != (TaskState.READY if blocked else TaskState.WAITING), task
            assert state not in (TaskState.FAILED, TaskState.CANCELLED) or self.graph.users(task), task
        assert self._held <= set(alive)
        assert self.special.keys() <= set(alive)
