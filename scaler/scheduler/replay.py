"""What a journal says of a client is entered again: its functions, what has not ended, and results that somebody still needs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scaler._core.slots import NONE
from scaler._core.table import join_ids
from scaler.errors import ProtocolError
from scaler.ids import sequence_of, task_id, u32, u64
from scaler.machine import Outbox
from scaler.messages import (
    DefineFunctions,
    JournalArray,
    JournalFunctions,
    JournalOver,
    JournalResults,
    JournalSubmit,
    Results,
    ResultStatus,
    SubmitArray,
)
from scaler.scheduler.board import Board
from scaler.scheduler.columns import select_results
from scaler.scheduler.ends import End
from scaler.scheduler.life import TaskEvent, TaskState
from scaler.scheduler.sessions import ClientSession

if TYPE_CHECKING:
    from scaler.scheduler.clients import Clients

_BROKEN = (ProtocolError, ValueError, IndexError, KeyError, OverflowError)


def replay(clients: Clients, board: Board, session: ClientSession, out: Outbox) -> None:
    """Enter what the journal has of a client. A record that cannot be entered costs what is in it, and is told of."""
    records, session.replay = session.replay, []
    for record in records:
        try:
            if isinstance(record, JournalFunctions):
                new = [function for function in record.functions if function.number not in session.functions]
                clients.handle(session, DefineFunctions(new))
            elif isinstance(record, JournalSubmit | JournalArray):
                lost = _without_function(session, record)
                clients.delivery.ends(lost)
                if not lost:
                    clients.handle(session, record.submit)
            elif isinstance(record, JournalResults):
                _label(session, record)
                clients.delivery.ends(_recall(board, session, record.results))
            elif isinstance(record, JournalOver) and session.uncollected is not None:
                session.uncollected.collect(record.sequences, record.counts)
        except _BROKEN as error:
            out.log(30, f"the journal of {session.label}: {type(record).__name__} cannot be used: {error}")


def _without_function(session: ClientSession, record: JournalSubmit | JournalArray) -> list[End]:
    """The ends of these tasks, where the journal has lost the function of one."""
    submit = record.submit
    if isinstance(submit, SubmitArray):
        first, numbers = submit.first_sequence, {submit.function}
        sequences: Iterable[int] = range(first, first + len(u32(submit.item_ends)))
    else:
        numbers, sequences = set(u32(submit.functions)), u64(submit.sequences)
    if session.functions.keys() >= numbers:
        return []
    text = b"the function is lost: the journal was damaged where it was"
    return [End(NONE, task_id(session.number, sequence), ResultStatus.lost, text) for sequence in sequences]


def _label(session: ClientSession, record: JournalResults) -> None:
    for place, sequence in enumerate(u64(record.results.tasks)):
        name = record.names[place] if record.names else ""
        session.note(sequence, name, record.serializers[place] if record.serializers else "")


def _recall(board: Board, session: ClientSession, results: Results) -> list[End]:
    """These ended before: their dependents have them, and the client, unless only dependents want them."""
    sequences = u64(results.tasks)
    found = board.slots.find(join_ids(session.number, sequences))
    if session.uncollected is not None:
        wanted = [i for i, task in enumerate(found) if task == NONE or board.wanted(task)]
        if wanted:
            session.uncollected.add(results if len(wanted) == len(found) else select_results(results, wanted))
    ends: list[End] = []
    for place, task in enumerate(found):
        if task != NONE:
            ends += _recall_task(board, task, ResultStatus(results.statuses[place]), results.payloads[place])
    return [end for end in ends if sequence_of(end.id) not in sequences]


def _recall_task(board: Board, task: int, status: ResultStatus, payload: bytes) -> list[End]:
    """A task that waits or is ready has ended before a restart."""
    if board.life.state(task) not in (TaskState.WAITING, TaskState.READY):
        return []
    one = array("I", [task])
    board._held.discard(task)
    board.queues.remove(one)
    board.life.apply(TaskEvent.UNBLOCK, one)
    board.life.apply(TaskEvent.ASSIGN, one)
    board.lineage.adopted(task)
    if status not in (ResultStatus.succeeded, ResultStatus.stored):
        return board.end(task, status, payload)
    board.counters.succeeded -= 1  # It was counted when it ended.
    return board.succeed(one, bytes([status]), [payload])
