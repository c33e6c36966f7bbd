"""What every daemon has around its driver: an event loop, signals, an identity, an exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from scaler.config import version
from scaler.errors import ConfigurationError
from scaler.ids import Address, new_identity
from scaler.logs import name_daemon
from scaler.machine import Output, State, Stop
from scaler.net.driver import Driver, new_event_loop
from scaler.net.watchdog import Watchdog
from scaler.security import Security, from_environment

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from scaler.metrics.server import MetricsServer

log = logging.getLogger("scaler")


@dataclass(frozen=True, slots=True)
class MetricsPlace:
    """Where a daemon serves its metrics."""

    address: Address
    needed: bool = True
    """Whether the daemon ends when it cannot; otherwise it warns and goes on without."""


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

    def health(self) -> str:
        """What keeps it from doing its work, or nothing."""

    def metrics(self) -> list[Metric]:
        """What it counts, for Prometheus. Asked only where its library is installed."""


class Daemon:
    """A driver with signals: SIGINT and SIGTERM end it in order, SIGUSR1 has it log what it does, SIGHUP read its certificates
    again; and a watchdog."""

    def __init__(
        self, name: str, service: Service, security: Security | None = None, metrics: MetricsPlace | None = None
    ) -> None:
        self.name = name
        self.service = service
        self._metrics = metrics
        self._server: MetricsServer | None = None
        self._security = security or Security()
        self.driver = Driver(service.state, new_identity(), name, service.carry_out, security, log)

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """End in order; the reason is logged."""
        self.driver.stop(Stop(reason, exit_code))

    async def run(self, ready: Callable[[], None] | None = None) -> int:
        """Until told to end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.service.asked_to_end, f"stopped by {number.name}")
        loop.add_signal_handler(signal.SIGUSR1, self._tell_state)
        if self._security.certificates.configured:
            loop.add_signal_handler(signal.SIGHUP, self._reload_certificates)
        watchdog = Watchdog(self.name, log)
        try:
            await self.service.start(self)
            self._serve_metrics()
            if ready is not None:
                ready()
            outcome = await self.driver.stopped
        except ConfigurationError as error:
            outcome = Stop(str(error), 1)
        log.log(logging.ERROR if outcome.exit_code else logging.INFO, "%s: %s", self.name, outcome.reason)
        if self._server is not None:
            self._server.close()
        await self.driver.close()
        await self.service.close()
        watchdog.close()
        return outcome.exit_code

    def _reload_certificates(self) -> None:
        """SIGHUP: they are read anyway when they change; this says whether they can be used."""
        log.info("%s: %s", self.name, self._security.certificates.reload())

    def _tell_state(self) -> None:
        """SIGUSR1: for whoever wonders what it does."""
        with self.driver.lock:
            snapshot = self.service.state.snapshot()
            roles = Counter(
                connection.peer.role.name for connection in self.driver.connections.values() if connection.peer
            )
        peers = ", ".join(f"{count} {role}" for role, count in roles.items()) or "nobody"
        log.info("%s: %s; connected with %s", self.name, snapshot, peers)

    def _serve_metrics(self) -> None:
        """Raises ConfigurationError where they are needed and cannot be served."""
        place = self._metrics
        if place is None:
            return
        from scaler.metrics.server import MetricsServer

        facts = {"daemon": self.name, "version": version()}
        try:
            self._server = MetricsServer(place.address, self._health, self._families, facts, self._security.secret)
        except ConfigurationError as error:
            if place.needed:
                raise
            log.warning("%s: %s; it goes on without", self.name, error)
        else:
            where = self._server.address
            log.info("%s: metrics at http://%s:%d/metrics", self.name, where.host, where.port)

    def _health(self) -> str:
        with self.driver.lock:
            return self.service.health()

    def _families(self) -> list[Metric]:
        with self.driver.lock:
            return self.service.metrics()


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
    metrics: MetricsPlace | None = None,
) -> int:
    """Run a service on a new event loop until it ends; returns its exit code.

    Without ``security`` it is as the environment says. Raises ConfigurationError for files that cannot be used, and
    ExtraMissingError for metrics where their library is not installed.
    """
    security = security or from_environment()
    if metrics is not None:
        from scaler.metrics.server import check_extra

        check_extra()
    name_daemon(name)
    collect_garbage_rarely()
    loop = new_event_loop(event_loop)

    async def run() -> int:
        return await Daemon(name, service, security, metrics).run(ready)

    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run())
    finally:
        sys.stdout.flush()
        loop.close()
