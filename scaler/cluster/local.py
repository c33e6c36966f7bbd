"""A local cluster as a child process of whoever makes one."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaler.display import html_table, plural
from scaler.errors import ClusterError
from scaler.security import SecurityConfig

if TYPE_CHECKING:
    from scaler.cluster.stack import LocalStack

END_SECONDS = 10.0


class LocalCluster:
    """Storage, scheduler and one worker with ``n_workers`` slots, ready when the constructor returns.

    The processes end with shutdown(), and also when this process ends, however it does. Raises ClusterError when they do
    not start, ConfigurationError for files of ``security`` that cannot be used.

    Without a secret, here or in the environment, it makes one of its own, which processes of this user find by the addresses.
    """

    def __init__(
        self,
        n_workers: int | None = None,
        stack: LocalStack | None = None,
        logging_level: str = "WARNING",
        logging_paths: tuple[str, ...] = ("/dev/stderr",),
        logging_config_file: str | None = None,
        logging_format: str = "text",
        tracing: bool = False,
        security: SecurityConfig | None = None,
    ) -> None:
        from scaler.cluster.parameters import checked
        from scaler.cluster.stack import LocalStack
        from scaler.config import available_cpus

        (security or SecurityConfig()).completed().load()
        slots = checked(n_workers=available_cpus() if n_workers is None else n_workers)[0] if stack is None else 0
        stack = stack or LocalStack(slots, tracing=tracing)
        self.slots = stack.slots
        """How many tasks run at once."""
        read, write = os.pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
        environment.pop("SCALER_ADDRESS", None)
        environment.update((security or SecurityConfig()).completed().environment())
        self._pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scaler.cluster.launcher"],
            stdin=subprocess.PIPE,
            pass_fds=[write],
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for the program; the cluster ends with it.
        )
        os.close(write)
        asked = {
            "stack": asdict(stack),
            "answer": write,
            "logging": [logging_level, list(logging_paths), logging_config_file, logging_format],
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        self._told = self._listen(read)
        atexit.register(self.shutdown)

    def _listen(self, read: int) -> dict[str, Any]:
        with os.fdopen(read) as answer:
            line = answer.readline()
        told: dict[str, Any] = json.loads(line) if line else {"error": "it ended before it was ready; see its log"}
        if "error" in told:
            self.shutdown()
            raise ClusterError(f"the local cluster did not start: {told['error']}")
        return told

    @property
    def address(self) -> str:
        """The scheduler's."""
        return str(self._told["address"])

    @property
    def object_storage_address(self) -> str:
        """The object storage's."""
        return str(self._told["object_storage_address"])

    @property
    def monitor_address(self) -> str:
        """For scaler_top and scaler_gui."""
        return str(self._told["monitor_address"])

    @property
    def pid(self) -> int:
        """Of the process that all others are children of."""
        return self._process.pid

    def abandon(self) -> None:
        """Have it end, without waiting for it."""
        if os.getpid() == self._pid and self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def shutdown(self) -> None:
        """End all its processes; returns when they have ended."""
        if os.getpid() != self._pid:
            return
        self.abandon()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        atexit.unregister(self.shutdown)

    def __repr__(self) -> str:
        return f"<LocalCluster {', '.join(str(value) for value in self.described().values())}>"

    def _repr_html_(self) -> str:
        return html_table("LocalCluster", self.described())

    def described(self) -> dict[str, object]:
        """What people may want to know of it."""
        state = "running" if self._process.returncode is None else "ended"
        return {"slots": plural(self.slots, "slot"), "scheduler": self.address, "state": state}
