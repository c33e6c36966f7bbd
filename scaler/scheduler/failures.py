"""The tasks that failed last, with what they left behind. Nothing is unpickled: executors write errors as text, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scaler.errors import ProtocolError
from scaler.messages import FailedTask, Failure, ResultStatus
from scaler.scheduler.recent import Recent
from scaler.scheduler.retries import attempts_of
from scaler.wire.codec import struct_codec

if TYPE_CHECKING:
    from scaler.scheduler.board import Board

KEPT_FAILURES = 50
MOST_BYTES = 256 << 10
"""A failure that takes more is read at once, others only when somebody looks."""
MESSAGE_CHARACTERS = 4 << 10
TRACEBACK_CHARACTERS = 16 << 10


@dataclass(slots=True)
class Record:
    """A failure as it came."""

    told: FailedTask
    payload: bytes | None

    def read(self) -> FailedTask:
        """The failure in words."""
        if self.payload is not None:
            _read(self.told, self.payload)
            self.payload = None
        return self.told


class Failures(Recent[Record]):
    """Those that happened last. Part of the board, of which it sees everything."""

    def __init__(self, board: Board) -> None:
        super().__init__(KEPT_FAILURES)
        self._board = board

    def note(
        self, task: int, status: ResultStatus, payload: bytes, worker: bytes, profile: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        """A task, or the first item of a range, is about to end for good, and not well. ``worker``: the identity, if any."""
        board, special = self._board, self._board.special.get(task)
        totals = board.functions.totals(board.function_of(task))
        totals.failed += 1
        told = FailedTask(board.client_id(task), board.label(task), totals.name, board.owner(task), worker, status, 0)
        told.unix_milliseconds, told.attempt = board.clock.unix_milliseconds, board.life.attempt(task)
        told.wall_microseconds, told.cpu_microseconds, told.peak_memory_bytes = profile
        if special is not None:
            told.attempts = attempts_of(special)
        record = Record(told, payload)
        if len(payload) > MOST_BYTES:
            record.read()
        self.add(record)

    def of(self, task: int) -> FailedTask | None:
        """The one of this task, if it was one of the last."""
        return next((record.read() for record in self.since(0) if record.told.task == task), None)


def _read(told: FailedTask, payload: bytes) -> None:
    if told.status != ResultStatus.failed:
        told.message = payload[: 4 * MESSAGE_CHARACTERS].decode(errors="replace")[:MESSAGE_CHARACTERS]
        return
    try:
        failure: Failure = struct_codec("task", "Failure").decode(payload)
    except ProtocolError as error:
        told.message = f"its worker did not say why: {error}"
        return
    told.type_name = failure.type_name[:MESSAGE_CHARACTERS]
    told.message = failure.message[:MESSAGE_CHARACTERS]
    told.traceback = failure.traceback[-TRACEBACK_CHARACTERS:]
