"""The programs of the gallery print what its page says, on a cluster of two slots."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler import SchedulerClusterCombo

pytestmark = pytest.mark.integration
GALLERY = Path(__file__).parent.parent / "docs/gallery"
SHOWN = dict(
    re.findall(r"^\[(\w+\.py)\]\(\1\) prints\n\n```text\n(.*?)```", (GALLERY / "index.md").read_text(), re.M | re.S)
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of one cluster for all programs, as users have who name it in SCALER_ADDRESS."""
    with SchedulerClusterCombo(2, logging_level="CRITICAL") as cluster:
        yield cluster.get_address()


def test_every_program_is_on_the_page():
    assert {path.name for path in GALLERY.glob("*.py")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_programs_print_what_the_page_says(name, address, tmp_path):
    done = subprocess.run(
        [sys.executable, GALLERY / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"SCALER_ADDRESS": address},
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == SHOWN[name]
