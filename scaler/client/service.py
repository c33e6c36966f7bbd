"""The client's service: one thread with an event loop that carries what the client's state decides.

Users' threads put what they want into an inbox and wake the loop; they never wait for it, except for results.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Buffer

from scaler import serialization
from scaler.buffers import set_copy, size_of
from scaler.client.arrays import ArrayTask, ItemsEnded
from scaler.client.callbacks import Callbacks
from scaler.client.future import Outcome
from scaler.client.kept_content import each_id
from scaler.client.large_bytes import large_bytes_here
from scaler.client.large_functions import LARGE_BYTES, warn_of
from scaler.client.lineage import restore_all
from scaler.client.objects import ClientObjects
from scaler.client.output import OutputWriter
from scaler.client.shared_objects import SharedObjects
from scaler.client.state import (
    ClientState,
    ClusterEnded,
    Connected,
    Ended,
    LeftBehind,
    Refusal,
    RestoreAsked,
    Slots,
    Task,
)
from scaler.client.tally import Tally
from scaler.client.waiters import Waiter
from scaler.errors import ClientClosedError, ConnectionLostError, ScalerError
from scaler.ids import Address, content_object_id, new_identity, u64
from scaler.machine import Output, Stop
from scaler.messages import (
    ClientSettings,
    Explanation,
    Function,
    RecoveredClient,
    ResultStatus,
    Role,
    RunningInside,
    TaskOutput,
)
from scaler.nesting import running
from scaler.net.driver import Driver, new_event_loop
from scaler.security import Security, from_environment
from scaler.software import differences, software
from scaler.storage.link import spare_here

if TYPE_CHECKING:
    from scaler.client.successor import Successor

log = logging.getLogger("scaler")
T = TypeVar("T")

KNOWN_FUNCTIONS = 1024
"""How many functions are remembered by identity; the one remembered longest ago is forgotten first."""


class _Making:
    """Counts threads that are making tasks: between asking for a function's number and sending the task that names it."""

    def __init__(self, lock: threading.RLock, done: Callable[[], None]) -> None:
        self.threads = 0
        self._lock = lock
        self._done = done

    def __enter__(self) -> None:
        with self._lock:
            self.threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.threads -= 1
            if not self.threads:
                self._done()


class ClientService:
    """What a Client does below its face: connection, functions, objects, sequences."""

    def __init__(
        self,
        address: Address,
        storage_address: Address | None,
        serializer: serialization.Serializer,
        name: str,
        heartbeat_seconds: float,
        timeout_seconds: float,
        stream_output: bool = False,
        security: Security | None = None,
        successor: Successor | None = None,
    ) -> None:
        """Without ``security`` it is as the environment says. Raises ConfigurationError for files that cannot be used."""
        self.address = address
        self.output = OutputWriter() if stream_output else None
        self.serializer = serializer
        self.identity = new_identity() if successor is None else successor.identity
        self.settings: ClientSettings | None = None
        self._differences: set[str] = set()
        """What was warned of."""
        self.closed: BaseException | None = None
        self.began = time.monotonic()
        self.began_unix = time.time()
        self._name = name
        self.label = f"client {name or self.identity.hex()[:8]}"
        """What it is called where people read."""
        self._timeout_seconds = timeout_seconds
        self._state = ClientState(heartbeat_seconds, timeout_seconds, name)
        self.collections = self._state.collections
        self._next_sequence = 0
        self._told_run = 0
        """The last task of this process that the scheduler was told of, as ``running.run``."""
        self._inbox: deque[Callable[[], None] | list[Task]] = deque()
        self._outputs: deque[Output] = deque()
        self._waiters: dict[int, Waiter] = {}
        self._arrays: dict[int, ArrayTask] = {}
        """By the sequence of the first item: those that have not ended."""
        self.slots = 1
        """How many tasks run at once on the cluster, as the scheduler told last."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._woken = False
        self._folding = threading.Lock()
        self.lock = self._lock
        """For what counts the uses of objects."""
        self.shared = SharedObjects(self)
        self._functions: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._warned: set[str] = set()
        """Names of functions that were warned of."""
        self._by_content: dict[bytes, int] = {}
        self._content_of: dict[int, tuple[bytes, bytes]] = {}
        self._names: Counter[int] = Counter()
        self._nameless: set[int] = set()
        """Functions no longer remembered by identity, which are retired once nobody is making a task."""
        self.making_tasks = _Making(self._lock, self._retire_nameless)
        """``with`` this: functions asked for inside are not retired before the tasks that name them are sent."""
        self._function_numbers = itertools.count()
        self._security = security or from_environment()
        set_copy(large_bytes_here.copy)
        spare_here.maps = not running.worker  # To an executor's memory, which may be limited, it would be added.
        self.objects = ClientObjects(self, storage_address, timeout_seconds, self._security)
        self.sent_objects: list[bytes] = []
        """What send_object() put."""
        self._connected = threading.Event()
        self._answer: threading.Event = threading.Event()
        self._refusal: str | None = None
        self._requests = itertools.count(1)
        self._explanations: dict[int, concurrent.futures.Future[Explanation]] = {}
        self._left_behind: list[RecoveredClient] = []
        self._recovery: concurrent.futures.Future[Any] | None = None
        self._loop = new_event_loop()
        self._driver: Driver
        self._thread = threading.Thread(target=self._run, name="scaler-client", daemon=True)
        self.callbacks = Callbacks(self._thread)
        if successor is not None:
            self._succeed(successor)
        self._thread.start()
        self._wait_until_connected()

    def _succeed(self, successor: Successor) -> None:
        self._next_sequence = successor.next_sequence
        singles, arrays = successor.waiters(self, number := next(self._function_numbers))
        self._waiters.update(singles)
        self._arrays.update((whole.first, whole) for whole in arrays)
        self._state.take_over(number, singles, arrays)

    def _wait_until_connected(self) -> None:
        self._connected.wait()
        if self.closed is not None:
            raise self.closed

    # ---- the thread

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        except Exception as error:
            log.exception("the client's thread failed")
            self._give_up(ScalerError(f"the client failed: {type(error).__name__}: {error}"))
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._driver = Driver(
            self._state,
            self.identity,
            self.label,
            self._outputs.append,
            self._security,
        )
        self._driver.software, self._driver.hello_name = software(), self._name
        self._driver.after_turn = self._carry_out_all
        self._driver.dial(self.address, Role.client, "the scheduler", self._timeout_seconds)
        outcome = await self._driver.stopped
        await self._driver.close()
        reason = (
            ConnectionLostError(outcome.reason) if outcome.exit_code else ClientClosedError("the client was closed")
        )
        self._give_up(reason)

    def _give_up(self, reason: BaseException) -> None:
        """Every future ends, and says why."""
        with self._lock:
            self.closed = self.closed or reason
            self._take_inbox()
        self._end_all(self.closed)
        self._connected.set()
        self._answer.set()

    def _end_all(self, outcome: Outcome | BaseException) -> None:
        """End everything that somebody waits for."""
        for asked in filter(None, [*self._explanations.values(), self._recovery]):
            if not asked.done():
                asked.set_exception(ConnectionLostError(f"the connection to {self.address} ended before the answer"))
        waiters, self._waiters = self._waiters, {}
        arrays, self._arrays = self._arrays, {}
        for sequence, waiter in waiters.items():
            waiter.finish_task(sequence, outcome)
        for whole in {id(whole.owner): whole for whole in arrays.values()}.values():
            whole.owner.give_up(outcome)

    def _wake(self) -> None:
        """Have the loop look into the inbox; called with something in it."""
        with self._lock:
            if self._woken or self.closed is not None:
                return
            self._woken = True
        self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        with self._lock:
            self._woken = False
        with self._driver.lock:
            self._take_inbox()
        self._driver.wake_after_reading()

    def _take_inbox(self) -> None:
        inbox = self._inbox
        while inbox:
            entry = inbox.popleft()
            if isinstance(entry, list):
                self._state.submit(entry)
            else:
                entry()

    def _carry_out_all(self) -> None:
        # Not in the turn, which has the driver's lock: what futures call when they are done is not ours.
        while self._outputs:
            self._carry_out(self._outputs.popleft())
        if self._state.tally.owes_much:
            with self._folding:
                self._state.tally.fold()

    def _warn_of_differences(self, workers: Iterable[str]) -> None:
        """Functions, arguments and results are pickles: they may not be read by other versions."""
        for text in filter(None, {differences(software(), worker) for worker in workers}):
            if text not in self._differences:
                self._differences.add(text)
                log.warning("workers have other versions than this client: %s; what is pickled may not fit", text)

    def _carry_out(self, output: Output) -> None:
        if isinstance(output, Ended):
            self._ended(output)
        elif isinstance(output, Connected):
            self.settings = output.settings
            self.slots = output.settings.slots
            self._warn_of_differences(output.settings.worker_software)
            self._driver.let_threads_send()
            self._connected.set()
        elif isinstance(output, Slots):
            self.slots = output.slots
        elif isinstance(output, Refusal):
            self._refusal = output.text
            self._answer.set()
        elif isinstance(output, Explanation):
            asked = self._explanations.get(output.request)
            if asked is not None:
                asked.set_result(output)
        elif isinstance(output, LeftBehind):
            self._left_behind += output.clients
            if self._recovery is not None and not (output.more or self._recovery.done()):
                self._recovery.set_result(self._left_behind)
        elif isinstance(output, TaskOutput):
            if self.output is not None:
                self.output.put(output.to_standard_error, output.content)
        elif isinstance(output, RestoreAsked):
            threading.Thread(target=self._restore, args=(output.objects,), name="scaler-restore", daemon=True).start()
        elif isinstance(output, ClusterEnded):
            self._driver.stop(Stop(f"the scheduler at {self.address} ended: {output.text}", 1))

    def _ended(self, output: Ended) -> None:
        results = output.results
        waiters = self._waiters
        for sequence, task, status, payload, wall, cpu, peak in zip(
            u64(results.tasks),
            output.tasks,
            results.statuses,
            results.payloads,
            u64(results.wall_microseconds),
            u64(results.cpu_microseconds),
            u64(results.peak_memory_bytes),
            strict=True,
        ):
            if task is None:
                continue
            waiter = waiters.pop(sequence, None)
            if status == ResultStatus.stored:
                self._stored(serialization.stored_id(payload), task, waiter is not None)
            if waiter is None:
                self.collections.add(sequence)
            else:
                waiter.finish_task(sequence, Outcome(status, payload, wall, cpu, peak))
            if task.object_id and task.group is None:
                self.objects.drop(each_id(task.object_id))
        for ended in output.items:
            self._items_ended(ended)
        for group in output.closed:
            self.objects.release_group(group)

    def _stored(self, object_id: bytes, task: Task, wanted: bool) -> None:
        """A task's result is in the object storage."""
        if task.group is not None:
            self.objects.is_input_of(object_id, task.group)
        if wanted:
            self.objects.lineage.remember(object_id, task)
        elif task.wanted:  # Whoever waited for it does not any more.
            self.objects.release(object_id)

    def _items_ended(self, ended: ItemsEnded) -> None:
        whole = ended.whole
        whole.untold -= ended.end - ended.begin
        if whole.first in self._arrays:
            if ended.status == ResultStatus.stored:
                self.objects.lineage.remember_item(serialization.stored_id(ended.payload), whole, ended.begin)
            whole.owner.finish_items(ended)
        else:
            self.collections.add(whole.first + ended.begin, ended.end - ended.begin)
            if ended.status == ResultStatus.stored:
                self.objects.release(serialization.stored_id(ended.payload))
        for item in range(ended.begin, ended.end) if whole.objects else ():
            object_id = whole.objects.pop(item, None)
            if object_id is not None:
                self.objects.drop(each_id(object_id))
        if not whole.untold:
            self._arrays.pop(whole.first, None)

    # ---- for users' threads

    def check_open(self) -> None:
        """Raises ClientClosedError when this client cannot be used here, or any more."""
        if os.getpid() != self._pid:
            raise ClientClosedError("this client was made in another process; make a new one after fork")
        if self.closed is not None:
            if isinstance(self.closed, ConnectionLostError):
                raise ConnectionLostError(str(self.closed))
            raise ClientClosedError(str(self.closed))

    @property
    def waiting(self) -> int:
        """How many tasks somebody waits for."""
        return len(self._waiters)

    def sequences(self, count: int) -> range:
        """Numbers for so many tasks, which are submitted next."""
        with self._lock:
            first = self._next_sequence
            if running.task and running.run != self._told_run:
                self._told_run = running.run
                inside = RunningInside(running.task, first, running.worker, running.attempt)
                self._inbox.append(lambda: self._state.run_inside(inside))
            self._next_sequence += count
        return range(first, first + count)

    def submit(self, tasks: list[Task], waiters: Iterable[tuple[int, Waiter]]) -> None:
        """Send tasks; ``waiters`` hear how those they name end."""
        self._waiters.update(waiters)
        if not self._send_alone(tasks):
            self._inbox.append(tasks)
            self._wake()
        if self.closed is not None:
            self._give_up(self.closed)

    def _send_alone(self, tasks: list[Task]) -> bool:
        """Send a lone task from the user's thread, which then only has to wait, instead of waking another one for it."""
        driver = self._driver
        if self._inbox or driver.lock.locked():
            return False
        with driver.lock:
            said = None if self._inbox else self._state.submit_alone(tasks, time.monotonic())
            if said is not None:
                driver.send_in_thread(*said)
            return said is not None

    def submit_array(self, whole: ArrayTask) -> None:
        """Send an array; its owner, an ArrayWaiter, hears how its items end."""
        self._arrays[whole.first] = whole
        self.soon(lambda: self._state.submit_array(whole))
        if self.closed is not None:
            self._give_up(self.closed)

    def cancel_arrays(self, arrays: Iterable[ArrayTask]) -> None:
        """Have these stopped; their owner hears nothing more."""
        chosen = [whole for whole in arrays if self._arrays.pop(whole.first, None) is not None]
        for whole in chosen:
            self.soon(lambda whole=whole: self._state.cancel_array(whole))  # type: ignore[misc]

    def soon(self, work: Callable[[], None]) -> None:
        """Have this done by the client's thread, in its next turn."""
        self._inbox.append(work)
        self._wake()

    def cancel_between(self, spans: list[range]) -> None:
        """Have everything with these sequences stopped; the futures end as cancelled."""
        cancelled = Outcome(ResultStatus.cancelled, b"")
        chosen = [sequence for sequence in list(self._waiters) if any(sequence in span for span in spans)]
        arrays = [whole for whole in list(self._arrays.values()) if any(whole.first in span for span in spans)]
        waiters = [(sequence, self._waiters.pop(sequence, None)) for sequence in chosen]
        for sequence, waiter in waiters:
            if waiter is not None:
                waiter.finish_task(sequence, cancelled)
        self.cancel(chosen)
        self.cancel_arrays(arrays)
        for owner in {id(whole.owner): whole.owner for whole in arrays}.values():
            owner.give_up(cancelled)

    def cancel(self, sequences: Iterable[int]) -> None:
        """Have these stopped."""
        chosen = list(sequences)
        for sequence in chosen:
            self._waiters.pop(sequence, None)
        self.soon(lambda: self._state.cancel(chosen))

    def clear(self) -> None:
        """Have all stopped; every future of now ends as cancelled."""
        self.soon(self._state.clear)
        self._end_all(Outcome(ResultStatus.cancelled, b""))
        sent, self.sent_objects = self.sent_objects, []
        self.objects.drop(sent)
        self.shared.forget_all()

    def show_output(self) -> None:
        """Before the result of a task is seen, what it printed is."""
        if self.output is not None and threading.current_thread() is not self._thread:
            self.output.flush()

    def ask_for_shutdown(self) -> str | None:
        """Have the cluster stopped; returns why not, None when it stops."""
        self._refusal = None
        self._answer.clear()
        self.soon(self._state.shutdown)
        self._answer.wait(self._timeout_seconds)
        return self._refusal

    def explain(self, sequence: int) -> Explanation:
        """What the scheduler knows of a task. Raises ConnectionLostError when it does not answer in time."""
        request, answer = next(self._requests), concurrent.futures.Future[Explanation]()
        self._explanations[request] = answer
        self.soon(lambda: self._state.explain(request, sequence))
        try:
            return self._answer_to(answer)
        finally:
            self._explanations.pop(request, None)

    def _answer_to(self, asked: concurrent.futures.Future[T]) -> T:
        try:
            return asked.result(self._timeout_seconds)
        except concurrent.futures.TimeoutError:
            what = f"the scheduler at {self.address} did not answer within {self._timeout_seconds:g} s"
            raise ConnectionLostError(what) from None

    def recover(self) -> list[RecoveredClient]:
        """What clients of the same name have left. Raises ConnectionLostError when the scheduler does not answer in time."""
        self._left_behind, self._recovery = [], concurrent.futures.Future()
        self.soon(self._state.recover)
        return self._answer_to(self._recovery)

    def close(self) -> None:
        """Leave the scheduler; futures that are open end as cancelled."""
        if self.closed is None and os.getpid() == self._pid:
            self._end_all(Outcome(ResultStatus.cancelled, b""))
            with self._lock:
                if self.closed is None:
                    self._loop.call_soon_threadsafe(self._leave)
            if self._thread is not threading.current_thread():
                self._thread.join(10)
            self.show_output()
            self.callbacks.close()
        self.objects.close()

    @property
    def tally(self) -> Tally:
        """What the calls took that have ended."""
        with self._folding:
            self._state.tally.fold()
        return self._state.tally

    @property
    def unfinished(self) -> int:
        """How many calls have not ended."""
        with self._driver.lock:
            return self._state.unfinished

    def _leave(self) -> None:
        with self._driver.lock:
            self._take_inbox()
            self._state.goodbye()
        self._driver.turn()  # says goodbye before the scheduler's answer to it, the end of the connection, can arrive
        self._driver.stop(Stop("left"))

    # ---- functions and objects

    def function(self, function: Callable[..., Any], reserialize: bool = False) -> int:
        """The number of a function, which is serialized and defined when it is new, by identity and by content.

        To be called while ``making_tasks``.
        Raises SerializationError, naming it, when it cannot be serialized.
        """
        known = self._functions.get(id(function))
        if known is not None and known[0] is function and not reserialize:
            return known[1]
        if not callable(function):
            raise TypeError(f"a function is expected, not {function!r:.100}")
        tag, content = serialization.write_function(self.serializer, function)
        key = content_object_id(tag.encode(), *content)
        with self._lock:
            number = self._by_content.get(key)
        if number is None:
            number = self._define(function, tag, content, key)
        self._remember(function, number)
        return number

    def _define(self, function: Any, tag: str, content: list[Buffer], key: bytes) -> int:
        definition = Function(0, tag, name=serialization.name_of(function), streams_output=self.output is not None)
        definition.takes_places = True
        size = size_of(content)
        if size > LARGE_BYTES and definition.name not in self._warned:
            self._warned.add(definition.name)
            warn_of(function, size, self.serializer)
        if size > self.inline_limit:
            definition.object = self.objects.put(content)
        else:
            definition.content = b"".join(content)
        with self._lock:
            number = self._by_content.get(key)
            if number is None:
                definition.number = number = next(self._function_numbers)
                self._by_content[key] = number
                self._content_of[number] = key, definition.object
                self._inbox.append(lambda: self._state.define(definition))
                return number
        if definition.object:  # another thread was faster
            self.objects.drop([definition.object])
        return number

    def _remember(self, function: Any, number: int) -> None:
        with self._lock:
            before = self._functions.pop(id(function), None)
            self._functions[id(function)] = function, number
            self._names[number] += 1
            forgotten = [before] if before is not None else []
            if len(self._functions) > KNOWN_FUNCTIONS:
                forgotten.append(self._functions.popitem(last=False)[1])
            for _, old in forgotten:
                self._names[old] -= 1
                if not self._names[old]:
                    self._nameless.add(old)

    def _retire_nameless(self) -> None:
        for number in self._nameless:
            if not self._names[number]:
                self._retire(number)
        self._nameless.clear()

    def _retire(self, number: int) -> None:
        """Forget a function; the scheduler hears of it when no task names it any more."""
        key, object_id = self._content_of.pop(number)
        del self._by_content[key], self._names[number]
        self._inbox.append(lambda: self._state.retire(number))
        if object_id:
            self._inbox.append(lambda: self.objects.drop([object_id]))

    @property
    def inline_limit(self) -> int:
        """Payloads larger than this, in bytes, go through the object storage."""
        assert self.settings is not None
        return self.settings.inline_limit_bytes

    def payload(self, kind: bytes, content: bytes) -> tuple[bytes, bytes]:
        """(payload, object id) of a task's serialized arguments; the id is empty where they travel inline."""
        if len(content) <= self.inline_limit:
            return kind + content, b""
        object_id = self.objects.put([kind, content])
        return serialization.STORED + serialization.REFERENCE.pack(object_id, len(content) + 1), object_id

    def free_sent(self, object_id: bytes) -> None:
        """One use less of what send_object() put, if it did."""
        with self._lock:
            if object_id not in self.sent_objects:
                return
            self.sent_objects.remove(object_id)
        self.objects.drop([object_id])

    # ---- what was lost

    def _restore(self, objects: bytes) -> None:
        """The scheduler asks for objects that tasks take, and that are lost."""
        failures = restore_all(self.objects, objects)
        self.soon(lambda: self._state.restored(objects, failures))

    def function_name(self, number: int) -> str:
        """What to call a function to people, as long as it is not retired."""
        return self._state.function_name(number)

    def hold_functions(self, numbers: Iterable[int]) -> bool:
        """Retire none of these before let_go_functions(); False, and nothing happens, where one was retired already."""
        with self._lock:
            if any(number not in self._content_of for number in numbers):
                return False
            self._names.update(numbers)
            return True

    def let_go_functions(self, numbers: Iterable[int]) -> None:
        """The opposite of hold_functions()."""
        with self._lock:
            for number in numbers:
                self._names[number] -= 1
                if not self._names[number]:
                    self._nameless.add(number)
