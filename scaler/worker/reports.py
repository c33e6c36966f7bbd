"""What the scheduler is to hear of tasks: gathered as it happens, told in columns once a turn."""

from __future__ import annotations

from array import array

from scaler.messages import ExecutorDeaths, Message, Results, ResultStatus, Trimmed, runs


class Reports:
    """In the order in which they happened, as far as that matters."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        """What is said before the rest."""
        self.done: list[tuple[int, int, int, bytes, int, int, int, int, bytes, int]] = []
        """(task, attempt, status, payload, wall, cpu, peak, count, item ends, slot) of Results."""
        self.deaths: list[tuple[int, int, str, int, ResultStatus]] = []
        """(task, attempt, story, item, status) of ExecutorDeaths."""
        self.trimmed: list[tuple[int, int, int]] = []
        """(task, attempt, kept) of Trimmed."""

    def take(self) -> list[Message]:
        """All of it, which is forgotten here."""
        self._collect()
        messages, self.messages = self.messages, []
        return messages

    def _collect(self) -> None:
        """All that ended since the last time, as reports."""
        done, self.done = self.done, []
        for first, last in runs([len(entry[3]) + 4 * entry[7] for entry in done]) if done else ():
            ids, attempts, statuses, payloads, wall, cpu, peak, counts, ends, slots = zip(
                *done[first:last], strict=True
            )
            results = Results(
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
                results.counts, results.item_ends = array("I", counts), list(ends)
            self.messages.append(results)
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
