"""The heat equation on a plate, in strips that are computed in parallel: one graph for all
steps and all strips."""

import numpy as np

from scaler import Client

STRIPS, ROUNDS, STEPS = 4, 3, 20
"""Each strip goes STEPS steps of time by itself in a round, with as many rows of its
neighbours as influence it meanwhile."""


def advance(plate):
    """Some steps of time. The plate's border is kept at its temperature."""
    plate = plate.copy()
    for _ in range(STEPS):
        inner = plate[1:-1, 1:-1]
        around = plate[:-2, 1:-1] + plate[2:, 1:-1] + plate[1:-1, :-2] + plate[1:-1, 2:]
        plate[1:-1, 1:-1] = inner + 0.2 * (around - 4 * inner)
    return plate


def strip_after_a_round(above, own, below):
    """What becomes of the own rows. Wrong values creep in from the cut edges, one row a
    step, and are cut off again."""
    first = 0 if above is None else STEPS
    parts = [] if above is None else [above[-STEPS:]]
    parts += [own] if below is None else [own, below[:STEPS]]
    together = np.concatenate(parts)
    return advance(together)[first : first + len(own)]


def plan(plate):
    """A graph whose keys are (round, strip): each needs three strips of the round before,
    not all of it."""
    graph = {(0, number): strip for number, strip in enumerate(np.array_split(plate, STRIPS))}
    for turn in range(ROUNDS):
        for number in range(STRIPS):
            above = (turn, number - 1) if number > 0 else None
            below = (turn, number + 1) if number < STRIPS - 1 else None
            graph[turn + 1, number] = (strip_after_a_round, above, (turn, number), below)
    return graph


def main():
    plate = np.zeros((400, 300))
    plate[0, :] = 100.0  # the upper border is hot
    last = [(ROUNDS, number) for number in range(STRIPS)]
    with Client() as client:
        strips = client.get(plan(plate), last)
    result = np.concatenate([strips[key] for key in last])

    alone = plate
    for _ in range(ROUNDS):
        alone = advance(alone)
    print(f"{ROUNDS * STEPS} steps of time on {plate.size:,} points in {STRIPS} strips")
    print("temperatures below the hot border:", *(f"{value:.1f}" for value in result[[1, 5, 10, 15], 150]))
    print("as computed in one piece:", bool(np.array_equal(result, alone)))


if __name__ == "__main__":
    main()
