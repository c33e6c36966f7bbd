"""The scheduler's decisions: it passes on what peers say, and asks its parts what follows.

Tasks live on the board. ``clients``, ``workers``, ``capacity`` (of worker managers) and ``storage`` each know one conversation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scaler.errors import ProtocolError
from scaler.machine import Output, Peer, Stop
from scaler.messages import (
    ClusterEnding,
    Explanation,
    JournalClient,
    JournalRecord,
    Message,
    Role,
    ShutdownWorker,
    Statistics,
    TaskCounts,
    Update,
)
from scaler.scheduler.board import Board
from scaler.scheduler.capacity import Capacity
from scaler.scheduler.clients import Clients
from scaler.scheduler.clock import Clock
from scaler.scheduler.explain import explain
from scaler.scheduler.journal import Append, Journal
from scaler.scheduler.life import TaskState
from scaler.scheduler.monitors import Monitors
from scaler.scheduler.nesting import Nesting
from scaler.scheduler.object_storage import ObjectStorage
from scaler.scheduler.profiles import Profiles
from scaler.scheduler.recent import RememberedOutbox
from scaler.scheduler.resumption import Resumption
from scaler.scheduler.samples import Samples
from scaler.scheduler.sessions import ClientSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.survivors import Survivors
from scaler.scheduler.suspects import Suspects
from scaler.scheduler.workers import Workers
from scaler.stuck import Stuck

HOUSEKEEPING_SECONDS = 1.0


class SchedulerState:
    """See scaler.machine.State for the contract."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.board = Board(clock=self.clock)
        self.board.traces.on = settings.tracing
        self._out = RememberedOutbox(clock=self.clock)
        samples = Samples(self.clock)
        nesting = Nesting(self.board)
        self.journal = Journal(self.board, settings.journal)
        self.clients = Clients(
            settings, self.board, nesting, self._out, self._hang_up, self.shut_down, self.explain, self.journal
        )
        self.survivors = Survivors()
        self.profiles = Profiles(self._out)
        self.workers = Workers(
            settings,
            self.board,
            nesting,
            self._out,
            self.clients,
            self._hang_up,
            samples,
            self.survivors,
            self.profiles,
        )
        self.resumption = Resumption(
            settings, self.board, self.clients, self.workers, self.survivors, self._expel_client
        )
        self.storage = ObjectStorage(settings.object_storage_address, self.board, self._out, journaled=self.journal.on)
        self.capacity = Capacity(settings, self.board, self.workers, self._out, self._hang_up)
        parts = self.clients, self.workers, self.capacity
        self.monitors = Monitors(settings, self.board, *parts, samples, self.profiles, self._out)
        self._suspects = Suspects(self.board, self.clients, self.workers, Stuck(self._out.log))
        self._peers: dict[int, Peer] = {}
        self._hold_until: float | None = None
        """When tasks are given out again."""
        self._housekeeping_at: float | None = None
        self._stopping = False

    # ---- told

    def restore(self, records: Iterable[JournalRecord], now: float) -> None:
        """What a journal says, before anything else is told."""
        self.clock.now = now
        for record in records:
            if isinstance(record, JournalClient):
                self.clients.bring_back(record)
            else:
                self.clients.replay_later(record)
        self._housekeeping_at = now + HOUSEKEEPING_SECONDS

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        self.clock.now = now
        self._peers[peer] = who
        self._housekeeping_at = self._housekeeping_at or now + HOUSEKEEPING_SECONDS
        if who.role == Role.client:
            self.clients.connected(peer, who, now)
            self.resumption.client_came(who.identity)
        elif who.role == Role.storage_user:
            self.storage.connected(peer, who.identity)

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        self.clock.now = now
        who = self._peers.get(peer)
        if who is None:
            return
        try:
            if who.role == Role.client:
                self.clients.receive(peer, message, now)
            elif who.role == Role.worker:
                self.workers.receive(peer, who, message, now)
            elif who.role == Role.manager:
                self.capacity.receive(peer, who, message, now)
            elif self.storage.is_peer(peer) and isinstance(message, Statistics):
                self.storage.heard(message)
                self.monitors.objects = message
            elif who.role == Role.monitor:
                self.monitors.receive(peer, who, message, now)
        except (ProtocolError, ValueError, IndexError, KeyError, OverflowError) as error:
            self._expel(peer, f"{type(message).__name__}: {error}", now)

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        self.clock.now = now
        who = self._peers.pop(peer, None)
        if who is None:
            return
        if self.storage.is_peer(peer):
            self.storage.lost()
        elif who.role == Role.client:
            self.clients.lost(peer, reason, now)
        elif who.role == Role.worker:
            self.workers.lost(peer, reason)
        elif who.role == Role.manager:
            self.capacity.lost(peer, reason, now)
        elif who.role == Role.monitor:
            self.monitors.lost(peer, now)

    def tick(self, now: float) -> None:
        self.clock.now = now
        if self._housekeeping_at is not None and now >= self._housekeeping_at:
            self._forgive(now - self._housekeeping_at, now)
            busy = self._peers or self.clients.sessions or self.storage.busy
            self._housekeeping_at = now + HOUSEKEEPING_SECONDS if busy else None
            self.workers.judge_silence(now)
            self.clients.judge_silence(now)
            self.capacity.judge_silence(now)
            self.resumption.expire(now)
            self.storage.keep_house(now)
            self.workers.dismiss()
            self.workers.warn_unrunnable(self.capacity.offered())
            self._suspects.look_if_due(now)
        self.workers.retract_if_due(now)

    def _forgive(self, late: float, now: float) -> None:
        """Where this process was stopped, or the machine slept: what peers said meanwhile is still to be read."""
        if late > HOUSEKEEPING_SECONDS:
            self._out.log(30, f"this process did nothing for {late:.1f} s; nobody is taken for silent in that time")
            for part in (self.clients, self.workers, self.capacity):
                part.forgive(late, now)

    def pause_monitor(self, peer: int, paused: bool) -> None:
        """A peer stopped reading, or reads again."""
        self.monitors.pause(peer, paused)

    def drain(self, now: float) -> list[Output]:
        self.clock.now = now
        self.resumption.proceed(now)
        self._hold_until = self.workers.telling_until(now) if self.workers.any_telling else None
        if self.board.changed:
            self._place(now)
            self.capacity.load_changed(now)
        if self.capacity.decide_if_due(now):
            self._place(now)
        self.journal.settle()
        self.clients.answer_all()
        if self.board.functions.doubtful:
            self.workers.collect_functions()
        self.storage.tell(now)
        if self.profiles:
            self.profiles.end_if_done(now)
        deadline = self.monitors.next_deadline()
        if deadline is not None and now >= deadline:
            self._publish(now)
        if self.journal.on and (records := self.journal.take()):
            self._out.add(Append(records))
        return self._out.take()

    def _place(self, now: float) -> None:
        if self._hold_until is not None:
            self.board.changed = True
            return
        self.board.changed = False
        self.workers.give()
        self.workers.plan_retraction(now)

    def next_deadline(self) -> float | None:
        times = (
            self._housekeeping_at,
            self.workers.retract_at,
            self.monitors.next_deadline(),
            self.capacity.due,
            self.resumption.next_deadline(),
            self._hold_until,
            self.profiles.due,
        )
        return min([time for time in times if time is not None], default=None)

    def _hang_up(self, peer: int, reason: str) -> None:
        """Close a connection of which the state is done."""
        self._peers.pop(peer, None)
        self._out.close(peer, reason)

    def _expel(self, peer: int, reason: str, now: float) -> None:
        """A wrong message closes its peer and harms nobody else."""
        who = self._peers[peer]
        self._out.log(30, f"closing {who.role.name} {who.name or who.identity.hex()[:8]}: {reason}")
        self.peer_lost(peer, f"it broke the protocol: {reason}", now)
        self._out.close(peer, reason)

    def _expel_client(self, session: ClientSession, error: Exception) -> None:
        if session.peer is not None:
            self._expel(session.peer, f"what it offered again: {error}", self.clock.now)

    def shut_down(self, reason: str) -> None:
        """Tell everybody and stop."""
        if self._stopping:
            return
        self._stopping = True
        for client in self.clients.sessions.values():
            client.answer(ClusterEnding(reason))
        self.clients.answer_all()
        for worker in self.workers.sessions.values():
            self._out.send(worker.peer, ShutdownWorker(reason))
        self.capacity.shut_down(reason)
        self._out.add(Stop(reason))

    def tell(self, level: int, text: str) -> None:
        """A line for the log, and for monitors."""
        self._out.log(level, text)

    # ---- asked

    def _publish(self, now: float) -> None:
        if self.monitors.publish_if_due(now, self.task_counts()):
            self.storage.ask()

    def task_counts(self) -> TaskCounts:
        """How many tasks are in each state, and how many ended how."""
        board, ended = self.board, self.board.counters
        return TaskCounts(
            board.count_in(TaskState.WAITING),
            board.count_in(TaskState.READY),
            board.count_in(TaskState.ASSIGNED) + board.count_in(TaskState.RETRACTING),
            board.count_in(TaskState.RUNNING),
            ended.succeeded,
            ended.failed,
            ended.cancelled,
            ended.stale,
        )

    def overview(self) -> Update:
        """What a monitor that knows nothing is told, without single tasks, graphs and the log."""
        return self.monitors.overview(self.task_counts())

    def explain(self, id: int, request: int = 0) -> Explanation:
        """Why a task (by its id) is where it is."""
        return explain(self.board, self.workers.sessions.values(), id, request)

    def snapshot(self) -> dict[str, Any]:
        return {
            "tasks": self.task_counts(),
            "clients": len(self.clients.sessions),
            "workers": len(self.workers.sessions),
            "slots": sum(worker.facts.slots for worker in self.workers.sessions.values()),
            "managers": len(self.capacity.sessions),
            "functions": len(self.board.functions),
        }

    def check(self) -> None:
        self.board.check()
        self.clients.check()
        self.workers.check()
        self.survivors.check()
        self.capacity.check()
        peers = {session.peer for session in self.clients.sessions.values() if session.peer is not None}
        peers.update(session.peer for session in self.workers.sessions.values())
        assert peers | self.capacity.sessions.keys() <= self._peers.keys()
