"""With which versions workers are here, for warnings where a client has others: what is pickled may not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from scaler.machine import Outbox
from scaler.scheduler.sessions import ClientSession, WorkerSession
from scaler.software import differences

MOST_SOFTWARE = 16
"""How many different sets of versions of workers a client is told of."""


class Versions:
    """Of the workers that are connected."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._workers: Counter[str] = Counter()
        """How many workers there are with these versions."""

    def told(self) -> list[str]:
        """What clients are told."""
        return list(islice(self._workers, MOST_SOFTWARE))

    def worker_came(self, worker: WorkerSession, clients: Iterable[ClientSession]) -> None:
        """Warn of versions that no other worker has, where they are not those of a client that is here already."""
        if not worker.software:
            return
        self._workers[worker.software] += 1
        if self._workers[worker.software] == 1:
            for client in clients:
                found = differences(client.software, worker.software)
                if found:
                    self._out.log(30, f"{client.label} and {worker.label} differ: {found}; pickles may not fit")
                    break

    def worker_left(self, worker: WorkerSession) -> None:
        """It is gone."""
        self._workers[worker.software] -= 1
        if self._workers[worker.software] <= 0:
            del self._workers[worker.software]
