"""The scheduler's side of worker managers: who they are, how many slots are wanted of them, which workers are to leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from scaler.errors import ProtocolError
from scaler.machine import Outbox, Peer
from scaler.messages import (
    Desired,
    ManagerLeaving,
    ManagerReport,
    Message,
    RegisterManager,
    ShutdownManager,
)
from scaler.scheduler.board import Board
from scaler.scheduler.nesting import Nesting
from scaler.scheduler.policy import Policy
from scaler.scheduler.scaling import IDLE_SECONDS, Load, Offer, policy_of
from scaler.scheduler.sessions import ManagerSession, WorkerSession
from scaler.scheduler.workers import Workers

DECIDE_SECONDS, LOOK_SECONDS = 0.1, 1.0
"""How often it is looked at what is wanted: at most when something changes, and at least while there is a dynamic manager."""


class Capacity:
    """Worker managers, and what is asked of the dynamic ones."""

    def __init__(
        self,
        board: Board,
        workers: Workers,
        nesting: Nesting,
        out: Outbox,
        hang_up: Callable[[int, str], None],
        policy: Policy,
    ) -> None:
        self.sessions: dict[int, ManagerSession] = {}
        self._board = board
        self._workers = workers
        self._nesting = nesting
        self._out = out
        self._hang_up = hang_up
        self._policy = policy_of(policy)
        self._idle_since: dict[int, float] = {}
        """By worker of a dynamic manager."""
        self._decide_at: float | None = None
        self._decided_at = 0.0

    # ---- told

    def receive(self, peer: int, who: Peer, message: Message, now: float) -> None:
        """Raises ProtocolError for what a manager may not say."""
        session = self.sessions.get(peer)
        if isinstance(message, RegisterManager) and session is None:
            self._register(peer, who, message, now)
        elif isinstance(message, ManagerReport) and session is not None:
            session.report, session.heard = message, now
        elif isinstance(message, ManagerLeaving) and session is not None:
            del self.sessions[peer]
            self._hang_up(peer, "it leaves")
        else:
            raise ProtocolError("not a message of a manager here")

    def _register(self, peer: int, who: Peer, message: RegisterManager, now: float) -> None:
        if not message.fixed:
            self._make_way(who, message.manager_name)
        session = self.sessions[peer] = ManagerSession(peer, who.identity, message, ManagerReport(0, 0, 0), now)
        self._out.log(20, f"worker manager {message.manager_name} ({message.kind}) connected")
        if message.fixed:
            return
        # Workers that it started before it was gone are there still.
        session.wanted = min(sum(worker.facts.slots for worker in self._of(session)), message.max_slots)
        self._out.send(peer, Desired(session.wanted))
        self._decide_at = now

    def _make_way(self, who: Peer, name: str) -> None:
        """Workers are known by their manager's name. Raises ProtocolError where another dynamic manager has it."""
        for other in list(self.sessions.values()):
            if other.facts.fixed or other.facts.manager_name != name:
                continue
            if other.identity != who.identity:
                raise ProtocolError(f"there is a worker manager {name!r} already; give this one another name")
            self._hang_up(other.peer, "the same worker manager connected again")
            self.lost(other.peer, "it connected again")

    def lost(self, peer: int, reason: str) -> None:
        """Its connection is gone. Its workers stay."""
        if peer in self.sessions:
            self._out.log(30, f"lost worker manager {self.sessions.pop(peer).facts.manager_name}: {reason}")

    def judge_silence(self, now: float, timeout_seconds: float) -> None:
        """Take those that were silent for too long for dead."""
        for session in list(self.sessions.values()):
            if now - session.heard > timeout_seconds:
                self._hang_up(session.peer, "silent for too long")
                self.lost(session.peer, "it was silent for too long")

    def shut_down(self, reason: str) -> None:
        """The cluster ends."""
        for peer in self.sessions:
            self._out.send(peer, ShutdownManager(reason))

    # ---- deciding

    def changed(self, now: float) -> None:
        """There are other tasks or workers than before."""
        if self._decide_at is not None:
            self._decide_at = min(self._decide_at, max(now, self._decided_at + DECIDE_SECONDS))

    def next_deadline(self) -> float | None:
        return self._decide_at

    def decide(self, now: float) -> None:
        """Ask managers for what is wanted now, if it is time for that."""
        if self._decide_at is None or now < self._decide_at:
            return
        dynamic = [session for session in self.sessions.values() if not session.facts.fixed]
        self._decided_at, self._decide_at = now, now + LOOK_SECONDS if dynamic else None
        workers = {session.facts.manager_name: self._of(session) for session in dynamic}
        for session in dynamic:
            # After a restart of the scheduler workers may be back later than their manager.
            there = sum(worker.facts.slots for worker in workers[session.facts.manager_name])
            session.wanted = max(session.wanted, min(there, session.facts.max_slots))
        self._note_idle(workers, now)
        wanted = self._policy(self._load(dynamic, workers))
        for session in dynamic:
            name = session.facts.manager_name
            slots = wanted[name]
            if slots < session.wanted:
                slots = self._drain(workers[name], session, slots, now)
            if slots != session.wanted:
                session.wanted = slots
                self._out.send(session.peer, Desired(slots))

    def _of(self, session: ManagerSession) -> list[WorkerSession]:
        """The workers of a manager that were not asked to leave."""
        name = session.facts.manager_name
        every = self._workers.sessions.values()
        return [worker for worker in every if worker.facts.manager_name == name and not worker.draining]

    def _note_idle(self, workers: dict[str, list[WorkerSession]], now: float) -> None:
        # Tasks that others left behind are cancelled with the worker on which they were submitted.
        needed = self._nesting.workers_with_children()
        idle = {
            worker.number
            for each in workers.values()
            for worker in each
            if not self._board.loads.held(worker.number) and worker.identity not in needed
        }
        self._idle_since = {number: self._idle_since.get(number, now) for number in idle}

    def _load(self, dynamic: list[ManagerSession], workers: dict[str, list[WorkerSession]]) -> Load:
        board = self._board
        offers = []
        for session in dynamic:
            held = sum(board.loads.held(worker.number) for worker in workers[session.facts.manager_name])
            offered = frozenset(session.facts.capabilities)
            offers.append(Offer(session.facts.manager_name, offered, session.facts.max_slots, session.wanted, held))
        slots: Counter[frozenset[str]] = Counter()
        tasks: Counter[frozenset[str]] = Counter()
        for worker in self._workers.sessions.values():
            if worker.facts.manager_name not in workers and not worker.draining:
                slots[frozenset(worker.facts.capabilities)] += worker.facts.slots
                tasks[frozenset(worker.facts.capabilities)] += board.loads.held(worker.number)
        return Load(tuple(offers), board.ready_by_needs(), {kind: (slots[kind], tasks[kind]) for kind in slots})

    def _drain(self, workers: list[WorkerSession], session: ManagerSession, wanted: int, now: float) -> int:
        """Have workers leave that were idle for long, the largest first; returns how many slots are wanted then."""
        left = session.wanted
        for worker in sorted(workers, key=lambda worker: -worker.facts.slots):
            idle = now - self._idle_since.get(worker.number, now)
            if idle >= IDLE_SECONDS and left - worker.facts.slots >= wanted:
                left -= worker.facts.slots
                self._workers.drain(worker)
        return left

    def check(self) -> None:
        assert all(session.wanted <= session.facts.max_slots for session in self.sessions.values())
