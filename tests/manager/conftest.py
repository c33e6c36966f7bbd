"""AWS for the tests of its managers."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from scaler.cli.worker_manager import COMMAND
from scaler.config import resolve
from scaler.manager.backend import Phase, Sighting
from scaler.manager.template import WorkerTemplate
from scaler.worker.state import WorkerOptions

from ..aws_server import REGION, Aws, serving


@pytest.fixture(scope="session")
def aws_server() -> Iterator[Aws]:
    with serving() as aws:
        yield aws


@pytest.fixture
def aws(aws_server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Empty, and the only one that boto3 can reach."""
    aws_server.reset(batch={"use_docker": False})
    for name, value in (
        ("AWS_ENDPOINT_URL", aws_server.url),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_REGION", REGION),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    return aws_server


def options_of(kind: str, **given: Any) -> Namespace:
    """As the command has them."""
    always = {"type": kind, "address": "tcp://127.0.0.1:1", "max_workers": 8, "worker_manager_id": "ann"}
    return resolve("worker_manager", COMMAND.options_for(kind), {}, {**always, **given})


def template(manager: str = "ann") -> WorkerTemplate:
    worker = WorkerOptions(1, manager_name=manager, scheduler_address="tcp://127.0.0.1:1")
    return WorkerTemplate(asdict(worker), "uvloop", ("INFO", ("/dev/stdout",), None))


def phases(sightings: list[Sighting]) -> dict[str, Phase]:
    return {sighting.name: sighting.phase for sighting in sightings}


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())
