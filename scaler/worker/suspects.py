"""Executors that do not do what they were told, for ``scaler.stuck`` to watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from scaler.ids import sequence_of
from scaler.stuck import Finding
from scaler.worker.tasks import Executor


def find(executors: Iterable[Executor], preload: str, name_of: Callable[[int], str]) -> Iterator[Finding]:
    """``preload``: what executors do before they are ready, if some have begun that; ``name_of``: the name of a function."""
    for executor in executors:
        label = f"the executor of slot {executor.slot}"
        first = next(iter(executor.sent), None)
        if executor.killed_for is not None:
            why = executor.killed_for[2] or executor.killed_for[1].name
            yield ("end", executor.number), None, f"{label} was killed ({why}), and has not ended"
        elif executor.claims is None:
            what = f"is busy with the preload {preload}" if preload else "has not started"
            yield ("start", executor.number), None, f"{label} {what}"
        elif first is not None and executor.claims.running is None:
            task = executor.sent[first]
            name = task.function_name or name_of(task.function)
            text = (
                f"{label} does not begin task {sequence_of(task.id)} ({name}, attempt {task.attempt}) that it was given"
            )
            yield ("begin", executor.number, first), None, text
