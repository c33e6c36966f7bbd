"""``scaler [config.toml]`` and ``scaler demo``: a whole stack on this machine."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scaler.cli import object_storage_server, scheduler, worker_manager
from scaler.cli.options import LOGGING, default_slots, run
from scaler.cluster.stack import LocalStack, start_stack
from scaler.cluster.supervisor import Supervisor
from scaler.config import Option, natural, parse, read_toml, resolve, version
from scaler.errors import ConfigurationError

PORTS = (8516, 8517, 8518)
"""Of the scheduler, the object storage server and the monitor."""
OPTIONS = (
    Option(
        "num_of_workers",
        "how many tasks run at once, without a file (default: as many as there are CPUs)",
        None,
        natural,
        "-n",
    ),
    *LOGGING,
)
DESCRIPTION = """\
A whole stack on this machine.

    scaler               a local cluster, until Ctrl-C
    scaler config.toml   what the file describes: [object_storage_server] [scheduler] [[worker_manager]]
    scaler demo          start a cluster, do some real work on it, show the result
"""
_LATER = {"gui": "the web dashboard", "top": "the terminal monitor"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:
        from scaler.cli import demo

        return demo.main(arguments[1:])
    file = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    given = parse("scaler", DESCRIPTION, "cluster", OPTIONS, arguments)
    if file is None:
        return run("scaler", given, lambda: _local(given))
    try:
        parts = _parts(read_toml(file))
    except ConfigurationError as error:
        print(f"scaler: {file}: {error}", file=sys.stderr)
        return 2
    return run("scaler", given, lambda: _stack(parts))


# ---- without a file


def _local(given: argparse.Namespace) -> int:
    """A local cluster until Ctrl-C."""
    ports = PORTS if all(map(_is_free, PORTS)) else (0, 0, 0)
    scheduler_address, storage, monitor = (f"tcp://127.0.0.1:{port}" for port in ports)
    supervisor = Supervisor()
    supervisor.prepare()
    try:
        slots = given.num_of_workers or default_slots()
        told = start_stack(supervisor, LocalStack(slots, scheduler_address, storage, monitor))
        print(_welcome(told["address"], slots), flush=True)
        return supervisor.wait()
    finally:
        supervisor.stop()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _welcome(address: str, slots: int) -> str:
    return f"""
Scaler {version()}: a local cluster with {slots} slots at {address}

    from scaler import Client
    with Client("{address}") as client:
        print(client.map(abs, range(-5, 5)))

or set SCALER_ADDRESS={address} and say Client(). Ctrl-C ends it.
"""


# ---- with a file


def _parts(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(name, what to run) for each section, storage first. Raises ConfigurationError, naming section and key."""
    for name, what in _LATER.items():
        if name in content:
            raise ConfigurationError(f"section [{name}]: {what} is not part of this version")
    parts: list[tuple[str, Any]] = []
    commands = (("object_storage_server", object_storage_server), ("scheduler", scheduler))
    for section, command in commands:
        if section in content:
            given = resolve(section, command.OPTIONS, {}, _table(content, section))
            parts.append(
                (section, lambda given=given, command=command: run(section, given, lambda: command.serve(given)))
            )
    managers = content.get("worker_manager", [])
    for table in managers if isinstance(managers, list) else [managers]:
        filled = dict(table)
        if "address" not in filled and "address" in content.get("scheduler", {}):
            filled["address"] = content["scheduler"]["address"]
        given = resolve("worker_manager", worker_manager.OPTIONS, {}, filled)
        parts.append(
            ("worker_manager", lambda given=given: run("worker_manager", given, lambda: worker_manager.serve(given)))
        )
    if not parts:
        raise ConfigurationError(
            "no section that starts anything: [object_storage_server], [scheduler], [[worker_manager]]"
        )
    return parts


def _table(content: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    table = content[section]
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{section} has to be one table: [{section}]")
    filled = dict(table)
    storage = content.get("object_storage_server", {})
    if section == "scheduler" and "object_storage_address" not in filled and "address" in storage:
        filled["object_storage_address"] = storage["address"]
    return filled


def _stack(parts: list[tuple[str, Any]]) -> int:
    """Each part as a child, until Ctrl-C or one of them ends."""
    supervisor = Supervisor()
    supervisor.prepare()
    try:
        for name, serve in parts:
            supervisor.start(name, lambda ready, serve=serve: serve(), wait=False)
        return supervisor.wait()
    finally:
        supervisor.stop()


if __name__ == "__main__":
    sys.exit(main())
