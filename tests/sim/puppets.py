"""Goes on with the state of a dump: who was connected then, and does the least that the scheduler can expect of it."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator

from scaler.ids import u32, u64
from scaler.machine import Close, Log, Output, Send
from scaler.messages import (
    Assign,
    CancelAssigned,
    ClientHeartbeat,
    Drain,
    Message,
    Restore,
    Restored,
    Results,
    ResultStatus,
    Retract,
    Retracted,
    WorkerHeartbeat,
    WorkerLeaving,
)
from scaler.net.driver import conversation
from scaler.scheduler.life import TaskState
from scaler.scheduler.state import SchedulerState

RUN_SECONDS = 0.01
HEARTBEAT_SECONDS = 2.0


class Puppets:
    """Workers run what they have, one task after the other in each slot, and every task succeeds; clients take their results."""

    def __init__(self, state: SchedulerState, now: float) -> None:
        self.state = state
        self.now = now
        self.log: list[str] = []
        self.ended = 0
        self._held: dict[int, dict[int, tuple[int, int]]] = {}
        """By the peer of a worker: task id to attempt and number of items."""
        self._due: list[tuple[float, int]] = []
        for session in state.workers.sessions.values():
            held = state.board.loads.held_tasks(session.number)
            ids, attempts = state.board.slots.ids(held), state.board.life.attempts(held)
            counts = [len(state.board.ranges.get(task) or (0,)) for task in held]
            self._held[session.peer] = dict(zip(ids, zip(attempts, counts, strict=True), strict=True))
            heapq.heappush(self._due, (now, session.peer))
            returning = [i for i, task in enumerate(held) if state.board.life.state(task) == TaskState.RETRACTING]
            if returning:
                asked = Retract(array("Q", [ids[i] for i in returning]), array("I", [attempts[i] for i in returning]))
                self._say(session.peer, self._give_back(session.peer, asked))
        self._heartbeat_at = now
        self._do(state.drain(now))

    def run(self, seconds: float) -> bool:
        """Let time pass until no task is left, or so much has passed; returns whether none is left."""
        until = self.now + seconds
        while len(self.state.board) and self.now < until:
            deadline = self.state.next_deadline()
            times = [self._heartbeat_at, until, *([] if deadline is None else [deadline])]
            if self._due:
                times.append(self._due[0][0])
            self.now = max(self.now + 0.001, min(times))
            if self.now >= self._heartbeat_at:
                self._heartbeat()
            while self._due and self._due[0][0] <= self.now:
                self._work(heapq.heappop(self._due)[1])
            self.state.tick(self.now)
            self._do(self.state.drain(self.now))
            self.state.check()
        return not len(self.state.board)

    def _heartbeat(self) -> None:
        self._heartbeat_at = self.now + HEARTBEAT_SECONDS
        for peer, held in self._held.items():
            self._say(peer, WorkerHeartbeat(int(self.now * 1e6), running=min(1, len(held))))
        for session in self.state.clients.sessions.values():
            if session.peer is not None:
                self._say(session.peer, ClientHeartbeat(int(self.now * 1e6)))

    def _work(self, peer: int) -> None:
        """The first of what a worker has ends."""
        held = self._held.get(peer)
        if held is None:
            return
        heapq.heappush(self._due, (self.now + RUN_SECONDS, peer))
        if held:
            id = next(iter(held))
            attempt, count = held.pop(id)
            self.ended += count
            self._say(peer, _succeeded(id, attempt, count))

    def _say(self, peer: int, message: Message) -> None:
        """As it comes from the wire."""
        if peer not in self.state._peers:
            return
        says, _ = conversation(self.state._peers[peer].role)
        self.state.receive(peer, says.decode(says.encode(message)), self.now)

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Log):
                self.log.append(output.text)
            elif isinstance(output, Close):
                self._held.pop(output.peer, None)
            elif isinstance(output, Send):
                for answer in self._answers(output.peer, output.message):
                    self._say(output.peer, answer)

    def _answers(self, peer: int, message: Message) -> Iterator[Message]:
        held = self._held.get(peer)
        if isinstance(message, Restore):
            yield Restored(message.objects, [""] * (len(message.objects) // 16))
        elif held is None:
            return
        elif isinstance(message, Assign):
            counts = [len(u32(ends)) or 1 for ends in message.item_ends] or [1] * len(message.payloads)
            held.update(zip(u64(message.tasks), zip(u32(message.attempts), counts, strict=True), strict=True))
        elif isinstance(message, Retract):
            yield self._give_back(peer, message)
        elif isinstance(message, CancelAssigned):
            for id in u64(message.tasks):
                held.pop(id, None)
        elif isinstance(message, Drain):
            del self._held[peer]
            yield WorkerLeaving()

    def _give_back(self, peer: int, message: Retract) -> Retracted:
        for id in u64(message.tasks):
            self._held[peer].pop(id, None)
        return Retracted(message.tasks, message.attempts, b"", b"")


def _succeeded(id: int, attempt: int, count: int) -> Results:
    nothing = array("Q", [0])
    results = Results(array("Q", [id]), array("I", [attempt]), bytes([ResultStatus.succeeded]), [b""])
    results.wall_microseconds = results.cpu_microseconds = results.peak_memory_bytes = nothing
    if count > 1:
        results.counts, results.item_ends = array("I", [count]), [array("I", [0] * count).tobytes()]
    return results
