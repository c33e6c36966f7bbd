"""The memory of executors: which one has too much and is ended for it, which one should collect its garbage.

Nothing happens on the way of a task: executors are looked at a few times a second while there is work, and not at all
while there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scaler.display import size
from scaler.machine import Outbox
from scaler.messages import ResultStatus, Tidy
from scaler.worker.executors import Executors, Tell
from scaler.worker.tasks import Executor

LOOK_SECONDS = 0.05
"""How long a task may be above the limit before anybody looks."""
TIDY_SECONDS = 1.0
"""How often it is asked whether there is something to collect or to give back."""
TRIM_SECONDS = 10.0
"""An executor that keeps much memory on purpose is not asked more often than this to give it back."""

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class MemoryRules:
    """What an executor may have and has to do. 0: no limit, never."""

    limit_bytes: int = 0
    """Of resident memory. A task that takes its executor above it ends as out of memory."""
    collect_seconds: float = 0.0
    """An executor that is idle, and was not since its last collection, collects its garbage this often."""
    trim_bytes: int = 0
    """An executor that is above it after a task collects its garbage and gives free memory back."""


@dataclass(slots=True)
class _Record:
    """What was seen of one executor."""

    collected_at: float
    collected: int = 0
    """Its tasks up to this position are collected after."""
    trimmed_at: float = float("-inf")
    trimmed: int = 0
    running: int | None = None
    """What ran when it was looked at last, and how much memory it had."""
    resident: int = 0
    before: int = 0
    """How much it had when it was looked at last before this task ran."""


class MemoryWatch:
    """Looks after all executors of a worker. ``label`` is what errors call the worker."""

    def __init__(self, rules: MemoryRules, executors: Executors, out: Outbox, label: str) -> None:
        self.resident: Callable[[int], int] = lambda executor: 0
        """The resident bytes of an executor by its number, 0 for one that is gone: measured by the service."""
        self._rules = rules
        self._tidies = bool(rules.collect_seconds or rules.trim_bytes)
        self._executors = executors
        self._out = out
        self._label = label
        self._records: dict[int, _Record] = {}
        self.due: float | None = None
        """When tick() should come."""
        self.unarranged = self._tidies or bool(rules.limit_bytes)
        """Whether arrange() should be called when there may be work."""
        self._look_at = self._tidy_at = _NEVER

    def arrange(self, now: float) -> None:
        """There may be work: look after it in time. Does nothing unless ``unarranged``."""
        busy = not self._executors.empty
        if self._rules.limit_bytes and self._look_at == _NEVER and busy:
            self._look_at = now + LOOK_SECONDS
        if self._tidies and self._tidy_at == _NEVER and (busy or self._any_uncollected()):
            self._tidy_at = now + TIDY_SECONDS
        self._set_due()

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.due is None or now < self.due:
            return
        look, tidy = now >= self._look_at, now >= self._tidy_at
        self._look_at = _NEVER if look else self._look_at
        self._tidy_at = _NEVER if tidy else self._tidy_at
        self._set_due()
        for executor, record in self._all(now):
            if look:
                self._look(executor, record)
            if tidy and executor.killed_for is None:
                self._tidy(executor, record, now)

    def _set_due(self) -> None:
        first = min(self._look_at, self._tidy_at)
        self.due = None if first == _NEVER else first
        self.unarranged = bool(
            (self._rules.limit_bytes and self._look_at == _NEVER) or (self._tidies and self._tidy_at == _NEVER)
        )

    def _all(self, now: float) -> list[tuple[Executor, _Record]]:
        living = self._executors.at_work()
        self._records = {e.number: self._records.get(e.number) or _Record(now) for e in living}
        return [(executor, self._records[executor.number]) for executor in living]

    # ---- the limit

    def _look(self, executor: Executor, record: _Record) -> None:
        limit, resident = self._rules.limit_bytes, self.resident(executor.number)
        running = executor.running
        if running != record.running:
            record.running, record.before = running, record.resident
        record.resident = resident
        if resident <= limit:
            return
        had = f"executor {executor.number} has {size(resident)} of memory, more than its limit of {size(limit)}"
        if running is None:
            if not executor.sent:
                self._executors.replace(executor, f"{had}, and runs nothing")
        elif running and record.before > limit // 2:
            self._executors.replace(executor, f"{had}, most of it since before the task that runs; that one runs again")
        else:
            text = (
                f"took its executor to {size(resident)} of memory; the limit is {size(limit)} for each executor of "
                f"{self._label}. Have each task do less at a time, or give workers a greater --memory-limit-bytes"
            )
            self._executors.end_running(executor, ResultStatus.out_of_memory, text)

    # ---- garbage

    def _any_uncollected(self) -> bool:
        return any(self._uncollected(e, self._records.get(e.number)) for e in self._executors.at_work())

    def _uncollected(self, executor: Executor, record: _Record | None) -> bool:
        """Whether it is idle, and has had tasks since it was told to collect."""
        collected = record.collected if record is not None else 0
        return bool(self._rules.collect_seconds) and not executor.sent and collected < executor.next_position

    def _tidy(self, executor: Executor, record: _Record, now: float) -> None:
        rules, position = self._rules, executor.next_position
        if (
            rules.trim_bytes
            and record.trimmed < position
            and now - record.trimmed_at >= TRIM_SECONDS
            and self.resident(executor.number) > rules.trim_bytes
        ):
            # It comes to this when the tasks it has now have ended.
            record.trimmed, record.trimmed_at = position, now
            self._tell(executor, record, now, trim=True)
        elif self._uncollected(executor, record) and now - record.collected_at >= rules.collect_seconds:
            self._tell(executor, record, now, trim=False)

    def _tell(self, executor: Executor, record: _Record, now: float, trim: bool) -> None:
        record.collected, record.collected_at = executor.next_position, now
        self._out.add(Tell(executor.number, Tidy(trim)))
