"""``python -m scaler.cluster.launcher``: a local cluster for a parent process.

Reads one line of JSON on standard input, tells the addresses as one line of JSON on the descriptor it names, and lives as
long as standard input stays open.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from scaler.cluster.stack import LocalStack, start_stack
from scaler.cluster.supervisor import Supervisor
from scaler.errors import ScalerError
from scaler.logs import name_daemon, set_up_logging


def main() -> int:
    """See the module."""
    line = _first_line(sys.stdin.fileno())
    if not line:
        return 0
    asked: dict[str, Any] = json.loads(line)
    level, paths, *others = asked["logging"]
    name_daemon("Scaler")
    set_up_logging(level, tuple(paths), *others)
    supervisor = Supervisor()
    supervisor.prepare()
    try:
        told = start_stack(supervisor, LocalStack(**asked["stack"]))
    except (ScalerError, ValueError) as error:
        told = {"error": str(error)}
    with contextlib.suppress(BrokenPipeError):  # whoever asked may be gone; then standard input has ended as well
        os.write(asked["answer"], json.dumps(told).encode() + b"\n")
    os.close(asked["answer"])
    code = 1 if "error" in told else supervisor.wait(sys.stdin.fileno())
    supervisor.stop()
    return code


def _first_line(descriptor: int) -> bytes:
    """Without reading further: what follows, the end of the input, is waited for elsewhere."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
