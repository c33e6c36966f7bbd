"""What a secret and TLS cost: burst submit, lone round trips and a large object, by tcp, with a secret, by TLS with a secret.

The clusters run side by side and take turns, so what disturbs one round disturbs all of them. The object goes over the
connection, as between hosts; on one host it would go through shared memory, with TLS as without.

python -m benchmarks.security [--rounds 40] [--tasks 4000] [--megabytes 100]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scaler import Client, SecurityConfig
from scaler.certificates import make_certificates
from scaler.ids import Address, new_identity
from scaler.security import make_secret
from scaler.storage.client import StorageClient


@dataclass(slots=True)
class Kind:
    """A cluster with one sort of connections."""

    name: str
    client: Client
    storage: StorageClient

    def burst(self, tasks: int) -> float:
        """Tasks a second, from the first submit to the last result."""
        began = time.perf_counter()
        for future in [self.client.submit(abs, n) for n in range(tasks)]:
            future.result()
        return tasks / (time.perf_counter() - began)

    def lone(self, count: int) -> float:
        """Round trips a second, one at a time."""
        began = time.perf_counter()
        for n in range(count):
            self.client.submit(abs, n).result()
        return count / (time.perf_counter() - began)

    def object(self, content: bytes) -> float:
        """Megabytes a second, put and got."""
        name, owner = new_identity(), new_identity()
        began = time.perf_counter()
        self.storage.put(name, content, owner)
        assert len(self.storage.get(name)) == len(content)
        seconds = time.perf_counter() - began
        self.storage.release([name], owner)
        return 2 * len(content) / 1e6 / seconds


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextlib.contextmanager
def cluster(name: str, scheme: str, security: SecurityConfig) -> Iterator[Kind]:
    """Storage, scheduler and two slots, each a command, as on several hosts."""
    ports = free_ports(3)
    scheduler, storage, monitor = (f"{scheme}://127.0.0.1:{port}" for port in ports)
    environment = {**os.environ, **security.environment()}
    commands = (
        ("object_storage_server", storage),
        ("scheduler", scheduler, "-osa", storage, "-ma", monitor),
        ("cluster", "-n", "2", scheduler),
    )
    running = [
        subprocess.Popen([sys.executable, "-m", f"scaler.cli.{command}", *told, "-ll", "ERROR"], env=environment)
        for command, *told in commands
    ]
    try:
        with Client(scheduler, security_config=security) as client:
            objects = StorageClient(Address.parse(storage), new_identity(), "benchmark", security.load())
            objects._current().share = False
            yield Kind(name, client, objects)
            objects.close()
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def race(kinds: list[Kind], rounds: int, measure: Callable[[Kind], float]) -> dict[str, list[float]]:
    """The figures of each, round by round, in an order that turns. The first round warms up."""
    figures: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for turn in range(rounds + 1):
        shift = turn % len(kinds)
        for kind in kinds[shift:] + kinds[:shift]:
            figure = measure(kind)
            if turn:
                figures[kind.name].append(figure)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=4000)
    parser.add_argument("--megabytes", type=int, default=100)
    asked = parser.parse_args()
    content = os.urandom(1_000_000) * asked.megabytes
    with contextlib.ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_secret(where / "secret")
        make_certificates(where, ["127.0.0.1"])
        tls = SecurityConfig(where / "secret", where / "server.pem", where / "server-key.pem", where / "ca.pem")
        secret = SecurityConfig(where / "secret")
        kinds = [
            stack.enter_context(cluster("tcp", "tcp", SecurityConfig())),
            stack.enter_context(cluster("secret", "tcp", secret)),
            stack.enter_context(cluster("tls", "tls", tls)),
        ]
        measures: list[tuple[str, Callable[[Kind], float]]] = [
            (f"burst of {asked.tasks:,}, tasks/s", lambda kind: kind.burst(asked.tasks)),
            ("lone round trips/s", lambda kind: kind.lone(300)),
            (f"object of {asked.megabytes} MB, MB/s", lambda kind: kind.object(content)),
        ]
        print(f"{'':<28}" + "".join(f"{kind.name:>20}" for kind in kinds))
        for title, measure in measures:
            figures = race(kinds, asked.rounds, measure)
            line = f"{title:<28}"
            for found in figures.values():
                of_tcp = statistics.median(a / b for a, b in zip(found, figures["tcp"], strict=True))
                line += f"{statistics.median(found):>13,.0f} {of_tcp:>6.1%}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
