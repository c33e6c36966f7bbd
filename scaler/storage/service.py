"""The object storage server's service: connections, and objects on their way out at the speed their readers read."""

from __future__ import annotations

import asyncio
import time

from scaler.ids import Address
from scaler.machine import Output
from scaler.messages import Chunk, Role
from scaler.net.daemon import Daemon, log
from scaler.storage.mover import Moved, Mover
from scaler.storage.objects import Forget, Mark, Restore, Spill
from scaler.storage.settings import StorageSettings
from scaler.storage.state import UNCOUNTED_BYTES, StopTransmit, StorageState, Transmit
from scaler.wire.framing import MAX_ATTACHMENT_BYTES

AT_ONCE_BYTES = 256 << 10
"""Smaller objects are answered at once, larger ones by a task of their own that waits for the reader."""


class StorageService:
    """Carries what a StorageState decides."""

    def __init__(self, address: Address, settings: StorageSettings | None = None) -> None:
        self._settings = settings or StorageSettings()
        self.state = StorageState(memory_limit_bytes=self._settings.limit(), durable=self._settings.durable)
        self.address = address
        self._mover: Mover | None = None
        """None until it has started."""
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._readable: dict[int, asyncio.Event] = {}
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        self._daemon = daemon
        daemon.driver.paused = self._paused
        self.address = await daemon.driver.listen(self.address, {Role.storage_user})
        # Not before: what another server left is deleted or taken over, and one that still runs has this address. And nobody
        # is heard in between, since nothing is awaited.
        copies, left = self._settings.copies()
        self.state.adopt(left)
        self._mover = Mover(copies, self._moved)
        if left:
            log.info("%s: found %d objects of an earlier server", daemon.name, len(left))
        log.info("%s: listen to object storage address %s", daemon.name, self.address)

    def asked_to_end(self, reason: str) -> None:
        self._daemon.stop(reason)

    async def close(self) -> None:
        for task in list(self._under_way.values()):
            task.cancel()
        if self._mover is not None:
            self._mover.close()

    def carry_out(self, output: Output) -> None:
        """What is peculiar to the state."""
        if isinstance(output, Spill | Restore | Forget | Mark):
            assert self._mover is not None
            self._mover.do(output)
        elif isinstance(output, StopTransmit):
            task = self._under_way.get((output.peer, output.request))
            if task is not None:
                task.cancel()
        elif isinstance(output, Transmit):
            key = output.peer, output.request
            if len(output.data) <= AT_ONCE_BYTES and not self._is_paused(output.peer):
                self._send_chunk(output, 0)
                self._flush(output.peer)
                if len(output.data) > UNCOUNTED_BYTES and self.state.transmitted(*key):
                    self._daemon.driver.wake()
                return
            task = asyncio.get_running_loop().create_task(self._transmit(output))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._transmitted(key))

    def _transmitted(self, key: tuple[int, int]) -> None:
        del self._under_way[key]
        with self._daemon.driver.lock:
            self.state.transmitted(*key)
        self._daemon.driver.wake()

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

    async def _transmit(self, output: Transmit) -> None:
        for offset in range(0, max(1, len(output.data)), MAX_ATTACHMENT_BYTES):
            if output.peer not in self._daemon.driver.connections:
                return
            self._send_chunk(output, offset)
            self._flush(output.peer)
            event = self._readable.get(output.peer)
            if event is not None:
                await event.wait()
            else:
                await asyncio.sleep(0)

    def _send_chunk(self, output: Transmit, offset: int) -> None:
        connection = self._daemon.driver.connections.get(output.peer)
        if connection is not None:
            part = output.data[offset : offset + MAX_ATTACHMENT_BYTES]
            connection.send(Chunk(output.request, len(output.data), offset), part)

    def _flush(self, peer: int) -> None:
        connection = self._daemon.driver.connections.get(peer)
        if connection is not None:
            connection.flush()

    def _is_paused(self, peer: int) -> bool:
        return peer in self._readable

    def _paused(self, peer: int, paused: bool) -> None:
        """A reader is behind, or has caught up."""
        if paused:
            self._readable.setdefault(peer, asyncio.Event())
        else:
            event = self._readable.pop(peer, None)
            if event is not None:
                event.set()
