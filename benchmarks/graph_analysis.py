"""Graph analysis by scaler._core and by python-graphblas, on graphs of a thousand to a million nodes.

    python benchmarks/graph_analysis.py [--sizes 1000 10000 100000 1000000]

Prints a table of milliseconds, the best of three. Needs the extra `graphblas`.
"""

from __future__ import annotations

import argparse
import random
import time
from array import array
from collections.abc import Callable
from typing import Any, TypeAlias

from scaler._core import analysis as core
from scaler.client import graphblas_analysis as graphblas

Columns: TypeAlias = "tuple[array[int], array[int]]"
DEEPEST = 10_000
"""Levels up to which graphblas is measured: it takes a fixed time for each."""


def columns(dependencies: list[list[int]]) -> Columns:
    ends, flat = array("I"), array("I")
    for some in dependencies:
        flat.extend(some)
        ends.append(len(flat))
    return ends, flat


def tree(n: int) -> Columns:
    """Each node depends on two."""
    return columns([[child for child in (2 * node + 1, 2 * node + 2) if child < n] for node in range(n)])


def layers(n: int) -> Columns:
    """100 layers; each node depends on three of the layer before."""
    width = n // 100
    draw = random.Random(1).randrange
    return columns(
        [[draw(width) + (node // width - 1) * width for _ in range(3 * (node >= width))] for node in range(n)]
    )


def chain(n: int) -> Columns:
    """Each node depends on the one before."""
    return columns([[node - 1] if node else [] for node in range(n)])


def best(work: Callable[[], Any]) -> float:
    """Milliseconds."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1e3)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    given = parser.parse_args()
    questions = ("levels", "critical_path", "run_order", "find_cycle", "needed")
    print("| graph | nodes | question | core, ms | graphblas, ms | graphblas / core |")
    print("|---|---:|---|---:|---:|---:|")
    for make in (tree, layers, chain):
        for size in given.sizes:
            graph = make(size)
            last = array("I", [0 if make is tree else size - 1])
            for question in questions:
                arguments = (*graph, last) if question == "needed" else graph
                quick = best(lambda: getattr(core, question)(*arguments))  # noqa: B023
                row = f"| {make.__name__} | {size:,} | {question} | {quick:.3g} |"
                if make is chain and size > DEEPEST:
                    print(f"{row} - | - |", flush=True)
                    continue
                assert getattr(core, question)(*arguments) == getattr(graphblas, question)(*arguments)
                slow = best(lambda: getattr(graphblas, question)(*arguments))  # noqa: B023
                print(f"{row} {slow:.3g} | {slow / quick:.3g} |", flush=True)


if __name__ == "__main__":
    main()
