"""How the ends of tasks reach their clients: as columns where many ended well together, one by one where not."""

from __future__ import annotations

from array import array
from dataclasses import replace

from scaler._core.table import same_high, split_ids
from scaler.ids import SEQUENCE_BITS, sequence_of, u64
from scaler.messages import Results
from scaler.scheduler.arrays import TaskRange
from scaler.scheduler.board import Board
from scaler.scheduler.columns import select_results
from scaler.scheduler.ends import End
from scaler.scheduler.journal import Journal
from scaler.scheduler.recovery import Recovery
from scaler.scheduler.retries import retried_column
from scaler.scheduler.sessions import ClientSession


class Delivery:
    """Enters ends on the board, in the journal, and in what clients are told next."""

    recovery: Recovery
    """Hears what clients that are gone are told, too; set by who makes both."""

    def __init__(self, board: Board, sessions: dict[int, ClientSession], journal: Journal) -> None:
        self._board = board
        self._sessions = sessions
        self._journal = journal

    def results(self, tasks: array[int], message: Results) -> None:
        """Results of tasks that ended well: to the clients, and to whoever depends on them."""
        board = self._board
        board.measure(
            tasks, u64(message.wall_microseconds), u64(message.cpu_microseconds), u64(message.peak_memory_bytes)
        )
        number = same_high(message.tasks)
        if number >= 0:
            self._tell(self._sessions[number], tasks, message)
        else:
            places: dict[int, list[int]] = {}
            for i, id in enumerate(u64(message.tasks)):
                places.setdefault(id >> SEQUENCE_BITS, []).append(i)
            for number, chosen in places.items():
                mine = array("I", [tasks[i] for i in chosen])
                self._tell(self._sessions[number], mine, select_results(message, chosen))
        self.ends(board.succeed(tasks, message.statuses, message.payloads))

    def items(self, task: int, items: TaskRange, message: Results) -> None:
        """The next items of a range have ended: ``message`` is of one entry."""
        sequence, retried = array("Q", [items.sequence]), retried_column(self._board.special, array("I", [task]))
        told = replace(message, tasks=sequence, attempts=b"", slots=b"", retried=retried)
        session = self._sessions[items.whole.client]
        self._journal.succeeded(session, told)
        session.deliver(told)
        self.recovery.ended(session, told)

    def _tell(self, session: ClientSession, tasks: array[int], message: Results) -> None:
        told = Results(
            split_ids(message.tasks),
            b"",
            message.statuses,
            message.payloads,
            message.wall_microseconds,
            message.cpu_microseconds,
            message.peak_memory_bytes,
            retried=retried_column(self._board.special, tasks),
        )
        self._journal.succeeded(session, told)
        if self._board.any_unwanted:
            wanted = [i for i, task in enumerate(tasks) if self._board.wanted(task)]
            if len(wanted) < len(tasks):
                told = select_results(told, wanted)
        if told.payloads:
            session.deliver(told)
            self.recovery.ended(session, told)

    def ends(self, ends: list[End]) -> None:
        """Tasks that ended otherwise, or by themselves, one by one."""
        for end in ends:
            session = self._sessions.get(end.id >> SEQUENCE_BITS)
            if session is not None:
                told = sequence_of(end.id), end.status, end.payload, end.count, end.profile, end.retried
                session.deliver_single(told)
                self._journal.ended(session, told)
