"""Measures scaler._core.queues, loads and balance: placements, queue operations and retraction."""

from __future__ import annotations

import argparse
import json
from array import array
from collections.abc import Callable
from time import perf_counter

from scaler._core.balance import place, retract
from scaler._core.lifecycle import Lifecycle
from scaler._core.loads import Loads
from scaler._core.queues import ReadyQueues

TARGET_US = 1_000_000
COSTS = array("I", [100])
QUEUED = 1


def column(n: int, start: int = 0) -> array[int]:
    return array("I", range(start, n))


def zeros(n: int) -> array[int]:
    return array("I", bytes(4 * n))


def seconds(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin


def cluster(workers: int, slots: int, classes: int = 1) -> Loads:
    loads = Loads(TARGET_US)
    for worker in range(workers):
        loads.add_worker(worker, slots, 0, 0)
    for number in range(classes):
        loads.set_classes(number, array("I", [0]))
    return loads


def placements(workers: int, each: int = 64) -> float:
    """Placements per second, all in one pass that fills every worker with ``each`` tasks."""
    n = workers * each
    queues, loads = ReadyQueues(), cluster(workers, each // 2)
    queues.push(column(n), 0, 0)
    functions = zeros(n)
    spent = seconds(lambda: place(queues, loads, functions, COSTS, b"", b""))
    assert not len(queues)
    return n / spent


def steady(workers: int, waiting: int = 1_000_000, done: int = 1000) -> float:
    """Microseconds of a pass that refills ``done`` places of a full cluster while much waits, with their release."""
    queues, loads = ReadyQueues(), cluster(workers, 32)
    queues.push(column(waiting), 0, 0)
    functions = zeros(waiting)
    result, _ = place(queues, loads, functions, COSTS, b"", b"")
    before = len(queues)
    finished = array("I", [tasks[0] for _, tasks in result][:done])

    def refill() -> None:
        loads.release(finished)
        place(queues, loads, functions, COSTS, b"", b"")

    spent = seconds(refill)
    assert before - len(queues) == len(finished)
    return spent * 1e6


def task_costs(waiting: int) -> dict[str, float]:
    """Nanoseconds per task: push and removal as whole columns, placement in one pass."""
    queues, loads = ReadyQueues(), cluster(100, waiting // 100 + 1)
    tasks, functions = column(waiting), zeros(waiting)
    push = seconds(lambda: queues.push(tasks, 0, 0))
    remove = seconds(lambda: queues.remove(tasks))
    queues.push(tasks, 0, 0)
    placed = seconds(lambda: place(queues, loads, functions, COSTS, b"", b""))
    return {name: spent / waiting * 1e9 for name, spent in (("push", push), ("remove", remove), ("place", placed))}


def by_classes(classes: int, n: int = 200_000) -> float:
    """Placements per second with tasks of all classes arriving in turns of ten."""
    queues, loads = ReadyQueues(), cluster(1000, n // 1000, classes)
    for start in range(0, n, 10):
        queues.push(column(start + 10, start=start), start // 10 % classes, 0)
    functions = zeros(n)
    return n / seconds(lambda: place(queues, loads, functions, COSTS, b"", b""))


def by_priorities(priorities: int, n: int = 200_000) -> float:
    """Nanoseconds to push one task and take it out again, among that many priorities."""
    queues = ReadyQueues()
    tasks = [column(task + 1, start=task) for task in range(n)]

    def cycle() -> None:
        for task, one in enumerate(tasks):
            queues.push(one, 0, task * 7919 % priorities)
        for _ in tasks:
            queues.pop(0)

    return seconds(cycle) / n * 1e9


def retraction(workers: int) -> float:
    """Milliseconds to choose tasks for the idle half of the workers, from the other half that has twice its slots."""
    slots = 16
    loads = cluster(workers, slots)
    tasks = workers * slots
    lifecycle = Lifecycle(bytes([255, 255]), 2, 1)
    lifecycle.open(column(tasks), QUEUED)
    for task in range(tasks):
        loads.assign(task, task % (workers // 2), 100)
    classes = zeros(tasks)
    result: list[tuple[int, array[int]]] = []
    spent = seconds(lambda: result.extend(retract(loads, lifecycle, QUEUED, classes, 0)))
    assert sum(len(given) for _, given in result) == tasks // 2
    return spent * 1000


def measure() -> dict[str, float]:
    results: dict[str, float] = {}
    for workers in (1, 100, 10_000):
        results[f"placements/s, {workers} workers"] = placements(workers)
    for workers in (100, 10_000):
        results[f"us to refill {min(workers, 1000)} places, {workers} workers"] = steady(workers)
    for waiting in (10**3, 10**4, 10**5, 10**6):
        for name, spent in task_costs(waiting).items():
            results[f"ns/task to {name}, {waiting} waiting"] = spent
    for classes in (1, 10, 100, 1000):
        results[f"placements/s, {classes} classes"] = by_classes(classes)
    for priorities in (1, 100, 100_000):
        results[f"ns/task to push and pop one by one, {priorities} priorities"] = by_priorities(priorities)
    results["ms to retract 80000 tasks, 10000 workers"] = retraction(10_000)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = measure()
    if arguments.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name:60} {value:15,.1f}")


if __name__ == "__main__":
    main()
