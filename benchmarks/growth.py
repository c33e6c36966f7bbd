"""What does a task cost the scheduler's state, as more tasks wait, workers or clients are there, requirement classes are used?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.state_alone import TASKS_A_WORKER, StateAlone, cost
from scaler.machine import Peer
from scaler.messages import Role

WAITING = (1_000, 10_000, 100_000, 1_000_000)
WORKERS = (1, 10, 100, 1_000, 10_000)
CLASSES = (1, 10, 100, 1_000)
CLIENTS = (1, 100, 10_000)
TASKS = 100_000
WARM_UP = 20_000
CLASS_FRAME = 20
"""Tasks in a Submit of one class: small, so that all classes have tasks waiting."""


def by_waiting(count: int, tasks: int = TASKS) -> float:
    """Microseconds a task while ``count`` others wait for one of 100 workers."""
    alone = StateAlone(100)
    alone.submit(count + 100 * TASKS_A_WORKER)
    return _steady(alone, 100, tasks)


def by_workers(count: int, tasks: int = TASKS) -> float:
    """Microseconds a task with so many workers; there is always enough for all of them."""
    alone = StateAlone(count)
    alone.submit(count * TASKS_A_WORKER + 10_000)
    return _steady(alone, count, tasks)


def by_classes(count: int, tasks: int = TASKS) -> float:
    """Microseconds a task with so many requirement classes: 1,000 workers offer one each, tasks of all wait."""
    alone = StateAlone(1_000, count)
    alone.submit(200_000, CLASS_FRAME)
    return _steady(alone, 1_000, tasks, CLASS_FRAME)


def by_clients(count: int, tasks: int = TASKS) -> float:
    """Microseconds a task with so many clients, of which one has tasks, and one worker, so that the state decides often."""
    alone = StateAlone(1)
    for number in range(1, count):
        alone.state.peer_connected(1_000_000 + number, Peer(Role.client, number.to_bytes(16, "little")), 0.0)
    alone.submit(TASKS_A_WORKER + 10_000)
    return _steady(alone, 1, tasks)


def _steady(alone: StateAlone, workers: int, tasks: int, frame: int = 1000) -> float:
    alone.settle()
    # Until a function's time is known every worker is given two tasks and no more: let that pass.
    cost(alone, max(WARM_UP, 4 * workers), frame)
    return cost(alone, tasks, frame)


CURVES: dict[str, tuple[Callable[[int, int], float], Sequence[int]]] = {
    "waiting tasks": (by_waiting, WAITING),
    "workers": (by_workers, WORKERS),
    "requirement classes": (by_classes, CLASSES),
    "clients": (by_clients, CLIENTS),
}


def measure(repetitions: int, largest: int = 1_000_000, tasks: int = TASKS) -> dict[str, dict[str, list[float]]]:
    """For each curve and each size, as text, up to ``largest``: microseconds a task in every repetition."""
    found: dict[str, dict[str, list[float]]] = {curve: {} for curve in CURVES}
    for _ in range(repetitions):
        for curve, (work, sizes) in CURVES.items():
            for size in sizes:
                if size <= largest:
                    found[curve].setdefault(str(size), []).append(work(size, tasks))
    return found


if __name__ == "__main__":
    for curve, sizes in measure(1).items():
        for size, values in sizes.items():
            print(f"{curve:22} {size:>9} {values[0]:8.2f} us")
