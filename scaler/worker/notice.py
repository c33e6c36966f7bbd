"""``python -m scaler.worker.notice PID``: tells a worker by SIGTERM that Amazon is about to take its machine away.

A spot instance can see that two minutes before, in its metadata, and nobody tells it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import urllib.request
from urllib.error import HTTPError

METADATA = "http://169.254.169.254"
POLL_SECONDS = 5.0
ANSWER_SECONDS = 2.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def notice(metadata: str = METADATA) -> str:
    """What is to become of this machine, as Amazon says it; empty: nothing. Raises OSError if that cannot be known."""
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = _ask(urllib.request.Request(f"{metadata}/latest/api/token", method="PUT", headers=lifetime))
    proof = {"X-aws-ec2-metadata-token": token}
    try:
        return _ask(urllib.request.Request(f"{metadata}/latest/meta-data/spot/instance-action", headers=proof))
    except HTTPError as error:
        if error.code == 404:
            return ""
        raise


def _ask(request: urllib.request.Request) -> str:
    try:
        with _OPENER.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read(4096).decode(errors="replace"))
    except HTTPError as error:
        error.close()
        raise


def watch(pid: int, metadata: str = METADATA, pause: float = POLL_SECONDS) -> None:
    """Until the machine is to be taken away, or there is no such process any more."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            told = ""
            with contextlib.suppress(OSError):
                told = notice(metadata)
            if told:
                print(f"this machine will be taken away: {told}", flush=True)
                os.kill(pid, signal.SIGTERM)
                return
            time.sleep(pause)


if __name__ == "__main__":
    watch(int(sys.argv[1]), os.environ.get("SCALER_METADATA", METADATA))
