"""Options that several commands have, and what commands make of them."""

from __future__ import annotations

import argparse
import ipaddress
import os
import platform
import sys
from collections.abc import Callable

from scaler.cluster.stack import available_cpus
from scaler.config import Option, boolean, capabilities, natural, seconds, version
from scaler.errors import ConfigurationError, ScalerError
from scaler.ids import Address
from scaler.logs import LEVELS, set_up_logging
from scaler.net.daemon import log
from scaler.worker.state import WorkerOptions

LOGGING = (
    Option("logging_level", "how much is logged", "INFO", str.upper, "-ll", choices=LEVELS),
    Option("logging_paths", "where log lines go: files", ("/dev/stdout",), str, "-lp", many=True),
    Option("logging_config_file", "a logging configuration of the standard library, instead of the two above", None, str, "-lcf"),
)
EVENT_LOOP = Option("event_loop", "the event loop", "uvloop", str, "-el", choices=("uvloop", "builtin"))
INSECURE = Option("insecure", "allow to listen where other machines can connect, without authentication", False, boolean)
WORKER = (
    Option("per_worker_capabilities", "what the workers offer: linux,cpu=4 (values are not counted)", (), capabilities, "-pwc"),
    Option("per_worker_task_queue_size", "how many tasks may wait at the worker for each slot", 1000, natural, "-wtqs"),
    Option("heartbeat_interval_seconds", "how often the scheduler hears of the worker", 2.0, seconds, "-his"),
    Option("task_timeout_seconds", "a task that runs longer is stopped; 0: no limit", 0.0, seconds, "-tts"),
    Option("death_timeout_seconds", "a worker without a scheduler for this long ends", 300.0, seconds, "-dts"),
    EVENT_LOOP,
    *LOGGING,
)


def unused(name: str, short: str, why: str) -> Option:
    """An option of OpenGRIS Scaler that means nothing here."""
    return Option(name, f"accepted for compatibility; {why}", None, str, short)


WORKER_UNUSED = (
    unused("garbage_collect_interval_seconds", "-gc", "executors leave that to Python"),
    unused("trim_memory_threshold_bytes", "-tm", "executors leave that to Python"),
    unused("hard_processor_suspend", "-hps", "executors are never suspended"),
)


def worker_options(given: argparse.Namespace, slots: int, manager_name: str, scheduler: str) -> WorkerOptions:
    """A worker as the options of a command describe it."""
    return WorkerOptions(
        slots,
        given.per_worker_task_queue_size * slots,
        given.per_worker_capabilities,
        platform.node(),
        0,
        manager_name,
        version(),
        given.heartbeat_interval_seconds,
        given.task_timeout_seconds,
        given.death_timeout_seconds,
        scheduler,
    )


def default_slots() -> int:
    """As many as this process may use CPUs."""
    return available_cpus()


def refuse_open_bind(address: Address, insecure: bool) -> None:
    """Raises ConfigurationError for an address that other machines can reach, unless that is wanted."""
    if insecure or address.host == "localhost":
        return
    try:
        if ipaddress.ip_address(address.host).is_loopback:
            return
    except ValueError:
        pass  # a host name: nobody knows who can reach it
    raise ConfigurationError(
        f"{address} can be reached from other machines, and whoever reaches it can run code here; "
        "listen on 127.0.0.1, or say --insecure if the network is yours alone"
    )


def run(program: str, given: argparse.Namespace, work: Callable[[], int]) -> int:
    """Set up logging and work; errors become one log line and exit code 1."""
    os.environ.pop("SCALER_ADDRESS", None)
    try:
        set_up_logging(given.logging_level, tuple(given.logging_paths), given.logging_config_file)
    except ConfigurationError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    try:
        return work()
    except ScalerError as error:
        log.error("%s: %s", program, error)
        return 1
    except KeyboardInterrupt:
        return 0
