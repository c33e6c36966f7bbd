"""The short form of ``make fuzz``."""

from __future__ import annotations

import pytest

from .states import SUBJECTS, babble

SEEDS = 60


@pytest.mark.parametrize("name", SUBJECTS)
def test_nonsense_closes_its_connection_and_harms_nobody(name: str) -> None:
    closed = sum(babble(name, seed, 200) for seed in range(SEEDS))
    assert closed > 0 or name == "manager"  # To which a scheduler cannot say anything wrong.


def test_the_same_seed_is_the_same_nonsense() -> None:
    assert babble("scheduler", 7, 100) == babble("scheduler", 7, 100)
