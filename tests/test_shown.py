"""What the pages for newcomers and for those who run clusters show can be used: command lines, a file, units of systemd."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.cli import main as whole
from scaler.security import make_secret

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("start", "deploying", "operating", "moving")}
LINE = re.compile(r"^(?: {4,}|ExecStart=/opt/scaler/bin/)?(scaler(?:_\w+)? .*)$", re.MULTILINE)
INLINE = re.compile(r"`(scaler_\w+ [^`]*)`")
UNIT = re.compile(r"`(scaler-\w+\.service)`.*?```ini\n(.*?)```", re.DOTALL)
FILE = re.search(r"```toml\n(.*?)```", PAGES["deploying"], re.DOTALL)[1]


def command_lines() -> list:
    """Those on lines of their own, in blocks, in units, and within sentences."""
    found = []
    for page, text in PAGES.items():
        lines = dict.fromkeys(LINE.findall(text) + INLINE.findall(text))
        assert lines or page == "moving"
        found += [pytest.param(line, id=f"{page}: {line}") for line in lines]
    return found


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with the file, where the secret is known."""
    make_secret(tmp_path / "secret")
    (tmp_path / "config.toml").write_text(FILE)
    monkeypatch.setenv("SCALER_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("line", command_lines())
def test_commands_take_what_is_shown(line, place):
    program, *words = shlex.split(line.replace("ADDRESS", "tcp://10.0.0.5:8518"), comments=True)
    if program == "scaler":
        assert words[0] in ("make-secret", "config.toml")
        return
    command = importlib.import_module(f"scaler.cli.{program.removeprefix('scaler_')}").COMMAND
    options = command.parse(words)
    command.check(options)
    assert options.address


def test_the_file(place):
    parts = [part.command.section for part in whole.read_parts("config.toml")]
    assert parts == ["object_storage_server", "scheduler", "worker_manager", "gui"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_units_of_systemd(tmp_path):
    """As systemd reads them, but for the directory of the commands."""
    units = dict(UNIT.findall(PAGES["deploying"]))
    assert list(units) == ["scaler-storage.service", "scaler-scheduler.service", "scaler-workers.service"]
    for name, content in units.items():
        (tmp_path / name).write_text(content.replace("/opt/scaler/bin", str(Path(sys.executable).parent)))
    told = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in units)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, [line for line in told.stderr.splitlines() if "scaler" in line]) == (0, [])
