"""Workers on hosts of their own: network namespaces of this machine, joined to it by links that drop packets.

Packets are really lost, and TCP really sends them again. Needs root, ``ip`` and ``nft``; delays need the kernel's netem, too.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scaler import Client

from .cluster import WORKER_TIMEOUT_SECONDS, Cluster
from .faults import Fault, every
from .load import Load, Tally

TASK_SECONDS = 0.02
ADDRESS = "10.213.{host}.{end}"
_numbers = itertools.count()
"""Links go a while after their namespace: no name is used twice."""


class Host:
    """A namespace with one link to this machine, whose end here has the address ``near``."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name = f"scaler-{os.getpid()}-{number}"
        self.near, far = (ADDRESS.format(host=number, end=end) for end in (1, 2))
        here, there = f"sc{os.getpid()}n{number}", "far0"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _run("ip", "addr", "add", f"{self.near}/24", "dev", here)
        _run("ip", "link", "set", here, "up")
        self.run("ip", "addr", "add", f"{far}/24", "dev", there)
        self.run("ip", "link", "set", there, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("nft", "add table ip faults")
        for chain in ("input", "output"):
            self.run("nft", f"add chain ip faults {chain} {{ type filter hook {chain} priority 0; }}")

    def run(self, *command: str) -> None:
        """In the namespace."""
        _run(*self.prefix, *command)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before a command that is to run there."""
        return "ip", "netns", "exec", self.name

    def drop(self, *chains: str, percent: int = 100) -> None:
        """Lose so many of the packets that come (``input``) or leave (``output``), instead of what was said before."""
        self.run("nft", "flush table ip faults")
        which = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        for chain in chains:
            self.run("nft", f"add rule ip faults {chain} meta l4proto tcp {which} drop")

    def remove(self) -> None:
        _run("ip", "netns", "del", self.name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    made: list[Host] = []
    try:
        made.extend(Host() for _ in range(count))
        yield made
    finally:
        for host in made:
            host.remove()


def missing() -> str:
    """Why there can be no hosts here; empty if there can."""
    if os.geteuid():
        return "not run: needs root"
    programs = [program for program in ("ip", "nft") if shutil.which(program) is None]
    if programs:
        return f"not run: needs {' and '.join(programs)}"
    try:
        with hosts(1) as made:
            made[0].drop("input")
    except subprocess.CalledProcessError as error:
        return f"not run: this kernel lets nobody have hosts ({error.stderr.decode().strip()})"
    return ""


Disturbance = Callable[[Host, random.Random], None]


def _on_hosts(name: str, directory: Path, seconds: float, pause: float, disturbance: Disturbance) -> Tally:
    """Two workers on hosts of their own, and one on this machine."""
    tally = Tally(name, notes=missing())
    if tally.notes:
        return tally
    directory.mkdir(parents=True, exist_ok=True)
    with hosts(2) as away:
        made = Cluster(directory, 1, host="0.0.0.0")
        try:
            for host in away:
                made.add_worker(address=made.address.replace("127.0.0.1", host.near), prefix=host.prefix)
            with Client(made.address, timeout_seconds=60) as client:
                client.gather([client.submit(time.sleep, 0.1) for _ in range(20)])
                fault: Fault = lambda cluster, chance: disturbance(chance.choice(away), chance)  # noqa: E731
                with every(pause, fault, made, tally):
                    Load(client, directory, TASK_SECONDS).run(max(60, int(seconds * 100)), tally)
        finally:
            made.end()
    return tally


def _cut(host: Host, chance: random.Random) -> None:
    """For shorter or longer than a worker may be silent."""
    host.drop("input", "output")
    time.sleep(chance.choice((1.0, WORKER_TIMEOUT_SECONDS + 3.0)))
    host.drop()


def _cut_one_way(host: Host, chance: random.Random) -> None:
    host.drop(chance.choice(("input", "output")))
    time.sleep(WORKER_TIMEOUT_SECONDS + 3.0)
    host.drop()


def _lose(host: Host, chance: random.Random) -> None:
    host.drop("input", "output", percent=chance.choice((1, 5, 20)))


def hosts_partitioned(directory: Path, seconds: float) -> Tally:
    return _on_hosts("two of three hosts cut off in turn, and back", directory, max(seconds, 10.0), 2.0, _cut)


def hosts_one_way(directory: Path, seconds: float) -> Tally:
    return _on_hosts("the same in one direction", directory, max(seconds, 10.0), 2.0, _cut_one_way)


def packets_lost(directory: Path, seconds: float) -> Tally:
    return _on_hosts("1, 5 or 20 of 100 packets lost", directory, seconds, 1.0, _lose)
