"""The scheduler's side of the conversation with clients: what they may say, and what they are told."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import repeat
from typing import Any

from scaler._core.slots import NONE
from scaler._core.table import join_ids
from scaler.errors import ProtocolError
from scaler.ids import MAX_CLIENT_NUMBER, OBJECT_ID_BYTES, SEQUENCE_BITS, sequence_of, u32, u64
from scaler.machine import Outbox, Peer
from scaler.messages import (
    AllOffered,
    Awaiting,
    Cancel,
    ClearTasks,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    Collected,
    DefineFunctions,
    ExplainTask,
    Explanation,
    ForgetFunctions,
    HeartbeatEcho,
    JournalClient,
    JournalRecord,
    Message,
    Recover,
    Restore,
    Restored,
    ResultStatus,
    Resuming,
    RunningInside,
    ShutdownCluster,
    ShutdownRefused,
    Submit,
    SubmitArray,
    TaskOutput,
)
from scaler.scheduler.arrays import TaskArray, checked_array, gaps
from scaler.scheduler.board import Board
from scaler.scheduler.columns import checked_submit, cut_results, needed, option_groups, select_submit
from scaler.scheduler.delivery import Delivery
from scaler.scheduler.journal import Journal
from scaler.scheduler.nesting import Nesting
from scaler.scheduler.recovery import Recovery
from scaler.scheduler.replay import replay
from scaler.scheduler.sessions import NEUTRAL, UNKNOWN, ClientSession, WorkerSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.traces import check_context
from scaler.scheduler.uncollected import Uncollected
from scaler.scheduler.versions import Versions

_AT_ONCE = (Resuming, AllOffered, ClientHeartbeat, ClientGoodbye, ExplainTask, ShutdownCluster)
"""What is not put by while a client waits for workers."""
NO_SLOTS = -1
"""Of a client that was at no other scheduler, and waits for its parent only."""
ALL_SLOTS = 1 << 62
"""Of a client that does not say when it has offered all: it waits for as long as clients do at most."""
MOST_CLIENTS = 65_536
"""For a further one somebody is forgotten who is gone and has no tasks; where there is none it is turned away."""
MOST_FUNCTIONS = 100_000
"""That one client may have defined at a time."""


class Clients:
    """Who is connected or not yet forgotten, what each asked for, and what it is to be told."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        nesting: Nesting,
        out: Outbox,
        hang_up: Callable[[int, str], None],
        shut_down: Callable[[str], None],
        explain: Callable[[int, int], Explanation],
        journal: Journal,
    ) -> None:
        self.sessions: dict[int, ClientSession] = {}
        """By client number."""
        self._settings = settings
        self._board = board
        self._nesting = nesting
        self._out = out
        self._hang_up = hang_up
        self._shut_down = shut_down
        self._explain = explain
        self._journal = journal
        self.delivery = Delivery(board, self.sessions, journal)
        self.recovery = self.delivery.recovery = Recovery(
            settings, board, self.sessions, journal, out, self.delivery.ends
        )
        self._of_peer: dict[int, ClientSession] = {}
        self._untold: dict[int, ClientSession] = {}
        self._of_identity: dict[bytes, ClientSession] = {}
        self._started = 0.0
        self.resuming: dict[int, ClientSession] = {}
        """Those whose messages are put by, by number."""
        self._versions = Versions(out)
        self._handlers: dict[type, Callable[[ClientSession, Any], None]] = {
            DefineFunctions: self._define,
            ForgetFunctions: self._forget_functions,
            Submit: self._submit,
            SubmitArray: self._submit_array,
            RunningInside: self._enter_parent,
            Cancel: self._cancel,
            ClearTasks: self._clear,
            Restored: self._restored,
            ClientHeartbeat: self._heartbeat,
            ExplainTask: self._tell_why,
            ClientGoodbye: self._goodbye,
            ShutdownCluster: self._shutdown,
            Resuming: self._resuming,
            AllOffered: self._all_offered,
            Recover: self.recovery.recover,
            Awaiting: self.recovery.awaiting,
            Collected: self.recovery.collected,
        }

    # ---- coming and going

    def connected(self, peer: int, who: Peer, now: float) -> None:
        """A client is there, for the first time or again."""
        self._started = self._started or now
        session = self._of_identity.get(who.identity)
        resumed = session is not None
        if session is None:
            if len(self.sessions) >= MOST_CLIENTS and not self._forget_one():
                self._hang_up(peer, f"there are {MOST_CLIENTS} clients already")
                return
            session = self._new(self._number_for(who.identity), who.identity, who.name, now, peer)
            self._board.given_up.came(who.identity)
            self._out.log(20, f"{session.label} connected")
        else:
            if session.peer is not None:
                del self._of_peer[session.peer]
                self._hang_up(session.peer, "the same client connected again")
            # It defines its functions anew; tasks keep the old ones alive.
            self._undefine(session.functions.values())
            session.functions.clear()
            session.peer, session.heard = peer, now
            session.answered = set()
            if session.put_by is not None:
                self._put_by(session, 0)
                self._all_offered(session)
            session.claimed_until = 0.0
            outstanding = self._board.lineage.outstanding(session.number)
            if outstanding:
                session.answer(Restore(outstanding))
            self._out.log(20, f"{session.label} is back")
        self._of_peer[peer] = session
        self._untold[session.number] = session  # of what ended while it was not there
        session.software = who.software
        settings = self._settings
        self._out.send(
            peer,
            ClientSettings(
                session.number,
                settings.object_storage_address,
                settings.inline_limit_bytes,
                int(settings.heartbeat_seconds * 1000),
                int(settings.client_timeout_seconds * 1000),
                resumed,
                self._board.loads.total_slots,
                self._versions.told(),
                int(settings.kept_seconds) if self._journal.on else 0,
            ),
        )

    def _forget_one(self) -> bool:
        """Returns whether there was one."""
        gone = (s for s in self.sessions.values() if s.peer is None and not self.recovery.has_work(s))
        session = next(gone, None)
        if session is not None:
            self._forget(session, "is forgotten: there are too many clients")
        return session is not None

    def _new(self, number: int, identity: bytes, name: str, now: float, peer: int | None = None) -> ClientSession:
        session = ClientSession(number, identity, name, peer, now, self._untold)
        session.uncollected = Uncollected() if name and self._journal.on else None
        self.sessions[number] = self._of_identity[identity] = session
        return session

    def bring_back(self, record: JournalClient) -> None:
        """A client of which the journal tells."""
        session = self._new(record.client, record.identity, record.name, self._board.clock.now)
        session.next_sequence, session.journaled = record.next_sequence, True

    def replay_later(self, record: JournalRecord) -> None:
        """What the journal has of one is entered when workers are back, which have twice as long where nobody waits for it."""
        session = self.sessions.get(record.client)
        if session is not None:
            if not session.replay:
                self._put_by(session, 0)
                session.resume_at = self._board.clock.now + 2 * self._settings.resume_seconds
            session.replay.append(record)

    def _number_for(self, identity: bytes) -> int:
        """Another scheduler gives it the same one: so tasks keep their ids."""
        number = int.from_bytes(identity[:3], "little") % MAX_CLIENT_NUMBER + 1
        while number in self.sessions:
            number = number % MAX_CLIENT_NUMBER + 1
        return number

    def of_identity(self, identity: bytes) -> ClientSession | None:
        """The client, if it is known."""
        return self._of_identity.get(identity)

    def receive(self, peer: int, message: Message, now: float) -> None:
        """Raises ProtocolError for what a client may not say."""
        session = self._of_peer[peer]
        session.heard = now
        if session.put_by is None and isinstance(message, RunningInside) and self._parent_may_come(message):
            self._put_by(session, NO_SLOTS)
            self._all_offered(session)
        if session.put_by is not None and type(message) not in _AT_ONCE:
            session.put_by.append(message)
        else:
            self.handle(session, message)

    def handle(self, session: ClientSession, message: Message) -> None:
        """Raises ProtocolError for what a client may not say."""
        handler = self._handlers.get(type(message))
        if handler is None:
            raise ProtocolError("not a message of a client")
        handler(session, message)

    def _parent_may_come(self, message: RunningInside) -> bool:
        """Whether this is about a task that ran when the scheduler was started, and whose client is not back yet."""
        young = self._board.clock.now < self._started + 2 * self._settings.resume_seconds
        return young and not self.is_here(message.task)

    def is_here(self, task: int) -> bool:
        """Whether a task is known, by its id."""
        return self._board.slots.find(array("Q", [task]))[0] != NONE

    def _resuming(self, session: ClientSession, message: Resuming) -> None:
        self._board.given_up.came_from_another(session.identity)
        self._put_by(session, message.slots)

    def wait_for_offers(self, session: ClientSession) -> None:
        """It was forgotten, comes to the same scheduler as before, and offers its tasks again."""
        self._put_by(session, ALL_SLOTS)
        self._all_offered(session)

    def _put_by(self, session: ClientSession, slots: int) -> None:
        session.put_by, session.slots_before, session.resume_at = [], slots, None
        self.resuming[session.number] = session

    def _all_offered(self, session: ClientSession, message: AllOffered | None = None) -> None:
        session.resume_at = self._board.clock.now + self._settings.resume_seconds

    def resume(self, session: ClientSession) -> list[Message]:
        """It has waited for long enough; returns what it has said meanwhile."""
        del self.resuming[session.number]
        messages, session.put_by = session.put_by or [], None
        if session.replay:
            session.answered = None  # All that the journal has is new here.
            self._journal.replaying = True
            replay(self, self._board, session, self._out)
            self._journal.replaying = False
            if session.peer is not None:  # It has defined its functions anew, in what it has said since.
                self._undefine(session.functions.values())
                session.functions.clear()
        if session.peer is not None and session.answered is None:
            session.answered = set()
        return messages

    def show(self, output: TaskOutput) -> None:
        """Pass on what a client's tasks printed, if it is there."""
        session = self._of_identity.get(output.client)
        if session is not None and session.peer is not None:
            self._out.send(session.peer, replace(output, client=b""))

    def lost(self, peer: int, reason: str, now: float) -> None:
        """Its connection is gone; what it asked for goes on until its timeout, unless nobody waits for it any more."""
        session = self._of_peer.pop(peer)
        session.peer, session.heard = None, now
        if session.replay:
            self._put_by(session, 0)
            self._all_offered(session)
        nested = session.orphaned or session.inside is not None
        self._out.log(
            20 if nested or not self._board.has_tasks(session.number) else 30, f"lost {session.label}: {reason}"
        )
        self._board.changed = self._board.changed or nested
        if session.orphaned:
            # Not forgotten yet: its process may live, if the task had just ended when it was stopped.
            self._cancel_all(session)

    def forgive(self, seconds: float, now: float) -> None:
        """Nobody could be heard for so long."""
        for session in self.sessions.values():
            session.heard = min(session.heard + seconds, now)

    def judge_silence(self, now: float) -> None:
        """Forget those that were silent or gone for too long."""
        for session in list(self.sessions.values()):
            silent = now - session.heard > self.recovery.kept_for(session)
            if silent and session.peer is not None and session.uncollected is not None:
                self._hang_up(session.peer, "silent for too long")
                self.lost(session.peer, "silent for too long", now)
            # A task may keep the client inside it from speaking; its worker tells that it lives.
            elif silent and (session.peer is None or not self._nesting.held(session)):
                self._forget(session, f"was gone for {now - session.heard:.0f} s and is forgotten")

    def _forget(self, session: ClientSession, why: str) -> None:
        """A client is gone for good: cancel its tasks, free its objects."""
        if session.peer is not None:
            del self._of_peer[session.peer]
            self._hang_up(session.peer, why)
        self.resuming.pop(session.number, None)
        self._cancel_all(session)
        self._untold.pop(session.number, None)
        self._nesting.leave(session)
        self._journal.gone(session)
        self._board.lineage.forget_client(session.number)
        self._undefine(session.functions.values())
        del self.sessions[session.number], self._of_identity[session.identity]
        self._board.given_up.add(session.identity)
        self._out.log(20, f"{session.label} {why}")

    def parent_came(self, id: int) -> None:
        """This task is with its worker again: what was submitted inside it is so, too."""
        self._nesting.parent_came(id)

    def parents_gone(self, ids: Iterable[int]) -> None:
        """These tasks were stopped or died: what was submitted inside them is not wanted any more."""
        self._orphan(self._nesting.inside(ids))

    def worker_came(self, worker: WorkerSession) -> None:
        """Warn of versions that are not those of a client."""
        self._versions.worker_came(worker, self.sessions.values())

    def worker_left(self, worker: WorkerSession) -> None:
        """So did all tasks of this worker."""
        self._versions.worker_left(worker)
        self._orphan(self._nesting.worker_left(worker.identity))

    def _orphan(self, sessions: list[ClientSession]) -> None:
        for session in sessions:
            assert session.inside is not None
            for task in self._nesting.since(session.number, session.inside.first_sequence):
                self.delivery.ends(self._board.end(task, ResultStatus.cancelled, b""))
            self._nesting.leave(session)
            session.orphaned = True

    def check(self) -> None:
        self._nesting.check()
        assert all(self.sessions[session.number] is session for session in self._of_peer.values())
        assert list(self._of_identity.values()) == list(self.sessions.values())
        assert all(self._of_peer[s.peer] is s for s in self.sessions.values() if s.peer is not None)
        assert self.resuming == {s.number: s for s in self.sessions.values() if s.put_by is not None}
        told = [s for s in self.sessions.values() if s.peer is not None and (s.outbox or s.singles or s.answers)]
        assert all(self._untold.get(s.number) is s for s in told)

    # ---- from clients

    def _define(self, session: ClientSession, message: DefineFunctions) -> None:
        if len(session.functions) + len(message.functions) > MOST_FUNCTIONS:
            raise ProtocolError(f"more than {MOST_FUNCTIONS} functions of one client; forget those that are not needed")
        for function in message.functions:
            if function.number in session.functions:
                raise ProtocolError(f"function {function.number} is defined already")
            if len(function.object) not in (0, OBJECT_ID_BYTES):
                raise ProtocolError(f"an object id has {OBJECT_ID_BYTES} bytes, not {len(function.object)}")
            session.functions[function.number] = self._board.functions.define(function, session.identity)
            session.by_name = session.by_name or function.serializer in NEUTRAL

    def _enter_parent(self, session: ClientSession, message: RunningInside) -> None:
        session.nested, session.uncollected = True, None
        self._nesting.enter(session, message)

    def _forget_functions(self, session: ClientSession, message: ForgetFunctions) -> None:
        self._undefine(session.functions.pop(number) for number in u32(message.numbers) if number in session.functions)

    def _undefine(self, numbers: Any) -> None:
        for number in numbers:
            self._board.functions.undefine(number)

    def _submit(self, session: ClientSession, message: Submit) -> None:
        message = checked_submit(message)
        more = message.more
        ids = join_ids(session.number, message.sequences)
        known = self._board.slots.find(ids)
        if known.count(NONE) != len(ids) or session.answered is not None:
            message = self._select_new(session, message, known)
            ids = join_ids(session.number, message.sequences)
        refused = self._refused(session, message, len(ids))
        session.refusing = more and (session.refusing or refused > 0)
        for id in ids[len(ids) - refused :]:
            session.deliver_single((sequence_of(id), ResultStatus.rejected, self._refusal(), 1, UNKNOWN, 0))
        if refused:
            message, ids = select_submit(message, range(len(ids) - refused)), ids[: len(ids) - refused]
        if ids:
            self._add(session, message, ids)
        elif session.held and not more:
            self._journal.submitted(session, message)
        if not more:
            self._release_held(session)

    def _add(self, session: ClientSession, message: Submit, ids: array[int]) -> None:
        tasks = self._enter(session, message, ids)
        self._journal.submitted(session, message)
        if message.wanted:
            self._board.mark_unwanted(task for task, want in zip(tasks, message.wanted, strict=True) if not want)
        lost = self._connect_dependencies(session, message, tasks) if len(message.dependency_ends) else []
        if len(message.dependency_ends) or message.more or session.held:
            self._enter_graph(session, message, tasks)
        hopeless = set(lost)
        if message.more or session.held:
            self._board.hold(tasks)
            session.held.extend(ids)
        else:
            release = array("I", [task for task in tasks if task not in hopeless]) if lost else tasks
            self.delivery.ends(self._board.release(release))
        for task in lost:
            text = b"a dependency is unknown: it was never submitted, or its result was released already"
            self.delivery.ends(self._board.end(task, ResultStatus.lost, text))
        self._board.changed = True

    def _enter_graph(self, session: ClientSession, message: Submit, tasks: array[int]) -> None:
        """Tell monitors of them as a graph."""
        board = self._board
        needed = board.slots.find(join_ids(session.number, u64(message.dependencies)))
        name = board.functions.name(board.function_of(tasks[-1]))
        session.graph = board.graphs.enter(session.identity, tasks, needed, name, session.graph)
        if session.graph:
            board.graphs.more_to_come(session.graph, more=True)

    def _release_held(self, session: ClientSession) -> None:
        """All parts are there: what the earlier ones brought may begin."""
        session.refusing = False
        if session.graph:
            self._board.graphs.more_to_come(session.graph, more=False)
            session.graph = 0
        if session.held:
            held, session.held = session.held, array("Q")
            tasks = array("I", [task for task in self._board.slots.find(held) if task != NONE])
            self.delivery.ends(self._board.release(tasks))
            self._board.changed = True

    def _select_new(self, session: ClientSession, message: Submit, known: array[int]) -> Submit:
        """What is not known, of tasks that are offered again, and was not answered since the client is back.

        A result that did not arrive, and is kept for dependents, is sent again. What was answered, or is wanted by
        dependents only, and is forgotten, runs again where others take it as input.
        """
        if session.answered is not None:
            self._answer(session)
        answered = session.answered or ()
        whole = not message.more and not session.held
        wanted = bytearray(message.wanted) or bytearray([1]) * len(known)
        chosen: list[int] = []
        spared: dict[int, int] = {}
        again: list[int] = []
        for place, (task, sequence, want) in enumerate(zip(known, u64(message.sequences), wanted, strict=True)):
            if task == NONE and (sequence in answered or (whole and not want)):
                spared[sequence] = place
            elif task == NONE and session.uncollected and sequence in session.uncollected:
                spared[sequence] = place
                again.append(sequence)
            elif task == NONE:
                chosen.append(place)
            elif want and sequence not in answered:
                kept = self._board.results.get(task)
                if kept is not None:
                    session.deliver_single((sequence, *kept, 1, UNKNOWN, 0))
                else:
                    self.delivery.ends(self._board.lineage.want(task))
        self.recovery.tell(session, again)
        for place in needed(message, chosen, spared) if spared else ():
            chosen.append(place)
            wanted[place] = 0
            message.wanted = bytes(wanted)
        return select_submit(message, sorted(chosen))

    def _refused(self, session: ClientSession, message: Submit, count: int) -> int:
        """How many of the tasks of a message there is no room for. They are the last ones; of a graph it is all."""
        graph = message.more or session.held or len(message.dependency_ends)
        excess = max(count - self._room(), 0)
        return count if session.refusing or (excess and graph) else excess

    def _room(self) -> int:
        """How many tasks more may wait."""
        limit = self._settings.max_waiting_tasks
        return sys.maxsize if limit < 0 or self._journal.replaying else max(limit - self._board.waiting(), 0)

    def _refusal(self) -> bytes:
        limit = self._settings.max_waiting_tasks
        return f"the scheduler's queue is full: {self._board.waiting()} tasks wait, the limit is {limit}".encode()

    def _submit_array(self, session: ClientSession, message: SubmitArray) -> None:
        ends = checked_array(message)
        if message.function not in session.functions:
            raise ProtocolError(f"function {message.function} is not defined")
        first, function = message.first_sequence, session.functions[message.function]
        check_context(message.options)
        now = self._board.clock.now
        depth, share = session.depth, session.share
        whole = TaskArray(session.number, first, function, message.items, ends, message.options, depth, now, share)
        new = self._new_items(session, first, first + len(ends))
        if new:
            self._journal.array_submitted(session, message)
        for begin, end in new:
            if end - begin > self._room():
                session.deliver_single((begin, ResultStatus.rejected, self._refusal(), end - begin, UNKNOWN, 0))
            else:
                self._board.ranges.add(whole, begin - first, end - first)
        self._board.changed = True

    def _new_items(self, session: ClientSession, begin: int, end: int) -> list[tuple[int, int]]:
        """What is not known of these sequences, and was not answered since the client is back; as _select_new()."""
        known = [(r.sequence, r.sequence + len(r)) for _, r in self._board.ranges.within(session.number, begin, end)]
        if session.answered is not None:
            self._answer(session)
            known += [(sequence, sequence + 1) for sequence in session.answered or ()]
            known += self.recovery.known_again(session, begin, end)
        return list(gaps(begin, end, known))

    def _enter(self, session: ClientSession, message: Submit, ids: array[int]) -> array[int]:
        numbers = u32(message.functions)
        unknown = set(numbers) - session.functions.keys()
        if unknown:
            raise ProtocolError(f"function {min(unknown)} is not defined")
        functions = array("I", [session.functions[number] for number in numbers])
        for options in message.option_sets:
            check_context(options)
        groups = option_groups(message, len(ids))
        return self._board.add(ids, functions, message.payloads, groups, session.depth, session.share)

    def _connect_dependencies(self, session: ClientSession, message: Submit, tasks: array[int]) -> list[int]:
        """Enter the edges; returns the tasks of which a dependency is unknown."""
        ends, sequences = u32(message.dependency_ends), u64(message.dependencies)
        found = self._board.slots.find(join_ids(session.number, sequences))
        lost: list[int] = []
        begin = 0
        for task, end in zip(tasks, ends, strict=True):
            dependencies = found[begin:end]
            begin = end
            if NONE not in dependencies:
                self.delivery.ends(self._board.lineage.revive(dependencies))
            if NONE in dependencies or self._board.lineage.any_useless(dependencies):
                lost.append(task)
            elif dependencies:
                self._board.depend(task, dependencies)
        return lost

    def _cancel(self, session: ClientSession, message: Cancel) -> None:
        sequences, counts = u64(message.sequences), u32(message.counts)
        if counts and len(counts) != len(sequences):
            raise ProtocolError("columns of different lengths")
        for task in self._board.slots.find(join_ids(session.number, sequences)):
            if task != NONE:
                self.delivery.ends(self._board.end(task, ResultStatus.cancelled, b""))
        for begin, count in zip(sequences, counts, strict=True) if counts else ():
            for task, items in self._board.ranges.within(session.number, begin, begin + count):
                if begin <= items.sequence and items.sequence + len(items) <= begin + count:
                    self.delivery.ends(self._board.end(task, ResultStatus.cancelled, b""))
        self._board.changed = True

    def _clear(self, session: ClientSession, message: ClearTasks) -> None:
        self._cancel_all(session)

    def _cancel_all(self, session: ClientSession) -> None:
        if len(self._board):
            for task in self._board.of_client(session.number):
                self.delivery.ends(self._board.end(task, ResultStatus.cancelled, b""))
        self._board.changed = True

    def _restored(self, session: ClientSession, message: Restored) -> None:
        # What is not its own may have come with the task around it, from the client of that one.
        around = NONE if session.inside is None else session.inside.task >> SEQUENCE_BITS
        parent = around if around != session.number and around in self.sessions else None
        ends = self._board.lineage.restored(session.number, message.objects, message.failures, parent)
        self.delivery.ends(ends)
        self._board.changed = True

    def _heartbeat(self, session: ClientSession, message: ClientHeartbeat) -> None:
        session.answered = None
        session.answer(HeartbeatEcho(message.sent_microseconds, self._board.loads.total_slots))

    def _tell_why(self, session: ClientSession, message: ExplainTask) -> None:
        if message.task >> SEQUENCE_BITS != session.number:
            raise ProtocolError("a task of another client")
        session.answer(self._explain(message.task, message.request))

    def _goodbye(self, session: ClientSession, message: ClientGoodbye) -> None:
        self._forget(session, "left")

    def _shutdown(self, session: ClientSession, message: ShutdownCluster) -> None:
        if self._settings.protected:
            session.answer(ShutdownRefused("the scheduler is protected; stop it where it was started"))
            return
        self._shut_down(f"{session.label} asked for it")

    # ---- to clients

    def answer_all(self) -> None:
        self._ask_for_objects()
        self.recovery.answer()
        for session in self._untold.values():
            if session.peer is not None:
                self._answer(session)
        self._untold.clear()

    def _ask_for_objects(self) -> None:
        """Have clients put again what is lost."""
        for number, together in self._board.lineage.take_asked().items():
            if number in self.sessions:
                self.sessions[number].answer(Restore(together))

    def _answer(self, session: ClientSession) -> None:
        """Send what is to be told to a connected client."""
        assert session.peer is not None
        if session.outbox or session.singles:
            for results in session.collect_results():
                if session.answered is not None:
                    for sequence, count in zip(u64(results.tasks), u32(results.counts) or repeat(1), strict=False):
                        session.answered.update(range(sequence, sequence + count))
                for piece in cut_results(results):
                    self._out.send(session.peer, piece)
        if session.answers:
            for message in session.answers:
                self._out.send(session.peer, message)
            session.answers = []
