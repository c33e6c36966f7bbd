"""Updates as a scheduler would send them."""

from __future__ import annotations

from array import array
from typing import Any

from scaler.ids import task_id
from scaler.messages import (
    ClientFacts,
    EndedTasks,
    ExecutorFacts,
    ExecutorState,
    FunctionFacts,
    TaskCounts,
    Update,
    WorkerFacts,
)

MIB = 1 << 20


def identity(number: int) -> bytes:
    """16 bytes that are another's for each number."""
    return number.to_bytes(16, "big")


def worker(number: int, slots: int = 2, held: int = 1, **facts: Any) -> WorkerFacts:
    """Worker ``number``, which runs a task in its first slots."""
    executors = [
        ExecutorFacts(slot, 5000 + 10 * number + slot, ExecutorState.running, task_id(1, slot), "train", 1_500_000)
        if slot < held
        else ExecutorFacts(slot, 5000 + 10 * number + slot, ExecutorState.idle)
        for slot in range(slots)
    ]
    made = WorkerFacts(
        identity(number), "Worker", f"host-{number}", 4000 + number, "pool", slots, held, 50.0, 100 * MIB, 800, False, [],
        held, 1 << 33, executors, 1_000_000,
    )  # fmt: skip
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def update(seconds: float, full: bool = False, succeeded: int = 0, failed: int = 0, **fields: Any) -> Update:
    """An update at this Unix time."""
    made = Update(full, int(seconds * 1000), TaskCounts(1, 2, 3, 4, succeeded, failed, 0, 0))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def ended(*tasks: tuple[int, str, int, int], left_out: int = 0) -> EndedTasks:
    """(task id, function, worker number, status) of each."""
    names = list(dict.fromkeys(name for _, name, _, _ in tasks))
    workers = list(dict.fromkeys(number for _, _, number, _ in tasks))
    n = len(tasks)
    return EndedTasks(
        array("Q", [task for task, *_ in tasks]),
        array("I", [names.index(name) for _, name, _, _ in tasks]),
        names,
        array("I", [workers.index(number) for _, _, number, _ in tasks]),
        [identity(number) for number in workers],
        array("I", [0xFFFFFFFF if k % 2 else k for k in range(n)]),
        bytes(status for *_, status in tasks),
        array("Q", [10_000] * n),
        array("Q", [2_500_000] * n),
        array("Q", [1_000_000] * n),
        array("Q", [MIB] * n),
        array("I", [1] * n),
        n + left_out,
    )


def client(number: int = 1) -> ClientFacts:
    return ClientFacts(identity(100 + number), "", True, 3, number)


def function(name: str, succeeded: int = 1, failed: int = 0) -> FunctionFacts:
    return FunctionFacts(name, succeeded, failed, 1_000_000 * succeeded, 900_000 * succeeded, 1_500_000, 80 * MIB, 2)
