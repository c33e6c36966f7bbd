"""The feed of a scheduler: a connection that is made again by itself, and recordings of it.

A recording is what the scheduler said, frame by frame, as it came over the wire.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from scaler.errors import ConnectionLostError, ProtocolError, RefusedError, ScalerError
from scaler.ids import Address, new_identity
from scaler.machine import Peer
from scaler.messages import (
    Answer,
    CancelTask,
    DescribeGraph,
    DrainWorker,
    ExplainTask,
    Explanation,
    GraphDescription,
    Message,
    ProfilePart,
    ProfileTasks,
    Role,
    StopProfile,
    Subscribe,
    Update,
)
from scaler.monitor.profile import Profile
from scaler.net.connection import Connection
from scaler.net.driver import conversation
from scaler.security import Security, from_environment
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import NONCE_BYTES, Dialer

BACK_OFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
READ_BYTES = 256 << 10


@dataclass(slots=True)
class Status:
    """Of the connection, for people and programs."""

    connected: bool
    text: str


@dataclass(slots=True)
class Feed:
    """What a scheduler tells at its monitor address.

    ``run`` calls ``told`` with each Update and ``changed`` when the connection is made or lost, and goes on until it is
    cancelled. All on the event loop that runs it.
    """

    address: Address
    told: Callable[[Update], None]
    changed: Callable[[Status], None] = lambda status: None
    interval_seconds: float = 1.0
    record: Recorder | None = None
    """Where to write down what is told."""
    name: str = "monitor"
    security: Security | None = None
    """Without it as the environment says."""
    _connection: Connection | None = None
    _asked: dict[int, asyncio.Future[Message]] = field(default_factory=dict)
    _profiles: dict[int, Profile] = field(default_factory=dict)
    """Those that go on, by request."""
    _requests: int = 0

    async def run(self) -> None:
        """Be connected, and connect again, until cancelled. Raises RefusedError where the scheduler does not want us."""
        attempt = 0
        while True:
            try:
                gone = await self._dial()
                attempt = 0
                self.changed(Status(True, f"connected to {self.address}"))
                why = await gone
            except (OSError, ProtocolError) as error:
                if isinstance(error, RefusedError):
                    raise
                number = getattr(error, "errno", None)
                why = os.strerror(number) if number and number > 0 else str(error)
            finally:
                self._close()
            pause = BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)]
            attempt += 1
            self.changed(Status(False, f"no connection to {self.address}: {why}"))
            await asyncio.sleep(pause)

    async def first(self, seconds: float, count: int = 1) -> None:
        """Run until so many updates were told.

        Raises ConnectionLostError when that takes longer than so many seconds, RefusedError as run() does.
        """
        told, update = asyncio.get_running_loop().create_future(), self.told
        why = [f"no answer from {self.address}"]
        left = [count]

        def heard(message: Update) -> None:
            update(message)
            left[0] -= 1
            if left[0] == 0:
                told.set_result(None)

        def changed(status: Status) -> None:
            why[0] = status.text if not status.connected else f"{self.address} does not say anything"

        self.told, self.changed = heard, changed
        running = asyncio.ensure_future(self.run())
        done, _ = await asyncio.wait({running, told}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        await asyncio.wait({running})
        if running in done:
            running.result()
        if told not in done:
            raise ConnectionLostError(f"{why[0]} (tried for {seconds:g} s)")

    async def take(self, profile: Profile, seconds: float) -> None:
        """Run until a profile has ended.

        Raises ConnectionLostError where there is no connection within so many seconds, or it is lost before anything was found;
        ScalerError with what the scheduler says where it refuses.
        """
        ended, connected, why = asyncio.Event(), asyncio.Event(), f"no answer from {self.address}"

        def changed(status: Status) -> None:
            nonlocal why
            why = status.text
            if status.connected:
                connected.set()

        self.changed, profile.changed = changed, lambda: ended.set() if profile.ended else None
        running = asyncio.ensure_future(self.run())
        try:
            waiting = asyncio.ensure_future(connected.wait())
            done, _ = await asyncio.wait({running, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if running in done:
                running.result()
            if waiting not in done:
                raise ConnectionLostError(f"{why} (tried for {seconds:g} s)")
            answer = await self.profile(profile)
            if not answer.done:
                raise ScalerError(answer.text)
            await ended.wait()
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def explain(self, task: int) -> Explanation:
        """Why a task is where it is. Raises ConnectionLostError without a connection."""
        answer = await self._ask(lambda request: ExplainTask(request, task))
        assert isinstance(answer, Explanation)
        return answer

    async def describe(self, graph: int) -> GraphDescription:
        """What a graph, by its number, looks like now. Raises ConnectionLostError without a connection."""
        answer = await self._ask(lambda request: DescribeGraph(request, graph))
        assert isinstance(answer, GraphDescription)
        return answer

    async def cancel(self, task: int) -> Answer:
        """Cancel a task. Raises ConnectionLostError without a connection."""
        return await self._act(lambda request: CancelTask(request, task))

    async def drain(self, worker: bytes) -> Answer:
        """Have a worker, by its identity, leave. Raises ConnectionLostError without a connection."""
        return await self._act(lambda request: DrainWorker(request, worker))

    async def profile(self, profile: Profile) -> Answer:
        """Begin a profile, if the scheduler lets us; it is told what is found until it has ended.

        Raises ConnectionLostError without a connection.
        """

        def make(request: int) -> ProfileTasks:
            profile.request = request
            self._profiles[request] = profile
            milliseconds, slots = round(profile.seconds * 1000), array("I", profile.slots)
            return ProfileTasks(request, milliseconds, profile.hertz, profile.worker, slots, profile.function)

        answer = await self._act(make)
        if not answer.done:
            self._profiles.pop(profile.request, None)
        return answer

    def stop_profile(self, profile: Profile) -> None:
        """End it before its time; it is told of its end soon. One that has ended stays as it is."""
        if profile.request in self._profiles and self._connection is not None:
            self._connection.send(StopProfile(profile.request))
            self._connection.flush()

    # ---- inside

    async def _act(self, make: Callable[[int], Message]) -> Answer:
        answer = await self._ask(make)
        assert isinstance(answer, Answer)
        return answer

    async def _ask(self, make: Callable[[int], Message]) -> Message:
        if self._connection is None:
            raise ConnectionLostError(f"no connection to {self.address}")
        self._requests += 1
        request = self._requests
        self._asked[request] = answer = asyncio.get_running_loop().create_future()
        self._connection.send(make(request))
        self._connection.flush()
        try:
            return await answer
        finally:
            self._asked.pop(request, None)

    async def _dial(self) -> asyncio.Future[str]:
        """Connect and subscribe; returns what ends, with the reason, when the connection is lost."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        gone: asyncio.Future[str] = loop.create_future()
        security = self.security or from_environment()
        secret, tls = security.secret_for(self.address), security.dialing(self.address)
        side = Dialer(Role.monitor, new_identity(), self.name, secret, os.urandom(NONCE_BYTES))
        says, hears = conversation(Role.monitor)

        def ready(connection: Connection, peer: Peer) -> None:
            if not opened.done():
                opened.set_result(None)

        def lost(connection: Connection, reason: str) -> None:
            if not opened.done():
                opened.set_exception(connection.refusal or ProtocolError(reason))
            elif not gone.done():
                gone.set_result(reason)

        def make() -> Connection:
            return Connection(side, lambda peer: (hears, says), ready, self._received, lost, tls=tls)

        if self.address.path:
            _, connection = await loop.create_unix_connection(make, self.address.path)
        else:
            _, connection = await loop.create_connection(make, self.address.host, self.address.port)
        try:
            await opened
        except BaseException:
            connection.close("this side ends")
            raise
        self._connection = connection
        connection.send(Subscribe(int(self.interval_seconds * 1000)))
        connection.flush()
        return gone

    def _received(self, connection: Connection, message: Message, attachment: bytes | bytearray) -> None:
        if self.record is not None:
            self.record.write(message)
        if isinstance(message, Update):
            self.told(message)
        elif isinstance(message, Answer | Explanation | GraphDescription):
            answer = self._asked.get(message.request)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, ProfilePart) and message.request in self._profiles:
            profile = self._profiles.pop(message.request) if message.ended else self._profiles[message.request]
            profile.apply(message)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close("this side ends")
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionLostError(f"lost the connection to {self.address} before the answer"))
        self._asked.clear()
        profiles, self._profiles = self._profiles, {}
        for profile in profiles.values():
            profile.end(f"the rest: the connection to {self.address} was lost")


class Recorder:
    """Writes a recording. ``close`` it in the end; what was written before stays readable if that does not happen."""

    def __init__(self, path: str | Path) -> None:
        """Raises OSError for a file that cannot be written."""
        self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115
        self._codec = conversation(Role.monitor)[1]

    def write(self, message: Message) -> None:
        """Append what a scheduler said."""
        self._file.write(self._codec.frame(message))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def recorded(path: str | Path) -> list[Update]:
    """The updates of a recording, all at once; see read_recording()."""
    return list(read_recording(path))


def read_recording(path: str | Path) -> Iterator[Update]:
    """The updates of a recording, one by one. Raises OSError, or ProtocolError for a file that is none.

    A frame at the end that was not written to its end is passed over.
    """
    codec, frames = conversation(Role.monitor)[1], FrameReader()
    frames.handshake_done()
    none = True
    with Path(path).open("rb") as file:
        while data := file.read(READ_BYTES):
            _feed(frames, data)
            for message, _ in iter(frames.take, None):
                said = codec.decode(message)
                if isinstance(said, Update):
                    none = False
                    yield said
            if frames.error is not None:
                raise ProtocolError(f"{path} is no recording of a monitor: {frames.error}")
    if none:
        raise ProtocolError(f"{path} is no recording of a monitor: there is no update in it")


def _feed(frames: FrameReader, data: bytes) -> None:
    """Give a reader all of this, where it wants it."""
    rest = frames.rest
    while data and rest is not None:
        part, data = data[: len(rest)], data[len(rest) :]
        rest[: len(part)] = part
        frames.received(len(part))
        rest = frames.rest
    if data:
        frames.feed(bytearray(data), len(data))


@dataclass(slots=True)
class Recording:
    """A recording that is told as a Feed tells, at the pace in which it came. Nothing can be asked of it."""

    updates: list[Update]
    told: Callable[[Update], None]
    changed: Callable[[Status], None] = lambda status: None
    speed: float = 1.0
    """How many times as fast; 0: all at once."""
    label: str = "the recording"

    async def run(self) -> None:
        """Until its end."""
        self.changed(Status(True, f"replaying {self.label}"))
        before: Update | None = None
        for update in self.updates:
            if before is not None and self.speed:
                await asyncio.sleep(max(0, update.unix_milliseconds - before.unix_milliseconds) / 1000 / self.speed)
            before = update
            self.told(update)
        self.changed(Status(True, f"the end of {self.label}"))

    async def explain(self, task: int) -> Explanation:
        raise ConnectionLostError("this is a recording; only a running scheduler can be asked")

    async def describe(self, graph: int) -> GraphDescription:
        raise ConnectionLostError("this is a recording; only a running scheduler can be asked")

    async def cancel(self, task: int) -> Answer:
        raise ConnectionLostError("this is a recording; only a running scheduler can be told anything")

    async def drain(self, worker: bytes) -> Answer:
        return await self.cancel(0)

    async def profile(self, profile: Profile) -> Answer:
        raise ConnectionLostError("this is a recording; only a running scheduler can be looked into")

    def stop_profile(self, profile: Profile) -> None:
        """None goes on."""
