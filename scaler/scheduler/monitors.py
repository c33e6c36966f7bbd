"""The scheduler's side of the conversation with monitors: what they are told, and when, and what they may ask for.

Monitors that want to be told equally often share a *channel*: what changed is found out and put together once for all of them.
With no monitor there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from scaler.errors import ProtocolError
from scaler.machine import Peer
from scaler.messages import (
    Answer,
    CancelTask,
    DescribeGraph,
    DrainWorker,
    EndedTasks,
    ExplainTask,
    FunctionFacts,
    Message,
    ProfileTasks,
    ResultStatus,
    SchedulerFacts,
    Statistics,
    StopProfile,
    Subscribe,
    TaskCounts,
    Update,
    WorkerFacts,
)
from scaler.scheduler.board import Board
from scaler.scheduler.capacity import Capacity
from scaler.scheduler.clients import Clients
from scaler.scheduler.explain import describe, explain, find_task
from scaler.scheduler.facts import client_facts, function_facts, manager_facts, waiting_tasks, worker_facts
from scaler.scheduler.profiles import Profiles
from scaler.scheduler.recent import RememberedOutbox
from scaler.scheduler.samples import Samples
from scaler.scheduler.sessions import WorkerSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.workers import Workers

SHORTEST_INTERVAL_SECONDS = 0.1
MOST_MONITORS = 1000
MOST_INTERVALS = 32
"""What changed is found out for each interval that monitors want; further ones get the longest that there is."""
MOST_WORKERS = 1000
"""How many changed workers and executors an update tells of, about."""
PROTECTED = "the scheduler is protected: monitors may only look; --no-protected at its start lets them cancel, drain and profile"


@dataclass(slots=True, eq=False)
class _Channel:
    """What all monitors of one interval were told."""

    interval: float
    next: float
    members: set[int] = field(default_factory=set)
    """Those that know all that is here."""
    newcomers: set[int] = field(default_factory=set)
    """Those that know nothing."""
    workers: dict[int, tuple[bytes, int, int, bool]] = field(default_factory=dict)
    """By number: identity, the heartbeat, tasks held, whether it drains."""
    turn: int = 0
    """The number of the worker that is looked at first, so that all have their turn."""
    functions: dict[str, FunctionFacts] = field(default_factory=dict)
    entries: int = 0
    total: int = 0
    failures: int = 0
    lines: int = 0


class Monitors:
    """Who subscribed, and what each has been told."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        clients: Clients,
        workers: Workers,
        capacity: Capacity,
        samples: Samples,
        profiles: Profiles,
        out: RememberedOutbox,
    ) -> None:
        self.cpu_percent = 0.0
        self.resident_bytes = 0
        self.scheduler = SchedulerFacts(protected=settings.protected)
        """Of the scheduler's own process, as all above: told by its service."""
        self.objects = Statistics()
        """Of the object storage, as it said last."""
        self._settings = settings
        self._board = board
        self._clients = clients
        self._workers = workers
        self._capacity = capacity
        self._samples = samples
        self._profiles = profiles
        self._out = out
        self._channels: dict[float, _Channel] = {}
        self._of_peer: dict[int, _Channel] = {}

    # ---- from monitors

    def receive(self, peer: int, who: Peer, message: Message, now: float) -> None:
        """Raises ProtocolError for what a monitor may not say."""
        if isinstance(message, Subscribe):
            self._subscribe(peer, message.interval_milliseconds, now)
        elif isinstance(message, ExplainTask):
            told = explain(self._board, self._workers.sessions.values(), message.task, message.request)
            self._out.send(peer, told)
        elif isinstance(message, DescribeGraph):
            self._out.send(peer, describe(self._board, message.number, message.request))
        elif isinstance(message, CancelTask | DrainWorker | ProfileTasks):
            done, text = self._act(peer, who, message, now)
            self._out.send(peer, Answer(message.request, done, text))
        elif isinstance(message, StopProfile):
            self._profiles.stop(peer, message.request, now)
        else:
            raise ProtocolError("not a message of a monitor")

    def _subscribe(self, peer: int, interval_milliseconds: int, now: float) -> None:
        self.unsubscribe(peer)
        if len(self._of_peer) >= MOST_MONITORS:
            raise ProtocolError(f"{MOST_MONITORS} monitors are subscribed already")
        interval = max(SHORTEST_INTERVAL_SECONDS, (interval_milliseconds or 1000) / 1000)
        if interval not in self._channels and len(self._channels) >= MOST_INTERVALS:
            interval = max(self._channels)
        channel = self._channels.setdefault(interval, _Channel(interval, now))
        channel.newcomers.add(peer)
        channel.next = now
        self._of_peer[peer] = channel
        self._samples.on = True

    def lost(self, peer: int, now: float) -> None:
        """A monitor is gone."""
        self._profiles.monitor_gone(peer, now)
        self.unsubscribe(peer)

    def unsubscribe(self, peer: int) -> None:
        """It is gone, or wants something else."""
        channel = self._of_peer.pop(peer, None)
        if channel is None:
            return
        channel.members.discard(peer)
        channel.newcomers.discard(peer)
        if channel not in self._of_peer.values():
            del self._channels[channel.interval]
        if not self._channels:
            self._samples.clear()

    def pause(self, peer: int, paused: bool) -> None:
        """A monitor that does not read misses updates; when it reads again it gets a full one."""
        channel = self._of_peer.get(peer)
        if channel is None:
            return
        channel.members.discard(peer)
        if paused:
            channel.newcomers.discard(peer)
        else:
            channel.newcomers.add(peer)

    def _act(
        self, peer: int, who: Peer, message: CancelTask | DrainWorker | ProfileTasks, now: float
    ) -> tuple[bool, str]:
        """Do what was asked for; returns whether it was done, and what or why not."""
        if self._settings.protected:
            return False, PROTECTED
        by = f"monitor {who.name or who.identity.hex()[:8]}"
        if isinstance(message, CancelTask):
            return self._cancel(message.task, by)
        if isinstance(message, DrainWorker):
            return self._drain(message.worker, by)
        done, text = self._profiles.begin(peer, message, self._workers.sessions.values, now)
        if done:
            self._out.log(20, f"{by} takes {text}")
        return done, text

    def _cancel(self, id: int, by: str) -> tuple[bool, str]:
        task = find_task(self._board, id)
        if task >= self._board.slots.capacity:
            return False, "it is not known: it has ended, or was never submitted"
        ends = self._board.end(task, ResultStatus.cancelled, b"")
        if not ends:
            return False, "it has ended; dependents still need its result"
        self._clients.delivery.ends(ends)
        self._board.changed = True
        text = f"cancelled {sum(end.count for end in ends)} tasks"
        self._out.log(20, f"{by} {text}")
        return True, text

    def _drain(self, identity: bytes, by: str) -> tuple[bool, str]:
        session = next((s for s in self._workers.sessions.values() if s.identity == identity), None)
        if session is None:
            return False, f"no worker {identity.hex()[:8]} is connected"
        if session.draining:
            return False, f"{session.label} was asked to leave already"
        self._workers.ask_to_leave(session, f"{by} asked for it")
        return True, f"{session.label} is asked to leave; it ends when it has done what it has begun"

    # ---- to monitors

    def next_deadline(self) -> float | None:
        return min((c.next for c in self._channels.values() if c.members or c.newcomers), default=None)

    def publish_if_due(self, now: float, tasks: TaskCounts) -> bool:
        """Tell those whose time has come. Returns whether there were any."""
        due = [c for c in self._channels.values() if now >= c.next and (c.members or c.newcomers)]
        for channel in due:
            self._publish(channel, tasks)
            channel.next = now + channel.interval
        return bool(due)

    def overview(self, tasks: TaskCounts) -> Update:
        """All there is in numbers, for metrics."""
        return Update(
            True,
            self._board.clock.unix_milliseconds,
            tasks,
            [worker_facts(worker, self._board.loads.held(worker.number)) for worker in self._workers.sessions.values()],
            [],
            client_facts(self._board, self._clients.sessions.values()),
            [manager_facts(manager) for manager in self._capacity.sessions.values()],
            self.cpu_percent,
            self.resident_bytes,
            scheduler=self.scheduler,
            functions=function_facts(self._board),
        )

    def _publish(self, channel: _Channel, tasks: TaskCounts) -> None:
        functions = function_facts(self._board)
        if channel.members:
            update = self._update(channel, False, tasks)
            update.workers, update.removed_workers = self._changed_workers(channel)
            update.functions = [facts for facts in functions if channel.functions.get(facts.name) != facts]
            self._tell(channel.members, update)
        else:
            channel.workers.clear()
        if channel.newcomers:
            update = self._update(channel, True, tasks)
            update.workers = self._all_workers(channel)
            update.functions = functions
            self._tell(channel.newcomers, update)
        channel.members |= channel.newcomers
        channel.newcomers.clear()
        channel.functions = {facts.name: facts for facts in functions}
        channel.entries, channel.total = self._samples.entries, self._samples.total
        channel.failures, channel.lines = self._board.failures.count, self._out.lines.count

    def _tell(self, peers: set[int], update: Update) -> None:
        """One message for all of them."""
        for peer in sorted(peers):
            self._out.send(peer, update)

    def _update(self, channel: _Channel, full: bool, tasks: TaskCounts) -> Update:
        """All but workers and functions."""
        board, loads = self._board, self._board.loads
        held = map(loads.held_tasks, loads.workers)
        failures = board.failures.since(0 if full else channel.failures)
        return Update(
            full,
            board.clock.unix_milliseconds,
            tasks,
            [],
            [],
            client_facts(board, self._clients.sessions.values()),
            [manager_facts(manager) for manager in self._capacity.sessions.values()],
            self.cpu_percent,
            self.resident_bytes,
            self.objects,
            self.scheduler,
            [],
            list(waiting_tasks(board)),
            board.graphs.facts(held),
            self._ended(0 if full else channel.entries, 0 if full else channel.total),
            [record.read() for record in failures],
            self._out.lines.since(0 if full else channel.lines),
        )

    def _ended(self, entries: int, total: int) -> EndedTasks:
        ended = self._samples.since(entries, list(self._board.functions.by_name))
        ended.total = self._samples.total - total
        return ended

    # ---- workers, of which there may be many

    def _changed_workers(self, channel: _Channel) -> tuple[list[WorkerFacts], list[bytes]]:
        """Those that are new or other than they were told, as many as one update may have, and those that are gone."""
        sessions, told = self._workers.sessions, channel.workers
        removed = []
        for number, (identity, *_) in list(told.items()):
            if number not in sessions or sessions[number].identity != identity:
                removed.append(told.pop(number)[0])
        facts: list[WorkerFacts] = []
        room = MOST_WORKERS
        for worker in self._in_turn(channel):
            mark = self._mark(worker)
            if told.get(worker.number) == mark:
                continue
            if room <= 0:
                channel.turn = worker.number
                break
            told[worker.number] = mark
            facts.append(worker_facts(worker, mark[2]))
            room -= 1 + len(worker.vitals.executors)
        return facts, removed

    def _in_turn(self, channel: _Channel) -> Iterator[WorkerSession]:
        """All of them, the one that is to be first first."""
        sessions = self._workers.sessions
        yield from (worker for number, worker in sessions.items() if number >= channel.turn)
        yield from (worker for number, worker in sessions.items() if number < channel.turn)

    def _mark(self, worker: WorkerSession) -> tuple[bytes, int, int, bool]:
        """What tells whether anything of a worker has changed."""
        held = self._board.loads.held(worker.number)
        return worker.identity, worker.vitals.sent_microseconds, held, worker.draining

    def _all_workers(self, channel: _Channel) -> list[WorkerFacts]:
        """All there are. Of those that the others in the channel do not know yet they are told later, or that they are gone."""
        facts = []
        for worker in self._workers.sessions.values():
            mark = self._mark(worker)
            channel.workers.setdefault(worker.number, (worker.identity, -1, -1, False) if channel.members else mark)
            facts.append(worker_facts(worker, mark[2]))
        return facts
