"""``python -m tests.sim SEED [--verbose]`` replays one seed; ``--seeds N`` runs the N seeds from there on."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from .run import simulate


def main() -> int:
    """Exit code 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many to run, one after the other")
    parser.add_argument("--verbose", action="store_true", help="tell all that happens, as it happens")
    arguments = parser.parse_args()
    began = time.perf_counter()
    failed = []
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        try:
            outcome = simulate(seed, arguments.verbose)
        except Exception as error:
            failed.append(seed)
            if arguments.seeds == 1:
                traceback.print_exc()
            else:
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}")
            continue
        if arguments.seeds == 1:
            print(f"{outcome.tasks} tasks, {outcome.runs} runs, {outcome.frames} frames, {outcome.faults} faults")
            print(f"trace {outcome.trace}")
    seconds = time.perf_counter() - began
    print(f"{arguments.seeds} seeds in {seconds:.1f} s, {len(failed)} failed: {failed[:50]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
