"""One scheduler of many, with its clients and workers, on simulated time.

The scheduler is the real state. What its calls take of this machine's processor is charged to its simulated time, with the
codec's share (of every CODEC_SAMPLE-th message, which really is encoded and decoded) and what the kernel and the event loop take
of a message. So a scheduler that has too much to do falls behind, slots stand idle, and that shows. Workers are columns: each
has slots, a queue, and answers as a worker does; its executors only seem to run.
"""

from __future__ import annotations

import heapq
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.zero_worker import PAYLOAD
from scaler.ids import u32
from scaler.machine import Close, Peer, Send
from scaler.messages import (
    Assign,
    DefineFunctions,
    Drain,
    Function,
    RegisterWorker,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    Role,
    WorkerLeaving,
)
from scaler.net.driver import conversation
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

LINK_SECONDS = 100e-6
"""From a scheduler to a worker, and back."""
FLUSH_SECONDS = 300e-6
"""A worker that has more to run tells results when they are older than this."""
IO_SECONDS = 10e-6
"""What the kernel and the event loop take for one read or write of a small message: see ``connections``."""
HEARTBEAT_SECONDS = 20.0
"""Of the simulated workers: ten times as long as the default, which fits no scheduler of 100,000 workers."""
BEAT_SECONDS = 25e-6
"""What a heartbeat and its answer take of a scheduler's processor: see ``connections``."""
CODEC_SAMPLE = 16
CLIENT_BYTES = 1 << 20
"""What is read of one client before the others have their turn, as in scaler.net.connection."""
NEVER = float("inf")
Task = tuple[int, int, float, bytes]
"""(id, attempt, seconds, where its items end)"""


@dataclass(slots=True)
class Client:
    """What it has still to say, and how many results it has."""

    source: Iterator[tuple[int, int, Any]]
    """(tasks, bytes, message)"""
    at_once: int
    """So many of its tasks are at the scheduler at most."""
    said: int = 0
    results: int = 0
    done: bool = False
    """Whether it has nothing more to say."""

    def next(self) -> tuple[int, Any] | None:
        """(bytes, message) if it says something now."""
        if self.done or self.said - self.results >= self.at_once:
            return None
        following = next(self.source, None)
        if following is None:
            self.done = True
            return None
        count, size, message = following
        self.said += count
        return size, message


class Worker:
    """As much of a worker as a scheduler sees."""

    __slots__ = (
        "attempts",
        "busy",
        "counts",
        "drains",
        "ends",
        "flushed",
        "fresh",
        "ids",
        "leaves",
        "queue",
        "slots",
        "telling",
        "wall",
    )

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.busy = 0
        self.fresh = slots
        """How many of its slots have had no task yet."""
        self.queue: list[Task] = []
        self.leaves = False
        """Whether it was asked to leave."""
        self.drains = False
        """Whether it has been told to end."""
        self.flushed = 0.0
        self.telling = False
        """Whether it will tell soon what has ended."""
        self._clear()

    def _clear(self) -> None:
        self.ids, self.attempts, self.wall, self.counts = array("Q"), array("I"), array("Q"), array("I")
        self.ends: list[bytes] = []

    def ended(self, task: Task) -> None:
        self.ids.append(task[0])
        self.attempts.append(task[1])
        self.wall.append(int(task[2] * 1e6))
        self.counts.append(len(task[3]) // 4 or 1)
        self.ends.append(task[3])

    def results(self) -> Results:
        """What has ended since it was last asked."""
        count, nothing = len(self.ids), bytes(8 * len(self.ids))
        told = Results(
            self.ids.tobytes(),
            self.attempts.tobytes(),
            bytes([ResultStatus.succeeded]) * count,
            [PAYLOAD] * count,
            self.wall.tobytes(),
            nothing,
            nothing,
        )
        if any(self.ends):
            told.counts, told.item_ends = self.counts.tobytes(), self.ends
        self._clear()
        return told


class Site:
    """Events in the order of their times; the scheduler takes all that have arrived whenever it is free."""

    def __init__(
        self, heartbeat_seconds: float = HEARTBEAT_SECONDS, stagger: Callable[[], float] | None = None
    ) -> None:
        """``stagger`` says what part of the first task of each slot is left, as if it had been there before."""
        patient = SchedulerSettings("tcp://127.0.0.1:1", client_timeout_seconds=1e9, worker_timeout_seconds=1e9)
        self.state = SchedulerState(patient)
        self.now = 0.0
        """When the scheduler is free again."""
        self.spent = 0.0
        """Processor time of it so far, without heartbeats."""
        self.worked = 0.0
        """Seconds that slots were busy so far."""
        self.ended = 0
        """Tasks and items of which the clients have results."""
        self.ended_at = 0.0
        self.told = 0
        """Entries of workers' results: a range of items is one."""
        self.clients: dict[int, Client] = {}
        self.workers: dict[int, Worker] = {}
        self.messages = 0
        self.left: list[int] = []
        """The slots of workers that have left."""
        self._stagger = stagger
        self._beat = BEAT_SECONDS / heartbeat_seconds
        self._events: list[tuple[float, int, int, Any]] = []
        self._order = 0
        self._peers = 0
        self._seconds: dict[int, float] = {}
        self._codec_seconds, self._codec_count = 0.0, 0
        self._codecs = {role: conversation(role) for role in (Role.client, Role.worker)}

    # ---- coming

    def add_client(
        self,
        identity: bytes,
        durations: Sequence[float],
        source: Iterator[tuple[int, int, Any]],
        at_once: int = sys.maxsize,
    ) -> Client:
        """With functions that take so many seconds each, numbered in this order."""
        self._peers += 1
        peer = self._peers
        self.state.peer_connected(peer, Peer(Role.client, identity), self.now)
        functions = [Function(n, "cloudpickle", b"f", b"", f"f{s:g}", b"") for n, s in enumerate(durations)]
        self.state.receive(peer, DefineFunctions(functions), self.now)
        (session,) = [session for session in self.state.clients.sessions.values() if session.peer == peer]
        for number, seconds in enumerate(durations):
            self._seconds[session.functions[number]] = seconds
        self.clients[peer] = client = Client(source, at_once)
        return client

    def add_workers(self, count: int, slots: int = 1, connect_seconds: float = 0.0) -> None:
        """They come now. ``connect_seconds`` is what the handshake of each takes of the scheduler's processor."""
        for _ in range(count):
            self._peers += 1
            self.workers[self._peers] = Worker(slots)
            self.state.peer_connected(self._peers, Peer(Role.worker, self._peers.to_bytes(16, "little")), self.now)
            self._at(self.now, self._peers, RegisterWorker(slots, 1000 * slots))
        self._charge(count * connect_seconds)

    def take_workers(self, count: int) -> None:
        """So many are asked to leave, those with least to do first."""
        held = self.state.board.loads.held
        staying = [session for session in self.state.workers.sessions.values() if not session.draining]
        for session in sorted(staying, key=lambda session: held(session.number))[:count]:
            self.workers[session.peer].leaves = True
            self.state.workers.ask_to_leave(session, "it is lent to another scheduler")

    # ---- going on

    def _at(self, when: float, peer: int, what: Any) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, peer, what))

    def _charge(self, seconds: float) -> None:
        """Heartbeats take their share of all the time."""
        self.spent += seconds
        self.now += seconds / max(0.01, 1 - len(self.workers) * self._beat)

    def run(self, until: float) -> None:
        """Go on up to this time, or until nothing will happen any more."""
        while self.now < until:
            arrived = self._arrived()
            deadline = self.state.next_deadline() or NEVER
            if arrived or deadline <= self.now or self.state.board.changed:
                self._turn(arrived, deadline <= self.now)
            else:
                following = self._events[0][0] if self._events else NEVER
                self.now = min(following, deadline, until)
                if following == NEVER and self.idle:
                    return

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to do."""
        return not len(self.state.board) and all(client.done for client in self.clients.values())

    def _arrived(self) -> list[tuple[int, Any]]:
        """What the scheduler finds when it looks now; on the way all that workers have done meanwhile."""
        found: list[tuple[int, Any]] = []
        while self._events and self._events[0][0] <= self.now:
            when, _, peer, what = heapq.heappop(self._events)
            if type(what) is tuple:
                self._task_ended(when, peer, what)
            elif type(what) is Assign:
                self._assigned(when, peer, what)
            elif type(what) is Worker:
                self._tell(when, peer, what)
            elif type(what) is Retract or type(what) is Drain:
                self._asked_back(when, peer, what)
            else:
                found.append((peer, what))
        for peer, client in self.clients.items():
            left = CLIENT_BYTES
            while left > 0 and (said := client.next()) is not None:
                left -= said[0]
                found.append((peer, said[1]))
        return found

    def _turn(self, messages: list[tuple[int, Any]], due: bool) -> None:
        state, now = self.state, self.now
        began = time.thread_time()
        for peer, message in messages:
            state.receive(peer, message, now)
        if due:
            state.tick(now)
        outputs = state.drain(now)
        spent = time.thread_time() - began
        sends = [output for output in outputs if type(output) is Send]
        transfers = len({peer for peer, _ in messages}) + len({send.peer for send in sends})
        for peer, message in messages:
            self._sample_codec(peer, message, told=True)
        for send in sends:
            self._sample_codec(send.peer, send.message, told=False)
        self.messages += len(messages) + len(sends)
        codec = self._codec_seconds / max(1, self._codec_count) * (len(messages) + len(sends))
        self._charge(spent + codec + transfers * IO_SECONDS)
        for output in outputs:
            if type(output) is Send:
                self._sent(output.peer, output.message)
            elif type(output) is Close:
                if output.peer not in self.workers or not self.workers[output.peer].drains:
                    raise RuntimeError(f"a connection would be closed: {output.reason}")
                self.left.append(self.workers.pop(output.peer).slots)

    def _sample_codec(self, peer: int, message: Any, told: bool) -> None:
        self._order += 1
        if self._order % CODEC_SAMPLE or type(message).__name__ == "SubmitArray":
            return
        says, hears = self._codecs[Role.client if peer in self.clients else Role.worker]
        codec = says if told else hears
        frame = codec.encode(message) if told else b""
        began = time.thread_time()
        if told:
            codec.decode(frame)
        else:
            codec.encode(message)
        self._codec_seconds += time.thread_time() - began
        self._codec_count += 1

    def _sent(self, peer: int, message: Any) -> None:
        if type(message) is Results:
            count = sum(u32(message.counts)) if len(message.counts) else len(message.payloads)
            self.clients[peer].results += count
            self.ended += count
            self.ended_at = self.now
        elif type(message) in (Assign, Retract, Drain):
            self._at(self.now + LINK_SECONDS, peer, message)

    # ---- workers

    def _assigned(self, when: float, peer: int, message: Assign) -> None:
        worker = self.workers[peer]
        functions = u32(message.functions)
        for place, (id, attempt) in enumerate(zip(message.tasks, message.attempts, strict=True)):
            ends = bytes(message.item_ends[place]) if message.item_ends else b""
            seconds = self._seconds[functions[place if len(functions) > 1 else 0]] * (len(ends) // 4 or 1)
            worker.queue.append((id, attempt, seconds, ends))
        self._begin(when, peer, worker)

    def _begin(self, when: float, peer: int, worker: Worker) -> None:
        while worker.busy < worker.slots and worker.queue:
            task = worker.queue.pop(0)
            worker.busy += 1
            part = 1.0
            if worker.fresh and self._stagger is not None:
                worker.fresh -= 1
                part = self._stagger()
            self._at(when + task[2] * part, peer, task)

    def _task_ended(self, when: float, peer: int, task: Task) -> None:
        worker = self.workers[peer]
        worker.busy -= 1
        self.worked += task[2]
        worker.ended(task)
        self._begin(when, peer, worker)
        if not worker.telling:
            worker.telling = True
            later = worker.flushed + FLUSH_SECONDS
            self._at(later if worker.busy and later > when else when, peer, worker)

    def _tell(self, when: float, peer: int, worker: Worker) -> None:
        worker.telling, worker.flushed = False, when
        self.told += len(worker.ids)
        self._at(when + LINK_SECONDS, peer, worker.results())
        self._leave_if_done(when, peer, worker)

    def _asked_back(self, when: float, peer: int, message: Retract | Drain) -> None:
        worker = self.workers[peer]
        if isinstance(message, Drain):
            worker.drains = True
            self._leave_if_done(when, peer, worker)
            return
        asked = set(message.tasks)
        returned = [task for task in worker.queue if task[0] in asked]
        worker.queue = [task for task in worker.queue if task[0] not in asked]
        back = {task[0] for task in returned}
        kept = [pair for pair in zip(message.tasks, message.attempts, strict=True) if pair[0] not in back]
        answer = Retracted(
            array("Q", [task[0] for task in returned]),
            array("I", [task[1] for task in returned]),
            array("Q", [id for id, _ in kept]),
            array("I", [attempt for _, attempt in kept]),
        )
        self._at(when + LINK_SECONDS, peer, answer)

    def _leave_if_done(self, when: float, peer: int, worker: Worker) -> None:
        if worker.drains and not worker.busy and not worker.queue and not worker.telling:
            self._at(when + LINK_SECONDS, peer, WorkerLeaving())
