"""What is to be reached, as ratios of one run, and whether it was."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.makespan import LATE, SKEWED

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table: ``reached`` takes the results and answers a figure, or None where it was not measured."""

    name: str
    goal: float
    unit: str
    reached: Callable[[Results], float | None]
    at_least: bool = True

    def verdict(self, results: Results) -> tuple[str, str, str]:
        """The goal, what was reached, and "reached", "missed" or "not measured"."""
        sign = "at least" if self.at_least else "at most"
        value = self.reached(results)
        wanted = f"{sign} {number(self.goal)}{self.unit}"
        if value is None:
            return wanted, "-", "not measured"
        good = value >= self.goal if self.at_least else value <= self.goal
        return wanted, f"{number(value)}{self.unit}", "reached" if good else "**missed**"


def number(value: float) -> str:
    """Three digits that matter, without exponents."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def values(results: Results, system: str, measure: str, field: str = "value") -> list[float]:
    """All repetitions of a measure of a system; empty where it is missing."""
    answers = results.get("systems", {}).get(system, {}).get("measures", {}).get(measure, [])
    return [answer[field] for answer in answers if field in answer]


def median(found: Iterable[float]) -> float | None:
    """None for nothing."""
    known = list(found)
    return statistics.median(known) if known else None


def _over(above: tuple[str, ...], below: tuple[str, ...]) -> Callable[[Results], float | None]:
    """The ratio of the medians of two measures; each is (system, measure[, field])."""

    def ratio(results: Results) -> float | None:
        one, other = median(values(results, *above)), median(values(results, *below))
        return None if one is None or other is None else one / other

    return ratio


def _alone(name: str, figure: str) -> Callable[[Results], float | None]:
    return lambda results: median(results.get(name, {}).get(figure, []))


def _makespan(scenario: str) -> Goal:
    def ratio(results: Results) -> float | None:
        found = results.get("makespan", {}).get(scenario)
        return found["makespan"] / found["bound"] if found else None

    return Goal(f"makespan over the bound, 200 slots: {scenario}", 1.05, "x", ratio, False)


def _growth(curve: str) -> Callable[[Results], float | None]:
    """What a task costs at the largest size, over what it costs at the smallest."""

    def ratio(results: Results) -> float | None:
        sizes = results.get("growth", {}).get(curve, {})
        costs = [statistics.median(found) for _, found in sorted(sizes.items(), key=lambda item: int(item[0]))]
        return costs[-1] / costs[0] if len(costs) > 1 else None

    return ratio


def _race(name: str, measure: str, goals: dict[str, float]) -> list[Goal]:
    return [
        Goal(f"{name}, Scaler / {LABELS[peer]}", goal, "x", _over(("scaler", measure), (peer, measure)))
        for peer, goal in goals.items()
    ]


LABELS = {
    "scaler": "Scaler",
    "pool": "multiprocessing.Pool",
    "executor": "ProcessPoolExecutor",
    "opengris": "OpenGRIS Scaler",
    "dask": "Dask distributed",
    "ray": "Ray",
}
_SCALER_TRIP, _EXECUTOR_TRIP = ("scaler", "round_trip"), ("executor", "round_trip")
GOALS = [
    *_race("submit", "submit", {"pool": 1.5, "executor": 4, "ray": 25, "dask": 100, "opengris": 100}),
    *_race("map, a task an item", "map", {"pool": 5}),
    Goal("round trip p50, Scaler / ProcessPoolExecutor p50", 1.5, "x", _over(_SCALER_TRIP, _EXECUTOR_TRIP), False),
    Goal(
        "round trip p99, Scaler / ProcessPoolExecutor p50",
        3,
        "x",
        _over((*_SCALER_TRIP, "p99"), _EXECUTOR_TRIP),
        False,
    ),
    Goal("round trip p50, Ray / Scaler", 5, "x", _over(("ray", "round_trip"), _SCALER_TRIP)),
    *_race("tree graph of 15,000 nodes", "graph", {"dask": 50, "opengris": 50}),
    Goal("100 MiB array echo, Scaler / Ray", 1, "x", _over(("scaler", "echo"), ("ray", "echo")), False),
    Goal("100 MiB shared by 20 tasks, Scaler / Ray", 1, "x", _over(("scaler", "shared"), ("ray", "shared")), False),
    *_race("1 MiB there and back", "megabytes", {"executor": 2, "ray": 1, "dask": 1, "opengris": 1}),
    Goal("zero worker, tasks/s over TCP", 200_000, "", _alone("zero", "tasks/s")),
    Goal("zero worker, CPU of the scheduler a task", 5, " us", _alone("zero", "scheduler, us"), False),
    Goal("state alone, 10,000 workers, placements/s", 1_000_000, "", _alone("state", "placements/s")),
    Goal(
        "scheduler memory a queued task, of 1,000,000", 500, " bytes", _alone("backlog 1,000,000", "bytes/task"), False
    ),
    *map(_makespan, (*SKEWED.values(), LATE)),
    Goal("cost a task, 1,000,000 waiting / 1,000 waiting", 1.5, "x", _growth("waiting tasks"), False),
    Goal("cost a task, 10,000 workers / 1 worker", 1.5, "x", _growth("workers"), False),
    Goal("cost a task, 1,000 requirement classes / 1", 1.5, "x", _growth("requirement classes"), False),
    Goal("cost a task, 10,000 clients / 1", 1.5, "x", _growth("clients"), False),
]
