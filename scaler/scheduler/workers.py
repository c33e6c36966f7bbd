"""The scheduler's side of the conversation with workers: what they may say, and what they are given to do."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from scaler._core.slots import NONE
from scaler.errors import ProtocolError
from scaler.ids import SEQUENCE_BITS, u32, u64
from scaler.machine import Outbox, Peer
from scaler.messages import (
    CancelAssigned,
    DefineForWorker,
    Drain,
    ExecutorDeaths,
    ForgetForWorker,
    LendSlots,
    Message,
    RegisterWorker,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    StackSamples,
    Started,
    Survived,
    TaskOutput,
    Trimmed,
    WorkerHeartbeat,
    WorkerHeartbeatEcho,
    WorkerLeaving,
    WorkerSettings,
    function_runs,
)
from scaler.scheduler.arrays import TaskRange
from scaler.scheduler.board import Board
from scaler.scheduler.clients import Clients
from scaler.scheduler.columns import assignments, checked_results, profile_of, select_results
from scaler.scheduler.life import TaskEvent, TaskState
from scaler.scheduler.nesting import Nesting
from scaler.scheduler.placement import Placement
from scaler.scheduler.profiles import Profiles
from scaler.scheduler.samples import Samples
from scaler.scheduler.sessions import WorkerSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.survivors import Survivors

RETRACT_AFTER_SECONDS = 0.005
"""How long a slot stands idle before tasks are asked back for it: work already on its way should arrive first."""
RETRACT_AGAIN_SECONDS = 1.0
WATCHED_MILLISECONDS = 500
"""How often workers send heartbeats while somebody looks, and there are few of them."""
FEW_WORKERS = 100
LEFT = "it left in order"
_GOOD = bytes([ResultStatus.succeeded, ResultStatus.stored])
_STOPPED = bytes([ResultStatus.timed_out, ResultStatus.out_of_memory])


class Workers:
    """Who is connected and has registered, what each holds, and what is asked back from whom."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        nesting: Nesting,
        out: Outbox,
        clients: Clients,
        hang_up: Callable[[int, str], None],
        samples: Samples,
        survivors: Survivors,
        profiles: Profiles,
    ) -> None:
        self.sessions: dict[int, WorkerSession] = {}
        """By the number that the board's loads know it by."""
        self.retract_at: float | None = None
        """When tasks are to be asked back for idle slots."""
        self._settings = settings
        self._board = board
        self._nesting = nesting
        self._out = out
        self._clients = clients
        self._hang_up = hang_up
        self._samples = samples
        self._survivors = survivors
        self._owners_of_survivors: list[bytes] = []
        self._survivors_to_come = 0
        self._profiles = profiles
        self._of_peer: dict[int, WorkerSession] = {}
        self._of_identity: dict[bytes, WorkerSession] = {}
        self._free_numbers: list[int] = []
        self._retract_pause = RETRACT_AFTER_SECONDS
        self._leaving_soon: list[WorkerSession] = []
        """Those that were asked to leave and still have something to do."""
        self._unrunnable: set[int] = set()
        self._handlers: dict[type, Callable[[WorkerSession, Any], None]] = {
            WorkerHeartbeat: self._heartbeat,
            Started: self._started,
            Results: self._results,
            Retracted: self._retracted,
            Trimmed: self._trimmed,
            ExecutorDeaths: self._executor_deaths,
            WorkerLeaving: self._leaving,
            TaskOutput: self._output,
            Survived: self._survived,
            StackSamples: profiles.found,
        }

    # ---- coming and going

    def receive(self, peer: int, who: Peer, message: Message, now: float) -> None:
        """Raises ProtocolError for what a worker may not say."""
        session = self._of_peer.get(peer)
        if isinstance(message, RegisterWorker) and session is None:
            self._register(peer, who, message, now)
            return
        handler = self._handlers.get(type(message))
        if session is None or handler is None:
            raise ProtocolError("not a message of a worker here")
        session.heard = now
        handler(session, message)

    def _register(self, peer: int, who: Peer, message: RegisterWorker, now: float) -> None:
        old = self._of_identity.get(who.identity)
        if old is not None:
            self._hang_up(old.peer, "the same worker connected again")
            self._lose(old, "it connected again")
        number = self._free_numbers[-1] if self._free_numbers else len(self.sessions)
        connected = self._board.clock.unix_milliseconds
        session = WorkerSession(number, peer, who.identity, who.name, message, now, connected, software=who.software)
        session.survivors_to_come = message.survivors
        self._survivors_to_come += message.survivors
        session.telling_until = now + self._settings.resume_seconds
        group = self._board.requirements.group_of(message.capabilities)
        self._board.loads.add_worker(number, message.slots, group, message.queue_limit)
        if message.object_storage_address:
            self._board.locality.worker_came(number)
        if self._free_numbers:
            self._free_numbers.pop()
        self.sessions[number] = self._of_peer[peer] = self._of_identity[who.identity] = session
        self._nesting.worker_came(who.identity, number)
        self._clients.worker_came(session)
        settings = self._settings
        self._out.send(
            peer,
            WorkerSettings(
                settings.object_storage_address,
                settings.inline_limit_bytes,
                int(settings.worker_timeout_seconds * 1000),
            ),
        )
        self._profiles.worker_came(session, len(self.sessions), now)
        offers = f", offers {', '.join(sorted(message.capabilities))}" if message.capabilities else ""
        self._out.log(20, f"{session.label} connected with {message.slots} slots{offers}")
        self._unrunnable.clear()
        self._board.changed = True

    def are_back(self, slots: int) -> bool:
        """Whether so many slots (0: nobody knows) are here, and all workers have said what they have of a scheduler before."""
        here = self._board.loads.total_slots if slots > 0 else -1
        return here >= slots and not any(session.survivors_to_come for session in self.sessions.values())

    @property
    def any_telling(self) -> bool:
        """Whether a worker has still to say what it has of a scheduler before."""
        return self._survivors_to_come > 0

    def telling_until(self, now: float) -> float | None:
        """Until when nothing is given out, since a worker has not said yet what it has of a scheduler before; None: no such."""
        telling = [session.telling_until for session in self.sessions.values() if session.survivors_to_come]
        return max((until for until in telling if until > now), default=None)

    def survivors_came(self) -> list[bytes]:
        """Clients of which tasks have survived, as workers have just told; returned once."""
        owners, self._owners_of_survivors = self._owners_of_survivors, []
        return owners

    def _survived(self, session: WorkerSession, message: Survived) -> None:
        self._owners_of_survivors += self._survivors.add(session, message, self._board.clock.now)
        told = min(session.survivors_to_come, len(message.results.payloads))
        session.survivors_to_come -= told
        self._survivors_to_come -= told

    def lost(self, peer: int, reason: str) -> None:
        """Its connection is gone: others get what it held."""
        if peer in self._of_peer:
            self._lose(self._of_peer[peer], f"its connection was lost ({reason})")

    def ask_to_leave(self, session: WorkerSession, why: str) -> None:
        """A worker gets nothing more, and is asked for all that it has not begun. It is told to end when it has done the rest.

        So long it stays, also for what its tasks have submitted: that would end with it.
        """
        session.draining = True
        board, number = self._board, session.number
        board.loads.drain(number)
        held = array("I", [task for task in board.loads.held_tasks(number) if not board.loads.lends(task)])
        not_begun = board.life.apply(TaskEvent.RETRACT, held)
        if not_begun:
            self._out.send(session.peer, Retract(board.slots.ids(not_begun), board.life.attempts(not_begun)))
        self._leaving_soon.append(session)
        self._out.log(20, f"{session.label} is asked to leave: {why}")
        self._board.changed = True

    def dismiss(self) -> None:
        """Have those end that were asked to leave, and have nothing to do any more."""
        for session in list(self._leaving_soon):
            gone = self.sessions.get(session.number) is not session
            if not gone and not self._board.loads.held(session.number) and not self._nesting.awaited(session.identity):
                self._out.send(session.peer, Drain())
                gone = True
            if gone:
                self._leaving_soon.remove(session)

    def is_leaving(self, session: WorkerSession) -> bool:
        """Whether it was asked to leave, and is not told to end yet."""
        return session in self._leaving_soon

    def of_manager(self, name: str) -> list[WorkerSession]:
        """The connected workers that a manager started."""
        return [session for session in self.sessions.values() if session.facts.manager_name == name]

    def forgive(self, seconds: float, now: float) -> None:
        """Nobody could be heard for so long."""
        for session in self.sessions.values():
            session.heard = min(session.heard + seconds, now)

    def judge_silence(self, now: float) -> None:
        """Take those that were silent for too long for dead."""
        for session in list(self.sessions.values()):
            if now - session.heard > self._settings.worker_timeout_seconds:
                self._hang_up(session.peer, "silent for too long")
                self._lose(session, f"it was silent for {now - session.heard:.0f} s")

    def _lose(self, session: WorkerSession, story: str) -> None:
        del self.sessions[session.number], self._of_peer[session.peer], self._of_identity[session.identity]
        self._free_numbers.append(session.number)
        held = self._board.loads.held(session.number)
        self._survivors.worker_left(session)
        self._survivors_to_come -= session.survivors_to_come
        ends = self._board.lose_worker(session.number, f"{session.label}: {story}", session.identity)
        self._clients.delivery.ends(ends)
        self._clients.worker_left(session)
        self._profiles.worker_left(session)
        level = 20 if story == LEFT and not held else 30
        again = f"; the {held} tasks it held run again" if held else ""
        self._out.log(level, f"lost {session.label}: {story}{again}")
        self._board.changed = True

    def check(self) -> None:
        assert set(self._board.loads.workers) == set(self.sessions)
        assert all(self._of_peer[session.peer] is session for session in self.sessions.values())
        assert all(self._of_identity[session.identity] is session for session in self.sessions.values())
        assert sorted([*self.sessions, *self._free_numbers]) == list(
            range(len(self.sessions) + len(self._free_numbers))
        )

    # ---- from workers

    def _leaving(self, session: WorkerSession, message: WorkerLeaving) -> None:
        if message.grace_milliseconds:
            if not session.draining:
                self.ask_to_leave(session, f"it has to end within {message.grace_milliseconds / 1000:g} s")
            return
        self._hang_up(session.peer, "it leaves")
        self._lose(session, LEFT)

    def _heartbeat(self, session: WorkerSession, message: WorkerHeartbeat) -> None:
        session.vitals = message
        watched = self._samples.on and len(self.sessions) <= FEW_WORKERS
        again = WATCHED_MILLISECONDS if watched else 0
        self._out.send(session.peer, WorkerHeartbeatEcho(message.sent_microseconds, again))

    def _started(self, session: WorkerSession, message: Started) -> None:
        self._board.life.apply(TaskEvent.START, self._live(session, message.tasks, message.attempts))

    def _results(self, session: WorkerSession, message: Results) -> None:
        self.take_results(session, checked_results(message))

    def take_results(self, session: WorkerSession, message: Results) -> None:
        """Tasks and items that this worker has have ended."""
        tasks, stale = self._current(session, message.tasks, message.attempts)
        if stale and len(self._board.ranges):
            stale -= self._further_entries(session, tasks, stale, u32(message.attempts))
        if stale:
            self._free_stale(message, stale - self._ended_survivors(session, message, stale))
            fresh = [i for i in range(len(tasks)) if i not in stale]
            tasks, message = array("I", [tasks[i] for i in fresh]), select_results(message, fresh)
        if len(self._board.ranges) or len(message.counts):
            tasks, message = self._take_items(session, tasks, message)
        if not tasks:
            return
        self._board.changed = True
        if self._samples.on:
            self._samples.add(session.identity, self._board.places(tasks), message)
        statuses = message.statuses
        if not statuses.translate(None, _GOOD):
            self._clients.delivery.results(tasks, message)
            return
        good = [i for i, status in enumerate(statuses) if status in _GOOD]
        bad = [i for i, status in enumerate(statuses) if status not in _GOOD]
        if good:
            self._clients.delivery.results(array("I", [tasks[i] for i in good]), select_results(message, good))
        for i in bad:
            self._end_badly(session, tasks[i], select_results(message, [i]))

    def _ended_survivors(self, session: WorkerSession, message: Results, stale: set[int]) -> set[int]:
        """Those that belong to tasks whose clients are still to come."""
        if not self._survivors:
            return set()
        ids = u64(message.tasks)
        return {i for i in sorted(stale) if self._survivors.ended(session, ids[i], select_results(message, [i]))}

    def _further_entries(
        self, session: WorkerSession, tasks: array[int], stale: set[int], attempts: array[int]
    ) -> set[int]:
        """Those that name a range again, which may stand in a message more than once."""
        board = self._board
        further = {
            i
            for i in stale
            if board.ranges.get(tasks[i]) is not None
            and board.life.attempt(tasks[i]) == attempts[i]
            and board.loads.worker_of(tasks[i]) == session.number
        }
        board.counters.stale -= len(further)
        return further

    def _take_items(self, session: WorkerSession, tasks: array[int], message: Results) -> tuple[array[int], Results]:
        """Results of items of ranges; returns the others."""
        singles: list[int] = []
        counts = u32(message.counts)
        ranges = [self._board.ranges.get(task) for task in tasks]
        for i, (task, items) in enumerate(zip(tasks, ranges, strict=True)):
            if items is not None:
                self._board.changed = True
                if self._board.ranges.get(task) is not items:
                    raise ProtocolError("results of items after the end of their range")
                one = message if len(tasks) == 1 else select_results(message, [i])
                self._end_items(session, task, items, one, counts[i] if counts else 1)
            elif counts and counts[i] != 1:
                raise ProtocolError("a result of several items for a single task")
            else:
                singles.append(i)
        if len(singles) in (0, len(tasks)):
            return tasks[: len(singles)], message
        return array("I", [tasks[i] for i in singles]), select_results(message, singles)

    def _end_items(self, session: WorkerSession, task: int, items: TaskRange, message: Results, count: int) -> None:
        board, status = self._board, ResultStatus(message.statuses[0])
        good = status in (ResultStatus.succeeded, ResultStatus.stored)
        if not 1 <= count <= (len(items) if good else 1):
            raise ProtocolError(f"{count} results of a range that has {len(items)} items left")
        if status == ResultStatus.failed and board.retry(task, message.payloads[0]):
            return
        if status == ResultStatus.object_lost:
            task = task if len(items) == 1 else board.ranges.first_alone(task)
            self._clients.delivery.ends(board.lineage.miss(task, message.payloads[0]))
            return
        if status in _STOPPED:
            message.payloads[0] = self._stopped(task, message.payloads[0])
        elif not good and status not in (ResultStatus.failed, ResultStatus.lost):
            raise ProtocolError(f"a worker cannot end an item as {status.name}")
        if self._samples.on:
            self._samples.add(session.identity, [board.functions.totals(items.whole.function).place], message)
        if good:
            board.functions.items_ended(items.whole.function, count, *profile_of(message))
            board.counters.succeeded += count
        else:
            board.failures.note(task, status, message.payloads[0], session.identity, profile_of(message))
            board.counters.failed += 1
        self._clients.delivery.items(task, items, message)
        board.ranges.advance(task, count)

    def _output(self, session: WorkerSession, message: TaskOutput) -> None:
        self._clients.show(message)

    def _trimmed(self, session: WorkerSession, message: Trimmed) -> None:
        tasks, stale = self._current(session, message.tasks, message.attempts)
        for i, (task, kept) in enumerate(zip(tasks, u32(message.kept), strict=True)):
            if i not in stale:
                if self._board.ranges.get(task) is None:
                    raise ProtocolError("a single task cannot be trimmed")
                self._board.ranges.trim(task, kept)
        self._board.changed = True

    def _free_stale(self, message: Results, stale: set[int]) -> None:
        """Nobody will hear of these results: free the objects that were made for them."""
        for i in sorted(stale):
            if message.statuses[i] == ResultStatus.stored:
                client = self._clients.sessions.get(u64(message.tasks)[i] >> SEQUENCE_BITS)
                if client is not None:
                    self._board.released_objects.append((message.payloads[i], client.identity))

    def _end_badly(self, session: WorkerSession, task: int, message: Results) -> None:
        status, payload = ResultStatus(message.statuses[0]), message.payloads[0]
        if status == ResultStatus.unspecified or status in (ResultStatus.rejected, ResultStatus.crashed):
            raise ProtocolError(f"a worker cannot end a task as {status.name}")
        if not self._board.life.state(task):
            return  # The end of another one in the same message ended it just now.
        if status == ResultStatus.failed and self._board.retry(task, payload):
            return
        if status == ResultStatus.object_lost:
            self._clients.delivery.ends(self._board.lineage.miss(task, payload))
            return
        if status in _STOPPED:
            payload = self._stopped(task, payload)
        self._board.failures.note(task, status, payload, session.identity, profile_of(message))
        self._board.loads.release(array("I", [task]))
        ends = self._board.end(task, status, payload)
        for end in ends:
            if end.task == task:  # not those that needed its result
                end.profile = profile_of(message)
        self._clients.delivery.ends(ends)

    def _stopped(self, task: int, text: bytes) -> bytes:
        """What was submitted inside it goes too; returns why it was stopped, with its name."""
        self._clients.parents_gone(self._board.slots.ids(array("I", [task])))
        return f"{self._board.label(task)} ".encode() + text

    def _retracted(self, session: WorkerSession, message: Retracted) -> None:
        returned = self._live(session, message.returned, message.returned_attempts)
        kept = self._live(session, message.kept, message.kept_attempts)
        self._board.life.apply(TaskEvent.KEEP, kept)
        self._board.give_back(array("I", [t for t in returned if self._board.life.state(t) == TaskState.RETRACTING]))
        self._board.changed = True

    def _executor_deaths(self, session: WorkerSession, message: ExecutorDeaths) -> None:
        tasks, stale = self._current(session, message.tasks, message.attempts)
        items = u32(message.items) or array("I", bytes(4 * len(tasks)))
        statuses = message.statuses or bytes([ResultStatus.crashed]) * len(tasks)
        self._clients.parents_gone(id for i, id in enumerate(u64(message.tasks)) if i not in stale)
        for i in stale if self._survivors else ():
            self._survivors.died(session, u64(message.tasks)[i])
        for i, (task, story, item, status) in enumerate(zip(tasks, message.stories, items, statuses, strict=True)):
            if i in stale:
                continue
            if status != ResultStatus.unspecified:
                self._died(session, task, story, item, status)
            elif self._board.loads.worker_of(task) != NONE:  # The end of another one has not stopped it just now.
                self._board.requeue(array("I", [task]))
        self._board.changed = True

    def _died(self, session: WorkerSession, task: int, story: str, item: int, status: int) -> None:
        """It, or this item of it, was running in an executor that died, or was ended for its sake."""
        self._out.log(30, f"{self._board.label(task)}: {story} on {session.label}")
        single = self._board.item_alone(task, item)
        if single is not None and status in _STOPPED:
            text = f"{self._board.label(single)} {story}"
            self._board.failures.note(single, ResultStatus(status), text.encode(), session.identity)
            self._clients.delivery.ends(self._board.end(single, ResultStatus(status), text.encode()))
        elif single is not None:
            self._clients.delivery.ends(self._board.die(single, f"on {session.label}: {story}", session.identity))

    def _current(self, session: WorkerSession, ids: Any, attempts: Any) -> tuple[array[int], set[int]]:
        """The tasks of a worker's message, and the positions in it that do not speak of a present attempt of its own."""
        tasks = self._board.slots.find(ids)
        if len(u32(attempts)) != len(tasks):
            raise ProtocolError("ids and attempts have different lengths")
        stale = set(self._board.life.stale(tasks, attempts))
        stale.update(self._board.loads.foreign(session.number, tasks))
        self._board.counters.stale += len(stale)
        return tasks, stale

    def _live(self, session: WorkerSession, ids: Any, attempts: Any) -> array[int]:
        tasks, stale = self._current(session, ids, attempts)
        return array("I", [task for i, task in enumerate(tasks) if i not in stale]) if stale else tasks

    # ---- to workers

    def give(self) -> None:
        """One placement pass: tell workers what to stop, which tasks lend their slots, and what to run."""
        self._stop_tasks()
        for number, ids in self._nesting.lend().items():
            if number in self.sessions:
                self._out.send(self.sessions[number].peer, LendSlots(array("Q", ids)))
        for placement in self._board.place():
            self._send_placement(placement)
        for number, waited in self._board.traces.take():
            attributes = {**waited.attributes, "scaler.worker": self.sessions[number].label}
            self._out.add(replace(waited, attributes=attributes))
        self.dismiss()

    def _send_placement(self, placement: Placement) -> None:
        session = self.sessions[placement.worker]
        fresh = set(placement.functions) - session.known
        if fresh:
            session.known |= fresh
            for functions in function_runs([self._board.functions.get(number) for number in sorted(fresh)]):
                self._out.send(session.peer, DefineForWorker(functions))
        for message in assignments(placement):
            self._out.send(session.peer, message)

    def plan_retraction(self, now: float) -> None:
        """After something changed: think of asking tasks back a little later."""
        self._retract_pause = RETRACT_AFTER_SECONDS
        self.retract_at = now + self._retract_pause if self._retraction_may_help() else None

    def _retraction_may_help(self) -> bool:
        board = self._board
        idle = board.loads.idle_slots - board.life.count(TaskState.RETRACTING)
        return len(self.sessions) > 1 and idle > 0 and board.life.count(TaskState.ASSIGNED) > 0

    def retract_if_due(self, now: float) -> None:
        """Ask tasks back, if it is time."""
        if self.retract_at is None or now < self.retract_at:
            return
        for number, tasks in self._board.retract():
            attempts = self._board.life.attempts(tasks)
            self._out.send(self.sessions[number].peer, Retract(self._board.slots.ids(tasks), attempts))
        self._retract_pause = min(self._retract_pause * 2, RETRACT_AGAIN_SECONDS)
        self.retract_at = now + self._retract_pause if self._retraction_may_help() else None

    def _stop_tasks(self) -> None:
        """Tell workers of tasks that nobody wants any more, and of those that were submitted inside them."""
        told: dict[int, list[tuple[int, int]]] = {}
        while self._board.stopped:
            stopped, self._board.stopped = self._board.stopped, []
            for number, id, attempt in stopped:
                if number in self.sessions:
                    told.setdefault(number, []).append((id, attempt))
            self._clients.parents_gone(id for _, id, _ in stopped)
        for number, pairs in told.items():
            ids, attempts = zip(*pairs, strict=True)
            self._out.send(self.sessions[number].peer, CancelAssigned(array("Q", ids), array("I", attempts)))

    def collect_functions(self) -> None:
        """Forget functions that nobody names any more, and tell the workers that know them."""
        gone = self._board.functions.collect()
        if gone:
            for session in self.sessions.values():
                known = array("I", [number for number in gone if number in session.known])
                if known:
                    session.known.difference_update(known)
                    self._out.send(session.peer, ForgetForWorker(known))

    def warn_unrunnable(self, offered: Collection[frozenset[str]]) -> None:
        """Say once of each class that nobody here can run it, nor any worker that could be started: these offer that."""
        for requirement_class in self._board.queues.classes():
            if not (self.sessions or offered) or requirement_class in self._unrunnable:
                continue
            asked_for = self._board.requirements.needs(requirement_class)
            coming = any(asked_for <= offers for offers in offered)
            if not coming and not self._board.loads.runnable(requirement_class):
                self._unrunnable.add(requirement_class)
                needs = ", ".join(sorted(asked_for)) or "nothing in particular"
                count = self._board.queues.count(requirement_class)
                self._out.log(30, f"{count} tasks wait for a worker that offers {needs}; none of those here does")
