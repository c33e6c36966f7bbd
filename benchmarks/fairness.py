"""How clients get along: the round trips of one while another one has much waiting, and what equals get.

python -m benchmarks.fairness [--tasks 100000] [--rounds 200]
"""

from __future__ import annotations

import argparse
import statistics
import time

from scaler import Client, SchedulerClusterCombo

WORK_SECONDS = 0.0005
SLOTS = 2


def work() -> None:
    """As long as a short task of somebody."""
    end = time.perf_counter() + WORK_SECONDS
    while time.perf_counter() < end:
        pass


def round_trips(client: Client, rounds: int, enough_seconds: float) -> list[float]:
    """Milliseconds of calls one after the other, sorted. No more of them after so many seconds."""
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < rounds and time.perf_counter() - began < enough_seconds:
        before = time.perf_counter()
        client.submit(work).result()
        taken.append((time.perf_counter() - before) * 1e3)
    return sorted(taken)


def told(label: str, taken: list[float]) -> str:
    p99 = taken[int(len(taken) * 0.99)]
    return f"{label:<44} {len(taken):>6} {statistics.median(taken):>10.2f} {p99:>10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40_000, help="how many tasks the busy client has waiting")
    parser.add_argument("--rounds", type=int, default=200, help="how many round trips are measured")
    options = parser.parse_args()
    with (
        SchedulerClusterCombo(n_workers=SLOTS, logging_level="WARNING") as cluster,
        Client(cluster.get_address(), name="busy") as busy,
        Client(cluster.get_address(), name="lone") as lone,
        Client(cluster.get_address(), name="equal") as equal,
    ):
        print(f"{'milliseconds a call':<44} {'calls':>6} {'p50':>10} {'p99':>10}")
        print(told("alone", round_trips(lone, options.rounds, 60)))
        futures = [busy.submit(work) for _ in range(options.tasks)]
        print(told(f"while another client has {options.tasks:,} tasks waiting", round_trips(lone, options.rounds, 60)))
        waiting = sum(not future.done() for future in futures)
        busy.clear()
        print(f"{waiting:,} of those were still waiting at the end")

        first = [busy.submit(work) for _ in range(options.tasks)]
        second = [equal.submit(work) for _ in range(options.tasks // 4)]
        before = sum(future.done() for future in first)
        second[-1].result()
        meanwhile = sum(future.done() for future in first) - before
        print(f"while {len(second):,} tasks of a client that came later ran, {meanwhile:,} of the first one's did")
        busy.clear()


if __name__ == "__main__":
    main()
