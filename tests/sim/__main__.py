"""``python -m tests.sim SEED [--verbose]`` replays one seed; ``--seeds N`` runs N seeds from there on."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from array import array
from collections import Counter

from .load import load_file
from .puppets import Puppets
from .run import simulate

CHUNK = 20
SHOWN = 10
GO_ON_SECONDS = 600.0
TOLD_SECONDS = 60.0


def main() -> int:
    """Exit code 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many to run")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many processes run them")
    parser.add_argument("--load", metavar="FILE", help="go on with the state that a scheduler wrote (--dump-directory)")
    parser.add_argument("--verbose", action="store_true", help="tell all that happens in one seed, as it happens")
    arguments = parser.parse_args()
    if arguments.load:
        return go_on(arguments.load)
    if arguments.seeds == 1:
        return replay(arguments.seed, arguments.verbose)
    return run_all(range(arguments.seed, arguments.seed + arguments.seeds), max(1, arguments.jobs))


def replay(seed: int, verbose: bool = False) -> int:
    """Run one seed."""
    try:
        outcome = simulate(seed, verbose)
    except Exception:
        traceback.print_exc()
        return 1
    print(f"{outcome.tasks} tasks, {outcome.runs} runs, {outcome.frames} frames, {outcome.faults} faults")
    print(f"trace {outcome.trace}")
    return 0


def go_on(path: str) -> int:
    """Tell what a dumped state looks like and go on with it: whether all its tasks end when everybody does what is expected."""
    try:
        state, now = load_file(path)
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    state.check()
    board = state.board
    print(state.snapshot())
    alive = array("I", [task for task in range(board.slots.capacity) if board.life.state(task)])
    for id in board.slots.ids(alive[:SHOWN]):
        print(state.explain(id).text)
    puppets = Puppets(state, now)
    ended = puppets.run(GO_ON_SECONDS)
    print(*puppets.log, sep="\n")
    print(f"{puppets.ended} tasks and items ran in {puppets.now - now:.3f} simulated seconds, {len(board)} are left")
    return 0 if ended else 1


def run_all(seeds: range, jobs: int) -> int:
    """Run many seeds and say which of them failed."""
    began = told = time.perf_counter()
    failed: list[int] = []
    sums: Counter[str] = Counter()
    parts = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for done, (failures, counts) in enumerate(pool.imap_unordered(_run_some, parts), 1):
            sums.update(counts)
            for seed, text in failures:
                failed.append(seed)
                print(f"seed {seed}: {text}", flush=True)
            if time.perf_counter() - told > TOLD_SECONDS:
                told = time.perf_counter()
                print(
                    f"{min(done * CHUNK, len(seeds))} seeds in {told - began:.0f} s, {len(failed)} failed", flush=True
                )
    seconds = time.perf_counter() - began
    print(f"{sums['tasks']} tasks, {sums['runs']} runs, {sums['frames']} frames, {sums['faults']} faults")
    print(f"{len(seeds)} seeds in {seconds:.1f} s, {len(failed)} failed: {sorted(failed)[:50]}")
    return 1 if failed else 0


def _run_some(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    gc.set_threshold(50_000)
    failures: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            outcome = simulate(seed)
        except Exception as error:
            failures.append((seed, f"{type(error).__name__}: {str(error)[:300]}"))
        else:
            counts.update(tasks=outcome.tasks, runs=outcome.runs, frames=outcome.frames, faults=outcome.faults)
    return failures, counts


if __name__ == "__main__":
    sys.exit(main())
