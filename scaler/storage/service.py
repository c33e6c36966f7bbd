"""The object storage server's service: connections, shared memory, and objects on their way out as fast as they are read."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from scaler.ids import Address, content_object_id
from scaler.machine import Output
from scaler.messages import Chunk, Mapped, Message, Role, Shared, Statistics, StorageFailure, StorageFailureReason
from scaler.net.daemon import Daemon, log
from scaler.storage.closing import Closing
from scaler.storage.fetches import Fetches
from scaler.storage.mover import Moved, Mover
from scaler.storage.outputs import AnswerProbe, Fetch, Forget, Mark, Open, Restore, Spill, StopTransmit, Transmit
from scaler.storage.rooms import allocate, raise_descriptor_limit, shared_content
from scaler.storage.segments import Segment, close_now, open_object, set_close
from scaler.storage.settings import StorageSettings
from scaler.storage.state import StorageState
from scaler.wire.framing import MAX_ATTACHMENT_BYTES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

AT_ONCE_BYTES = 256 << 10
"""Smaller objects are answered at once, larger ones by a task of their own that waits for the reader."""
MAPPED_SECONDS = 0.05
"""An object that was read back for somebody who shares memory stays there at least for so long, and at most twice as long,
for him to map it; after that it may have to make room for the next."""

LEAVE_SECONDS = 60.0
"""How long the storage of a host that was told to end moves objects at most."""


class StorageService:
    """Carries what a StorageState decides."""

    def __init__(
        self,
        address: Address,
        settings: StorageSettings | None = None,
        center: Address | None = None,
        advertised: Address | None = None,
    ) -> None:
        """With a ``center`` this is the storage of one host, which others reach at its address, or where is ``advertised``."""
        self._settings = settings or StorageSettings()
        self.state = StorageState(
            memory_limit_bytes=self._settings.limit(),
            durable=self._settings.durable,
            allocate=allocate,
            serves=None if center is None else str(advertised or address),
        )
        self.address = address
        self._center = center
        self._advertised = advertised
        self._leaving = False
        self._fetches: Fetches | None = None
        self._mover: Mover | None = None
        """None until it has started."""
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._told: list[tuple[int, int]] = []
        self._told_before: list[tuple[int, int]] = []
        """The requests that were answered with shared memory in the last MAPPED_SECONDS, and in those before."""
        self._readable: dict[int, asyncio.Event] = {}
        self._probe: Segment | None = None
        self._closing: Closing | None = None
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._loop = asyncio.get_running_loop()
        raise_descriptor_limit()
        self._closing = Closing()
        set_close(self._closing.close)
        daemon.driver.paused = self._paused
        if self._settings.durable:
            # Another identity would tell that what was here is lost.
            daemon.driver.identity = content_object_id(self._settings.spill_url.encode())
        roles = {Role.storage_user} if self._center else {Role.storage_user, Role.host_storage}
        self.address = await daemon.driver.listen(self.address, roles)
        # Not before: what another server left is deleted or taken over, and one that still runs has this address. And nobody
        # is heard in between, since nothing is awaited.
        copies, left = self._settings.copies()
        self.state.adopt(left)
        self._mover = Mover(copies, self._moved)
        # By TLS it is to be dialed by a name that its certificate has, which that of all addresses is not.
        here = self._advertised if self._advertised is not None and self.address.tls else self.address
        self._fetches = Fetches(here, self._center, self._fetch_failed)
        if self.state.upstream is not None and self._center is not None:
            self.state.upstream.address = str(self._advertised or self.address)
            daemon.driver.dial(self._center, Role.host_storage, "the object storage server")
        if left:
            log.info("%s: found %d objects of an earlier server", daemon.name, len(left))
        log.info("%s: listen to object storage address %s", daemon.name, self.address)

    def asked_to_end(self, reason: str) -> None:
        """What only this host has is moved first. Whoever does not want to wait asks again."""
        with self._daemon.driver.lock:
            leaves = not self._leaving and self.state.leave()
        self._leaving = True
        if leaves:
            log.info("%s: %s; moving what only this host has to %s", self._daemon.name, reason, self._center)
            self._loop.call_later(LEAVE_SECONDS, self._daemon.stop, "not all could be moved in time")
            self._daemon.driver.wake()
        else:
            self._daemon.stop(reason)

    async def close(self) -> None:
        for task in list(self._under_way.values()):
            task.cancel()
        if self._mover is not None:
            # Freeing a large file may take seconds, which is no reason to think that this process is stuck.
            await asyncio.to_thread(self._mover.close)
        if self._fetches is not None:
            self._fetches.close()
        if self._closing is not None:
            set_close(close_now)
            self._closing.end()

    def carry_out(self, output: Output) -> None:
        """Those of ``outputs``."""
        if isinstance(output, Transmit):
            if output.shared and output.content.shared is not None:
                self._tell_where(output)
            else:
                self._begin_transmission(output)
        elif isinstance(output, Open):
            self._open(output)
        elif isinstance(output, Spill | Restore | Forget | Mark):
            assert self._mover is not None
            self._mover.do(output)
        elif isinstance(output, Fetch):
            assert self._fetches is not None
            self._fetches.begin(output)
        elif isinstance(output, StopTransmit):
            task = self._under_way.get((output.peer, output.request))
            if task is not None:
                task.cancel()
        elif isinstance(output, AnswerProbe):
            self._answer_probe(output)

    def health(self) -> str:
        """That of one host needs the center."""
        upstream = self.state.upstream
        return f"not connected to {self._center}" if upstream is not None and upstream.peer is None else ""

    def metrics(self) -> list[Metric]:
        """What it has, and what was asked of it."""
        from scaler.metrics.families import objects

        return list(objects(Statistics(**self.state.snapshot())))

    # ---- between memory and disk

    def _moved(self, moved: list[Moved]) -> None:
        """Objects are on disk, or back, or cannot be."""
        now = time.monotonic()
        with self._daemon.driver.lock:
            for one in moved:
                key = one.order.key
                if isinstance(one.order, Spill):
                    if one.error:
                        self.state.spill_failed(key, one.error, now)
                    else:
                        self.state.spilled(key)
                elif isinstance(one.order, Restore):
                    if one.content is not None:
                        self.state.restored(key, one.content)
                    else:
                        self.state.restore_failed(key, one.error)
                else:
                    log.warning("%s: cannot bring a copy up to date: %s", self._daemon.name, one.error)
        self._daemon.driver.wake()

    # ---- between hosts

    def _fetch_failed(self, name: bytes, why: str) -> None:
        """Told by a thread."""
        with self._daemon.driver.lock:
            log.warning("%s: cannot get object %s: %s", self._daemon.name, name.hex(), why)
            self.state.fetch_failed(name)
        self._loop.call_soon_threadsafe(self._daemon.driver.wake)

    # ---- shared memory

    def _open(self, output: Open) -> None:
        try:
            content = shared_content(open_object(output.pieces, output.total_bytes))
        except (OSError, ValueError) as error:
            self.state.opened(output.peer, output.request, None, str(error))
        else:
            self.state.opened(output.peer, output.request, content)
        self._daemon.driver.wake()

    def _answer_probe(self, output: AnswerProbe) -> None:
        try:
            Segment.open(output.piece)
            if self._probe is None:
                self._probe = Segment.make(1)
        except OSError as error:
            reason = StorageFailureReason.not_shared
            self._answer(output.peer, StorageFailure(output.request, reason, f"no memory is shared: {error.strerror}"))
        else:
            self._answer(output.peer, Shared(output.request, self._probe.piece(0, 1)))

    def _tell_where(self, output: Transmit) -> None:
        content = output.content
        self._answer(output.peer, Mapped(output.request, content.view.nbytes, content.shared.pieces))
        if output.counted:
            if not self._told and not self._told_before:
                asyncio.get_running_loop().call_later(MAPPED_SECONDS, self._have_mapped)
            self._told.append((output.peer, output.request))

    def _have_mapped(self) -> None:
        """Who was told of shared memory some time ago has mapped it."""
        self._told_before, mapped = self._told, self._told_before
        if self._told_before:
            asyncio.get_running_loop().call_later(MAPPED_SECONDS, self._have_mapped)
        self._told = []
        with self._daemon.driver.lock:
            room_is_short = [self.state.transmitted(*key) for key in mapped]
        if any(room_is_short):
            self._daemon.driver.wake()

    def _answer(self, peer: int, message: Message) -> None:
        connection = self._daemon.driver.connections.get(peer)
        if connection is not None:
            connection.send(message)
            connection.flush()

    # ---- over connections

    def _begin_transmission(self, output: Transmit) -> None:
        key = output.peer, output.request
        if len(output.content.view) <= AT_ONCE_BYTES and output.peer not in self._readable:
            self._send_chunk(output, 0)
            if output.counted and self.state.transmitted(*key):
                self._daemon.driver.wake()
            return
        task = asyncio.get_running_loop().create_task(self._transmit(output))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._transmitted(key, output.counted))

    def _transmitted(self, key: tuple[int, int], counted: bool) -> None:
        del self._under_way[key]
        if counted:
            with self._daemon.driver.lock:
                room_is_short = self.state.transmitted(*key)
            if room_is_short:
                self._daemon.driver.wake()

    async def _transmit(self, output: Transmit) -> None:
        for offset in range(0, max(1, len(output.content.view)), MAX_ATTACHMENT_BYTES):
            if output.peer not in self._daemon.driver.connections:
                return
            self._send_chunk(output, offset)
            event = self._readable.get(output.peer)
            if event is not None:
                await event.wait()
            else:
                await asyncio.sleep(0)

    def _send_chunk(self, output: Transmit, offset: int) -> None:
        part = output.content.view[offset : offset + MAX_ATTACHMENT_BYTES]
        connection = self._daemon.driver.connections.get(output.peer)
        if connection is not None:
            connection.send(Chunk(output.request, len(output.content.view), offset), part)
            connection.flush()

    def _paused(self, peer: int, paused: bool) -> None:
        """A reader is behind, or has caught up."""
        if paused:
            self._readable.setdefault(peer, asyncio.Event())
        else:
            event = self._readable.pop(peer, None)
            if event is not None:
                event.set()
