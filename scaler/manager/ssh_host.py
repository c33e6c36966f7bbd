"""``python -m scaler.manager.ssh_host``: what the ssh backend runs on a host, for a moment at a time.

Reads one JSON object on standard input and prints another one on standard output. ``manager`` says whose workers are
meant, and ``do`` is one of:

``look``     -> ``{"cpus": n, "workers": [[name, pid, slots], …]}``
``start``    with ``orders``, a list of ``[name, slots, order]``: starts workers that outlive the connection;
             -> ``{"started": [[name, pid], …], "failed": [[name, reason], …]}``
``stop``     with ``names`` and ``seconds``: SIGTERM, and SIGKILL to what still runs after so many seconds; -> ``{}``
``tell``     with ``names``: the last lines that these workers printed; -> ``{"tails": {name: text}}``
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any
from urllib.parse import quote

from scaler.config import available_cpus
from scaler.manager import records

TAIL_CHARACTERS = 400
LOOK_SECONDS = 0.02


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """Which workers there are."""
    found = records.living(asked["manager"])
    return {"cpus": available_cpus(), "workers": [[r.name, r.pid, r.slots] for r in found]}


def start(asked: dict[str, Any]) -> dict[str, Any]:
    """Start workers, each in a session of its own, with a file for what it prints."""
    started, failed = [], []
    for name, slots, order in asked["orders"]:
        try:
            with _log(asked["manager"], name).open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "scaler.worker", order],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            records.write(asked["manager"], name, process.pid, slots)
            started.append([name, process.pid])
        except OSError as error:
            failed.append([name, str(error)])
    return {"started": started, "failed": failed}


def stop(asked: dict[str, Any]) -> dict[str, Any]:
    """End workers."""
    chosen = [record for record in records.living(asked["manager"]) if record.name in asked["names"]]
    deadline = time.monotonic() + asked["seconds"]
    _signal(chosen, signal.SIGTERM)
    while any(record.lives for record in chosen) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    _signal(chosen, signal.SIGKILL)
    for record in chosen:
        records.remove(asked["manager"], record.name)
    return {}


def _signal(chosen: list[records.Record], number: signal.Signals) -> None:
    for record in chosen:
        if record.lives:
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, number)


def tell(asked: dict[str, Any]) -> dict[str, Any]:
    """The end of what workers printed, which is removed."""
    tails = {}
    for name in asked["names"]:
        with contextlib.suppress(OSError):
            path = _log(asked["manager"], name)
            tails[name] = path.read_text(errors="replace")[-TAIL_CHARACTERS:].strip()
            path.unlink()
    return {"tails": tails}


def _log(manager: str, name: str) -> Any:
    return records.directory(manager) / (quote(name, safe="") + ".log")


def main() -> int:
    """See the module."""
    asked = json.load(sys.stdin)
    verbs = {"look": look, "start": start, "stop": stop, "tell": tell}
    print(json.dumps(verbs[asked["do"]](asked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
