"""``python -m scaler.worker ORDER``: a worker, as worker managers start it.

Without the argument ORDER is taken from the environment, where it is SCALER_WORKER_ORDER: so containers are told.
It is JSON: ``options``, the fields of WorkerOptions; ``event_loop``; ``logging``, the arguments of set_up_logging;
``metrics_address``, where to serve metrics, or nothing.
``security``, the fields of SecurityConfig, paths of files that this host has.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any

from scaler.config import WORKER_ORDER
from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import Address
from scaler.logs import set_up_logging
from scaler.security import SecurityConfig
from scaler.worker.service import run_worker
from scaler.worker.state import WorkerOptions


def work(order: dict[str, Any]) -> int:
    """Be the worker that is ordered, until it ends; returns the exit code. Must be called before this process has threads."""
    told: dict[str, Any] = order["options"]
    told.update(allow_functions=tuple(told.get("allow_functions", ())))
    told.update(capabilities=tuple(told["capabilities"]), host=platform.node(), pid=os.getpid())
    options = WorkerOptions(**told)
    os.environ.update(SecurityConfig(**order.get("security", {})).environment())
    try:
        level, paths, *others = order["logging"]
        set_up_logging(level, tuple(paths), *others)
        metrics = order.get("metrics_address")
        place = Address.parse(metrics) if metrics else None
        return run_worker(options, options.scheduler_address, order["event_loop"], metrics=place)
    except (ConfigurationError, ExtraMissingError) as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return 1


def main() -> int:
    """See the module."""
    inherited = os.environ.pop(WORKER_ORDER, "")  # Nothing that a task starts is to take it for its own.
    text = sys.argv[1] if len(sys.argv) == 2 else inherited
    if len(sys.argv) > 2 or not text:
        sys.stderr.write("python -m scaler.worker is started by worker managers; run scaler_cluster instead\n")
        return 2
    try:
        order = json.loads(text)
    except ValueError as error:
        sys.stderr.write(f"the order of this worker, its argument or {WORKER_ORDER}, is no JSON: {error}\n")
        return 2
    return work(order)


if __name__ == "__main__":
    sys.exit(main())
