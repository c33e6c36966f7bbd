"""The short form of ``make chaos``."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import row
from tests.chaos.hosts import missing
from tests.chaos.scenarios import SCENARIOS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "name", ["workers-killed", "scheduler-killed", "storage-killed", "one-way", "poison", "packets-lost"]
)
def test_nothing_is_lost_and_nothing_wrong(name: str, tmp_path: Path) -> None:
    if name == "packets-lost" and missing():
        pytest.skip(missing())
    tally = SCENARIOS[name](tmp_path / name, 4.0)
    assert tally.submitted and tally.faults, row(tally)
    assert tally.good and tally.right == tally.submitted, row(tally)
