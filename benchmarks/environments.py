"""A virtual environment for each peer, made when it is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CACHE = Path.home() / ".cache" / "scaler-benchmarks"
REQUIREMENTS: dict[str, list[str]] = {
    "opengris": ["opengris-scaler==2.9.0", "numpy", "psutil"],
    "dask": ["dask==2026.8.0", "distributed==2026.8.0", "numpy", "psutil"],
    "ray": ["ray==2.60.0", "numpy", "psutil"],
}
"""What each peer needs. Systems that are not here run in the environment of the harness: Scaler, and the standard library."""
INSTALL_SECONDS = 1200


class Unavailable(Exception):
    """A system cannot be installed or started; the text says why."""


def interpreter(system: str, cache: Path = CACHE) -> Path:
    """The Python to run a system with. Makes ``cache/system`` and installs into it unless that was done before.

    Raises Unavailable with the last line that the installer printed.
    """
    requirements = REQUIREMENTS.get(system)
    if requirements is None:
        return Path(sys.executable)
    home = cache / system
    python, record = home / "bin" / "python", home / "installed.json"
    if record.exists() and python.exists() and json.loads(record.read_text()) == requirements:
        return python
    print(f"installing {', '.join(requirements)} into {home}", file=sys.stderr, flush=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(home)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    record.write_text(json.dumps(requirements))
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"cannot be installed: {error}") from None
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Unavailable(f"cannot be installed: {said[-1] if said else f'exit code {done.returncode}'}")
