"""The object storage server's service: connections, and objects on their way out at the speed their readers read."""

from __future__ import annotations

import asyncio

from scaler.ids import Address
from scaler.machine import Output
from scaler.messages import Chunk, Role
from scaler.net.daemon import Daemon, log
from scaler.storage.state import StopTransmit, StorageState, Transmit
from scaler.wire.framing import MAX_ATTACHMENT_BYTES

AT_ONCE_BYTES = 256 << 10
"""Smaller objects are answered at once, larger ones by a task of their own that waits for the reader."""


class StorageService:
    """Carries what a StorageState decides."""

    def __init__(self, address: Address) -> None:
        self.state = StorageState()
        self.address = address
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._readable: dict[int, asyncio.Event] = {}
        self._daemon: Daemon

    async def start(self, daemon: Daemon) -> None:
        self._daemon = daemon
        daemon.driver.paused = self._paused
        self.address = await daemon.driver.listen(self.address, {Role.storage_user})
        log.info("%s: listen to object storage address %s", daemon.name, self.address)

    def asked_to_end(self, reason: str) -> None:
        self._daemon.stop(reason)

    async def close(self) -> None:
        for task in list(self._under_way.values()):
            task.cancel()

    def carry_out(self, output: Output) -> None:
        """Transmit and StopTransmit."""
        if isinstance(output, StopTransmit):
            task = self._under_way.get((output.peer, output.request))
            if task is not None:
                task.cancel()
        elif isinstance(output, Transmit):
            key = output.peer, output.request
            if len(output.data) <= AT_ONCE_BYTES and not self._is_paused(output.peer):
                self._send_chunk(output, 0)
                self._flush(output.peer)
                return
            task = asyncio.get_running_loop().create_task(self._transmit(output))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))

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
