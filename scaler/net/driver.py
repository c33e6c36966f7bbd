"""Runs any state: listens, dials, tells it what happened, does what it asks.

All that arrives within one turn of the event loop is told first; then one ``drain`` decides and every peer gets what it is
sent in one write.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from scaler.errors import ConfigurationError, ConnectionLostError, NotTrustedError, ProtocolError, RefusedError
from scaler.ids import Address
from scaler.machine import Close, Log, Output, Pause, Peer, Resume, Send, State, Stop
from scaler.messages import Message, Role
from scaler.net.connection import HANDSHAKE_SECONDS, Connection
from scaler.security import Security
from scaler.tls import TlsSession
from scaler.wire.codec import UnionCodec, codec
from scaler.wire.handshake import NONCE_BYTES, Dialer, Listener, handshake_codec

_CONVERSATIONS = {
    Role.client: ("client", "ClientToScheduler", "SchedulerToClient"),
    Role.worker: ("worker", "WorkerToScheduler", "SchedulerToWorker"),
    Role.manager: ("manager", "ManagerToScheduler", "SchedulerToManager"),
    Role.monitor: ("monitor", "MonitorToScheduler", "SchedulerToMonitor"),
    Role.storage_user: ("storage", "ToStorage", "FromStorage"),
    Role.host_storage: ("host", "HostToStorage", "StorageToHost"),
}
BACK_OFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.5, 1.0)
REMIND_SECONDS = 10.0
IDLE_SECONDS = 0.000_05
MOST_GREETING = 4096
"""How many connections may be in their handshake: who has been longest is closed for a new one."""
MOST_COMPLAINTS = 20
COMPLAINT_SECONDS = 10.0
"""So many handshakes that failed are logged one by one in that time; of more, only how many there were."""
SHORTEST_PATIENCE = 0.1


def load_conversations() -> None:
    """Load all there is to load now, so that processes forked from this one share it."""
    for role in _CONVERSATIONS:
        conversation(role)
    handshake_codec()
    new_event_loop().close()


def conversation(role: Role) -> tuple[UnionCodec, UnionCodec]:
    """What the dialer says and what the listener says, for the role of the dialer."""
    file, dialer, listener = _CONVERSATIONS[role]
    return codec(file, dialer), codec(file, listener)


class Driver:
    """The one service loop. ``carry_out`` gets the outputs peculiar to the state. All methods but one run on the loop.

    ``lock`` is held while the state is used and outputs are carried out, not in ``after_turn``. Another thread that has it
    may use the state, too, and send_in_thread().
    """

    def __init__(
        self,
        state: State,
        identity: bytes,
        name: str,
        carry_out: Callable[[Output], None] | None = None,
        security: Security | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.state = state
        self.identity = identity
        self.name = name
        self.hello_name = name
        """What peers are told. A client's is what its user calls it, which may be nothing."""
        self.connections: dict[int, Connection] = {}
        self.stopped: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self.lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._carry_out = carry_out
        self._security = security or Security()
        self._log = logger or logging.getLogger("scaler")
        self._numbers = 0
        self._woken = False
        self._loop.set_exception_handler(self._crashed)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._due = False
        self._turned_at = 0.0
        self._servers: list[asyncio.Server] = []
        self._listening: list[Address] = []
        """Where they listen."""
        self._greeting: dict[Connection, None] = {}
        """Those whose handshake is not over, in the order in which they came."""
        self._complaints = 0
        """Failed handshakes that there were since the log was given room for them."""
        self._ended = False
        self._dials: set[asyncio.Task[None]] = set()
        self._dialed: dict[int, asyncio.Future[str]] = {}
        """What ends when a connection that this side dialed does, by its number."""
        self.software = ""
        """What is told of it to those who are dialed: see scaler.software."""
        self.paused: Callable[[int, bool], None] | None = None
        """Told when a peer stops reading, and when it reads again."""
        self.after_turn: Callable[[], None] | None = None
        """Called after all outputs of a turn have been carried out, without the lock."""

    # ---- connections

    async def listen(self, address: Address, roles: Collection[Role]) -> Address:
        """Accept peers of these roles; returns the address, with the real port where 0 was asked for.

        Raises ConfigurationError when the address cannot be listened on.
        """

        def accepted() -> Connection:
            side = Listener(roles, self.identity, self._security.secret, os.urandom(NONCE_BYTES))
            return self._connection(side, lambda peer: conversation(peer.role), self._security.accepted(address))

        self._security.check_listening(address)
        try:
            if address.path:
                server = await self._loop.create_unix_server(accepted, sock=unix_listener(address.path), backlog=1024)
            else:
                server = await self._loop.create_server(accepted, address.host, address.port, backlog=1024)
        except OSError as error:
            # The loops put a sentence of their own around the errno's.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            what = "path" if address.path else "port"
            raise ConfigurationError(
                f"cannot listen on {address}: {why}; is another process using the {what}?"
            ) from None
        self._servers.append(server)
        address = address if address.path else address.with_port(server.sockets[0].getsockname()[1])
        self._listening.append(address)
        self._security.listening(address)
        return address

    def dial(self, address: Address, role: Role, what: str, give_up_seconds: float | None = None) -> None:
        """Connect, and connect again whenever the connection is lost, until the driver ends.

        Waits longer from try to try, and writes one line a while. A refusal, or ``give_up_seconds`` without a connection,
        stops the driver with exit code 1.
        """
        task = self._loop.create_task(self._keep_dialing(address, role, what, give_up_seconds))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _keep_dialing(self, address: Address, role: Role, what: str, give_up: float | None) -> None:
        while True:
            try:
                connection, gone = await self._dial_until_connected(address, role, what, give_up)
            except (ConnectionLostError, RefusedError, ConfigurationError) as error:
                self.stop(Stop(str(error), 1))
                return
            reason = await gone
            if self.stopped.done():
                return
            if connection.number not in self.connections:
                self._log.warning("%s: lost %s at %s: %s", self.name, what, address, reason)

    async def _dial_until_connected(
        self, address: Address, role: Role, what: str, give_up: float | None
    ) -> tuple[Connection, asyncio.Future[str]]:
        began = reminded = time.monotonic()
        attempt = 0
        while True:
            left = HANDSHAKE_SECONDS if give_up is None else give_up - (time.monotonic() - began)
            try:
                return await self.dial_once(address, role, min(HANDSHAKE_SECONDS, max(SHORTEST_PATIENCE, left)))
            except NotTrustedError as error:
                raise NotTrustedError(f"{what} at {address} is not to be trusted: {error}") from None
            except RefusedError as error:
                raise RefusedError(f"{what} at {address} refused the connection: {error}") from None
            except (OSError, ProtocolError) as error:
                now = time.monotonic()
                why = getattr(error, "strerror", None) or str(error)
                if give_up is not None and now - began >= give_up:
                    text = f"cannot reach {what} at {address}: {why} (tried for {now - began:.1f} s)"
                    raise ConnectionLostError(text) from None
                if now - reminded >= REMIND_SECONDS or attempt == len(BACK_OFF_SECONDS):
                    reminded = now
                    self._log.info("%s: waiting for %s at %s: %s", self.name, what, address, why)
            pause = BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)]
            attempt += 1
            await asyncio.sleep(pause if give_up is None else min(pause, max(0.01, give_up - (now - began))))

    async def dial_once(
        self, address: Address, role: Role, patience: float = HANDSHAKE_SECONDS
    ) -> tuple[Connection, asyncio.Future[str]]:
        """Connect and shake hands; returns the connection and a future that ends, with the reason, when it is lost.

        Raises OSError when nobody answers within ``patience`` seconds, RefusedError or ProtocolError when the handshake fails.
        """
        secret, tls = self._security.secret_for(address), self._security.dialing(address)
        side = Dialer(role, self.identity, self.hello_name, secret, os.urandom(NONCE_BYTES), self.software)
        says, hears = conversation(role)
        opened: asyncio.Future[None] = self._loop.create_future()
        gone: asyncio.Future[str] = self._loop.create_future()
        made: list[Connection] = []

        def ready(connection: Connection, peer: Peer) -> None:
            if opened.cancelled():  # this side ends, in the middle of the handshake
                connection.close("this side ends")
                return
            self._connected(connection, peer)
            self._dialed[connection.number] = gone
            opened.set_result(None)

        def lost(connection: Connection, reason: str) -> None:
            self._greeting.pop(connection, None)
            if opened.cancelled():
                return
            if opened.done():
                self._disconnected(connection, reason)
                self._over(connection.number, reason)
            else:
                opened.set_exception(connection.refusal or ProtocolError(reason))

        def make() -> Connection:
            connection = Connection(
                side, lambda peer: (hears, says), ready, self._received, lost, self._pause, self.wake_after_reading, tls
            )
            self._greeting[connection] = None
            made.append(connection)
            return connection

        try:
            async with asyncio.timeout(patience):
                if address.path:
                    _, connection = await self._loop.create_unix_connection(make, address.path)
                else:
                    _, connection = await self._loop.create_connection(make, address.host, address.port)
        except OSError as error:
            for connection in made:
                self._greeting.pop(connection, None)
            if isinstance(error, TimeoutError):
                raise TimeoutError(errno.ETIMEDOUT, f"no answer within {patience:.3g} s") from None
            raise
        try:
            await opened
        except RefusedError as error:
            if self._security.secret_for(address) != secret:  # Who listens there has just been started.
                raise ConnectionRefusedError(str(error)) from None
            raise
        return connection, gone

    def _connection(
        self, side: Listener, codecs: Callable[[Peer], tuple[UnionCodec, UnionCodec]], tls: TlsSession | None
    ) -> Connection:
        connection = Connection(
            side,
            codecs,
            self._connected,
            self._received,
            self._disconnected,
            self._pause,
            self.wake_after_reading,
            tls,
        )
        if self._ended:
            connection.close("this side ends")
        self._greeting[connection] = None
        if len(self._greeting) > MOST_GREETING:
            next(iter(self._greeting)).abort(f"more than {MOST_GREETING} connections are in their handshake")
        return connection

    def _connected(self, connection: Connection, peer: Peer) -> None:
        self._greeting.pop(connection, None)
        self._numbers += 1
        connection.number = self._numbers
        with self.lock:
            self.connections[connection.number] = connection
            self.state.peer_connected(connection.number, peer, time.monotonic())
        self.wake()

    def _received(self, connection: Connection, message: Message, attachment: bytes | bytearray) -> None:
        if connection.number in self.connections:
            with self.lock:
                self.state.receive(connection.number, message, time.monotonic(), attachment)

    def _disconnected(self, connection: Connection, reason: str) -> None:
        self._greeting.pop(connection, None)
        if connection.number in self.connections:
            with self.lock:
                del self.connections[connection.number]
                self.state.peer_lost(connection.number, reason, time.monotonic())
            self.wake()
        elif connection.peer is None:
            # One that leaves in the middle of the handshake has changed its mind, as a client that ends does.
            level = logging.DEBUG if connection.left else logging.WARNING
            if level == logging.DEBUG or self._may_complain():
                self._log.log(level, "%s: closed connection from %s: %s", self.name, connection.remote, reason)

    def _may_complain(self) -> bool:
        """Whether the log has room for another stranger."""
        self._complaints += 1
        if self._complaints == 1:
            self._loop.call_later(COMPLAINT_SECONDS, self._sum_up_complaints)
        return self._complaints <= MOST_COMPLAINTS

    def _sum_up_complaints(self) -> None:
        unsaid, self._complaints = self._complaints - MOST_COMPLAINTS, 0
        if unsaid > 0:
            text = "%s: closed %d more connections in %.0f s that did not get through their handshake"
            self._log.warning(text, self.name, unsaid, COMPLAINT_SECONDS)

    def _pause(self, connection: Connection, paused: bool) -> None:
        if self.paused is not None and connection.number:
            self.paused(connection.number, paused)

    # ---- decisions

    def wake(self) -> None:
        """Have the state decide, once, at the end of this turn of the loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self.turn)

    def wake_after_reading(self) -> None:
        """As wake(), but at once when nothing has happened for a while: a lone message should not wait for others."""
        if not self._woken and time.monotonic() - self._turned_at > IDLE_SECONDS:
            self.turn()
        else:
            self.wake()

    def turn(self) -> None:
        """Have the state decide now."""
        self._woken = False
        now = self._turned_at = time.monotonic()
        with self.lock:
            if self._due:
                self._due = False
                self.state.tick(now)
            self._do(self.state.drain(now))
            self._set_timer(now)
        if self.after_turn is not None:
            self.after_turn()

    def _set_timer(self, now: float) -> None:
        deadline = self.state.next_deadline()
        if deadline is None:
            deadline = float("inf")
        if deadline == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline != float("inf"):
            # Loops count in milliseconds: a timer that comes early finds nothing due and is set again.
            self._timer = self._loop.call_later(max(0.001, deadline - now), self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self._due = True
        self.wake()

    def _do(self, outputs: list[Output]) -> None:
        written: dict[int, Connection] = {}
        message: Message | None = None
        frame = b""
        for output in outputs:
            kind = type(output)
            if kind is Send:
                connection = self.connections.get(output.peer)
                if connection is not None:
                    try:
                        if output.message is message and frame and not output.attachment:
                            connection.send_frame(frame)  # Several monitors are told the same.
                        else:
                            frame = connection.send(output.message, output.attachment)
                            message = None if output.attachment else output.message
                    except ProtocolError as error:
                        self._log.error("%s: cannot send to %s: %s", self.name, connection.remote, error)
                        connection.abort(str(error))
                    written[output.peer] = connection
            elif kind is Log:
                self._log.log(output.level, "%s: %s", self.name, output.text)
            elif kind is Close:
                self._close(output)
            elif kind is Pause or kind is Resume:
                connection = self.connections.get(output.peer)
                if connection is not None:
                    connection.hold(kind is Pause)
            elif kind is Stop:
                self.stop(output)
            elif self._carry_out is not None:
                self._carry_out(output)
        for connection in written.values():
            connection.flush()

    def let_threads_send(self) -> None:
        """From here on send_in_thread() is quick, for the connections there are."""
        for connection in self.connections.values():
            connection.let_threads_flush()

    def send_in_thread(self, peer: int, message: Message) -> None:
        """Send a message at once, from another thread, which has the lock. Wakes the loop only where it has to help."""
        connection = self.connections.get(peer)
        if connection is not None:
            connection.send(message)
            if not connection.flush_in_thread():
                self._loop.call_soon_threadsafe(self._flush, connection)

    def _flush(self, connection: Connection) -> None:
        with self.lock:
            connection.flush()

    def _close(self, output: Close) -> None:
        connection = self.connections.pop(output.peer, None)
        if connection is not None:
            connection.close(output.reason)
            self._over(output.peer, output.reason)

    def _over(self, number: int, reason: str) -> None:
        """A connection is gone, by the peer or by the state's wish: dial again, if this side did."""
        gone = self._dialed.pop(number, None)
        if gone is not None and not gone.done():
            gone.set_result(reason)

    # ---- the end

    def _crashed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody expected: better an end that is told than a service that does half its work."""
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            self._log.debug("%s: %s: %s", self.name, context.get("message"), error)
            return
        self._log.error("%s: internal error: %s", self.name, context.get("message"), exc_info=error)
        self.stop(Stop(f"internal error: {type(error).__name__}: {error}", 1))

    def stop(self, output: Stop) -> None:
        """End the service: ``stopped`` becomes this."""
        if not self.stopped.done():
            self.stopped.set_result(output)

    async def close(self) -> None:
        """Close everything, after what was sent has been written (waits 2 s at most)."""
        self._ended = True
        for server in self._servers:
            server.close()
        for address in self._listening:
            self._security.closed(address)
            if address.path:
                with contextlib.suppress(FileNotFoundError):
                    Path(address.path).unlink()
        for task in list(self._dials):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        closing = [*self.connections.values(), *self._greeting]
        with self.lock:
            self.connections.clear()
            for connection in closing:
                connection.close("this side ends")
        for _ in range(200):
            if all(connection.finished for connection in closing):
                break
            await asyncio.sleep(0.01)


def unix_listener(path: str) -> socket.socket:
    """A Unix socket bound to this path, for this user alone. Raises OSError, also where somebody listens there already.

    The file of a process that is gone does not stand in the way.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if Path(path).is_socket() and probe.connect_ex(path) == errno.ECONNREFUSED:
                Path(path).unlink()
        listener.bind(path)
        Path(path).chmod(0o600)
    except BaseException:
        listener.close()
        raise
    return listener


def new_event_loop(kind: str = "uvloop") -> asyncio.AbstractEventLoop:
    """An event loop of the kind "uvloop" (where it is installed) or "builtin"."""
    if kind == "uvloop":
        try:
            import uvloop
        except ImportError:
            return asyncio.new_event_loop()
        loop: Any = uvloop.new_event_loop()
        return loop  # type: ignore[no-any-return]
    return asyncio.new_event_loop()
