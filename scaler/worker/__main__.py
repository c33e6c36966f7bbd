"""``python -m scaler.worker OPTIONS``: a worker, with its options as JSON. Worker managers start workers so."""

from __future__ import annotations

import json
import sys

from scaler.logs import set_up_logging
from scaler.worker.service import run_worker
from scaler.worker.state import WorkerOptions


def main(argument: str) -> int:
    """Be a worker until told to end; returns the exit code."""
    asked = json.loads(argument)
    level, paths, config_file = asked["logging"]
    set_up_logging(level, tuple(paths), config_file)
    given = asked["options"]
    given["capabilities"] = tuple(given["capabilities"])
    options = WorkerOptions(**given)
    return run_worker(options, options.scheduler_address, asked["event_loop"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
