"""The recipe of the container image, as far as it can be tried without a container."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

from scaler.manager.backend import WorkerOrder
from scaler.manager.template import WorkerTemplate
from scaler.worker.state import WorkerOptions

TOP = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """Each with what follows it; of several lines, joined."""
    text = (TOP / "docker/Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_what_is_copied_is_there_and_enough_to_build():
    copied: list[str] = []
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            *sources, _ = shlex.split(rest)
            copied += sources
    assert [path for path in copied if not (TOP / path).exists()] == []
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "setup.py", "scaler", "protocol", project["readme"], *project["license-files"]} <= {
        *copied
    }


def test_the_image_has_a_python_that_scaler_runs_on():
    (version,) = [rest.split("=")[1] for word, rest in instructions() if rest.startswith("PYTHON_VERSION=")]
    wanted = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["requires-python"]
    assert tuple(map(int, version.split("."))) >= tuple(map(int, wanted.removeprefix(">=").split(".")))


def test_the_entry_point_takes_its_order_from_the_environment():
    (entry,) = [json.loads(rest) for word, rest in instructions() if word == "ENTRYPOINT"]
    assert entry[0] == "python"
    template = WorkerTemplate(asdict(WorkerOptions(1, scheduler_address="none")), "builtin", ("INFO", (), None))
    ended = subprocess.run(
        [sys.executable, *entry[1:]],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **template.environment(WorkerOrder("w", 1))},
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("the worker cannot start: 'none' is not an address")
