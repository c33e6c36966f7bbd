"""What every daemon has around its driver: an event loop, signals, an identity, an exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from scaler.errors import ConfigurationError
from scaler.ids import new_identity
from scaler.machine import Output, State, Stop
from scaler.net.driver import Driver, new_event_loop
from scaler.security import Security, from_environment

log = logging.getLogger("scaler")


class Service(Protocol):
    """A daemon's own part: it has a state, and carries out what only that state can ask for."""

    @property
    def state(self) -> State: ...

    async def start(self, daemon: Daemon) -> None:
        """Listen and dial. Raises ConfigurationError for what the user has to mend."""

    def carry_out(self, output: Output) -> None:
        """Outputs peculiar to the state."""

    def asked_to_end(self, reason: str) -> None:
        """A signal came: end in order, by a Stop from the state or by Daemon.stop()."""

    async def close(self) -> None:
        """Leave nothing behind."""


class Daemon:
    """A driver with signals: SIGINT and SIGTERM end it in order."""

    def __init__(self, name: str, service: Service, security: Security | None = None) -> None:
        self.name = name
        self.service = service
        self.driver = Driver(service.state, new_identity(), name, service.carry_out, security, log)

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """End in order; the reason is logged."""
        self.driver.stop(Stop(reason, exit_code))

    async def run(self, ready: Callable[[], None] | None = None) -> int:
        """Until told to end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.service.asked_to_end, f"stopped by {number.name}")
        try:
            await self.service.start(self)
            if ready is not None:
                ready()
            outcome = await self.driver.stopped
        except ConfigurationError as error:
            outcome = Stop(str(error), 1)
        log.log(logging.ERROR if outcome.exit_code else logging.INFO, "%s: %s", self.name, outcome.reason)
        await self.driver.close()
        await self.service.close()
        return outcome.exit_code


def collect_garbage_rarely() -> None:
    """For processes whose many objects are all in use: looking through them for cycles takes a quarter of a scheduler's time.

    What there is now is never looked at again; the collector comes after more new objects than a large frame makes.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def run_daemon(
    name: str,
    service: Service,
    event_loop: str = "uvloop",
    ready: Callable[[], None] | None = None,
    security: Security | None = None,
) -> int:
    """Run a service on a new event loop until it ends; returns its exit code.

    Without ``security`` it is as the environment says. Raises ConfigurationError for files that cannot be used.
    """
    security = security or from_environment()
    collect_garbage_rarely()
    loop = new_event_loop(event_loop)

    async def run() -> int:
        return await Daemon(name, service, security).run(ready)

    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run())
    finally:
        sys.stdout.flush()
        loop.close()
