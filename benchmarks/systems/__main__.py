"""``python -m systems NAME SLOTS``: starts one system and answers requests about it, one JSON object a line.

Standard input: {"measure": "submit", "count": 20000}. Standard output: {"value": …} or {"missing": "why"}. The first line on
standard output tells of the start. Whatever the system itself prints goes to standard error. Ends with its input.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from typing import Any


def main() -> None:
    began = time.perf_counter()
    name, slots = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    system = importlib.import_module(f"systems.{name}").Adapter(slots)
    system.call(1)
    started = {"value": time.perf_counter() - began, "version": version_of(system.distribution)}
    answers.write(json.dumps(started) + "\n")
    warm_up(system)
    for line in sys.stdin:
        answers.write(json.dumps(answer(system, **json.loads(line))) + "\n")
    system.stop()


def version_of(distribution: str | None) -> str:
    return importlib.metadata.version(distribution) if distribution else f"Python {platform.python_version()}"


def warm_up(system: Any) -> None:
    """So that everything is imported and every process has run something."""
    for _ in range(2):
        system.submit(200)


def answer(system: Any, measure: str, count: int) -> dict[str, Any]:
    from systems.measures import MEASURES
    from systems.system import Missing

    try:
        found: dict[str, Any] = MEASURES[measure](system, count)
        return found
    except Missing as reason:
        return {"missing": str(reason)}
    except Exception as error:
        return {"missing": f"{type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    main()
