"""Asian options by Monte Carlo: many short tasks in one map, with a progress bar, and a
report of where the time went."""

import math
import sys
from itertools import product

import numpy as np

from scaler import Client

SPOT, RATE, YEARS, DAYS = 100.0, 0.03, 1.0, 50
PATHS, BATCHES = 2_000, 20


def payoffs(strike, volatility, seed):
    """Sum, and sum of squares, of what the option pays on some paths, today's money."""
    random = np.random.default_rng(seed)
    day = YEARS / DAYS
    moves = random.normal((RATE - volatility**2 / 2) * day, volatility * math.sqrt(day), (PATHS, DAYS))
    averages = (SPOT * np.exp(np.cumsum(moves, axis=1))).mean(axis=1)
    paid = math.exp(-RATE * YEARS) * np.maximum(averages - strike, 0.0)
    return paid.sum(), (paid**2).sum()


def price(parts):
    """The mean, and how far off it may be in two of three cases."""
    count = PATHS * len(parts)
    total, squares = np.sum(parts, axis=0)
    mean = total / count
    return mean, math.sqrt((squares / count - mean**2) / count)


def main():
    options = list(product((90.0, 100.0, 110.0), (0.2, 0.4)))
    calls = [(*option, seed) for option in options for seed in range(BATCHES)]
    with Client() as client:
        parts = client.starmap(payoffs, calls, progress=sys.stderr.isatty())
        report = client.report()
    print("strike  volatility  price")
    for number, (strike, volatility) in enumerate(options):
        mean, off = price(parts[number * BATCHES : (number + 1) * BATCHES])
        print(f"{strike:6.0f}  {volatility:10.0%}  {mean:5.2f} ± {off:.2f}")
    (function,) = report.functions
    print(f"{function.calls} calls of {function.name}, {function.failed} failed")
    report.save("report.html")  # the whole of it, for a browser; print(report) is for the terminal


if __name__ == "__main__":
    main()
