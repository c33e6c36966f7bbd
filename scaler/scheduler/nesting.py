"""Tasks inside tasks: which client runs inside which task, and which tasks lend their slots because of that."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from scaler._core.slots import NONE
from scaler.ids import sequence_of
from scaler.messages import RunningInside
from scaler.scheduler.board import Board
from scaler.scheduler.sessions import ClientSession


class Nesting:
    """The clients that run inside tasks (few at a time), and what workers were told of it.

    A task lends its slot while a client inside it has unfinished tasks, however it waits for them: so whether and how it
    waits need not be known. It may go on computing; the operating system shares the processor then.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._workers: dict[bytes, int] = {}
        self._inside: dict[int, ClientSession] = {}
        """By client number."""
        self._astray: dict[int, tuple[ClientSession, RunningInside]] = {}
        """By client number: those whose parents were not here."""
        self._lending: dict[int, dict[int, int]] = {}
        """By worker number: the tasks that lend, id to index."""

    def worker_came(self, identity: bytes, number: int) -> None:
        self._workers[identity] = number

    def worker_left(self, identity: bytes) -> list[ClientSession]:
        """Returns the clients that ran inside tasks of this worker."""
        self._lending.pop(self._workers.pop(identity), None)
        return [session for session in self._inside.values() if session.inside and session.inside.worker == identity]

    def enter(self, session: ClientSession, message: RunningInside) -> None:
        """A client says inside which task it runs from now on."""
        self.leave(session)
        if message.worker not in self._workers:  # Of another cluster, or gone, or not back from another scheduler.
            self._astray[session.number] = session, message
            return
        session.inside = message
        self._inside[session.number] = session
        task = self._parent(session)
        if task == NONE:
            self.leave(session)
            self._astray[session.number] = session, message
            session.orphaned = True
            return
        session.orphaned = False
        session.depth, session.origin = self._board.depth(task) + 1, self._board.share(task)
        self._board.nests(task)
        self._board.changed = True

    def parent_came(self, task: int) -> None:
        """A task (by its id) has come back with its worker, maybe after the clients inside it."""
        for session, message in [entry for entry in self._astray.values() if entry[1].task == task]:
            self.enter(session, message)

    def leave(self, session: ClientSession) -> None:
        """It runs inside no task, or not any more."""
        self._astray.pop(session.number, None)
        if self._inside.pop(session.number, None) is not None:
            session.inside, session.depth, session.origin = None, 0, None

    def inside(self, ids: Iterable[int]) -> list[ClientSession]:
        """The clients that run inside these tasks."""
        if not self._inside:
            return []
        chosen = set(ids)
        return [session for session in self._inside.values() if session.inside and session.inside.task in chosen]

    def held(self, session: ClientSession) -> bool:
        """Whether the client runs inside a task of a worker that is connected."""
        return self._parent(session) != NONE

    def _parent(self, session: ClientSession) -> int:
        """The index of its parent, NONE if there is none, or it is not with the worker where it was, or is so again."""
        inside, board = session.inside, self._board
        if inside is None:
            return NONE
        (task,) = board.slots.find(array("Q", [inside.task]))
        worker = self._workers.get(inside.worker, NONE)
        if task == NONE or worker == NONE or board.loads.worker_of(task) != worker:
            return NONE
        return task if inside.attempt in (0, board.life.attempt(task)) else NONE

    def awaited(self, worker: bytes) -> bool:
        """Whether something that was submitted inside this worker, maybe by a task that has ended, is still to run."""
        return any(
            session.inside is not None and session.inside.worker == worker and self._board.has_tasks(session.number)
            for session in self._inside.values()
        )

    def lend(self) -> dict[int, list[int]]:
        """Decide which tasks lend their slots; returns the task ids by worker, for those workers where they changed."""
        if not self._inside and not self._lending:
            return {}
        before, lending = self._lending, self._wanted()
        loads, none = self._board.loads, dict[int, int]()
        for number, tasks in before.items():
            for id, task in tasks.items():
                if id not in lending.get(number, none) and loads.lends(task):
                    loads.set_lending(task, False)
        for tasks in lending.values():
            for task in tasks.values():
                loads.set_lending(task, True)
        self._lending = lending
        return {
            number: list(lending.get(number, none))
            for number in sorted(before.keys() | lending.keys())
            if lending.get(number, none).keys() != before.get(number, none).keys()
        }

    def _wanted(self) -> dict[int, dict[int, int]]:
        wanted: dict[int, dict[int, int]] = {}
        for session in self._inside.values():
            # A client that is not connected is probably gone with its task, of which the worker tells next.
            if session.inside is not None and session.peer is not None and self._board.has_tasks(session.number):
                task = self._parent(session)
                if task != NONE:
                    number = self._board.loads.worker_of(task)
                    wanted.setdefault(number, {})[session.inside.task] = task
        return wanted

    def since(self, client: int, first_sequence: int) -> list[int]:
        """A client's tasks and ranges from this sequence on."""
        tasks = self._board.of_client(client)
        sequences = [
            items.sequence if (items := self._board.ranges.get(task)) is not None else sequence_of(id)
            for task, id in zip(tasks, self._board.slots.ids(tasks), strict=True)
        ]
        return [task for task, sequence in zip(tasks, sequences, strict=True) if sequence >= first_sequence]

    def check(self) -> None:
        assert all(session.inside is not None for session in self._inside.values())
        assert self._lending.keys() <= set(self._workers.values())
