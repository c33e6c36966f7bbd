"""What is written into the journal, as the scheduler's state decides it. The service writes it: see ``journal_writer``.

Clients of their own are written down, not those inside tasks: a task that runs again submits its children again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scaler.ids import Column, u32, u64
from scaler.messages import (
    JournalArray,
    JournalClient,
    JournalFunctions,
    JournalGone,
    JournalOver,
    JournalRecord,
    JournalResults,
    JournalSubmit,
    Results,
    Submit,
    SubmitArray,
)
from scaler.scheduler.board import Board
from scaler.scheduler.sessions import ClientSession, Single, as_results

REPEAT_RECORDS = 64
"""After so many records of a client it is said again who it is: the record that said so may be damaged later."""


@dataclass(slots=True)
class Append:
    """Records to be written, in this order."""

    records: list[JournalRecord]


class Journal:
    """Part of the scheduler's state. What it is told while it is not ``on`` is not written down."""

    def __init__(self, board: Board, on: bool) -> None:
        self.on = on
        self.replaying = False
        """Whether what is told now is in the journal already, ends apart."""
        self._board = board
        self._records: list[JournalRecord] = []
        self._ended: dict[int, tuple[ClientSession, list[Single]]] = {}
        """By client number: what ended by other means than results of workers."""
        self._functions_of: dict[int, set[int]] = {}
        """By client number: the numbers of its functions that the journal has."""
        self._written: Counter[int] = Counter()
        """By client number: how many records of it the journal has."""

    def concerns(self, session: ClientSession) -> bool:
        """Whether something of this client is written down."""
        return self.on and not session.nested

    def settle(self) -> None:
        """What has ended since is uncollected from here on."""
        for session, ended in self._ended.values():
            results = as_results(ended)
            if session.uncollected is not None:
                session.uncollected.add(results)
            self._results(session, results)
        self._ended.clear()

    def take(self) -> list[JournalRecord]:
        """All records, which are forgotten here."""
        self.settle()
        records, self._records = self._records, []
        return records

    def rewritten(self) -> None:
        """What comes from here on may not rely on what was written before: it may be left out, or lost."""
        self._functions_of.clear()
        self._written.clear()

    def heads(self, sessions: Iterable[ClientSession]) -> list[JournalRecord] | None:
        """All that a journal has to say now, if it is no more than who these clients are; None if it is more."""
        if len(self._board) or self._ended or any(s.uncollected or s.replay for s in sessions):
            return None
        known = [session for session in sessions if session.journaled]
        return [JournalClient(s.number, s.identity, s.name, s.next_sequence) for s in known]

    # ---- what happened

    def submitted(self, session: ClientSession, message: Submit) -> None:
        """Tasks were accepted."""
        if self.concerns(session):
            self._functions(session, u32(message.functions))
            if session.uncollected is not None and (message.option_sets or session.by_name):
                _label(session, u64(message.sequences), message, self._board)
            self._write(session, JournalSubmit(session.number, message))

    def array_submitted(self, session: ClientSession, message: SubmitArray) -> None:
        """Items were accepted."""
        if self.concerns(session):
            self._functions(session, (message.function,))
            tag = self._board.functions.get(session.functions[message.function]).serializer
            session.note(message.first_sequence, message.options.name, tag)
            self._write(session, JournalArray(session.number, message))

    def succeeded(self, session: ClientSession, told: Results) -> None:
        """Tasks and items ended as their worker said; also those that their client does not want."""
        if self.concerns(session):
            self._results(session, told)

    def ended(self, session: ClientSession, told: Single) -> None:
        """A task or items ended by other means, which their client wants."""
        if self.concerns(session):
            self._ended.setdefault(session.number, (session, []))[1].append(told)

    def collected(self, session: ClientSession, sequences: Column, counts: Column) -> None:
        """The client has used these results."""
        if self.concerns(session):
            self._write(session, JournalOver(session.number, sequences, counts))

    def gone(self, session: ClientSession) -> None:
        """The client is forgotten."""
        self._ended.pop(session.number, None)
        self._functions_of.pop(session.number, None)
        self._written.pop(session.number, None)
        if self.on and session.journaled:
            self._records.append(JournalGone(session.number))

    # ---- inside

    def _results(self, session: ClientSession, told: Results) -> None:
        # Without a name nobody can come back for results: then only dependents need them.
        if session.name or len(self._board.graph):
            self._write(session, JournalResults(session.number, told))
        else:
            self._write(session, JournalOver(session.number, told.tasks, told.counts))

    def _functions(self, session: ClientSession, numbers: Sequence[int]) -> None:
        known = self._functions_of.setdefault(session.number, set())
        if len(numbers) == 1 and numbers[0] in known:
            return
        unknown = sorted(set(numbers) - known)
        if unknown:
            known.update(unknown)
            get, mine = self._board.functions.get, session.functions
            written = [replace(get(mine[number]), number=number, owner=b"") for number in unknown]
            self._write(session, JournalFunctions(session.number, written))

    def _write(self, session: ClientSession, record: JournalRecord) -> None:
        if self.replaying:
            return
        if self._written[session.number] % REPEAT_RECORDS == 0:
            self._records.append(JournalClient(session.number, session.identity, session.name, session.next_sequence))
        self._written[session.number] += 1
        session.journaled = True
        self._records.append(record)


def _label(session: ClientSession, sequences: Sequence[int], message: Submit, board: Board) -> None:
    """Remember what tasks are called, and which results the client's own serializer cannot read."""
    numbers, chosen = u32(message.functions), u32(message.options)
    names = [options.name for options in message.option_sets]
    tags = [board.functions.get(session.functions[number]).serializer for number in numbers]
    if not any(names) and not session.by_name:
        return
    for place, sequence in enumerate(sequences):
        name = names[chosen[place if len(chosen) > 1 else 0]] if names else ""
        session.note(sequence, name, tags[place if len(tags) > 1 else 0])
