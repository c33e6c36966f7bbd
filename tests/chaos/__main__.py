"""``python -m tests.chaos`` runs all scenarios, or those named, and prints what became of the tasks."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from pathlib import Path

from .load import Tally
from .scenarios import SCENARIOS
from .soak import soak

HEAD = (
    "| what happens | times | tasks | right | lost | wrong | delivered twice | failed | ran again | |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def row(tally: Tally) -> str:
    """A line of the table."""
    failed = ", ".join(f"{count} {name}" for name, count in tally.failed.items()) or "0"
    numbers = (tally.faults, tally.submitted, tally.right, tally.lost, tally.wrong, tally.delivered_twice)
    cells = [tally.name, *(f"{number:,}" for number in numbers), failed, f"{tally.again:,}", tally.notes]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Exit code 1 if anything was lost, wrong, delivered twice or failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join([*SCENARIOS, "soak"]))
    parser.add_argument("--seconds", type=float, default=30.0, help="how long tasks keep coming, each (default: 30)")
    parser.add_argument("--keep", type=Path, help="a directory for the logs of all daemons")
    parser.add_argument("--soak-tasks", type=int, default=10_000_000, help="of the soak (default: 10,000,000)")
    arguments = parser.parse_args()
    logging.getLogger("scaler").setLevel(logging.ERROR)
    scenarios = {**SCENARIOS, "soak": lambda directory, seconds: soak(directory, arguments.soak_tasks)}
    unknown = [name for name in arguments.scenarios if name not in scenarios]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(scenarios)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # Daemons end with it.
    good = True
    print(*HEAD, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.scenarios or SCENARIOS:
            tally = scenarios[name]((arguments.keep or Path(temporary)) / name, arguments.seconds)
            good = good and tally.good
            print(row(tally), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
