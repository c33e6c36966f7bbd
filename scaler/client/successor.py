"""Taking the place of a client of the same name that is gone: its tasks as futures of this process."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scaler.client.arrays import AwaitedArray, ItemsEnded
from scaler.client.future import Outcome, ScalerFuture
from scaler.errors import ScalerError
from scaler.ids import u32, u64
from scaler.messages import RecoveredClient
from scaler.neutral import neutral

if TYPE_CHECKING:
    from scaler.client.service import ClientService


@dataclass(slots=True, eq=False)
class Successor:
    """Of one client, by what the scheduler tells of it."""

    identity: bytes
    next_sequence: int
    pieces: list[RecoveredClient]
    futures: list[tuple[str, ScalerFuture]] = field(default_factory=list)
    """(name, future) of all tasks and items, in the order in which they were submitted."""

    def waiters(self, service: ClientService, function: int) -> tuple[dict[int, ScalerFuture], list[AwaitedArray]]:
        """The futures by sequence, and arrays of items whose owners have the futures."""
        singles: dict[int, ScalerFuture] = {}
        arrays: list[AwaitedArray] = []
        for sequence, count, name, serializer in self._entries():
            futures = [_future(service, sequence + i, name, serializer) for i in range(count)]
            self.futures += [(name, future) for future in futures]
            if count == 1:
                singles[sequence] = futures[0]
            else:
                nothing = array("I", bytes(4 * count))
                arrays.append(AwaitedArray(sequence, function, b"", nothing, owner=_Items(service, futures)))
        return singles, arrays

    def _entries(self) -> Iterator[tuple[int, int, str, str]]:
        for piece in self.pieces:
            counts = u32(piece.counts)
            for i, sequence in enumerate(u64(piece.sequences)):
                yield (
                    sequence,
                    counts[i] if counts else 1,
                    piece.names[i] if piece.names else "",
                    piece.serializers[i] if piece.serializers else "",
                )


def _future(service: ClientService, sequence: int, name: str, serializer: str) -> ScalerFuture:
    future = ScalerFuture(service, sequence, name or f"task {sequence}")
    future._serializer = neutral(serializer) if serializer else None
    return future


class _Items:
    """Items of an array to their futures: an ArrayWaiter."""

    def __init__(self, service: ClientService, futures: list[ScalerFuture]) -> None:
        self._service = service
        self._futures = futures

    def finish_items(self, ended: ItemsEnded) -> None:
        """Called by the client's thread."""
        begin = 0
        for i, future in enumerate(self._futures[ended.begin : ended.end]):
            payload = ended.payload[begin : ended.ends[i]] if ended.ends else ended.payload
            begin = ended.ends[i] if ended.ends else 0
            future.finish(Outcome(ended.status, payload))

    def give_up(self, outcome: Outcome | BaseException) -> None:
        """No more will end."""
        for future in self._futures:
            future.finish(outcome)


def recover(
    asker: ClientService, make: Callable[[Successor], ClientService]
) -> tuple[list[ClientService], dict[str | int, ScalerFuture]]:
    """The services that took the places of clients that are gone, and their futures.

    By name where only one of them has it, else by number, else by client and number.
    Raises ScalerError where nothing can have been kept: without a name, and by a scheduler without a journal.
    """
    asker.check_open()
    if not asker.collections.on:
        raise ScalerError(
            "nothing is kept for this client: that takes a name, Client(name=...), and a scheduler with --journal"
        )
    by_client: dict[bytes, list[RecoveredClient]] = {}
    for piece in asker.recover():
        by_client.setdefault(piece.identity, []).append(piece)
    successors = [Successor(identity, parts[0].next_sequence, parts) for identity, parts in by_client.items()]
    services = [make(successor) for successor in successors]
    return services, _by_name(successors)


def _by_name(successors: list[Successor]) -> dict[str | int, ScalerFuture]:
    all_of_them = [(s, name, future) for s in successors for name, future in s.futures]
    names = Counter(name for _, name, _ in all_of_them)
    numbers = Counter(future.task_id for _, _, future in all_of_them)
    found: dict[str | int, ScalerFuture] = {}
    for successor, name, future in all_of_them:
        number = future.task_id
        key: str | int = number if numbers[number] == 1 else f"{successor.identity.hex()[:8]}:{number}"
        found[name if name and names[name] == 1 else key] = future
    return found
