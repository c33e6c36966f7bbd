"""A worker that answers without executing: ``python -m benchmarks.zero_worker ADDRESS SLOTS``.

It registers with many slots, and answers every Assign at once with one Results message whose columns are those of the Assign. So
what a run with it measures is the scheduler. Prints "ready" once it is registered; ends when the scheduler closes.

It blocks while it writes. That is safe: what may be under way to a worker is bounded by its slots and queue limit, and with
these the scheduler never has so much to send that it would stop reading.
"""

from __future__ import annotations

import sys

from benchmarks.connection import Connection
from scaler.ids import Column
from scaler.messages import Assign, RegisterWorker, Results, ResultStatus, Role, WorkerSettings

SUCCEEDED = bytes([ResultStatus.succeeded])
PAYLOAD = b"\x80\x05N."
"""The pickle of None."""
QUEUE_LIMIT = 20_000


def results(message: Assign) -> Results:
    """All tasks of an assignment succeeded in no time."""
    count = len(message.payloads)
    nothing = bytes(8 * count)
    return Results(
        as_bytes(message.tasks),
        as_bytes(message.attempts),
        SUCCEEDED * count,
        [PAYLOAD] * count,
        nothing,
        nothing,
        nothing,
    )


def as_bytes(column: Column) -> bytes:
    return column if isinstance(column, bytes) else bytes(column)


def serve(address: str, slots: int) -> None:
    """Until the scheduler closes."""
    connection = Connection(address, Role.worker, "zero worker")
    connection.send(connection.frame(RegisterWorker(slots, QUEUE_LIMIT, [], "here", 0, "", "0")))
    for messages in connection.turns():
        answers = [connection.frame(results(message)) for message in messages if isinstance(message, Assign)]
        if answers:
            connection.send(b"".join(answers))
        if any(isinstance(message, WorkerSettings) for message in messages):
            print("ready", flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
