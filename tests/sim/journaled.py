"""Schedulers with a journal, on a disk that outlives them; and clients that die, and come back under their name."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

from scaler.client.arrays import AwaitedArray
from scaler.client.state import ClientState, LeftBehind, Task
from scaler.ids import MAX_CLIENT_NUMBER, u32, u64
from scaler.machine import Output
from scaler.messages import JournalArray, JournalRecord, JournalSubmit, RecoveredClient, ResultStatus, Role
from scaler.scheduler.journal import Append
from scaler.scheduler.journal_digest import Digest
from scaler.scheduler.journal_format import journal_codec

from .checkers import Books, Violation
from .cluster import PATIENCE_SECONDS, Cluster
from .network import Quality
from .nodes import SCHEDULER, ClientNode, SchedulerNode, StorageNode
from .workload import FOREVER, Mix, User

AWAITED = 1000
"""The number of the function of tasks that another client has submitted: no user has so many."""
LONGEST_WRITE = 0.003
MOST_QUESTIONS = 20


class Disk:
    """What is written down, as bytes; the last of it is lost with whoever wrote it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.accepted: set[tuple[int, int]] = set()
        """(client number, sequence) of all tasks and items that were ever written down."""

    def write(self, records: list[JournalRecord]) -> None:
        self.written += map(journal_codec().encode, records)
        for record in records:
            if isinstance(record, JournalSubmit):
                self.accepted.update((record.client, sequence) for sequence in u64(record.submit.sequences))
            elif isinstance(record, JournalArray):
                first = record.submit.first_sequence
                items = range(first, first + len(u32(record.submit.item_ends)))
                self.accepted.update((record.client, sequence) for sequence in items)

    def read(self, at_start: bool = True) -> list[JournalRecord]:
        decode = journal_codec().decode
        records: list[JournalRecord] = [decode(record) for record in self.written]
        return list(Digest(lambda: records, at_start).records())

    def rewrite(self) -> None:
        """Only what matters is left."""
        self.written = [journal_codec().encode(record) for record in self.read(at_start=False)]


class JournalingScheduler(SchedulerNode):
    """It goes on with what is on the disk, and writes a little later than it acts."""

    def __init__(self, disk: Disk, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._disk = disk
        found = disk.read()
        disk.written = list(map(journal_codec().encode, found))
        self.state.restore(found, self.now)
        self.wake()

    def carry_out(self, output: Output) -> None:
        if not isinstance(output, Append):
            super().carry_out(output)
            return
        self.clock.after(LONGEST_WRITE, lambda: self._disk.write(output.records if self.alive else []))
        if self.clock.chance(0.02):
            self.state.journal.rewritten()
            self.clock.after(LONGEST_WRITE, lambda: self._disk.rewrite() if self.alive else None)


class NamedClient(ClientNode):
    """It says which results it has used, as the client's service does."""

    def __init__(self, network: Any, books: Books, storage: StorageNode, name: str, check_every: int) -> None:
        super().__init__(network, books, storage, name, check_every)
        self.state = ClientState(name=name)

    def _take(self, sequence: int, status: ResultStatus, payload: bytes, task: Task) -> None:
        self.state.collections.add(sequence)
        super()._take(sequence, status, payload, task)


class Successor(NamedClient):
    """A client of the same name: first with an identity of its own, to ask what is left; then there is an heir."""

    def __init__(self, user: User, disk: Disk, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._user = user
        self._disk = disk
        self._before = user.client.identity
        self._asked = 0
        self._pieces: list[RecoveredClient] = []
        self._ask()

    def _ask(self) -> None:
        self._asked += 1
        self.state.recover()
        self.wake()

    def carry_out(self, output: Output) -> None:
        if not isinstance(output, LeftBehind):
            super().carry_out(output)
            return
        self._pieces += [piece for piece in output.clients if piece.identity == self._before]
        if output.more:
            return
        if self._pieces or self._asked == MOST_QUESTIONS:
            self._take_over()
        else:  # The scheduler may not have heard yet that the other one is gone.
            self.clock.after(1.0, self._ask)

    def _take_over(self) -> None:
        user, identity = self._user, self._before
        heir = Heir(user, self.network, self.books, self.storage, self.name, self._check_every)
        left = heir.take_over(self._pieces)
        number = int.from_bytes(identity[:3], "little") % MAX_CLIENT_NUMBER + 1
        for job in user.jobs:
            if job.key not in self.books.outcomes and job.wanted and job.sequence not in left:
                accepted = (number, job.sequence) in self._disk.accepted
                if accepted and not job.cancelled:
                    raise Violation(f"seed {self.clock.seed}: {job} was accepted, and is not there to be collected")
                self.books.nobody_waits_for(job)
        user.begin_again(heir)
        endless = [job for job in user.jobs if job.seconds == FOREVER and job.sequence in left]
        if endless:  # Nobody remembered to cancel it.
            user.cancel(endless)
        self.leave()


class Heir(NamedClient):
    """It has the identity of the one that is gone, and awaits what that one has left."""

    def __init__(self, user: User, *arguments: Any) -> None:
        self._ready = False
        super().__init__(*arguments)
        self.identity = user.client.identity
        self.numbers = user.client.numbers
        self.retired = {AWAITED}

    def dial(self, address: str, role: Role, attempt: int = 0) -> None:
        """Not before it knows what it awaits."""
        if self._ready:
            super().dial(address, role, attempt)

    def take_over(self, pieces: list[RecoveredClient]) -> set[int]:
        """Await these; returns the sequences of all tasks and items."""
        entries = [
            (sequence, u32(piece.counts)[i] if len(piece.counts) else 1)
            for piece in pieces
            for i, sequence in enumerate(u64(piece.sequences))
        ]
        arrays = [AwaitedArray(s, AWAITED, b"", array("I", bytes(4 * n))) for s, n in entries if n > 1]
        self.state.take_over(AWAITED, [s for s, n in entries if n == 1], arrays)
        self._ready = True
        self.dial(SCHEDULER, Role.client)
        return {sequence + i for sequence, count in entries for i in range(count)}

    def _take(self, sequence: int, status: ResultStatus, payload: bytes, task: Task) -> None:
        if self.identity + sequence.to_bytes(8, "little") in self.books.outcomes:
            self.state.collections.add(sequence)  # The one before had it, and could not say so any more.
        else:
            super()._take(sequence, status, payload, task)


class JournaledCluster(Cluster):
    """With faults of its own: clients that are killed, and come back."""

    def __init__(self, seed: int, quality: Quality | None = None, verbose: bool = False) -> None:
        self.disk = Disk()
        self._to_come_back: set[User] = set()
        super().__init__(seed, quality, verbose)

    def _new_scheduler(self) -> SchedulerNode:
        self.settings = replace(self.settings, journal=True, kept_seconds=1e6)
        name = f"scheduler{self._number()}"
        return JournalingScheduler(self.disk, self.network, self.books, self.settings, name, self.check_every)

    def add_user(self, mix: Mix | None = None) -> User:
        client = NamedClient(self.network, self.books, self.storage, f"client{self._number()}", self.check_every)
        self.users.append(User(client, self.books, mix or Mix()))
        return self.users[-1]

    def kill_client(self, user: User | None = None, seconds: float | None = None) -> None:
        """A client is killed; after a while there is one of its name, that wants what it has left."""
        living = [one for one in self.users if one.client.alive and not one.client.left]
        if user is None and not living:
            return
        user = user or self.clock.random.choice(living)
        self.books.disturbances += 1
        user.client.left = True
        user.client.kill()
        self._to_come_back.add(user)
        pause = self.clock.random.random() * 3 if seconds is None else seconds
        self.clock.after(pause, lambda: self._come_back(user))

    def finish(self, after: float = 0.0) -> None:
        """When those who were killed are back."""
        self.clock.run(after)
        self.clock.run(self.clock.now + PATIENCE_SECONDS, lambda: all(u.client.alive for u in self._to_come_back))
        super().finish()

    def _come_back(self, user: User) -> None:
        name = user.client.name
        Successor(user, self.disk, self.network, self.books, self.storage, name, self.check_every)
