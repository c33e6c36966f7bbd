"""What one operation of the containers in scaler._core costs, with tables of a thousand to a million tasks.

Run it with ``python benchmarks/core_containers.py [--json] [--sizes 1000 1000000]``; the numbers are nanoseconds for
one task, the best of several rounds, with columns of 1000 tasks in random order.
"""

from __future__ import annotations

import argparse
import json
import random
from array import array
from collections.abc import Callable, Iterator
from time import perf_counter_ns

from scaler._core.analysis import critical_path
from scaler._core.claims import PAGE_BYTES, POSITIONS, Claims
from scaler._core.graph import Graph
from scaler._core.lifecycle import Lifecycle
from scaler._core.slots import Slots
from scaler._core.table import add_at, gather, scatter

COLUMN = 1000
SIZES = [1_000, 10_000, 100_000, 1_000_000]
Result = tuple[str, float]


def measure(
    rounds: int, operations: int, work: Callable[[], object], after: Callable[[], object] | None = None
) -> float:
    """Nanoseconds per operation in the best round; ``after`` is not timed."""
    best = 0
    for _ in range(rounds):
        start = perf_counter_ns()
        work()
        took = perf_counter_ns() - start
        best = min(best or took, took)
        if after:
            after()
    return best / operations


def columns(numbers: array[int], code: str) -> list[array[int]]:
    """All numbers in random order, COLUMN at a time."""
    order = array(code, random.sample(numbers, len(numbers)))
    return [order[at : at + COLUMN] for at in range(0, len(order), COLUMN)]


def each(function: Callable[[array[int]], object], parts: list[array[int]]) -> Callable[[], None]:
    def run() -> None:
        for part in parts:
            function(part)

    return run


def slots(size: int, rounds: int) -> Iterator[Result]:
    ids = array("Q", (7 << 40 | number for number in range(size)))
    parts = columns(ids, "Q")
    table = Slots()

    def clear() -> None:
        table.remove(table.find(ids))

    yield "slots.add", measure(rounds, size, each(table.add, parts), clear)
    table.add(ids)
    yield "slots.find", measure(rounds, size, each(table.find, parts))
    indexes = columns(table.find(ids), "I")
    yield "slots.ids", measure(rounds, size, each(table.ids, indexes))
    yield "slots.remove", measure(rounds, size, each(table.remove, indexes), lambda: table.add(ids))


def lifecycle(size: int, rounds: int) -> Iterator[Result]:
    tasks = array("I", range(size))
    parts = columns(tasks, "I")
    table = Lifecycle(bytes([255, 255, 2, 255, 255, 1]), 3, 2)
    attempts = array("I", bytes(4 * COLUMN))

    def stale(part: array[int]) -> None:
        table.stale(part, attempts)

    def open_in_1(part: array[int]) -> None:
        table.open(part, 1)

    yield "lifecycle.open", measure(rounds, size, each(open_in_1, parts), lambda: table.close(tasks))
    table.open(tasks, 1)
    forth = measure(rounds, size, each(lambda part: table.apply(0, part), parts), lambda: table.apply(1, tasks))
    yield "lifecycle.apply", forth
    yield "lifecycle.stale", measure(rounds, size, each(stale, parts))
    yield "lifecycle.bump", measure(rounds, size, each(table.bump, parts))


def graph(size: int, rounds: int) -> Iterator[Result]:
    two_before = [array("I", (max(task - 1, 0), max(task - 2, 0))) for task in range(1, size)]
    tables = [Graph() for _ in range(rounds)]
    finishing = columns(array("I", range(size)), "I")
    fresh = iter(tables)

    def fill() -> None:
        table = next(fresh)
        for task, before in enumerate(two_before, 1):
            table.add(task, before)

    def finish() -> None:
        each(next(fresh).finish, finishing)()

    def remove() -> None:
        table = next(fresh)
        for task in range(size - 1, -1, -1):
            table.remove(task)

    yield "graph.add (2 edges)", measure(rounds, size, fill)
    yield "graph.descendants", measure(rounds, size, lambda: tables[0].descendants(0))
    fresh = iter(tables)
    yield "graph.finish (2 edges)", measure(rounds, size, finish)
    fresh = iter(tables)
    yield "graph.remove (2 edges)", measure(rounds, size, remove)
    ends, dependencies = array("I", range(0, 2 * size, 2)), array("I")
    for before in two_before:
        dependencies.extend(before)
    yield "critical_path (2 edges)", measure(rounds, size, lambda: critical_path(ends, dependencies))


def tables(size: int, rounds: int) -> Iterator[Result]:
    parts = columns(array("I", range(size)), "I")
    table = array("I", bytes(4 * size))
    values = array("I", bytes(4 * COLUMN))
    yield "table.scatter", measure(rounds, size, each(lambda part: scatter(table, part, values), parts))
    yield "table.gather", measure(rounds, size, each(lambda part: gather(table, part), parts))
    yield "table.add_at", measure(rounds, size, each(lambda part: add_at(table, part, 1), parts))


def claims(rounds: int) -> Iterator[Result]:
    page = Claims(bytearray(PAGE_BYTES))

    def offer() -> None:
        for position in range(POSITIONS):
            page.offer(position)

    def take() -> None:
        for position in range(POSITIONS):
            page.take(position, 1)

    def revoke() -> None:
        for position in range(POSITIONS):
            page.revoke(position)

    yield "claims.offer", measure(rounds, POSITIONS, offer)
    yield "claims.take", measure(rounds, POSITIONS, take, offer)
    yield "claims.revoke", measure(rounds, POSITIONS, revoke, offer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="tasks in the tables, multiples of 1000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if any(size < COLUMN or size % COLUMN for size in options.sizes):
        parser.error(f"sizes must be multiples of {COLUMN}")
    found: dict[str, dict[str, float]] = {}
    for size in options.sizes:
        for container in (slots, lifecycle, graph, tables):
            for name, nanoseconds in container(size, options.rounds):
                found.setdefault(name, {})[str(size)] = round(nanoseconds, 1)
    for name, nanoseconds in claims(options.rounds):
        found[name] = {str(POSITIONS): round(nanoseconds, 1)}
    if options.json:
        print(json.dumps({"unit": "ns", "operations": found}))
        return
    for name, by_size in found.items():
        print(f"{name:26}" + "".join(f"{size:>10}: {nanoseconds:7.1f} ns" for size, nanoseconds in by_size.items()))


if __name__ == "__main__":
    main()
