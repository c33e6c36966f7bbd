"""``scaler [config.toml]``: a whole stack, as a file describes it or on this machine alone; ``scaler demo``."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaler.cli import cluster, gui, object_storage_server, scheduler, top, worker_manager
from scaler.cli.arguments import DAEMON_ENDS, parse
from scaler.cli.command import Command, log, logging_arguments, refuse
from scaler.cli.options import LOGGING, METRICS, SECURITY, security_of
from scaler.config import SECURITY as SECURITY_TABLE
from scaler.config import Option, available_cpus, natural, read_toml, resolve, version
from scaler.errors import ClusterError, ConfigurationError
from scaler.ids import Address
from scaler.logs import name_daemon, set_up_logging

if TYPE_CHECKING:
    from scaler.cluster.supervisor import Supervisor

PROGRAM = "scaler"
DESCRIPTION = """Run a whole stack: object storage, scheduler and workers, until Ctrl-C.

    scaler                        on this machine, with as many slots as there are CPUs
    scaler -n 4                   with 4 slots
    scaler config.toml            what the file describes: [object_storage_server], [scheduler],
                                  [[worker_manager]], [cluster], [gui], [top]

or one of these, each with a --help of its own:

    scaler demo                   start a cluster, do some real work on it, show the result
    scaler make-secret FILE       a new secret, for --secret-file of all commands
    scaler make-certificate DIRECTORY --host NAME
                                  certificates, for tls:// addresses
    scaler completion SHELL       what completes commands and options in bash, zsh or fish

The services of a stack one by one: scaler_object_storage_server, scaler_scheduler, scaler_cluster,
scaler_worker_manager. To look into a running one: scaler_top in the terminal, scaler_gui in the browser.
"""
OPTIONS = (
    Option("file", "a TOML file with a section for each service", "", positional=True),
    Option("config", "the same, as with the other commands", "", short="-c", value="FILE"),
    Option("num_of_workers", "without a file: how many tasks run at once", kind=natural, short="-n"),
    *SECURITY,
    METRICS,
    *LOGGING,
)
COMMANDS: Mapping[str, Command] = {
    command.section: command
    for command in (
        object_storage_server.COMMAND,
        scheduler.COMMAND,
        worker_manager.COMMAND,
        cluster.COMMAND,
        gui.COMMAND,
        top.COMMAND,
    )
}
SUBCOMMANDS = {
    "demo": "scaler.cli.demo",
    "make-secret": "scaler.cli.make_secret",
    "make-certificate": "scaler.cli.make_certificate",
    "completion": "scaler.cli.completion",
}
"""Their modules, each with PROGRAM, DESCRIPTION, OPTIONS and main."""
LOG_BESIDE_TOP = "scaler.log"
"""Where services log that would log to the terminal, if the monitor is on it."""
TERMINAL = {"/dev/stdout", "/dev/stderr"}
FIRST_PORT = 8516


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        if module := SUBCOMMANDS.get(arguments[0] if arguments else ""):
            return int(importlib.import_module(module).main(arguments[1:]))
        return _main(arguments)
    except KeyboardInterrupt:
        return 0


def _main(arguments: Sequence[str]) -> int:
    options = parse(PROGRAM, DESCRIPTION, "", OPTIONS, arguments, DAEMON_ENDS)
    file = options.file or options.config
    try:
        if options.file and options.config:
            raise ConfigurationError("one file is enough: FILE or --config")
        if file and options.num_of_workers:
            raise ConfigurationError("--num-of-workers is for a cluster without a file; in a file it is a key")
        if file and options.metrics_address:
            raise ConfigurationError(
                "--metrics-address is for a cluster without a file; in a file it is a key of each service"
            )
        security_of(options).load()
        os.environ.update(security_of(options).environment())
        parts = read_parts(file) if file else []
        name_daemon("Scaler")
        set_up_logging(*logging_arguments(options))
    except ConfigurationError as error:
        return refuse(PROGRAM, error)
    if any(part.command is top.COMMAND for part in parts):
        _leave_the_terminal(parts)
        set_up_logging(options.logging_level, (LOG_BESIDE_TOP,), log_format=options.logging_format)
    else:
        log.info("Scaler: logging to %s", options.logging_config_file or ", ".join(options.logging_paths))
    os.environ.pop("SCALER_ADDRESS", None)
    return run_parts(parts) if file else run_local(options.num_of_workers, options.metrics_address)


# ---- as a file describes it


@dataclass(frozen=True, slots=True)
class Part:
    """A service that the file asks for."""

    command: Command
    options: Namespace

    def run(self) -> int:
        """Be the service; returns its exit code."""
        try:
            self.command.start_logging(self.options)
        except ConfigurationError as error:
            log.error("%s: %s", self.command.name, error)
            return 1
        return self.command.serve(self.options)


def read_parts(path: str) -> list[Part]:
    """What a file asks for, storage first. Raises ConfigurationError, naming the place, for what cannot be used."""
    content = read_toml(path)
    try:
        parts = [part for command in COMMANDS.values() for part in _parts_of(command, content)]
        if not parts:
            raise ConfigurationError(f"nothing to run; there can be {', '.join(f'[{name}]' for name in COMMANDS)}")
    except ConfigurationError as error:
        text = str(error)
        raise ConfigurationError(text if path in text else f"{path}: {text}") from None
    return parts


def _leave_the_terminal(parts: Sequence[Part]) -> None:
    """The terminal is the monitor's: what would log there logs to a file."""
    for part in parts:
        if part.command.logs and not TERMINAL.isdisjoint(part.options.logging_paths):
            part.options.logging_paths = (LOG_BESIDE_TOP,)
    print(f"logging to {LOG_BESIDE_TOP}", flush=True)


def _parts_of(command: Command, content: Mapping[str, Any]) -> Iterator[Part]:
    """The parts of one section, with the addresses that other sections tell."""
    tables = content.get(command.section, [])
    known = _addresses(command.section, content)
    for_all = content.get(SECURITY_TABLE, {})
    for table in tables if isinstance(tables, list) else [tables]:
        said = {name.replace("-", "_"): value for name, value in table.items()}
        try:
            options = resolve(command.section, command.options_for(said.get("type")), {}, {**known, **said}, for_all)
            command.check_all(options)
        except ConfigurationError as error:
            text = str(error)
            where = f"[{command.section}]"
            raise ConfigurationError(text if where in text else f"{where}: {text}") from None
        yield Part(command, options)


def _addresses(section: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What need not be said twice in a file."""
    if section in ("top", "gui"):
        return _monitor_address(content.get("scheduler", {}))
    source, key = {
        "scheduler": ("object_storage_server", "object_storage_address"),
        "worker_manager": ("scheduler", "address"),
        "cluster": ("scheduler", "address"),
    }.get(section, ("", ""))
    table = content.get(source, {})
    return {key: table["address"]} if isinstance(table, dict) and "address" in table else {}


def _monitor_address(table: Any) -> dict[str, Any]:
    """Of the scheduler of the same file; what is wrong with it its own section tells."""
    if not isinstance(table, dict):
        return {}
    with contextlib.suppress(ValueError):
        own = table.get("monitor_address") or table.get("monitor-address")
        return {"address": own or str(Address.parse(str(table.get("address"))).of_monitor())}
    return {}


def run_parts(parts: Sequence[Part]) -> int:
    """All parts, each as a child of this process, until told to end or one of them ends; returns the exit code."""

    # The stack loads all services before the first fork, so that the children need not.
    importlib.import_module("scaler.cluster.stack")

    def start(supervisor: Supervisor) -> None:
        for part in parts:
            supervisor.start(f"the {part.command.name}", partial(_run_part, part), wait=False)
        for part in parts:
            if part.command is scheduler.COMMAND:
                monitor = part.options.monitor_address or part.options.address.of_monitor()
                print(how_to_connect(str(part.options.address), str(monitor)), flush=True)

    return _supervise(start)


def _run_part(part: Part, ready: Callable[[str], None]) -> int:
    return part.run()


def _supervise(start: Callable[[Supervisor], None]) -> int:
    from scaler.cluster.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.prepare()
    try:
        start(supervisor)
        return supervisor.wait()
    except ClusterError as error:
        log.error("Scaler: %s", error)
        return 1
    finally:
        supervisor.stop()


# ---- on this machine alone


def run_local(slots: int | None, metrics: Address | None = None) -> int:
    """A cluster on this machine until told to end; returns the exit code. ``metrics``: where its scheduler serves them."""
    from scaler.cluster.stack import LocalStack, start_stack

    first = free_ports(FIRST_PORT, 3)
    addresses = [f"tcp://127.0.0.1:{first + offset}" for offset in range(3)]
    stack = LocalStack(
        slots or available_cpus(), addresses[0], addresses[1], addresses[2], metrics_address=str(metrics or "")
    )
    # Tasks may be functions of modules that stand here.
    sys.path.append(str(Path.cwd()))

    def start(supervisor: Supervisor) -> None:
        told = start_stack(supervisor, stack)
        print(f"\nScaler {version()} runs {stack.slots} tasks at once on this machine, at {told['address']}")
        print(how_to_connect(told["address"], told["monitor_address"]), flush=True)

    return _supervise(start)


def free_ports(first: int, count: int) -> int:
    """The first of ``count`` ports of 127.0.0.1 in a row that nobody listens on."""
    for start in range(first, 65536 - count, count):
        if all(_is_free(start + offset) for offset in range(count)):
            return start
    raise ConfigurationError(f"no {count} free ports in a row above {first}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the services do: a port that was used a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def how_to_connect(address: str, monitor: str) -> str:
    """For people: a program, and the environment variable."""
    return f"""
    from scaler import Client
    with Client("{address}") as client:
        print(client.map(abs, range(-5, 5)))

or set SCALER_ADDRESS={address} and write Client(). To look into it: scaler_top {monitor}. Ctrl-C ends it.
"""


if __name__ == "__main__":
    sys.exit(main())
