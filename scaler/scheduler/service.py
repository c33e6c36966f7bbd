"""The scheduler's service: two listening addresses and one connection to the object storage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from scaler.config import version
from scaler.ids import Address
from scaler.machine import Output
from scaler.messages import JournalRecord, Role
from scaler.net.daemon import Daemon, log
from scaler.scheduler.dump import dump
from scaler.scheduler.journal import Append
from scaler.scheduler.journal_file import JournalFile
from scaler.scheduler.journal_writer import JournalWriter
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.scheduler.traces import Waited
from scaler.tracing import Tracer

if TYPE_CHECKING:
    from prometheus_client.core import Metric

VITALS_SECONDS = 1.0
LOOKS = 4
"""How often the delay of the event loop is measured in that time."""


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where the journal is, and what becomes of it. Times in seconds."""

    path: Path
    sync_seconds: float
    """How long what was written may not have reached the disk."""
    kept_seconds: float
    """How long clients with a name that are gone are kept."""


class SchedulerService:
    """Carries what a SchedulerState decides."""

    def __init__(
        self,
        settings: SchedulerSettings,
        address: Address,
        storage: Address,
        monitor: Address | None = None,
        dump_directory: str = "",
        journal: JournalPlace | None = None,
    ) -> None:
        """``dump_directory``: where SIGUSR2 has the state written."""
        if journal is not None:
            settings = replace(settings, journal=True, kept_seconds=journal.kept_seconds)
        self._journal_place = journal
        self._journal: JournalWriter | None = None
        self._records: list[JournalRecord] = []
        """Those of this turn."""
        self.state = SchedulerState(settings)
        self.address = address
        self.monitor_address = monitor
        self._storage = storage
        self._dump_directory = dump_directory
        self._writing: set[asyncio.Task[None]] = set()
        self._vitals: asyncio.Task[None] | None = None
        self._tracer = Tracer("scaler-scheduler") if settings.tracing else None
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        self._daemon = daemon
        # Before anything is said: the signal ends who does not wait for it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._dump)
        self.state.clock.unix_offset = time.time() - time.monotonic()
        if self._journal_place is not None:
            await self._open_journal(self._journal_place)
            daemon.driver.after_turn = self._write  # Peers need not wait for what a thread writes later anyway.
        driver = daemon.driver
        driver.paused = self.state.pause_monitor
        self.address = await driver.listen(self.address, {Role.client, Role.worker, Role.manager})
        wanted = self.monitor_address or self.address.of_monitor()
        self.monitor_address = await driver.listen(wanted, {Role.monitor})
        log.info("%s: use event loop: %s", daemon.name, type(asyncio.get_running_loop()).__module__.split(".")[0])
        log.info("%s: listen to scheduler address %s", daemon.name, self.address)
        log.info("%s: connect to object storage server %s", daemon.name, self._storage)
        log.info("%s: listen to scheduler monitor address %s", daemon.name, self.monitor_address)
        driver.dial(self._storage, Role.storage_user, "the object storage server")
        facts = self.state.monitors.scheduler
        facts.address, facts.host, facts.pid = str(self.address), platform.node(), os.getpid()
        facts.version, facts.started_unix_milliseconds = version(), int(time.time() * 1000)
        self._vitals = asyncio.get_running_loop().create_task(self._measure())

    async def _open_journal(self, place: JournalPlace) -> None:
        """Go on where the scheduler before has ended. Raises ConfigurationError where the file cannot be used."""
        name = self._daemon.name
        file, found = await asyncio.to_thread(JournalFile.open, place.path)
        for warning in found.warnings:
            log.warning("%s: %s", name, warning)
        loop = asyncio.get_running_loop()

        def tell(level: int, text: str) -> None:
            loop.call_soon_threadsafe(self._tell, level, text)

        self._journal = JournalWriter(file, place.sync_seconds, tell)
        self.state.restore(found.records, time.monotonic())
        log.info("%s: the journal %s tells of %d clients", name, place.path, len(self.state.clients.sessions))

    def _tell(self, level: int, text: str) -> None:
        """Also monitors are told."""
        self.state.tell(level, text)
        self._daemon.driver.wake()

    def _write(self) -> None:
        if self._journal is None or not self._records:
            return
        journal, state = self._journal, self.state
        journal.append(self._records)
        self._records = []
        if journal.dropped:
            state.journal.rewritten()
        elif journal.worth_beginning_anew or journal.worth_rewriting:
            heads = state.journal.heads(state.clients.sessions.values())
            if heads is not None or journal.worth_rewriting:
                journal.rewrite(heads)
                state.journal.rewritten()

    def asked_to_end(self, reason: str) -> None:
        self._daemon.stop(reason)

    def _dump(self) -> None:
        """SIGUSR2: for whoever wants to look into its state, or go on with it elsewhere."""
        if not self._dump_directory:
            log.info("%s: to write its state it has to be started with --dump-directory DIRECTORY", self._daemon.name)
            return
        with self._daemon.driver.lock:
            told = dump(self.state, time.monotonic())
        task = asyncio.get_running_loop().create_task(self._write_dump(told))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_dump(self, told: dict[str, object]) -> None:
        name = f"scaler-scheduler-{os.getpid()}-{time.strftime('%Y%m%dT%H%M%S')}.json"
        path = Path(self._dump_directory, name)
        try:
            await asyncio.to_thread(_write_private, path, told)
        except OSError as error:
            log.warning("%s: cannot write its state to %s: %s", self._daemon.name, path, error.strerror or error)
        else:
            log.info("%s: its state is in %s, without users' data", self._daemon.name, path)

    async def close(self) -> None:
        for writing in list(self._writing):
            await writing
        if self._vitals is not None:
            self._vitals.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._vitals
        if self._journal is not None:
            self._write()
            await asyncio.to_thread(self._journal.close)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.flush)

    def carry_out(self, output: Output) -> None:
        """Append, with a journal, and Waited, of traced tasks."""
        if isinstance(output, Append):
            self._records += output.records
            return
        if not isinstance(output, Waited) or self._tracer is None:
            raise TypeError(f"unknown output {output!r}")
        self._tracer.waited(output.context, output.name, output.came, output.assigned, output.attributes)

    def health(self) -> str:
        """It needs the object storage, and a disk for its journal."""
        if self._journal is not None and self._journal.failure:
            return f"the journal cannot be written: {self._journal.failure}"
        return "" if self.state.storage.is_there else f"not connected to the object storage server at {self._storage}"

    def metrics(self) -> list[Metric]:
        """Of the whole cluster, as monitors are told."""
        from scaler.metrics.families import cluster
        from scaler.monitor.model import Model

        model = Model()
        model.apply(self.state.overview())
        return list(cluster(model))

    async def _measure(self) -> None:
        """Tell the state what monitors are told of this process."""
        me, monitors = psutil.Process(), self.state.monitors
        me.cpu_percent()
        while True:
            late = 0.0
            for _ in range(LOOKS):
                begin = time.monotonic()
                await asyncio.sleep(VITALS_SECONDS / LOOKS)
                late = max(late, time.monotonic() - begin - VITALS_SECONDS / LOOKS)
            monitors.cpu_percent = me.cpu_percent()
            monitors.resident_bytes = me.memory_info().rss
            monitors.scheduler = replace(monitors.scheduler, lag_microseconds=int(late * 1e6))


def _write_private(path: Path, told: dict[str, object]) -> None:
    """Into a new file, for this user alone. Raises OSError; nothing is left then."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        try:
            file.write(json.dumps(told))
        except OSError:
            path.unlink()
            raise
