"""The driver over real sockets on the loopback, with states that write down what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scaler.errors import ConfigurationError, RefusedError
from scaler.ids import Address
from scaler.liveness import DEAD_SECONDS
from scaler.machine import Close, Log, Output, Pause, Peer, Resume, Send, Stop
from scaler.messages import (
    Assign,
    ClientHeartbeat,
    HeartbeatEcho,
    Put,
    RefusalReason,
    Refused,
    Retracted,
    Role,
    Stored,
    WorkerHeartbeat,
)
from scaler.net import connection as connection_module
from scaler.net import driver as driver_module
from scaler.net.driver import Driver, new_event_loop
from scaler.security import Security
from scaler.wire.codec import codec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import handshake_codec

HERE = Address("127.0.0.1", 0)
LIMIT = 5.0


class Notes:
    """A state that writes down what happens, and wants done what ``todo`` holds."""

    def __init__(self) -> None:
        self.peers: list[int] = []
        self.heard: list[Any] = []
        self.lost: list[tuple[int, str]] = []
        self.drains: list[int] = []
        self.todo: list[Output] = []
        self.deadline: float | None = None
        self.ticks: list[float] = []
        self.answer: Callable[[int, Any], list[Output]] = lambda peer, message: []
        self.changed = asyncio.Event()

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        self.peers.append(peer)
        self.who = who
        self.changed.set()

    def receive(self, peer: int, message: Any, now: float, attachment: bytes = b"") -> None:
        self.heard.append(message)
        self.todo += self.answer(peer, message)
        self.changed.set()

    def peer_lost(self, peer: int, reason: str, now: float) -> None:
        self.lost.append((peer, reason))
        self.changed.set()

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.deadline = None
        self.changed.set()

    def drain(self, now: float) -> list[Output]:
        self.drains.append(len(self.heard))
        todo, self.todo = self.todo, []
        return todo

    def next_deadline(self) -> float | None:
        return self.deadline

    def snapshot(self) -> dict[str, Any]:
        return {}

    def check(self) -> None:
        pass

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not done():
                self.changed.clear()
                await self.changed.wait()


class Net:
    def __init__(self) -> None:
        self.drivers: list[Driver] = []

    def driver(self, secret: bytes = b"") -> tuple[Notes, Driver]:
        notes = Notes()
        made = Driver(
            notes, bytes([65 + len(self.drivers)]) * 16, f"driver {len(self.drivers)}", None, Security(secret)
        )
        self.drivers.append(made)
        return notes, made

    async def pair(self, role: Role = Role.client) -> tuple[Notes, Driver, Notes, Driver]:
        """A listener and a dialer, connected."""
        listens, listener = self.driver()
        address = await listener.listen(HERE, {role})
        dials, dialer = self.driver()
        dialer.dial(address, role, "the listener")
        await dials.until(lambda: bool(dials.peers))
        await listens.until(lambda: bool(listens.peers))
        return listens, listener, dials, dialer


@pytest.fixture(params=["builtin", "uvloop"])
def go(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a scenario on a new event loop, and closes all drivers after it."""
    monkeypatch.setattr(driver_module, "BACK_OFF_SECONDS", (0.01, 0.01))

    def run(scenario: Callable[[Net], Awaitable[None]]) -> None:
        async def main() -> None:
            net = Net()
            try:
                await asyncio.wait_for(scenario(net), 2 * LIMIT)
            finally:
                for made in net.drivers:
                    await made.close()
                await asyncio.sleep(0.01)  # What the kernel still has for either side arrives.

        loop = new_event_loop(request.param)
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    return run


def say(driver: Driver, state: Notes, *outputs: Output) -> None:
    state.todo += outputs
    driver.wake()


async def talk(address: Address, data: bytes) -> bytes:
    """What a listener answers to these bytes, until it closes."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(data)
    async with asyncio.timeout(LIMIT):
        answer = await reader.read()
    writer.close()
    return answer


def test_connect_and_talk(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair()
        assert (listens.who.role, listens.who.identity, listens.who.name) == (Role.client, b"B" * 16, "driver 1")
        assert (dials.who.role, dials.who.identity) == (Role.client, b"A" * 16)
        listens.answer = lambda peer, message: [Send(peer, HeartbeatEcho(message.sent_microseconds))]
        say(dialer, dials, Send(dials.peers[0], ClientHeartbeat(5)))
        await dials.until(lambda: bool(dials.heard))
        assert listens.heard == [ClientHeartbeat(5)] and dials.heard == [HeartbeatEcho(5)]

    go(scenario)


def test_all_of_a_burst_is_told_before_one_turn_decides(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair()
        before = len(listens.drains)
        say(dialer, dials, *[Send(dials.peers[0], ClientHeartbeat(n)) for n in range(500)])
        await listens.until(lambda: len(listens.heard) == 500)
        assert listens.heard == [ClientHeartbeat(n) for n in range(500)]
        assert len(listens.drains) - before <= 3

    go(scenario)


def test_sending_to_nobody_and_what_logs(go: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(net: Net) -> None:
        notes, driver = net.driver()
        with caplog.at_level(logging.INFO, "scaler"):
            say(driver, notes, Send(77, HeartbeatEcho(1)), Close(77, "x"), Log(20, "hello"), Stop("enough", 3))
            assert await driver.stopped == Stop("enough", 3)
        assert "driver 0: hello" in caplog.text
        driver.stop(Stop("again", 4))
        assert driver.stopped.result() == Stop("enough", 3)

    go(scenario)


def test_outputs_of_one_kind_of_state_are_carried_out_and_then_the_turn_is_over(go: Any) -> None:
    async def scenario(net: Net) -> None:
        notes, driver = net.driver()
        done: list[Any] = []
        driver._carry_out = done.append
        driver.after_turn = lambda: (done.append("after"), driver.stop(Stop("")))[0]
        say(driver, notes, "one", "two")
        await driver.stopped
        assert done == ["one", "two", "after"]

    go(scenario)


def test_the_tick_comes_when_it_is_due(go: Any) -> None:
    async def scenario(net: Net) -> None:
        notes, driver = net.driver()
        notes.deadline = due = asyncio.get_running_loop().time() + 0.02
        driver.wake()
        await notes.until(lambda: bool(notes.ticks))
        assert due - 0.002 <= notes.ticks[0] < due + 1 and len(notes.ticks) == 1

    go(scenario)


def test_a_role_that_is_not_served_is_refused_and_stops_the_dialer(go: Any) -> None:
    async def scenario(net: Net) -> None:
        _, listener = net.driver()
        address = await listener.listen(HERE, {Role.worker})
        notes, dialer = net.driver()
        with pytest.raises(RefusedError, match="role 'client' is not served here"):
            await dialer.dial_once(address, Role.client)
        dialer.dial(address, Role.client, "the scheduler")
        stop = await dialer.stopped
        assert stop.exit_code == 1 and notes.peers == []
        assert f"the scheduler at {address} refused the connection: role 'client'" in stop.reason

    go(scenario)


def test_secrets_over_sockets(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, listener = net.driver(b"open")
        address = await listener.listen(HERE, {Role.worker})
        _, good = net.driver(b"open")
        await good.dial_once(address, Role.worker)
        for wrong in (b"", b"shut"):
            with pytest.raises(RefusedError):
                await net.driver(wrong)[1].dial_once(address, Role.worker)
        await listens.until(lambda: len(listens.peers) == 1)

    go(scenario)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x08\0\0\0\0\0\0\0garbage!", b"\x07\0\0\0\0\0\0\0"])
def test_garbage_gets_a_refusal_and_a_clear_end(go: Any, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(net: Net) -> None:
        notes, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        frames = FrameReader()
        frames.feed(await talk(address, data))
        ((message, _),) = iter(frames.take, None)
        refused = handshake_codec().decode(message)
        assert isinstance(refused, Refused) and refused.reason == RefusalReason.not_scaler
        assert notes.peers == [] and notes.lost == []
        assert "closed connection from" in caplog.text

    go(scenario)


def test_garbage_after_the_handshake_closes_that_peer_only(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair()
        _, other = net.driver()
        (server,) = net.drivers[0]._servers
        address = HERE.with_port(server.sockets[0].getsockname()[1])
        _, gone = await other.dial_once(address, Role.client)
        await listens.until(lambda: len(listens.peers) == 2)
        dialer.connections[dials.peers[0]]._pending.append(b"\x07" * 8)
        dialer.connections[dials.peers[0]].flush()
        await listens.until(lambda: bool(listens.lost))
        assert listens.lost[0][0] == listens.peers[0] and "limit" in listens.lost[0][1]
        assert not gone.done()

    go(scenario)


def test_a_port_in_use_is_told_clearly(go: Any) -> None:
    async def scenario(net: Net) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = HERE.with_port(taken.getsockname()[1])
            with pytest.raises(
                ConfigurationError, match=f"cannot listen on {address}: .*; is another process using the port"
            ):
                await net.driver()[1].listen(address, {Role.client})

    go(scenario)


def test_a_dialer_gives_up_and_names_the_address(go: Any) -> None:
    async def scenario(net: Net) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            address = HERE.with_port(nobody.getsockname()[1])
        _, dialer = net.driver()
        dialer.dial(address, Role.client, "the scheduler", give_up_seconds=0.05)
        stop = await dialer.stopped
        assert stop.exit_code == 1 and stop.reason.startswith(f"cannot reach the scheduler at {address}: ")

    go(scenario)


def test_a_machine_that_does_not_answer_is_not_waited_for_longer_than_was_said(go: Any) -> None:
    """The kernel would try for two minutes. A full backlog makes it silent, as a machine that is gone."""

    async def scenario(net: Net) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, contextlib.ExitStack() as others:
            port = silent.getsockname()[1]
            for _ in range(3):
                other = others.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(("127.0.0.1", port))
            _, dialer = net.driver()
            dialer.dial(Address("127.0.0.1", port), Role.client, "the scheduler", give_up_seconds=0.3)
            stop = await asyncio.wait_for(dialer.stopped, LIMIT)
            assert stop.reason.startswith("cannot reach the scheduler at") and "no answer within 0.3 s" in stop.reason
            assert not dialer._greeting

    go(scenario)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_the_kernel_looks_whether_the_machine_of_a_peer_is_there(go: Any) -> None:
    async def scenario(net: Net) -> None:
        _, listener, _, dialer = await net.pair()
        for driver in (listener, dialer):
            (connection,) = driver.connections.values()
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle, pause, count = (
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + pause * count == DEAD_SECONDS
            unanswered = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert unanswered == 1000 * DEAD_SECONDS

    go(scenario)


def test_a_dialer_that_does_not_give_up_finds_a_listener_that_comes_late(go: Any) -> None:
    async def scenario(net: Net) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            address = HERE.with_port(nobody.getsockname()[1])
        dials, dialer = net.driver()
        dialer.dial(address, Role.client, "the scheduler")
        await asyncio.sleep(0)
        await net.driver()[1].listen(address, {Role.client})
        await dials.until(lambda: bool(dials.peers))

    go(scenario)


def test_a_port_that_a_dialer_was_given_itself_is_refused_and_free_again(go: Any) -> None:
    """Linux gives out ports by itself, the one that is dialed among them, and connects a socket with itself then."""

    class OnThatPort:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop

        def __getattr__(self, name: str) -> Any:
            return getattr(self._loop, name)

        def create_connection(self, make: Any, host: str, port: int) -> Any:
            return self._loop.create_connection(make, host, port, local_addr=(host, port))

    async def scenario(net: Net) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            address = HERE.with_port(nobody.getsockname()[1])
        dials, dialer = net.driver()
        dialer._loop = OnThatPort(dialer._loop)  # type: ignore[assignment]
        with pytest.raises(ConnectionRefusedError, match=os.strerror(errno.ECONNREFUSED)):
            await dialer.dial_once(address, Role.client)
        assert not dialer._greeting
        await net.driver()[1].listen(address, {Role.client})
        dialer._loop = asyncio.get_running_loop()
        await dialer.dial_once(address, Role.client)
        assert dials.peers

    go(scenario)


@pytest.mark.parametrize("by", ["the listener", "the loss", "the dialer"])
def test_a_connection_that_ends_is_made_again(go: Any, by: str) -> None:
    async def scenario(net: Net) -> None:
        listens, listener, dials, dialer = await net.pair()
        if by == "the listener":
            say(listener, listens, Close(listens.peers[0], "go away"))
        elif by == "the loss":
            listener.connections[listens.peers[0]].abort("cut")
        else:
            say(dialer, dials, Close(dials.peers[0], "silent for too long"))
        await dials.until(lambda: len(dials.peers) == 2)
        await listens.until(lambda: len(listens.peers) == 2)
        assert dials.peers[0] != dials.peers[1] and len(dials.lost) == (by != "the dialer")
        say(dialer, dials, Send(dials.peers[1], ClientHeartbeat(1)))
        await listens.until(lambda: listens.heard == [ClientHeartbeat(1)])

    go(scenario)


def test_what_was_sent_before_close_arrives(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, listener, dials, _ = await net.pair()
        last = HeartbeatEcho(7)
        say(listener, listens, Send(listens.peers[0], last), Close(listens.peers[0], "bye"))
        await dials.until(lambda: bool(dials.lost))
        assert dials.heard == [last] and listens.lost == []
        await dials.until(lambda: len(dials.peers) == 2)

    go(scenario)


@pytest.mark.parametrize("limit", ["bytes", "seconds"])
def test_a_peer_that_never_reads_is_dropped(go: Any, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(connection_module, "PAUSE_BYTES", 1 << 16)
    if limit == "bytes":
        monkeypatch.setattr(connection_module, "DROP_BYTES", 1 << 20)
    else:
        monkeypatch.setattr(connection_module, "STALL_SECONDS", 0.05)

    async def scenario(net: Net) -> None:
        listens, listener = net.driver()
        address = await listener.listen(HERE, {Role.worker})
        dials, dialer = net.driver()
        await dialer.dial_once(address, Role.worker)
        await listens.until(lambda: bool(listens.peers))
        paused: list[bool] = []
        listener.paused = lambda peer, stopped: paused.append(stopped)
        dialer.connections[dials.peers[0]]._transport.pause_reading()
        big = Assign(b"", b"", b"", [bytes(8 << 20)])
        say(listener, listens, Send(listens.peers[0], big), Send(listens.peers[0], big))
        await listens.until(lambda: bool(listens.lost))
        assert ("1 GiB" if limit == "bytes" else "read nothing") in listens.lost[0][1]
        assert paused[:1] == [True]

    go(scenario)


def test_a_peer_that_reads_late_gets_all(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PAUSE_BYTES", 1 << 16)

    async def scenario(net: Net) -> None:
        listens, listener, dials, dialer = await net.pair(Role.worker)
        paused: list[bool] = []
        listener.paused = lambda peer, stopped: (paused.append(stopped), listens.changed.set())[0]
        transport = dialer.connections[dials.peers[0]]._transport
        transport.pause_reading()
        say(listener, listens, Send(listens.peers[0], Assign(b"", b"", b"", [bytes(8 << 20)])))
        await listens.until(lambda: paused == [True])
        transport.resume_reading()
        await dials.until(lambda: len(dials.heard) == 1)
        await listens.until(lambda: paused == [True, False])
        say(dialer, dials, Send(dials.peers[0], WorkerHeartbeat(3)))
        await listens.until(lambda: listens.heard == [WorkerHeartbeat(3)])
        assert listens.lost == []

    go(scenario)


def test_two_that_say_much_at_once_do_not_wait_for_each_other(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither reads the other's before its own is read: who dialed has to go on reading. More than a limit is its own affair."""
    monkeypatch.setattr(connection_module, "PAUSE_BYTES", 1 << 16)
    monkeypatch.setattr(connection_module, "STALL_SECONDS", 2.0)
    monkeypatch.setattr(connection_module, "DROP_BYTES", 8 << 20)

    async def scenario(net: Net) -> None:
        listens, listener, dials, dialer = await net.pair(Role.worker)
        down, up = Assign(b"", b"", b"", [bytes(6 << 20)]), Retracted(bytes(6 << 20), b"", b"", b"")
        say(listener, listens, Send(listens.peers[0], down))
        say(dialer, dials, Send(dials.peers[0], up), Send(dials.peers[0], up))
        await dials.until(lambda: len(dials.heard) == 1)
        await listens.until(lambda: len(listens.heard) == 2)
        assert listens.lost == dials.lost == []

    go(scenario)


def test_a_paused_peer_is_not_read_from_until_it_is_resumed(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, listener, dials, dialer = await net.pair(Role.storage_user)
        (peer,) = listens.peers
        say(listener, listens, Pause(peer), Pause(99), Resume(99), Send(peer, Stored(1)))
        await dials.until(lambda: len(dials.heard) == 1)
        puts = [Send(dials.peers[0], Put(1, b"", b"", 1 << 20, 0), bytes(1 << 20)) for _ in range(3)]
        say(dialer, dials, *puts)
        say(listener, listens, Send(peer, Stored(2)))
        await dials.until(lambda: len(dials.heard) == 2)
        connection = listener.connections[peer]
        connection.pause_writing()
        connection.resume_writing()  # The peer has read what it was sent: no reason to read from it.
        say(listener, listens, Send(peer, Stored(3)))
        await dials.until(lambda: len(dials.heard) == 3)
        assert listens.heard == []
        say(listener, listens, Resume(peer))
        await listens.until(lambda: len(listens.heard) == 3)

    go(scenario)


def test_a_peer_that_sends_without_end_leaves_the_others_their_turns(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair(Role.storage_user)
        turns, received = [0], []
        tell = listens.receive

        def receive(*arguments: Any) -> None:
            received.append(turns[0])
            tell(*arguments)

        def turn() -> None:
            turns[0] += 1
            loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        loop.call_soon(turn)
        monkeypatch.setattr(listens, "receive", receive)
        connection = dialer.connections[dials.peers[0]]
        put = codec("storage", "ToStorage").frame(Put(1, b"", b"", 1 << 16, 0), 1 << 16) + bytes(1 << 16)
        with socket.socket(fileno=os.dup(connection._transport.get_extra_info("socket").fileno())) as sock:
            sock.settimeout(LIMIT)
            sender = threading.Thread(target=sock.sendall, args=(put * 256,))
            sender.start()
            sender.join(0.1)  # Nothing is read meanwhile, so that there is much to read.
            await listens.until(lambda: len(listens.heard) == 256)
            sender.join()
        assert max(Counter(received).values()) <= 20, "1 MiB, and what one call reads"

    go(scenario)


def in_thread(driver: Driver, peer: int, *messages: Any) -> None:
    def send() -> None:
        with driver.lock:
            for message in messages:
                driver.send_in_thread(peer, message)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()


def test_another_thread_sends_without_the_loop(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair()
        connection = dialer.connections[dials.peers[0]]
        connection.send(ClientHeartbeat(1))
        assert not connection.flush_in_thread()  # nobody asked for it
        dialer.let_threads_send()
        assert connection.flush_in_thread()
        in_thread(dialer, dials.peers[0], ClientHeartbeat(2), ClientHeartbeat(3))
        say(dialer, dials, Send(dials.peers[0], ClientHeartbeat(4)))
        await listens.until(lambda: len(listens.heard) == 4)
        assert listens.heard == [ClientHeartbeat(n) for n in (1, 2, 3, 4)]

    go(scenario)


def test_what_threads_and_the_loop_send_keeps_its_order_when_the_socket_is_full(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, listener, dials, dialer = await net.pair(Role.worker)
        peer = listens.peers[0]
        listener.let_threads_send()
        transport = dialer.connections[dials.peers[0]]._transport
        transport.pause_reading()
        big = [Assign(bytes([n]) * 8, b"", b"", [bytes(8 << 20)]) for n in range(5)]
        in_thread(listener, peer, big[0], big[1])
        say(listener, listens, Send(peer, big[2]))
        in_thread(listener, peer, big[3])
        await asyncio.sleep(0)
        in_thread(listener, peer, big[4])
        transport.resume_reading()
        await dials.until(lambda: len(dials.heard) == 5)
        assert [message.tasks[0] for message in dials.heard] == [0, 1, 3, 2, 4]

    go(scenario)


def test_a_thread_that_sends_to_a_connection_that_ended(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, _, dials, dialer = await net.pair()
        dialer.let_threads_send()
        connection = dialer.connections[dials.peers[0]]
        say(dialer, dials, Close(dials.peers[0], "enough"))
        await listens.until(lambda: bool(listens.lost))  # the second descriptor does not keep it open
        in_thread(dialer, dials.peers[0], ClientHeartbeat(1))
        assert not connection.flush_in_thread() and listens.heard == []

    go(scenario)


@pytest.mark.parametrize("how", ["in order", "by a reset"])
def test_one_that_leaves_before_the_handshake_is_over_is_not_warned_of(
    go: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(net: Net) -> None:
        notes, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        _, writer = await asyncio.open_connection(address.host, address.port)
        if how == "in order":
            writer.close()
        else:  # as the kernel does for one that ends with bytes it has not read
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        async with asyncio.timeout(LIMIT):
            while not listened():
                await asyncio.sleep(0)
        assert notes.peers == []
        assert [record.levelno for record in listened()] == [logging.DEBUG]

    def listened() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "closed connection from" in record.getMessage()]

    with caplog.at_level(logging.DEBUG, "scaler"):
        go(scenario)


def test_a_silent_stranger_is_closed(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_SECONDS", 0.02)

    async def scenario(net: Net) -> None:
        notes, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        try:
            assert await talk(address, b"") == b""
        except ConnectionResetError:
            pass
        assert notes.peers == []

    go(scenario)


def test_a_message_that_cannot_be_said_here_is_an_error_of_ours(go: Any) -> None:
    async def scenario(net: Net) -> None:
        listens, listener, *_ = await net.pair()
        with pytest.raises(Exception, match="cannot be said in SchedulerToClient"):
            listener.connections[listens.peers[0]].send(WorkerHeartbeat(1))

    go(scenario)


# ---- Unix sockets


def test_a_unix_socket_is_for_this_user_and_gone_with_its_listener(go, tmp_path: Path) -> None:
    async def story(net: Net) -> None:
        path = tmp_path / "socket"
        listens, listener = net.driver()
        address = await listener.listen(Address.parse(f"ipc://{path}"), {Role.client})
        assert path.stat().st_mode & 0o777 == 0o600
        dials, dialer = net.driver()
        dialer.dial(address, Role.client, "the listener")
        await dials.until(lambda: bool(dials.peers))
        dials.todo.append(Send(dials.peers[0], ClientHeartbeat(7)))
        dialer.wake()
        await listens.until(lambda: listens.heard == [ClientHeartbeat(7)])
        await listener.close()
        assert not path.exists()

    go(story)


def test_a_path_that_somebody_listens_on_is_refused_and_a_stale_one_is_not(go, tmp_path: Path) -> None:
    async def story(net: Net) -> None:
        address = Address.parse(f"ipc://{tmp_path / 'socket'}")
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(address.path)
        _, listener = net.driver()
        await listener.listen(address, {Role.client})
        _, other = net.driver()
        with pytest.raises(ConfigurationError, match="in use; is another process using the path"):
            await other.listen(address, {Role.client})
        with pytest.raises(ConfigurationError, match="No such file"):
            await other.listen(Address.parse(f"ipc://{tmp_path}/missing/socket"), {Role.client})
        # Whoever looked whether somebody listens is accepted before this one, and not while the listener closes.
        dials, dialer = net.driver()
        dialer.dial(address, Role.client, "the listener")
        await dials.until(lambda: bool(dials.peers))

    go(story)
