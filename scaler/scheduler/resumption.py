"""After a restart: clients offer their tasks again, workers say what they have of them, and both are brought together.

A client that comes from another scheduler is not answered at once. What it says is put by until the workers are back, as
many as there were, or for a second. Then its tasks are entered, and those that survived are with their workers as before.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from scaler._core.slots import NONE
from scaler.errors import ProtocolError
from scaler.ids import SEQUENCE_BITS
from scaler.messages import RunningInside
from scaler.scheduler.board import Board
from scaler.scheduler.clients import Clients
from scaler.scheduler.life import TaskState
from scaler.scheduler.sessions import ClientSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.survivors import Survivor, Survivors
from scaler.scheduler.workers import Workers


class Resumption:
    """Clients that wait for workers, and tasks that wait for clients."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        clients: Clients,
        workers: Workers,
        survivors: Survivors,
        expel: Callable[[ClientSession, Exception], None],
    ) -> None:
        self._settings = settings
        self._board = board
        self._clients = clients
        self._workers = workers
        self._survivors = survivors
        self._expel = expel

    def next_deadline(self) -> float | None:
        """When a client has waited for long enough."""
        waiting = [session for session in self._clients.resuming.values() if session.peer is not None or session.replay]
        return min([session.resume_at for session in waiting if session.resume_at is not None], default=None)

    def client_came(self, identity: bytes) -> None:
        """One that was forgotten: workers that were cut off, too, may have come before it with what they have of its tasks."""
        client = self._clients.of_identity(identity)
        if client is not None and client.put_by is None and identity in self._survivors:
            self._clients.wait_for_offers(client)

    def proceed(self, now: float) -> None:
        """Enter what clients have offered that need not wait any more, and give tasks that survived to those that are here."""
        for session in self._in_order(now):
            self._enter(session)
        for owner in self._workers.survivors_came():
            client = self._clients.of_identity(owner)
            if client is not None and client.put_by is None:
                self._adopt(client)

    def expire(self, now: float) -> None:
        """Clients that are not back by now do not come."""
        for owner in self._survivors.older_than(now - self._settings.client_timeout_seconds):
            for survivor in self._survivors.take(owner):
                self._stop(survivor)
            if self._clients.of_identity(owner) is None:
                self._board.given_up.add(owner)

    # ---- clients

    def _in_order(self, now: float) -> Iterator[ClientSession]:
        """Those that are to wait no more: clients of parents before those inside of them."""
        for session in list(self._clients.resuming.values()):
            yield from self._with_parents(session, now)

    def _with_parents(self, session: ClientSession, now: float) -> Iterator[ClientSession]:
        if session.put_by is None or session.resume_at is None or (session.peer is None and not session.replay):
            return
        if now < session.resume_at and not self._workers.are_back(session.slots_before):
            return
        for parent in [message.task for message in session.put_by if isinstance(message, RunningInside)]:
            around = self._clients.resuming.get(parent >> SEQUENCE_BITS)
            if around is not None and around is not session:
                yield from self._with_parents(around, now)
            if self._survivors.runs(parent):
                session.resume_at = now + self._settings.resume_seconds
                return  # Until the client of that one is here, or does not come any more.
            if now < session.resume_at and not self._clients.is_here(parent):
                return
        yield session

    def _enter(self, session: ClientSession) -> None:
        messages = self._clients.resume(session)
        try:
            for message in messages:
                self._clients.handle(session, message)
        except (ProtocolError, ValueError, IndexError, KeyError, OverflowError) as error:
            self._expel(session, error)
        self._adopt(session)

    # ---- tasks

    def _adopt(self, client: ClientSession) -> None:
        """Those of this client: results first, since another worker may run the same task again."""
        for survivor in sorted(self._survivors.take(client.identity), key=lambda one: one.result is None):
            task = self._find(client, survivor)
            if task is None:
                self._stop(survivor)
                continue
            self._board.adopt(task, survivor.worker.number, survivor.attempt, survivor.result is None)
            self._board.changed = True
            if survivor.result is None:
                self._clients.parent_came(survivor.task)
            else:
                self._workers.take_results(survivor.worker, survivor.result)

    def _find(self, client: ClientSession, survivor: Survivor) -> int | None:
        """The task, where nobody has it; items of arrays become a task of their own."""
        if client.number != survivor.client_number:
            return None
        (task,) = self._board.slots.find(array("Q", [survivor.task]))
        if task == NONE:
            return self._board.ranges.take_out(client.number, survivor.sequence, survivor.count, survivor.task)
        if survivor.count > 1 or self._board.life.state(task) not in (TaskState.WAITING, TaskState.READY):
            return None
        # What only other tasks wanted the scheduler before may have freed; not with a journal, which does not know of its end.
        there = self._board.wanted(task) or not survivor.is_stored or self._settings.journal
        return task if there else None

    def _stop(self, survivor: Survivor) -> None:
        """Nobody asks for it. A stored result stays: its client may have heard of it before, and fetch it later."""
        if survivor.result is None:
            self._board.stopped.append((survivor.worker.number, survivor.id, survivor.attempt))
            self._board.changed = True
