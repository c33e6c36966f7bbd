"""What longest-chain-first gains: the makespan of graphs with one long chain and many short tasks.

    python benchmarks/graph_order.py [--repetitions 3]

The same graph is run in the order of `scaler._core.analysis.run_order`, and in an order that only puts dependencies first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from array import array
from types import SimpleNamespace
from typing import Any

from scaler import Client
from scaler._core import analysis

SLOTS = 2
TASK_SECONDS = 0.01


def nap(*_: Any) -> None:
    time.sleep(TASK_SECONDS)


def chain_and_crowd(chain: int, crowd: int) -> dict[str, Any]:
    graph: dict[str, Any] = {f"short{n}": (nap,) for n in range(crowd)}
    graph |= {f"link{n}": (nap, f"link{n - 1}") if n else (nap,) for n in range(chain)}
    graph["end"] = (nap, [f"short{n}" for n in range(crowd)], f"link{chain - 1}")
    return graph


def dependencies_first(ends: array[int], dependencies: array[int]) -> list[int]:
    """Lowest level first."""
    levels = analysis.levels(ends, dependencies)
    return sorted(range(len(ends)), key=levels.__getitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    unordered = SimpleNamespace(
        run_order=dependencies_first, find_cycle=analysis.find_cycle, needed=analysis.needed, levels=analysis.levels
    )
    print("| chain | short tasks | best possible, s | longest chain first, s | dependencies first, s |")
    print("|---:|---:|---:|---:|---:|")
    with Client(n_workers=SLOTS) as client:
        client.get(chain_and_crowd(2, 2), ["end"])
        for chain, crowd in ((20, 200), (50, 200), (100, 100)):
            graph = chain_and_crowd(chain, crowd)
            took: dict[int, list[float]] = {0: [], 1: []}
            for _ in range(given.repetitions):
                for which, chosen in enumerate((analysis, unordered)):
                    client._analysis = chosen  # type: ignore[assignment]
                    began = time.perf_counter()
                    client.get(graph, ["end"])
                    took[which].append(time.perf_counter() - began)
            least = max(chain, (chain + crowd) / SLOTS) * TASK_SECONDS + TASK_SECONDS
            ordered, plain = (statistics.median(values) for values in took.values())
            print(f"| {chain} | {crowd} | {least:.2f} | {ordered:.2f} | {plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
