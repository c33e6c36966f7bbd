"""Seeds: each is a cluster with its users and faults. ``python -m tests.sim SEED --verbose`` tells the story of one."""

from __future__ import annotations

import pytest

from .run import simulate

CHUNKS = 10
SEEDS_IN_CHUNK = 15


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept(chunk: int) -> None:
    for seed in range(chunk * SEEDS_IN_CHUNK, (chunk + 1) * SEEDS_IN_CHUNK):
        try:
            simulate(seed)
        except Exception as error:
            error.add_note(f"replay it: python -m tests.sim {seed} --verbose")
            raise


@pytest.mark.parametrize("seed", [3, 27, 64])
def test_a_seed_is_always_the_same_story(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert first.story == second.story
    assert first.trace == second.trace


def test_seeds_differ() -> None:
    assert simulate(1).trace != simulate(2).trace
