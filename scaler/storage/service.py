"""The object storage server's service: connections, and objects on their way out at the speed their readers read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from scaler.ids import Address
from scaler.machine import Output
from scaler.messages import Chunk, Mapped, Message, Role, Shared, StorageFailure, StorageFailureReason
from scaler.net.daemon import Daemon, log
from scaler.storage.segments import SHARED_BYTES, Segment, SharedObject, open_object, share
from scaler.storage.state import AnswerProbe, Content, Open, StopTransmit, StorageState, Transmit
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
        self._probe: Segment | None = None
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
        """Transmit, StopTransmit, Open and AnswerProbe."""
        if isinstance(output, Open):
            self._open(output)
        elif isinstance(output, AnswerProbe):
            self._answer_probe(output)
        elif isinstance(output, StopTransmit):
            task = self._under_way.get((output.peer, output.request))
            if task is not None:
                task.cancel()
        elif isinstance(output, Transmit):
            if output.shared and output.content.view.nbytes >= SHARED_BYTES:
                self._tell_where(output)
            else:
                self._begin_transmission(output)

    def _begin_transmission(self, output: Transmit) -> None:
        if len(output.content.view) <= AT_ONCE_BYTES and not self._is_paused(output.peer):
            self._send_chunk(output, 0)
            self._flush(output.peer)
        else:
            self._keep(output, self._transmit(output))

    def _keep(self, output: Transmit, work: Coroutine[Any, Any, None]) -> None:
        """Do the work as a task, until it ends or nobody wants it."""
        key = output.peer, output.request
        task = self._under_way[key] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._under_way.pop(key) if self._under_way.get(key) is task else None)

    def _open(self, output: Open) -> None:
        try:
            shared = open_object(output.pieces, output.total_bytes)
            content = Content(shared.map().view, shared)
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
        """Answer with shared memory, into which content that came over a connection is copied first."""
        if output.content.shared is not None:
            self._tell(output, output.content.shared)
        else:
            self._keep(output, self._copy_and_tell(output))

    async def _copy_and_tell(self, output: Transmit) -> None:
        content = output.content
        try:
            shared = await asyncio.to_thread(share, [content.view])
            content.view, content.shared = shared.map().view, shared
        except OSError as error:
            log.debug("an object cannot be put into shared memory: %s", error.strerror)
            self._begin_transmission(output)
        else:
            self._tell(output, shared)

    def _tell(self, output: Transmit, shared: SharedObject) -> None:
        self._answer(output.peer, Mapped(output.request, output.content.view.nbytes, shared.pieces))

    def _answer(self, peer: int, message: Message) -> None:
        connection = self._daemon.driver.connections.get(peer)
        if connection is not None:
            connection.send(message)
            connection.flush()

    async def _transmit(self, output: Transmit) -> None:
        for offset in range(0, max(1, len(output.content.view)), MAX_ATTACHMENT_BYTES):
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
            part = output.content.view[offset : offset + MAX_ATTACHMENT_BYTES]
            connection.send(Chunk(output.request, len(output.content.view), offset), part)

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
