"""``python -m benchmarks``: Scaler and its peers on the same work, and the parts of Scaler by themselves.

Everything is measured in one run, alternating, since machines differ and are noisy: the ratios count.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import backlog, growth, makespan, plots, report, scheduler_alone, state_alone
from benchmarks.environments import CACHE
from benchmarks.race import MEASURES, SYSTEMS, race

Results = dict[str, Any]
PARTS = ("zero", "state", "backlog", "growth", "makespan")
BACKLOGS = (10_000, 1_000_000)
FEW = 3
"""How often the longest parts are repeated at most."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--systems", type=_names(SYSTEMS), default=SYSTEMS, help=f"of {','.join(SYSTEMS)}")
    parser.add_argument(
        "--only",
        type=_names((*MEASURES, *PARTS)),
        default=(*MEASURES, *PARTS),
        help=f"of {','.join((*MEASURES, *PARTS))}",
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--slots", type=int, default=2, help="how many tasks each system runs at once")
    parser.add_argument("--scale", type=float, default=1.0, help="0.01: a hundredth of the tasks, to try the harness")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the environments of the peers are kept")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--write", type=Path, help="put tables and plots into this document, between its marks")
    parser.add_argument("--read", type=Path, help="measure nothing; take the values from this file")
    return parser.parse_args(argv)


def _names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        unknown = sorted(set(text.split(",")) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return tuple(name for name in known if name in text.split(","))

    return parse


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(given: argparse.Namespace) -> Results:
    """All that was asked for. What there is so far is in the file after each repetition and each part."""
    began = time.monotonic()
    results: Results = {"machine": machine(given)}

    def keep() -> None:
        results["machine"]["minutes"] = (time.monotonic() - began) / 60
        if given.json:
            given.json.write_text(json.dumps(results, indent=1) + "\n")

    def keep_systems(found: Results) -> None:
        results["systems"] = found
        keep()

    if set(given.only) & set(MEASURES):
        race(given.systems, given.only, given.repetitions, given.slots, given.cache, given.scale, tell, keep_systems)
    for part in PARTS:
        if part in given.only:
            tell(part)
            PART[part](results, given)
            keep()
    return results


def machine(given: argparse.Namespace) -> Results:
    """Where and how it was measured."""
    return {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "slots": given.slots,
        "repetitions": given.repetitions,
    }


def _scaled(count: int, given: argparse.Namespace) -> int:
    return max(1000, int(count * given.scale))


def _note(results: Results, part: str, found: dict[str, float]) -> None:
    for name, value in found.items():
        results.setdefault(part, {}).setdefault(name, []).append(value)
        tell(f"    {part}: {name:20} {value:14,.2f}")


def _zero(results: Results, given: argparse.Namespace) -> None:
    for _ in range(given.repetitions):
        _note(results, "zero", scheduler_alone.measure(_scaled(scheduler_alone.TASKS, given)))


def _state(results: Results, given: argparse.Namespace) -> None:
    for _ in range(given.repetitions):
        _note(results, "state", {"placements/s": state_alone.placements_a_second(tasks=_scaled(1_000_000, given))})


def _backlog(results: Results, given: argparse.Namespace) -> None:
    for _ in range(min(FEW, given.repetitions)):
        for count in BACKLOGS:
            _note(results, f"backlog {count:,}", backlog.measure(_scaled(count, given), given.slots))


def _growth(results: Results, given: argparse.Namespace) -> None:
    largest = _scaled(1_000_000, given)
    results["growth"] = growth.measure(given.repetitions, largest, _scaled(growth.TASKS, given))


def _makespan(results: Results, given: argparse.Namespace) -> None:
    results["makespan"] = makespan.measure(_scaled(makespan.TASKS, given))


PART: dict[str, Callable[[Results, argparse.Namespace], None]] = {
    "zero": _zero,
    "state": _state,
    "backlog": _backlog,
    "growth": _growth,
    "makespan": _makespan,
}


def main(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    results = json.loads(given.read.read_text()) if given.read else measure(given)
    drawn: list[str] = []
    if given.write:
        drawn = plots.draw(results, given.write.parent)
        report.write(given.write, results, drawn)
    print(report.text(results, drawn))


if __name__ == "__main__":
    main()
