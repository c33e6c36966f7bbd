"""The scheduler's decisions: who may say what, and what follows. Tasks themselves live on the board."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scaler._core.slots import NONE
from scaler._core.table import join_ids, same_high, split_ids
from scaler.errors import ProtocolError
from scaler.ids import MAX_CLIENT_NUMBER, MAX_SEQUENCE, OBJECT_ID_BYTES, SEQUENCE_BITS, u32, u64
from scaler.machine import Outbox, Output, Peer, Stop
from scaler.messages import (
    Cancel,
    CancelAssigned,
    ClearTasks,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    ClusterEnding,
    DefineForWorker,
    DefineFunctions,
    ExecutorDeaths,
    ForgetForWorker,
    ForgetFunctions,
    HeartbeatEcho,
    ManagerLeaving,
    ManagerReport,
    Message,
    RegisterManager,
    RegisterWorker,
    Release,
    ReleaseOwner,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    Role,
    ShutdownCluster,
    ShutdownManager,
    ShutdownRefused,
    ShutdownWorker,
    Started,
    Submit,
    Subscribe,
    TaskCounts,
    TaskOptions,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
    WorkerSettings,
    function_runs,
)
from scaler.scheduler.board import Board, End, Placement
from scaler.scheduler.columns import (
    assignments,
    checked_results,
    checked_submit,
    cut_results,
    needed,
    select_results,
    select_submit,
)
from scaler.scheduler.life import TaskEvent, TaskState
from scaler.scheduler.monitors import Monitors
from scaler.scheduler.sessions import ClientSession, ManagerSession, WorkerSession

RETRACT_AFTER_SECONDS = 0.005
"""How long a slot stands idle before tasks are asked back for it: work already on its way should arrive first."""
RETRACT_AGAIN_SECONDS = 1.0
HOUSEKEEPING_SECONDS = 1.0
LEFT = "it left in order"


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """What a scheduler is told at its start. Times in seconds."""

    object_storage_address: str
    protected: bool = True
    max_waiting_tasks: int = -1
    client_timeout_seconds: float = 60.0
    worker_timeout_seconds: float = 60.0
    heartbeat_seconds: float = 2.0
    inline_limit_bytes: int = 64 << 10


class SchedulerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self.settings = settings
        self.board = Board()
        self.monitors = Monitors()
        self.unix_offset = 0.0
        """Unix time less the clock of ``now``, told by the service."""
        self._out = Outbox()
        self._clients: dict[int, ClientSession] = {}
        self._workers: dict[int, WorkerSession] = {}
        self._managers: dict[int, ManagerSession] = {}
        self._peers: dict[int, Peer] = {}
        self._client_of_peer: dict[int, ClientSession] = {}
        self._worker_of_peer: dict[int, WorkerSession] = {}
        self._numbers = 0
        self._storage: int | None = None
        self._owed_to_storage: list[Message] = []
        self._dirty = False
        self._functions_left = False
        self._retract_at: float | None = None
        self._retract_pause = RETRACT_AFTER_SECONDS
        self._housekeeping_at: float | None = None
        self._unrunnable: set[int] = set()
        self._stopping = False
        self._client_handlers: dict[type, Callable[[ClientSession, Any, float], None]] = {
            DefineFunctions: self._define,
            ForgetFunctions: self._forget_functions,
            Submit: self._submit,
            Cancel: self._cancel,
            ClearTasks: self._clear,
            ClientHeartbeat: self._client_heartbeat,
            ClientGoodbye: self._client_goodbye,
            ShutdownCluster: self._shutdown,
        }
        self._worker_handlers: dict[type, Callable[[WorkerSession, Any, float], None]] = {
            WorkerHeartbeat: self._worker_heartbeat,
            Started: self._started,
            Results: self._results,
            Retracted: self._retracted,
            ExecutorDeaths: self._executor_deaths,
            WorkerLeaving: self._worker_leaving,
        }

    # ---- told

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        self._peers[peer] = who
        self._housekeeping_at = self._housekeeping_at or now + HOUSEKEEPING_SECONDS
        if who.role == Role.client:
            self._client_connected(peer, who, now)
        elif who.role == Role.storage_user:
            self._storage = peer
            for message in self._owed_to_storage:
                self._out.send(peer, message)
            self._owed_to_storage.clear()

    def receive(self, peer: int, message: Message, now: float, attachment: bytes = b"") -> None:
        who = self._peers.get(peer)
        if who is None:
            return
        try:
            if who.role == Role.client:
                self._from_client(self._client_of_peer[peer], message, now)
            elif who.role == Role.worker:
                self._from_worker(peer, who, message, now)
            elif who.role == Role.manager:
                self._from_manager(peer, message, now)
            elif who.role == Role.monitor and isinstance(message, Subscribe):
                self.monitors.subscribe(peer, message.interval_milliseconds, now)
        except (ProtocolError, ValueError, IndexError, KeyError, OverflowError) as error:
            self._expel(peer, f"{type(message).__name__}: {error}", now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        who = self._peers.pop(peer, None)
        if who is None:
            return
        if peer == self._storage:
            self._storage = None
        elif who.role == Role.client:
            session = self._client_of_peer.pop(peer)
            session.peer, session.heard = None, now
            self._out.log(30, f"lost {_client_label(session)}: {reason}")
        elif who.role == Role.worker and peer in self._worker_of_peer:
            self._lose_worker(self._worker_of_peer[peer], f"its connection was lost ({reason})")
        elif who.role == Role.manager and peer in self._managers:
            self._out.log(30, f"lost worker manager {self._managers.pop(peer).facts.manager_name}: {reason}")
        elif who.role == Role.monitor:
            self.monitors.unsubscribe(peer)

    def tick(self, now: float) -> None:
        if self._housekeeping_at is not None and now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_SECONDS if self._peers or self._clients else None
            self._judge_silence(now)
            self._warn_unrunnable()
        self._retract_if_due(now)

    def pause_monitor(self, peer: int, paused: bool) -> None:
        """A peer stopped reading, or reads again."""
        self.monitors.pause(peer, paused)

    def drain(self, now: float) -> list[Output]:
        if self._dirty:
            self._dirty = False
            self._stop_tasks()
            for placement in self.board.place():
                self._send_placement(placement)
            self._plan_retraction(now)
        self._answer_clients()
        if self._functions_left:
            self._collect_functions()
        self._release_objects()
        deadline = self.monitors.next_deadline()
        if deadline is not None and now >= deadline:
            self._publish(now)
        return self._out.take()

    def next_deadline(self) -> float | None:
        times = (self._housekeeping_at, self._retract_at, self.monitors.next_deadline())
        return min([time for time in times if time is not None], default=None)

    def _expel(self, peer: int, reason: str, now: float) -> None:
        """A wrong message closes its peer and harms nobody else."""
        who = self._peers[peer]
        self._out.log(30, f"closing {who.role.name} {who.name or who.identity.hex()[:8]}: {reason}")
        self.peer_lost(peer, f"it broke the protocol: {reason}", now)
        self._out.close(peer, reason)

    # ---- clients

    def _client_connected(self, peer: int, who: Peer, now: float) -> None:
        session = next((s for s in self._clients.values() if s.identity == who.identity), None)
        resumed = session is not None
        if session is None:
            session = ClientSession(self._free_client_number(), who.identity, who.name, peer, now)
            self._clients[session.number] = session
            self._out.log(20, f"{_client_label(session)} connected")
        else:
            if session.peer is not None:
                self._out.close(session.peer, "the same client connected again")
                self._peers.pop(session.peer, None)
                self._client_of_peer.pop(session.peer, None)
            # It defines its functions anew; tasks keep the old ones alive.
            self._undefine(session.functions.values())
            session.functions.clear()
            session.peer, session.heard = peer, now
            session.answered = set()
            self._out.log(20, f"{_client_label(session)} is back")
        self._client_of_peer[peer] = session
        settings = self.settings
        self._out.send(
            peer,
            ClientSettings(
                session.number,
                settings.object_storage_address,
                settings.inline_limit_bytes,
                int(settings.heartbeat_seconds * 1000),
                int(settings.client_timeout_seconds * 1000),
                resumed,
            ),
        )

    def _free_client_number(self) -> int:
        for _ in range(MAX_CLIENT_NUMBER):
            self._numbers = self._numbers % MAX_CLIENT_NUMBER + 1
            if self._numbers not in self._clients:
                break
        return self._numbers

    def _from_client(self, session: ClientSession, message: Message, now: float) -> None:
        session.heard = now
        handler = self._client_handlers.get(type(message))
        if handler is None:
            raise ProtocolError("not a message of a client")
        handler(session, message, now)

    def _define(self, session: ClientSession, message: DefineFunctions, now: float) -> None:
        for function in message.functions:
            if function.number in session.functions:
                raise ProtocolError(f"function {function.number} is defined already")
            if len(function.object) not in (0, OBJECT_ID_BYTES):
                raise ProtocolError(f"an object id has {OBJECT_ID_BYTES} bytes, not {len(function.object)}")
            session.functions[function.number] = self.board.functions.define(function, session.identity)

    def _forget_functions(self, session: ClientSession, message: ForgetFunctions, now: float) -> None:
        self._undefine(session.functions.pop(number) for number in u32(message.numbers) if number in session.functions)

    def _undefine(self, numbers: Any) -> None:
        for number in numbers:
            self.board.functions.undefine(number)
            self._functions_left = True

    def _submit(self, session: ClientSession, message: Submit, now: float) -> None:
        sequences = u64(message.sequences)
        count = len(sequences)
        if not count:
            return
        message = checked_submit(message)
        ids = join_ids(session.number, sequences)
        known = self.board.slots.find(ids)
        if known.count(NONE) != count or session.answered is not None:
            message = self._select_new(session, message, known)
            ids = join_ids(session.number, message.sequences)
            count = len(ids)
            if not count:
                return
        if self._full(session, ids):
            return
        tasks = self._enter(session, message, ids)
        if message.wanted:
            self.board.mark_unwanted(task for task, want in zip(tasks, message.wanted, strict=True) if not want)
        lost = self._connect_dependencies(session, message, tasks) if len(message.dependency_ends) else []
        self._deliver_ends(
            self.board.release(tasks if not lost else array("I", [t for t in tasks if t not in set(lost)]))
        )
        for task in lost:
            text = b"a dependency is unknown: it was never submitted, or its result was released already"
            self._deliver_ends(self.board.end(task, ResultStatus.lost, text))
        self._dirty = True

    def _select_new(self, session: ClientSession, message: Submit, known: array[int]) -> Submit:
        """What is not known, of tasks that are offered again, and was not answered since the client is back.

        A result that did not arrive, and is kept for dependents, is sent again. What was answered, and is forgotten,
        runs again where others take it as input.
        """
        if session.answered is not None:
            self._answer(session)
        answered = session.answered or ()
        wanted = bytearray(message.wanted) or bytearray([1]) * len(known)
        chosen: list[int] = []
        spared: dict[int, int] = {}
        for place, (task, sequence, want) in enumerate(zip(known, u64(message.sequences), wanted, strict=True)):
            if task == NONE and sequence in answered:
                spared[sequence] = place
            elif task == NONE:
                chosen.append(place)
            elif want and sequence not in answered:
                kept = self.board.kept_result(task)
                if kept is not None:
                    session.singles.append((sequence, *kept))
        for place in needed(message, chosen, spared) if spared else ():
            chosen.append(place)
            wanted[place] = 0
            message.wanted = bytes(wanted)
        return select_submit(message, sorted(chosen))

    def _full(self, session: ClientSession, ids: array[int]) -> bool:
        limit = self.settings.max_waiting_tasks
        if limit < 0 or self.board.waiting() + len(ids) <= limit:
            return False
        text = f"the scheduler's queue is full: {self.board.waiting()} tasks wait, the limit is {limit}".encode()
        for id in ids:
            session.singles.append((id - session.first_id, ResultStatus.rejected, text))
        return True

    def _enter(self, session: ClientSession, message: Submit, ids: array[int]) -> array[int]:
        numbers = u32(message.functions)
        unknown = set(numbers) - session.functions.keys()
        if unknown:
            raise ProtocolError(f"function {min(unknown)} is not defined")
        functions = array("I", [session.functions[number] for number in numbers])
        groups: list[tuple[TaskOptions, array[int]]] = []
        if message.option_sets:
            chosen = u32(message.options)
            if len(chosen) == 1:
                groups = [(message.option_sets[chosen[0]], array("I", range(len(ids))))]
            else:
                places: dict[int, array[int]] = {}
                for position, number in enumerate(chosen):
                    places.setdefault(number, array("I")).append(position)
                groups = [(message.option_sets[number], positions) for number, positions in places.items()]
        return self.board.add(ids, functions, message.payloads, groups)

    def _connect_dependencies(self, session: ClientSession, message: Submit, tasks: array[int]) -> list[int]:
        """Enter the edges; returns the tasks of which a dependency is unknown."""
        ends, sequences = u32(message.dependency_ends), u64(message.dependencies)
        found = self.board.slots.find(join_ids(session.number, sequences))
        lost: list[int] = []
        begin = 0
        for task, end in zip(tasks, ends, strict=True):
            dependencies = found[begin:end]
            begin = end
            if NONE in dependencies:
                lost.append(task)
            elif dependencies:
                self.board.depend(task, dependencies)
        return lost

    def _cancel(self, session: ClientSession, message: Cancel, now: float) -> None:
        ids = join_ids(session.number, message.sequences)
        for task in self.board.slots.find(ids):
            if task != NONE:
                self._deliver_ends(self.board.end(task, ResultStatus.cancelled, b""))
        self._dirty = True

    def _clear(self, session: ClientSession, message: ClearTasks, now: float) -> None:
        self._cancel_all(session)

    def _cancel_all(self, session: ClientSession) -> None:
        if len(self.board):
            for task in self.board.of_client(session.number):
                self._deliver_ends(self.board.end(task, ResultStatus.cancelled, b""))
        self._dirty = True

    def _client_heartbeat(self, session: ClientSession, message: ClientHeartbeat, now: float) -> None:
        session.answered = None
        session.answers.append(HeartbeatEcho(message.sent_microseconds))

    def _client_goodbye(self, session: ClientSession, message: ClientGoodbye, now: float) -> None:
        self._forget_client(session, "left")

    def _forget_client(self, session: ClientSession, why: str) -> None:
        """A client is gone for good: cancel its tasks, free its objects."""
        if session.peer is not None:
            self._peers.pop(session.peer, None)
            self._client_of_peer.pop(session.peer, None)
            self._out.close(session.peer, why)
        self._cancel_all(session)
        self._undefine(session.functions.values())
        del self._clients[session.number]
        self._tell_storage(ReleaseOwner(session.identity))
        self._out.log(20, f"{_client_label(session)} {why}")

    def _shutdown(self, session: ClientSession, message: ShutdownCluster, now: float) -> None:
        if self.settings.protected:
            session.answers.append(ShutdownRefused("the scheduler is protected; stop it where it was started"))
            return
        self.shut_down(f"{_client_label(session)} asked for it")

    def shut_down(self, reason: str) -> None:
        """Tell everybody and stop. Also called by the service when it is asked to end."""
        if self._stopping:
            return
        self._stopping = True
        for session in self._clients.values():
            session.answers.append(ClusterEnding(reason))
        self._answer_clients()
        for worker in self._workers.values():
            self._out.send(worker.peer, ShutdownWorker(reason))
        for peer in self._managers:
            self._out.send(peer, ShutdownManager(reason))
        self._out.add(Stop(reason))

    # ---- workers

    def _from_worker(self, peer: int, who: Peer, message: Message, now: float) -> None:
        session = self._worker_of_peer.get(peer)
        if isinstance(message, RegisterWorker) and session is None:
            self._register(peer, who, message, now)
            return
        handler = self._worker_handlers.get(type(message))
        if session is None or handler is None:
            raise ProtocolError("not a message of a worker here")
        session.heard = now
        handler(session, message, now)

    def _register(self, peer: int, who: Peer, message: RegisterWorker, now: float) -> None:
        for old in list(self._workers.values()):
            if old.identity == who.identity:
                self._peers.pop(old.peer, None)
                self._out.close(old.peer, "the same worker connected again")
                self._lose_worker(old, "it connected again")
        number = next(n for n in range(len(self._workers) + 1) if n not in self._workers)
        session = WorkerSession(number, peer, who.identity, who.name, message, now)
        group = self.board.requirements.group_of(message.capabilities)
        self.board.loads.add_worker(number, message.slots, group, message.queue_limit)
        self._workers[number] = self._worker_of_peer[peer] = session
        settings = self.settings
        self._out.send(
            peer,
            WorkerSettings(
                settings.object_storage_address,
                settings.inline_limit_bytes,
                int(settings.worker_timeout_seconds * 1000),
            ),
        )
        offers = f", offers {', '.join(sorted(message.capabilities))}" if message.capabilities else ""
        self._out.log(20, f"{session.label} connected with {message.slots} slots{offers}")
        self._unrunnable.clear()
        self._dirty = True

    def _lose_worker(self, session: WorkerSession, story: str) -> None:
        del self._workers[session.number], self._worker_of_peer[session.peer]
        held = self.board.loads.held(session.number)
        ends = self.board.lose_worker(session.number, f"{session.label}: {story}")
        self._deliver_ends(ends)
        level = 20 if story == LEFT and not held else 30
        again = f"; the {held} tasks it held run again" if held else ""
        self._out.log(level, f"lost {session.label}: {story}{again}")
        self._dirty = True

    def _worker_leaving(self, session: WorkerSession, message: WorkerLeaving, now: float) -> None:
        self._peers.pop(session.peer, None)
        self._out.close(session.peer, "it leaves")
        self._lose_worker(session, LEFT)

    def _worker_heartbeat(self, session: WorkerSession, message: WorkerHeartbeat, now: float) -> None:
        session.vitals = message
        self._out.send(session.peer, WorkerHeartbeatEcho(message.sent_microseconds))

    def _current(self, session: WorkerSession, ids: Any, attempts: Any) -> tuple[array[int], set[int]]:
        """The tasks of a worker's message, and the positions in it that do not speak of a present attempt of its own."""
        tasks = self.board.slots.find(ids)
        if len(u32(attempts)) != len(tasks):
            raise ProtocolError("ids and attempts have different lengths")
        stale = set(self.board.life.stale(tasks, attempts))
        stale.update(self.board.loads.foreign(session.number, tasks))
        self.board.counters.stale += len(stale)
        return tasks, stale

    def _live(self, session: WorkerSession, ids: Any, attempts: Any) -> array[int]:
        tasks, stale = self._current(session, ids, attempts)
        return array("I", [task for i, task in enumerate(tasks) if i not in stale]) if stale else tasks

    def _started(self, session: WorkerSession, message: Started, now: float) -> None:
        self.board.life.apply(TaskEvent.START, self._live(session, message.tasks, message.attempts))

    def _results(self, session: WorkerSession, message: Results, now: float) -> None:
        message = checked_results(message)
        tasks, stale = self._current(session, message.tasks, message.attempts)
        if stale:
            self._free_stale(message, stale)
            fresh = [i for i in range(len(tasks)) if i not in stale]
            tasks, message = array("I", [tasks[i] for i in fresh]), select_results(message, fresh)
        if not tasks:
            return
        self._dirty = True
        statuses = message.statuses
        good = [i for i, status in enumerate(statuses) if status in (ResultStatus.succeeded, ResultStatus.stored)]
        if len(good) == len(tasks):
            self._deliver(tasks, message)
            return
        bad = [i for i in range(len(tasks)) if i not in set(good)]
        if good:
            self._deliver(array("I", [tasks[i] for i in good]), select_results(message, good))
        for i in bad:
            self._end_badly(tasks[i], ResultStatus(statuses[i]), message.payloads[i])

    def _free_stale(self, message: Results, stale: set[int]) -> None:
        """Nobody will hear of these results: free the objects that were made for them."""
        for i in sorted(stale):
            if message.statuses[i] == ResultStatus.stored:
                client = self._clients.get(u64(message.tasks)[i] >> SEQUENCE_BITS)
                if client is not None:
                    self.board.released_objects.append((message.payloads[i], client.identity))

    def _deliver(self, tasks: array[int], message: Results) -> None:
        """Results of tasks that ended well: to the clients, and to whoever depends on them."""
        board = self.board
        board.measure(tasks, u64(message.wall_microseconds))
        number = same_high(message.tasks)
        if number >= 0:
            self._deliver_to(self._clients[number], tasks, message)
        else:
            places: dict[int, list[int]] = {}
            for i, id in enumerate(u64(message.tasks)):
                places.setdefault(id >> SEQUENCE_BITS, []).append(i)
            for number, chosen in places.items():
                mine = array("I", [tasks[i] for i in chosen])
                self._deliver_to(self._clients[number], mine, select_results(message, chosen))
        self._deliver_ends(board.succeed(tasks, message.statuses, message.payloads))

    def _deliver_to(self, session: ClientSession, tasks: array[int], message: Results) -> None:
        if self.board.any_unwanted:
            wanted = [i for i, task in enumerate(tasks) if self.board.wanted(task)]
            if len(wanted) < len(tasks):
                message = select_results(message, wanted)
        if message.payloads:
            session.outbox.append(
                Results(
                    split_ids(message.tasks),
                    b"",
                    message.statuses,
                    message.payloads,
                    message.wall_microseconds,
                    message.cpu_microseconds,
                    message.peak_memory_bytes,
                )
            )

    def _end_badly(self, task: int, status: ResultStatus, payload: bytes) -> None:
        if status == ResultStatus.unspecified or status in (ResultStatus.rejected, ResultStatus.crashed):
            raise ProtocolError(f"a worker cannot end a task as {status.name}")
        if status == ResultStatus.failed and self.board.retry(task):
            return
        self.board.loads.release(array("I", [task]))
        self._deliver_ends(self.board.end(task, status, payload))

    def _deliver_ends(self, ends: list[End]) -> None:
        for end in ends:
            session = self._clients.get(end.id >> SEQUENCE_BITS)
            if session is not None:
                session.singles.append((end.id & MAX_SEQUENCE, end.status, end.payload))

    def _retracted(self, session: WorkerSession, message: Retracted, now: float) -> None:
        returned = self._live(session, message.returned, message.returned_attempts)
        kept = self._live(session, message.kept, message.kept_attempts)
        self.board.life.apply(TaskEvent.KEEP, kept)
        self.board.give_back(array("I", [t for t in returned if self.board.life.state(t) == TaskState.RETRACTING]))
        self._dirty = True

    def _executor_deaths(self, session: WorkerSession, message: ExecutorDeaths, now: float) -> None:
        tasks, stale = self._current(session, message.tasks, message.attempts)
        if len(message.stories) != len(tasks):
            raise ProtocolError("tasks and stories have different lengths")
        for i, (task, story) in enumerate(zip(tasks, message.stories, strict=True)):
            if i not in stale:
                self._out.log(30, f"{self.board.label(task)}: {story} on {session.label}")
                self._deliver_ends(self.board.die(task, f"on {session.label}: {story}"))
        self._dirty = True

    # ---- managers

    def _from_manager(self, peer: int, message: Message, now: float) -> None:
        session = self._managers.get(peer)
        if isinstance(message, RegisterManager) and session is None:
            self._managers[peer] = ManagerSession(peer, message, ManagerReport(0, 0, 0), now)
            self._out.log(20, f"worker manager {message.manager_name} ({message.kind}) connected")
        elif isinstance(message, ManagerReport) and session is not None:
            session.report, session.heard = message, now
        elif isinstance(message, ManagerLeaving) and session is not None:
            del self._managers[peer]
            self._peers.pop(peer, None)
            self._out.close(peer, "it leaves")
        else:
            raise ProtocolError("not a message of a manager here")

    # ---- deciding

    def _send_placement(self, placement: Placement) -> None:
        session = self._workers[placement.worker]
        fresh = set(placement.functions) - session.known
        if fresh:
            session.known |= fresh
            for functions in function_runs([self.board.functions.get(number) for number in sorted(fresh)]):
                self._out.send(session.peer, DefineForWorker(functions))
        for message in assignments(placement):
            self._out.send(session.peer, message)

    def _plan_retraction(self, now: float) -> None:
        self._retract_pause = RETRACT_AFTER_SECONDS
        self._retract_at = now + self._retract_pause if self._retraction_may_help() else None

    def _retraction_may_help(self) -> bool:
        board = self.board
        idle = board.loads.idle_slots - board.life.count(TaskState.RETRACTING)
        return len(self._workers) > 1 and idle > 0 and board.life.count(TaskState.ASSIGNED) > 0

    def _retract_if_due(self, now: float) -> None:
        if self._retract_at is None or now < self._retract_at:
            return
        for number, tasks in self.board.retract():
            attempts = self.board.life.attempts(tasks)
            self._out.send(self._workers[number].peer, Retract(self.board.slots.ids(tasks), attempts))
        self._retract_pause = min(self._retract_pause * 2, RETRACT_AGAIN_SECONDS)
        self._retract_at = now + self._retract_pause if self._retraction_may_help() else None

    def _stop_tasks(self) -> None:
        """Tell workers of tasks that nobody wants any more."""
        stopped, self.board.stopped = self.board.stopped, []
        for number, id, attempt in stopped:
            if number in self._workers:
                self._workers[number].cancelled.append((id, attempt))
        for session in self._workers.values() if stopped else ():
            if session.cancelled:
                ids, attempts = zip(*session.cancelled, strict=True)
                session.cancelled = []
                self._out.send(session.peer, CancelAssigned(array("Q", ids), array("I", attempts)))

    def _answer_clients(self) -> None:
        for session in self._clients.values():
            if session.peer is not None:
                self._answer(session)

    def _answer(self, session: ClientSession) -> None:
        """Send what is to be told to a connected client."""
        assert session.peer is not None
        if session.outbox or session.singles:
            for results in session.collect_results():
                if session.answered is not None:
                    session.answered.update(u64(results.tasks))
                for piece in cut_results(results):
                    self._out.send(session.peer, piece)
        if session.answers:
            for message in session.answers:
                self._out.send(session.peer, message)
            session.answers = []

    def _collect_functions(self) -> None:
        """Forget functions that nobody names any more, and tell the workers that know them."""
        gone = self.board.functions.collect()
        self._functions_left = bool(self.board.functions.doubtful)
        if gone:
            for session in self._workers.values():
                known = array("I", [number for number in gone if number in session.known])
                if known:
                    session.known.difference_update(known)
                    self._out.send(session.peer, ForgetForWorker(known))

    def _release_objects(self) -> None:
        if self.board.released_objects:
            released, self.board.released_objects = self.board.released_objects, []
            for payload, owner in released:
                self._tell_storage(Release(payload[:OBJECT_ID_BYTES], owner))

    def _tell_storage(self, message: Message) -> None:
        if self._storage is None:
            self._owed_to_storage.append(message)
        else:
            self._out.send(self._storage, message)

    def _judge_silence(self, now: float) -> None:
        limit = self.settings.worker_timeout_seconds
        for worker in list(self._workers.values()):
            if now - worker.heard > limit:
                self._peers.pop(worker.peer, None)
                self._out.close(worker.peer, "silent for too long")
                self._lose_worker(worker, f"it was silent for {now - worker.heard:.0f} s")
        limit = self.settings.client_timeout_seconds
        for client in list(self._clients.values()):
            if now - client.heard > limit:
                self._forget_client(client, f"was gone for {now - client.heard:.0f} s and is forgotten")

    def _warn_unrunnable(self) -> None:
        for requirement_class in self.board.queues.classes():
            if not self._workers or requirement_class in self._unrunnable:
                continue
            if not self.board.loads.runnable(requirement_class):
                self._unrunnable.add(requirement_class)
                needs = ", ".join(sorted(self.board.requirements.needs(requirement_class)))
                count = self.board.queues.count(requirement_class)
                self._out.log(30, f"{count} tasks wait for a worker that offers {needs}; none of those here does")

    # ---- asked

    def _publish(self, now: float) -> None:
        for session in self._clients.values():
            session.unfinished = self.board.count_of(session.number)
        self.monitors.publish(
            self._out,
            now,
            self.unix_offset + now,
            self.task_counts(),
            self._clients.values(),
            self._workers.values(),
            self._managers.values(),
            self.board.loads,
        )

    def task_counts(self) -> TaskCounts:
        """How many tasks are in each state, and how many ended how."""
        life, ended = self.board.life, self.board.counters
        return TaskCounts(
            life.count(TaskState.WAITING),
            life.count(TaskState.READY),
            life.count(TaskState.ASSIGNED) + life.count(TaskState.RETRACTING),
            life.count(TaskState.RUNNING),
            ended.succeeded,
            ended.failed,
            ended.cancelled,
            ended.stale,
        )

    def explain(self, id: int) -> str:
        """Why a task (by its id) is where it is."""
        task = self.board.slots.find(array("Q", [id]))[0]
        return "is not known: it has ended, or was never submitted" if task == NONE else self.board.explain(task)

    def snapshot(self) -> dict[str, Any]:
        return {
            "tasks": self.task_counts(),
            "clients": len(self._clients),
            "workers": len(self._workers),
            "slots": sum(worker.facts.slots for worker in self._workers.values()),
            "managers": len(self._managers),
            "functions": len(self.board.functions),
        }

    def check(self) -> None:
        self.board.check()
        assert set(self.board.loads.workers) == set(self._workers)
        assert all(self._worker_of_peer[w.peer] is w for w in self._workers.values())
        assert all(self._clients[c.number] is c for c in self._client_of_peer.values())
        assert self._client_of_peer.keys() | self._worker_of_peer.keys() <= self._peers.keys()


def _client_label(session: ClientSession) -> str:
    return session.name or f"client {session.identity.hex()[:8]}"
