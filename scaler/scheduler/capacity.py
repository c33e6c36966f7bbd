"""The scheduler's side of the conversation with worker managers: how many slots each is asked for, and which workers leave."""

from __future__ import annotations

from collections.abc import Callable

from scaler.errors import ProtocolError
from scaler.machine import Outbox, Peer
from scaler.messages import (
    ConnectedWorker,
    Desired,
    DesiredSet,
    ManagerLeaving,
    ManagerReport,
    Message,
    RegisterManager,
    ShutdownManager,
)
from scaler.scheduler.board import Board
from scaler.scheduler.scaling.snapshot import Snapshot, Wanted
from scaler.scheduler.sessions import ManagerSession, WorkerSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.survey import Survey
from scaler.scheduler.workers import Workers

DECIDE_SECONDS = 0.05
"""Decisions are at least so far apart, however often the load changes."""
WORKER_SECONDS = 20e-6
"""So much further apart for each worker, since a decision looks at all of them: about a tenth of the scheduler's time."""
GUESS_SECONDS = 1.0
"""How often to decide again while tasks run of which no time is known."""
MOST_SLOTS = 1 << 26
"""Of a manager."""


class Capacity:
    """The connected managers. Growing follows the policy at once; shrinking waits until it was wanted for a while."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        workers: Workers,
        out: Outbox,
        hang_up: Callable[[int, str], None],
    ) -> None:
        self.sessions: dict[int, ManagerSession] = {}
        """By peer."""
        self.due: float | None = None
        """When to decide next."""
        self._settings = settings
        self._board = board
        self._workers = workers
        self._out = out
        self._hang_up = hang_up
        self._survey = Survey(board)
        self._decided = float("-inf")
        self._left_behind: dict[str, float] = {}
        """Names of dynamic managers that are gone, to when their workers are asked to leave."""

    # ---- from managers

    def receive(self, peer: int, who: Peer, message: Message, now: float) -> None:
        """Raises ProtocolError for what a manager may not say."""
        session = self.sessions.get(peer)
        _check_slots(message)
        if isinstance(message, RegisterManager) and session is None:
            self._register(peer, who, message, now)
        elif isinstance(message, ManagerReport) and session is not None:
            session.report, session.heard = message, now
            if session.desired is None and not session.facts.fixed:
                session.desired = session.wanted = self._present(session)
            self._take_leave_of(session)
            self._decide_soon(now)
        elif isinstance(message, ManagerLeaving) and session is not None:
            del self.sessions[peer]
            self._hang_up(peer, "it leaves")
            self._out.log(20, f"worker manager {session.name} left")
        else:
            raise ProtocolError("not a message of a manager here")

    def _take_leave_of(self, session: ManagerSession) -> None:
        """Of workers whose machine will be taken away soon."""
        leaving = set(session.report.leaving_workers)
        for worker in self._workers.of_manager(session.name) if leaving else ():
            if worker.facts.worker_name in leaving and not worker.draining:
                self._workers.ask_to_leave(worker, f"{session.name} says that its machine will be taken away")

    def _register(self, peer: int, who: Peer, message: RegisterManager, now: float) -> None:
        if not message.fixed:
            self._make_way(who, message.manager_name)
        self.sessions[peer] = ManagerSession(peer, who.identity, message, ManagerReport(0, 0, 0), now)
        self._left_behind.pop(message.manager_name, None)
        self._out.log(20, f"worker manager {message.manager_name} ({message.kind}) connected")

    def _make_way(self, who: Peer, name: str) -> None:
        """Workers are known by their manager's name. Raises ProtocolError where another dynamic manager has it."""
        for other in list(self.sessions.values()):
            if other.facts.fixed or other.name != name:
                continue
            if other.identity != who.identity:
                raise ProtocolError(f"there is a worker manager {name!r} already; give this one another name")
            del self.sessions[other.peer]
            self._hang_up(other.peer, "the same worker manager connected again")

    def _present(self, session: ManagerSession) -> int:
        """What it has when it comes: that is kept, until it has not been wanted for a while."""
        staying = [worker for worker in self._workers.of_manager(session.name) if not worker.draining]
        reported = session.report.starting_slots + session.report.running_slots
        return max(reported, sum(worker.facts.slots for worker in staying))

    def lost(self, peer: int, reason: str, now: float) -> None:
        """Its workers stay for a while."""
        session = self.sessions.pop(peer, None)
        if session is None:
            return
        self._out.log(30, f"lost worker manager {session.name}: {reason}")
        outlived = session.facts.outlived_milliseconds / 1000
        if outlived and not session.facts.fixed:
            self._left_behind[session.name] = now + outlived
            self._plan(now + outlived)

    def forgive(self, seconds: float, now: float) -> None:
        """Nobody could be heard for so long."""
        for session in self.sessions.values():
            session.heard = min(session.heard + seconds, now)

    def judge_silence(self, now: float) -> None:
        """Take those that were silent for too long for dead."""
        for session in list(self.sessions.values()):
            if now - session.heard > self._settings.worker_timeout_seconds:
                self._hang_up(session.peer, "silent for too long")
                self.lost(session.peer, "it was silent for too long", now)

    def shut_down(self, reason: str) -> None:
        """Have all end, with their workers."""
        for peer in self.sessions:
            self._out.send(peer, ShutdownManager(reason))

    # ---- deciding

    def load_changed(self, now: float) -> None:
        """There are other tasks, or other workers."""
        if self.sessions:
            self._decide_soon(now)

    def _decide_soon(self, now: float) -> None:
        if any(not session.facts.fixed for session in self.sessions.values()):
            apart = max(DECIDE_SECONDS, len(self._workers.sessions) * WORKER_SECONDS)
            self._plan(max(now, self._decided + apart))

    def _plan(self, when: float) -> None:
        self.due = when if self.due is None else min(self.due, when)

    def decide_if_due(self, now: float) -> bool:
        """Ask managers for what is wanted, and workers to leave; returns whether the board has changed by that."""
        if self.due is None or now < self.due:
            return False
        self.due, self._decided = None, now
        managers = [session for session in self.sessions.values() if session.desired is not None]
        if managers:
            snapshot = self._survey.take(self._workers.sessions.values(), managers, now)
            wanted = self._settings.policy.wanted(snapshot)
            for place, session in enumerate(managers):
                self._settle(session, wanted.slots[place], now)
                self._drain(session)
                self._tell(session, self._message(session, place, snapshot, wanted))
            if self._survey.guesses:
                self._plan(now + GUESS_SECONDS)
        self._drain_left_behind(now)
        return self._board.changed

    def _settle(self, session: ManagerSession, wanted: int, now: float) -> None:
        """Ask for the most that was wanted lately: so more at once, and fewer when they have not been wanted for a while."""
        idle, before = self._settings.policy.idle_seconds, session.before
        if wanted != session.wanted:
            while before and before[-1][1] <= session.wanted:
                before.pop()
            before.append((now, session.wanted))
            session.wanted = wanted
        while before and (before[0][1] <= wanted or before[0][0] + idle <= now):
            before.popleft()
        session.desired = before[0][1] if before else wanted
        if before:
            self._plan(before[0][0] + idle)

    def _drain(self, session: ManagerSession) -> None:
        """Have workers leave that are too many, those with least to do first."""
        staying = [worker for worker in self._workers.of_manager(session.name) if not worker.draining]
        excess = sum(worker.facts.slots for worker in staying) - (session.desired or 0)
        loads = self._board.loads
        if excess <= 0:
            return
        for worker in sorted(staying, key=lambda worker: (loads.held(worker.number), -worker.number)):
            if worker.facts.slots <= excess:
                excess -= worker.facts.slots
                self._workers.ask_to_leave(worker, f"{session.name} is to have {session.desired} slots")

    def _message(self, session: ManagerSession, place: int, snapshot: Snapshot, wanted: Wanted) -> Desired:
        sets = [DesiredSet(sorted(snapshot.needs[c]), slots) for c, slots in wanted.sets[place].items()]
        workers = self._workers.of_manager(session.name)
        return Desired(session.desired or 0, sets, [_connected(worker) for worker in workers])

    def _tell(self, session: ManagerSession, message: Desired) -> None:
        """What tasks wait for changes all the time: alone it is not worth a message."""
        told = session.told
        if told is None or message.slots != told.slots:
            self._out.log(20, f"worker manager {session.name} is to have {message.slots} slots")
        if told is None or (message.slots, message.connected) != (told.slots, told.connected):
            session.told = message
            self._out.send(session.peer, message)

    def _drain_left_behind(self, now: float) -> None:
        for name, when in list(self._left_behind.items()):
            if now >= when:
                del self._left_behind[name]
                for worker in self._workers.of_manager(name):
                    if not worker.draining:
                        self._workers.ask_to_leave(worker, f"its manager {name} is gone")
            else:
                self._plan(when)

    # ---- asked

    def offered(self) -> list[frozenset[str]]:
        """What workers offer that dynamic managers could start."""
        return [frozenset(s.facts.capabilities) for s in self.sessions.values() if not s.facts.fixed and s.most]

    def check(self) -> None:
        """Raises AssertionError where the parts do not fit each other."""
        for peer, session in self.sessions.items():
            assert session.peer == peer
            assert not (session.facts.fixed and session.told)
            assert session.told is None or session.desired == session.told.slots
            slots = [count for _, count in session.before]
            assert slots == sorted(set(slots), reverse=True)
            assert session.desired in (None, max([session.wanted, *slots]))


def _connected(worker: WorkerSession) -> ConnectedWorker:
    return ConnectedWorker(worker.facts.worker_name, worker.facts.slots, worker.draining)


def _check_slots(message: Message) -> None:
    """Sums of these are told to others: they have to stay numbers of 32 bits."""
    told: tuple[int, ...] = ()
    if isinstance(message, RegisterManager):
        told = (message.max_slots,)
    elif isinstance(message, ManagerReport):
        told = (message.starting_slots, message.running_slots, message.withheld_slots)
    if any(slots > MOST_SLOTS for slots in told):
        raise ProtocolError(f"{max(told)} slots; a manager has {MOST_SLOTS} at most")
