"""What the scheduler is to hear of tasks: gathered as it happens, told in columns once a turn."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from scaler.messages import ExecutorDeaths, Message, Results, ResultStatus, Trimmed, runs

UNACKNOWLEDGED_BYTES = 16 << 20
UNACKNOWLEDGED_RESULTS = 100_000
"""How many results are kept until the scheduler has acknowledged them, those that were told last."""

Done: TypeAlias = tuple[int, int, int, bytes, int, int, int, int, bytes, int, int]
"""(task, attempt, status, payload, wall, cpu, peak, count, item ends, slot, sequence) of an entry of Results. The sequence is
that of the first item, and means nothing for single tasks."""
Told: TypeAlias = tuple[Results, "array[int]"]
"""A message, and the sequences of its entries."""


class Reports:
    """In the order in which they happened, as far as that matters."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        """What is said before the rest."""
        self.done: list[Done] = []
        self.deaths: list[tuple[int, int, str, int, ResultStatus]] = []
        """(task, attempt, story, item, status) of ExecutorDeaths."""
        self.trimmed: list[tuple[int, int, int]] = []
        """(task, attempt, kept) of Trimmed."""
        self._unacknowledged: deque[tuple[float, int, Told]] = deque()
        """(when it was told, its size, what it was), in order."""
        self._unacknowledged_bytes = self._unacknowledged_results = 0

    def take(self, now: float) -> list[Message]:
        """All of it, which is forgotten here, but for results that are not acknowledged."""
        self._collect(now)
        messages, self.messages = self.messages, []
        return messages

    def acknowledged(self, sent: float) -> None:
        """The scheduler has read what it was told up to this time."""
        while self._unacknowledged and self._unacknowledged[0][0] <= sent:
            self._drop_oldest()

    def unacknowledged(self) -> list[Told]:
        """What ended and may not have reached the clients, whether it was told or not."""
        return [*(told for _, _, told in self._unacknowledged), *(told for _, told in _cut(self.done))]

    def forget_unfinished(self) -> None:
        """There is nobody to hear of anything but results."""
        self.messages, self.deaths, self.trimmed = [], [], []

    def _collect(self, now: float) -> None:
        """All that ended since the last time, as reports."""
        done, self.done = self.done, []
        for size, told in _cut(done):
            self.messages.append(told[0])
            self._remember(now, size, told)
        if self.deaths:
            ids, attempts, stories, items, statuses = zip(*self.deaths, strict=True)
            self.deaths = []
            deaths = ExecutorDeaths(array("Q", ids), array("I", attempts), list(stories))
            if any(items) or min(statuses) != max(statuses) or statuses[0] != ResultStatus.crashed:
                deaths.items, deaths.statuses = array("I", items), bytes(statuses)
            self.messages.append(deaths)
        if self.trimmed:  # After the results of their items.
            ids, attempts, kept = zip(*self.trimmed, strict=True)
            self.trimmed = []
            self.messages.append(Trimmed(array("Q", ids), array("I", attempts), array("I", kept)))

    def _remember(self, now: float, size: int, told: Told) -> None:
        self._unacknowledged.append((now, size, told))
        self._unacknowledged_bytes += size
        self._unacknowledged_results += len(told[0].payloads)
        while (
            self._unacknowledged_bytes > UNACKNOWLEDGED_BYTES or self._unacknowledged_results > UNACKNOWLEDGED_RESULTS
        ):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, size, told = self._unacknowledged.popleft()
        self._unacknowledged_bytes -= size
        self._unacknowledged_results -= len(told[0].payloads)


def _cut(done: Sequence[Done]) -> Iterator[tuple[int, Told]]:
    """(size, message) of these, in pieces that are not much larger than MESSAGE_BYTES."""
    sizes = [len(entry[3]) + 4 * entry[7] for entry in done]
    for first, last in runs(sizes) if done else ():
        yield sum(sizes[first:last]), results(done[first:last])


def results(done: Sequence[Done]) -> Told:
    """These as a message."""
    ids, attempts, statuses, payloads, wall, cpu, peak, counts, ends, slots, sequences = zip(*done, strict=True)
    message = Results(
        array("Q", ids),
        array("I", attempts),
        bytes(statuses),
        list(payloads),
        array("Q", wall),
        array("Q", cpu),
        array("Q", peak),
        slots=array("I", slots),
    )
    if max(counts) > 1:
        message.counts, message.item_ends = array("I", counts), list(ends)
    return message, array("Q", sequences)
