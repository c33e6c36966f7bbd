"""Value at risk of many portfolios over one large table of scenarios, which is sent once
and shared by all tasks."""

import numpy as np

from scaler import Client

ASSETS, SCENARIOS, PORTFOLIOS = 50, 40_000, 12


def scenarios():
    """What each asset may gain or lose in a day: a common movement, one of its own, and
    days on which all falls."""
    random = np.random.default_rng(1)
    market = random.normal(0.0003, 0.01, (SCENARIOS, 1))
    own = random.normal(0, 0.015, (SCENARIOS, ASSETS))
    crash = np.where(random.random((SCENARIOS, 1)) < 0.005, -0.08, 0.0)
    return market + own + crash


def portfolios():
    """Number n has n + 1 assets, a million in all."""
    for number in range(PORTFOLIOS):
        weights = np.zeros(ASSETS)
        weights[: number + 1] = 1_000_000 / (number + 1)
        yield weights


def losses(table, weights):
    """The loss that one day of a hundred exceeds, and the mean of those that exceed it.
    ``table`` is a view, not a copy."""
    outcome = table @ weights
    bound = np.quantile(outcome, 0.01)
    return -bound, -outcome[outcome <= bound].mean()


def main():
    with Client() as client:
        table = client.send_object(scenarios(), name="scenarios")
        found = client.starmap(losses, [(table, weights) for weights in portfolios()])
        print(f"{SCENARIOS:,} scenarios of {ASSETS} assets: {SCENARIOS * ASSETS * 8 / 1e6:.0f} MB, sent once")
        client.free_object(table)
    for number in (0, 2, 11):
        value, shortfall = found[number]
        print(f"{number + 1:2} assets: value at risk {value:7,.0f}, expected shortfall {shortfall:7,.0f}")


if __name__ == "__main__":
    main()
