"""The kinds of worker managers: each is one file with options of its own, loaded when it is asked for."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Sequence
from typing import Protocol, cast

from scaler.config import Option
from scaler.manager.backend import Backend
from scaler.manager.template import WorkerTemplate

KINDS = {
    "baremetal_native": "processes of this machine",
    "ssh": "hosts that ssh reaches",
    "slurm": "jobs of Slurm",
    "kubernetes": "pods of Kubernetes",
    "orb_aws_ec2": "instances of Amazon EC2",
    "aws_raw_ecs": "tasks of Amazon ECS, on Fargate or instances",
    "aws_hpc": "jobs of AWS Batch",
}
"""Name, which is that of the module beside this one, to where its workers run."""


class Kind(Protocol):
    """What the module of a kind offers."""

    OPTIONS: Sequence[Option]
    """Beside those that all managers have."""

    def check(self, options: Namespace) -> None:
        """Raises ConfigurationError for options that do not go together, before anything starts."""

    def make(self, options: Namespace, template: WorkerTemplate) -> Backend:
        """The backend, which does nothing yet. Raises ConfigurationError, saying what to install, if a library is missing."""


def load(name: str) -> Kind:
    """The module of a kind."""
    return cast(Kind, importlib.import_module(f"scaler.manager.{name}"))
