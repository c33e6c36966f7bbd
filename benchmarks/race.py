"""Scaler and its peers on the same work, alternating: in every repetition each system has its turn.

A system's cluster is up during its own turn only. Idle clusters are not silent: OpenGRIS Scaler was seen to use 3 % of
a core, Ray 4 %, Dask 8 % while nothing happened, and their processes take memory and cache. Stopping them with SIGSTOP
would have them miss heartbeats, and a start costs three seconds at most: so each turn begins with a new one. That gives
the start as a measure too, and repetitions that share no process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks.contestant import Contestant
from benchmarks.environments import Unavailable, interpreter

SYSTEMS = ("scaler", "pool", "executor", "opengris", "dask", "ray")
COUNTS = {
    "idle": 3,
    "submit": 20_000,
    "map": 1_000_000,
    "round_trip": 1000,
    "graph": 15_000,
    "echo": 3,
    "shared": 3,
    "megabytes": 200,
}
"""How many tasks (for idle: seconds) a measure takes."""
FEWER: dict[str, dict[str, int]] = {
    "executor": {"map": 100_000},
    "opengris": {"submit": 3_000, "map": 3_000, "round_trip": 300, "graph": 5_000},
    "dask": {"submit": 5_000, "map": 5_000, "round_trip": 300, "graph": 5_000},
    "ray": {"submit": 10_000, "map": 10_000, "round_trip": 500},
}
"""Where a system would take minutes."""
MEASURES = ("start", *COUNTS)

Found = dict[str, Any]


def race(
    systems: Collection[str],
    measures: Collection[str],
    repetitions: int,
    slots: int,
    cache: Path,
    scale: float = 1.0,
    tell: Callable[[str], None] = print,
    keep: Callable[[dict[str, Found]], None] = lambda found: None,
) -> dict[str, Found]:
    """What was found of each system: {"version", "measures": {name: [answer of each repetition]}} or {"missing": why}.

    ``tell`` is called with lines for people, ``keep`` after each repetition with what was found so far.
    """
    found: dict[str, Found] = {}
    pythons: dict[str, Path] = {}
    for name in systems:
        found[name] = {"measures": {}}
        try:
            pythons[name] = interpreter(name, cache)
        except Unavailable as reason:
            found[name] = {"missing": str(reason)}
            tell(f"{name}: {reason}")
    for repetition in range(repetitions):
        for name, python in pythons.items():
            tell(f"repetition {repetition + 1} of {repetitions}: {name}")
            _turn(name, python, measures, slots, scale, found[name], tell)
        keep(found)
    for name in pythons:
        if not found[name]["measures"]:
            found[name].setdefault("missing", "nothing was measured")
    return found


def _turn(
    name: str,
    python: Path,
    measures: Collection[str],
    slots: int,
    scale: float,
    found: Found,
    tell: Callable[[str], None],
) -> None:
    """One repetition of one system. What goes wrong is noted, and ends the turn."""
    try:
        with Contestant(name, python, slots) as contestant:
            found["version"] = contestant.started["version"]
            if "start" in measures:
                _note(found, "start", contestant.started, tell)
            for measure in COUNTS:
                if measure in measures:
                    _note(found, measure, contestant.ask(measure, count_of(name, measure, scale)), tell)
    except Unavailable as reason:
        found.setdefault("troubles", []).append(str(reason))
        if not found["measures"]:
            found["missing"] = str(reason)
        tell(f"    {reason}")


def count_of(system: str, measure: str, scale: float = 1.0) -> int:
    """How many tasks of a measure a system is given."""
    count = FEWER.get(system, {}).get(measure, COUNTS[measure])
    return max(1, int(count * scale))


def _note(found: Found, measure: str, answer: Found, tell: Callable[[str], None]) -> None:
    found["measures"].setdefault(measure, []).append(answer)
    tell(f"    {measure:12} {answer['missing'] if 'missing' in answer else format(answer['value'], ',.4g')}")
