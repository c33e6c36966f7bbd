"""One system at work: its adapter as a child process, asked by lines of JSON."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.environments import Unavailable

HERE = Path(__file__).parent
START_SECONDS = 120
STOP_SECONDS = 30


class Contestant:
    """A system whose cluster is up, from the constructor to ``stop``; a context manager.

    Raises Unavailable, with the last line of its standard error, when it does not start.
    """

    def __init__(self, name: str, python: Path, slots: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # The folder of the adapters is the only one of ours on the path: OpenGRIS Scaler has our name.
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "SCALER_ADDRESS")}
        environment["PYTHONPATH"] = str(HERE)
        environment["PYTHONWARNINGS"] = "ignore"
        self._process = subprocess.Popen(
            [str(python), "-m", "systems", name, str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=HERE,
            env=environment,
            start_new_session=True,
        )
        try:
            self.started = self._answer(START_SECONDS)
        except Unavailable:
            self.stop()
            raise
        """What it told of its start: {"value": seconds to the first result, "version": …}."""

    def ask(self, measure: str, count: int, seconds: float = 600) -> dict[str, Any]:
        """The answer to one request. Raises Unavailable when it ends, or does not answer in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"measure": measure, "count": count}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Unavailable(self._last_words()) from None
        return self._answer(seconds)

    def _answer(self, seconds: float) -> dict[str, Any]:
        # It writes one line for each request, so that none is ever left in a buffer of ours.
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise Unavailable(f"no answer within {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return f"it ended: {lines[-1][:300]}" if lines else "it ended without a word"

    def stop(self) -> None:
        """End it with all its processes, in order if it can and by force if not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            children = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _, alive = psutil.wait_procs(children, 5)
        for child in alive:
            child.kill()  # psutil sees to it that a number used again by another process is not meant
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
