"""What processes that exchange pickles are made of: told at Hello, and compared where one runs what another one wrote."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

MAX_SOFTWARE_BYTES = 256
PACKAGES = {"scaler": "opengris-scaler", "cloudpickle": "cloudpickle"}
LABELS = {"python": "Python", "scaler": "Scaler", "cloudpickle": "cloudpickle"}


@cache
def software() -> str:
    """Of this process: ``python=3.11.7 scaler=0.1.0 cloudpickle=3.1.2``."""
    found = [f"python={platform.python_version()}"]
    for name, distribution in PACKAGES.items():
        try:
            found.append(f"{name}={metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return " ".join(found)


def differences(client: str, worker: str) -> str:
    """In which versions a client and a worker differ, for people; empty if in none that is told of both.

    Of Python the first two parts of the version count: bytecode, which functions are pickled as, is of these.
    """
    ours, theirs = _versions(client), _versions(worker)
    return ", ".join(
        f"{label} {ours[name]} at the client and {theirs[name]} at the worker"
        for name, label in LABELS.items()
        if name in ours and name in theirs and _counted(name, ours[name]) != _counted(name, theirs[name])
    )


def _versions(text: str) -> dict[str, str]:
    return {name: version for name, sign, version in (word.partition("=") for word in text.split()) if sign}


def _counted(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version
