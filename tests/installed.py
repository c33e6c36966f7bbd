"""What an installed Scaler has and does, away from its tree: ``python tests/installed.py``, by test_package.py and cibuildwheel.

Needs nothing but the package. Prints what it saw, a line each; exit code 1 where something is wrong.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

PROGRAM = """
from scaler import Client

if __name__ == "__main__":
    with Client(n_workers=1) as client:
        graph = {"a": 2, "b": (pow, "a", 10), "c": (sum, ["a", "b"])}
        print(client.submit(abs, -7).result(), client.map(abs, [-1, 2]), client.get(graph, ["c"]))
        print(client.submit_by_name("math:sqrt", 16).result())
"""
PRINTED = "7 [1, 2] {'c': 1026}\n4.0\n"
IMPORT = "import time; start = time.process_time(); import scaler; print(1e3 * (time.process_time() - start))"
IMPORT_MILLISECONDS = 30
"""Of CPU time. What is dear to import is imported when it is asked for."""
CONTENTS = {
    "py.typed": 1,
    "_core/*.pyi": 10,
    "_core/*.so": 11,
    "wire/*.pyi": 2,
    "protocol/*.capnp": 10,
    "protocol/README.md": 1,
    "manager/instance_start.sh": 1,
    "web/static/*": 3,
}
"""Files of the package, and how many there are at least."""
WITHOUT = ("*.c", "*.pyx", "**/tests", "**/test_*.py", "protocol/vectors", "protocol/clients")


def contents() -> None:
    import scaler

    place = Path(scaler.__file__).parent
    assert place.parent.name == "site-packages", f"{place} is not an installed package"
    for pattern, least in CONTENTS.items():
        found = len(list(place.glob(pattern)))
        assert found >= least, f"{pattern}: {found} files, and there have to be {least}"
    for pattern in WITHOUT:
        found_too = [str(path) for path in place.rglob(pattern)]
        assert not found_too, f"{found_too} belong to the tree only"
    print(f"{place}: all files that belong to it")


def imports() -> None:
    times = [float(run("-c", IMPORT)) for _ in range(3)]
    assert min(times) < IMPORT_MILLISECONDS, f"import scaler takes {min(times):.0f} ms"
    print(f"import scaler: {min(times):.0f} ms")


def works() -> None:
    assert run("-c", PROGRAM) == PRINTED
    print("a program on a cluster of its own: all results are right")


def commands() -> None:
    distribution = metadata.distribution("opengris-scaler")
    scripts = [entry.name for entry in distribution.entry_points if entry.group == "console_scripts"]
    for name in scripts:
        shown = run(str(Path(sys.executable).with_name(name)), "--version", python=False)
        assert shown == f"{name} {distribution.version}\n", f"{name} --version: {shown!r}"
    print(f"commands: {', '.join(scripts)}")


def run(*arguments: str, python: bool = True) -> str:
    command = [sys.executable, *arguments] if python else list(arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and not done.stderr, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    sys.path.pop(0)  # The directory of this file.
    for look in (contents, imports, works, commands):
        look()
