"""What clients with a name leave behind, with a journal: kept, told to whoever comes under that name, and collected."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator

from scaler._core.slots import NONE
from scaler._core.table import join_ids
from scaler.errors import ProtocolError
from scaler.ids import sequence_of, u64
from scaler.machine import Outbox
from scaler.messages import Awaiting, Collected, Recover, Recovered, RecoveredClient, Results, ResultStatus
from scaler.scheduler.board import Board
from scaler.scheduler.ends import End
from scaler.scheduler.journal import Journal
from scaler.scheduler.life import TaskState
from scaler.scheduler.sessions import UNKNOWN, ClientSession
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.uncollected import in_columns

MESSAGE_ENTRIES = 100_000
"""At most so many tasks of a client in one message."""


class Recovery:
    """Part of the conversation with clients."""

    def __init__(
        self,
        settings: SchedulerSettings,
        board: Board,
        sessions: dict[int, ClientSession],
        journal: Journal,
        out: Outbox,
        deliver_ends: Callable[[list[End]], None],
    ) -> None:
        self._settings = settings
        self._board = board
        self._sessions = sessions
        self._journal = journal
        self._out = out
        self._deliver_ends = deliver_ends
        self._asking: list[int] = []
        """Numbers of clients that want to know what others of their name have left."""

    # ---- kept

    def kept_for(self, session: ClientSession) -> float:
        """For how many seconds after it was heard last a client is kept."""
        if session.is_left_behind and self.has_work(session):
            return self._settings.kept_seconds
        return self._settings.client_timeout_seconds

    def has_work(self, session: ClientSession) -> bool:
        """Whether it has anything that it, or its successor, may collect."""
        return bool(session.uncollected or session.replay) or self._board.has_tasks(session.number)

    def ended(self, session: ClientSession, told: Results) -> None:
        """These are to be told to their client."""
        if session.uncollected is not None:
            session.uncollected.add(told)

    def known_again(self, session: ClientSession, begin: int, end: int) -> list[tuple[int, int]]:
        """What of these sequences has ended, as (from, to), and is told to a client that is back."""
        uncollected, answered = session.uncollected, session.answered
        if not uncollected or answered is None:
            return []
        found = [pair for pair in uncollected.between(begin, end) if pair[0] not in answered]
        self.tell(session, [sequence for sequence, _ in found])
        return [(sequence, sequence + count) for sequence, count in found]

    def tell(self, session: ClientSession, sequences: list[int]) -> None:
        """These, which are not collected, are told again."""
        if session.uncollected is not None and sequences:
            for told in session.uncollected.told(sequences):
                session.deliver(told)

    # ---- from clients

    def recover(self, session: ClientSession, message: Recover) -> None:
        if not session.name:
            raise ProtocolError("a client without a name has left nothing behind")
        self._asking.append(session.number)

    def awaiting(self, session: ClientSession, message: Awaiting) -> None:
        sequences = u64(message.sequences)
        answered = session.answered or ()
        board, uncollected = self._board, session.uncollected
        again: list[int] = []
        open_items = self._items(session, sequences)
        found = board.slots.find(join_ids(session.number, sequences))
        for sequence, task in zip(sequences, found, strict=True):
            if sequence in answered:
                continue
            if uncollected is not None and sequence in uncollected:
                again.append(sequence)
            elif task != NONE and board.life.state(task) < TaskState.SUCCEEDED:
                self._deliver_ends(board.lineage.want(task))
            elif not any(
                sequence < end for _, end in open_items[: bisect_right(open_items, (sequence, sys.maxsize))][-1:]
            ):
                text = b"the scheduler does not know this task: its result was collected, or its journal was damaged"
                session.deliver_single((sequence, ResultStatus.lost, text, 1, UNKNOWN, 0))
        self.tell(session, again)

    def _items(self, session: ClientSession, sequences: array[int]) -> list[tuple[int, int]]:
        """(from, to) of items in a range that has not ended, or that have ended together, in order; none without sequences."""
        if not sequences:
            return []
        begin, end = min(sequences), max(sequences) + 1
        ranges = [found for _, found in self._board.ranges.within(session.number, begin, end)]
        spans = [(found.sequence, found.sequence + len(found)) for found in ranges]
        together = session.uncollected.together(begin, end) if session.uncollected is not None else ()
        return sorted([*spans, *((first, first + count) for first, count in together)])

    def collected(self, session: ClientSession, message: Collected) -> None:
        if session.uncollected is None:
            return
        if len(message.sequences) and len(message.counts) not in (0, len(message.sequences) // 2):
            raise ProtocolError("columns of different lengths")
        session.uncollected.collect(message.sequences, message.counts)
        if session.labels:
            for sequence in u64(message.sequences):
                session.labels.pop(sequence, None)
        self._journal.collected(session, message.sequences, message.counts)

    # ---- to clients

    def answer(self) -> None:
        """Tell those who have asked, as soon as what the journal has of their name is entered."""
        asking, self._asking = self._asking, []
        for number in dict.fromkeys(asking):
            asker = self._sessions.get(number)
            if asker is None or asker.peer is None:
                continue  # It asks again.
            left = [s for s in self._sessions.values() if s.is_left_behind and s.name == asker.name]
            if any(session.replay for session in left):
                self._asking.append(number)
                continue
            for piece in self._recovered([session for session in left if session is not asker]):
                asker.answer(piece)

    def _recovered(self, left: list[ClientSession]) -> Iterator[Recovered]:
        now = self._board.clock.now
        found: list[RecoveredClient] = []
        for session in left:
            if session.claimed_until <= now and self.has_work(session):
                found += self._pieces(session)
                session.claimed_until = now + self._settings.client_timeout_seconds
                self._out.log(20, f"what {session.label} ({session.identity.hex()[:8]}) has left is asked for")
        for piece in found[:-1]:
            yield Recovered([piece], more=True)
        yield Recovered(found[-1:])

    def _pieces(self, session: ClientSession) -> Iterator[RecoveredClient]:
        sequences, counts = in_columns({*self._unfinished(session), *(session.uncollected or ())})
        last = sequences[-1] + (counts[-1] if counts else 1) if sequences else 0
        session.next_sequence = max(session.next_sequence, last)
        for begin in range(0, len(sequences), MESSAGE_ENTRIES):
            chosen = sequences[begin : begin + MESSAGE_ENTRIES]
            labels = [session.labels.get(sequence, ("", "")) for sequence in chosen] if session.labels else []
            yield RecoveredClient(
                session.identity,
                session.next_sequence,
                chosen,
                counts[begin : begin + MESSAGE_ENTRIES],
                [name for name, _ in labels],
                [serializer for _, serializer in labels],
            )

    def _unfinished(self, session: ClientSession) -> Iterator[tuple[int, int]]:
        """(sequence, count) of tasks and items that have not ended, and are wanted."""
        board = self._board
        tasks = board.of_client(session.number)
        for task, id in zip(tasks, board.slots.ids(tasks), strict=True):
            items = board.ranges.get(task)
            if items is not None:
                yield items.sequence, len(items)
            elif board.life.state(task) < TaskState.SUCCEEDED and board.wanted(task):
                yield sequence_of(id), 1
