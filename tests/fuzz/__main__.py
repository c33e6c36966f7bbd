"""``python -m tests.fuzz`` tells states nonsense until so many messages are said; exit code 1 where one cannot stand it."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from .states import SUBJECTS, NonsenseError, babble

MESSAGES_A_SEED = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="STATE", help=", ".join(SUBJECTS))
    parser.add_argument("--messages", type=int, default=100_000, help="to each state (default: 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.subjects or SUBJECTS:
        began, closed = time.perf_counter(), 0
        for seed in range(arguments.seed, arguments.seed + max(1, arguments.messages // MESSAGES_A_SEED)):
            try:
                closed += babble(name, seed, MESSAGES_A_SEED)
            except NonsenseError:
                traceback.print_exc()
                failed += 1
                break
        print(f"{name}: {closed:,} connections closed, {time.perf_counter() - began:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
