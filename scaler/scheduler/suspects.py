"""What should have happened by now, and has not: looked for in columns, at so many places at most, whatever is waiting."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

from scaler._core.slots import NONE
from scaler.ids import sequence_of
from scaler.messages import WorkerHeartbeat
from scaler.scheduler.board import Board
from scaler.scheduler.clients import Clients
from scaler.scheduler.life import TaskState
from scaler.scheduler.sessions import WorkerSession
from scaler.scheduler.workers import Workers
from scaler.stuck import Finding, Stuck

MOST_WORKERS = 200
MOST_TASKS = 20
"""Of one worker: those that it has had for longest."""
MOST_CLASSES = 100
MOST_OBJECTS = 100
MOST_ROWS = 2000
"""Of the board: these are looked at in turns."""


class Suspects:
    """Looks at tasks, workers and clients for what waits for something that should take a moment."""

    def __init__(self, board: Board, clients: Clients, workers: Workers, stuck: Stuck) -> None:
        self._board = board
        self._clients = clients
        self._workers = workers
        self._stuck = stuck
        self._turn = self._row = 0
        self._forgotten: dict[int, None] = {}
        """Ids of tasks that wait for nothing: they stay under suspicion until they are gone, whatever rows are looked at."""

    def look_if_due(self, now: float) -> None:
        """At housekeeping."""
        if self._stuck.due(now):
            self._stuck.found(self._find(), now)

    def _find(self) -> Iterator[Finding]:
        for session in self._some_workers():
            yield from self._of_worker(session)
        yield from self._ready()
        yield from self._of_clients()
        yield from self._rows()

    def _some_workers(self) -> list[WorkerSession]:
        """All of them, where there are not too many: then the same ones for as long as it takes to suspect them, then others."""
        sessions = list(self._workers.sessions.values())
        if len(sessions) <= MOST_WORKERS:
            return sessions
        self._turn += 1
        first = self._turn // _LOOKS_AT_ONE * MOST_WORKERS % len(sessions)
        return (sessions + sessions)[first : first + MOST_WORKERS]

    def _of_worker(self, session: WorkerSession) -> Iterator[Finding]:
        board, number = self._board, session.number
        held = board.loads.held_tasks(number)[:MOST_TASKS]
        heard = session.vitals.sent_microseconds > 0
        idle = session.facts.slots - _in_slots(session.vitals, board.loads.held(number) - board.loads.busy(number))
        runs = {executor.task for executor in session.vitals.executors}
        for task, id in zip(held, board.slots.ids(held), strict=True):
            state = board.life.state(task)
            key = state, id, board.life.attempt(task)
            if state == TaskState.RETRACTING:
                yield key, None, f"{self._name(task)} is asked back from {session.label}, which has not answered"
            elif state == TaskState.ASSIGNED and heard and idle > 0:
                text = f"{self._name(task)} is with {session.label}, which has not begun it though {idle} of its slots are idle,"
                yield key, None, text
            elif state == TaskState.RUNNING and session.vitals.executors and id not in runs:
                yield key, None, f"{self._name(task)} was begun by {session.label}, where no executor runs it,"
        if session.survivors_to_come:
            text = (
                f"{session.label} has {session.survivors_to_come} tasks of a scheduler before, and has not told of them"
            )
            yield ("survivors", session.identity, session.survivors_to_come), None, text
        if session.draining and not board.loads.held(number) and not self._workers.is_leaving(session):
            yield (
                ("draining", session.identity),
                None,
                f"{session.label} was told to end, holds nothing, and is still here",
            )

    def _ready(self) -> Iterator[Finding]:
        """Tasks that are next, while a worker has a slot for them."""
        board = self._board
        if not board.loads.idle_slots:
            return
        for requirement_class in board.queues.classes()[:MOST_CLASSES]:
            task, worker = board.queues.peek(requirement_class), board.loads.choose(requirement_class)
            if task != NONE and worker != NONE and worker in self._workers.sessions:
                label = self._workers.sessions[worker].label
                yield ("ready", task), None, f"{self._name(task)} is ready, and {label} has room for it,"

    def _of_clients(self) -> Iterator[Finding]:
        for session in islice(self._clients.sessions.values(), MOST_WORKERS):
            if session.held:
                text = (
                    f"{session.label} has sent a part of a graph, {len(session.held)} tasks, and the rest does not come"
                )
                yield ("parts", session.number, len(session.held)), None, text
        for number, name, waiting in self._board.lineage.asked_for(MOST_OBJECTS):
            asked = self._clients.sessions.get(number)
            who = asked.label if asked is not None else "a client"
            text = f"{waiting} tasks wait for {who} to put object {name.hex()} again, which it was asked for,"
            yield ("restore", number, name), None, text

    def _rows(self) -> Iterator[Finding]:
        """Tasks that wait for nothing, or are ready and in no queue. There should be none; if there are, nobody else notices."""
        board = self._board
        if self._row >= board.slots.capacity:
            self._row = 0
        rows = range(self._row, min(self._row + MOST_ROWS, board.slots.capacity))
        self._row = rows.stop
        fresh = array("I", [task for task in rows if self._is_forgotten(task)])
        self._forgotten.update(dict.fromkeys(board.slots.ids(fresh)))
        for id in list(self._forgotten):
            (task,) = board.slots.find(array("Q", [id]))
            if task == NONE or not self._is_forgotten(task):
                del self._forgotten[id]
            else:
                state = TaskState(board.life.state(task)).name.lower()
                yield ("forgotten", id), None, f"{self._name(task)} is {state}, waits for nothing, and is in no queue,"

    def _is_forgotten(self, task: int) -> bool:
        board, state = self._board, self._board.life.state(task)
        if state == TaskState.WAITING:
            return not board.graph.missing(task) and not board.is_held(task)
        return state == TaskState.READY and task not in board.queues

    def _name(self, task: int) -> str:
        board = self._board
        sequence, client = sequence_of(board.client_id(task)), board.owner(task).hex()[:8]
        return f"{board.label(task)} (task {sequence} of client {client}, attempt {board.life.attempt(task)})"


_LOOKS_AT_ONE = 10
"""How often one part of many workers is looked at before it is the turn of the next."""


def _in_slots(vitals: WorkerHeartbeat, lent: int) -> int:
    """How many slots are in use there: tasks that wait for others lend theirs."""
    return max(0, vitals.running - lent)
