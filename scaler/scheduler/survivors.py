"""What workers still had when they came from a scheduler that is gone, until the clients of these tasks are here, too."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from scaler.errors import ProtocolError
from scaler.ids import IDENTITY_BYTES, SEQUENCE_BITS, task_id, u32, u64
from scaler.messages import Results, ResultStatus, Survived
from scaler.scheduler.columns import checked_results, select_results
from scaler.scheduler.sessions import WorkerSession


@dataclass(slots=True, eq=False)
class Survivor:
    """A task, or items of an array that follow each other."""

    worker: WorkerSession
    owner: bytes
    """The identity of its client."""
    id: int
    attempt: int
    sequence: int
    """Of the task, or of the first item."""
    count: int
    result: Results | None
    """Of this one alone; None while it runs."""
    since: float

    @property
    def client_number(self) -> int:
        return self.id >> SEQUENCE_BITS

    @property
    def is_stored(self) -> bool:
        """Whether its result is an object."""
        return self.result is not None and self.result.statuses[0] == ResultStatus.stored

    @property
    def task(self) -> int:
        """The id under which it comes back: with a result the client's own, also of items, of which a range may run on."""
        return self.id if self.result is None else task_id(self.client_number, self.sequence)


class Survivors:
    """By the client that they belong to."""

    def __init__(self) -> None:
        self._of_owner: dict[bytes, list[Survivor]] = {}
        self._running: dict[tuple[int, int], Survivor] = {}
        """By worker number and id."""

    def __bool__(self) -> bool:
        return bool(self._of_owner)

    def __contains__(self, owner: bytes) -> bool:
        return owner in self._of_owner

    def add(self, worker: WorkerSession, message: Survived, now: float) -> list[bytes]:
        """Returns the identities of the clients. Raises ProtocolError for columns that do not fit together."""
        results, owner_of, sequences = checked_results(message.results), u32(message.owner_of), u64(message.sequences)
        if not len(owner_of) == len(sequences) == len(results.payloads):
            raise ProtocolError("columns of different lengths")
        if any(len(owner) != IDENTITY_BYTES for owner in message.owners):
            raise ProtocolError(f"an identity has {IDENTITY_BYTES} bytes")
        counts = u32(results.counts)
        for i, (id, attempt, owner, sequence) in enumerate(
            zip(u64(results.tasks), u32(results.attempts), owner_of, sequences, strict=True)
        ):
            runs = results.statuses[i] == ResultStatus.unspecified
            result = None if runs else _of_client(results, i, id, sequence)
            count = counts[i] if counts else 1
            self._add(Survivor(worker, message.owners[owner], id, attempt, sequence, count, result, now))
        return message.owners

    def _add(self, survivor: Survivor) -> None:
        self._of_owner.setdefault(survivor.owner, []).append(survivor)
        if survivor.result is None:
            self._running[survivor.worker.number, survivor.id] = survivor

    def take(self, owner: bytes) -> list[Survivor]:
        """All of this client, which are forgotten here."""
        taken = self._of_owner.pop(owner, [])
        for survivor in taken:
            if survivor.result is None:
                del self._running[survivor.worker.number, survivor.id]
        return taken

    def runs(self, id: int) -> bool:
        """Whether this task runs on a worker, and its client is not here yet."""
        return any(key[1] == id for key in self._running)

    # ---- what happens to them meanwhile

    def ended(self, worker: WorkerSession, id: int, result: Results) -> bool:
        """A result (of one entry) has come; False if this is none of the survivors."""
        survivor = self._running.get((worker.number, id))
        if survivor is None:
            return False
        count = u32(result.counts)[0] if result.counts else 1
        result = _of_client(result, 0, id, survivor.sequence)
        first = Survivor(worker, survivor.owner, id, survivor.attempt, survivor.sequence, count, result, survivor.since)
        self._of_owner[survivor.owner].append(first)
        survivor.sequence += count
        survivor.count -= count
        if survivor.count < 1:
            self._remove(survivor)
        return True

    def died(self, worker: WorkerSession, id: int) -> None:
        """Its executor died: it has to run again."""
        survivor = self._running.get((worker.number, id))
        if survivor is not None:
            self._remove(survivor)

    def worker_left(self, worker: WorkerSession) -> None:
        """All of it has to run again."""
        gone = [survivor for mine in self._of_owner.values() for survivor in mine if survivor.worker is worker]
        for survivor in gone:
            self._remove(survivor)

    def _remove(self, survivor: Survivor) -> None:
        if survivor.result is None:
            del self._running[survivor.worker.number, survivor.id]
        mine = self._of_owner[survivor.owner]
        mine.remove(survivor)
        if not mine:
            del self._of_owner[survivor.owner]

    def older_than(self, then: float) -> list[bytes]:
        """The clients that have not come since."""
        return [owner for owner, mine in self._of_owner.items() if mine[0].since < then]

    def check(self) -> None:
        running = [s for mine in self._of_owner.values() for s in mine if s.result is None]
        assert sorted(map(id, running)) == sorted(map(id, self._running.values()))
        assert all(self._of_owner.values())


def _of_client(results: Results, place: int, id: int, sequence: int) -> Results:
    """One entry of these, by the client's own id of the task or first item."""
    result = select_results(results, [place])
    result.tasks = array("Q", [task_id(id >> SEQUENCE_BITS, sequence)])
    return result
