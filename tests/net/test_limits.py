"""What a connection may cost others: memory, turns, lines in the log; and when it is closed for that."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import psutil
import pytest

from scaler.ids import Address
from scaler.machine import Send
from scaler.messages import Assign, ClientHeartbeat, Hello, Role
from scaler.net import connection as connection_module
from scaler.net import driver as driver_module
from scaler.wire.codec import codec
from scaler.wire.framing import HEADER
from scaler.wire.handshake import MAGIC, PROTOCOL_VERSION, handshake_codec

from .test_driver import HERE, LIMIT, Net, go, say

assert callable(go)  # the fixture


async def strangers(address: Address, count: int) -> list[socket.socket]:
    """Connections that say nothing."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        await loop.sock_connect(one, (address.host, address.port))
        made.append(one)
    return made


async def let_in(address: Address, role: Role, identity: bytes) -> socket.socket:
    """A peer that has shaken hands, and of which nothing more is read."""
    (one,) = await strangers(address, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(
        one, handshake_codec().frame(Hello(MAGIC, PROTOCOL_VERSION, 1, role, identity, "", b"", ""))
    )
    async with asyncio.timeout(LIMIT):
        head = await loop.sock_recv(one, HEADER.size)
        left = HEADER.unpack(head)[0]
        while left:
            left -= len(await loop.sock_recv(one, left))
    return one


def test_a_connection_that_says_nothing_costs_little_memory(go: Any) -> None:
    async def scenario(net: Net) -> None:
        _, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        before = psutil.Process().memory_info().rss
        made = await strangers(address, 300)
        async with asyncio.timeout(LIMIT):
            while len(listener._greeting) < 300:
                await asyncio.sleep(0)
        cost = psutil.Process().memory_info().rss - before
        assert cost < 300 * (64 << 10), f"{cost} bytes for 300 connections"
        for one in made:
            one.close()

    go(scenario)


def test_halves_of_frames_of_many_peers_do_not_mix(go: Any) -> None:
    """They are read into the same memory."""

    async def scenario(net: Net) -> None:
        listens, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        peers = [await let_in(address, Role.client, bytes([n]) * 16) for n in range(8)]
        says = codec("client", "ClientToScheduler")
        frames = [says.frame(ClientHeartbeat(n)) for n in range(8)]
        loop = asyncio.get_running_loop()
        for begin in range(0, len(frames[0]), 5):
            for one, frame in zip(peers, frames, strict=True):
                await loop.sock_sendall(one, frame[begin : begin + 5])
            await asyncio.sleep(0.001)
        await listens.until(lambda: len(listens.heard) == 8)
        assert sorted(message.sent_microseconds for message in listens.heard) == list(range(8))
        for one in peers:
            one.close()

    go(scenario)


def test_who_has_been_longest_in_the_handshake_goes_for_a_new_one(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "MOST_GREETING", 5)

    async def scenario(net: Net) -> None:
        listens, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        made = await strangers(address, 8)
        (peer,) = [await let_in(address, Role.client, b"a" * 16)]
        await listens.until(lambda: bool(listens.peers))
        loop = asyncio.get_running_loop()
        for one in made[:3]:
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(LIMIT):
                    assert await loop.sock_recv(one, 1) == b""
                    raise ConnectionResetError
        assert len(listener._greeting) <= 5
        for one in (*made, peer):
            one.close()

    go(scenario)


def test_strangers_do_not_fill_the_log(
    go: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_module, "MOST_COMPLAINTS", 3)
    monkeypatch.setattr(driver_module, "COMPLAINT_SECONDS", 0.2)

    async def scenario(net: Net) -> None:
        _, listener = net.driver()
        address = await listener.listen(HERE, {Role.client})
        loop = asyncio.get_running_loop()
        made = await strangers(address, 10)
        for one in made:
            await loop.sock_sendall(one, b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(LIMIT):
            while "closed 7 more connections" not in caplog.text:
                await asyncio.sleep(0.01)
        assert caplog.text.count("closed connection from") == 3
        for one in made:
            one.close()

    with caplog.at_level(logging.WARNING, "scaler"):
        go(scenario)


@pytest.mark.parametrize("how", ["nonsense", "half-closed"])
def test_a_peer_that_is_done_and_reads_no_answer_is_not_waited_for(
    go: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connection_module, "STALL_SECONDS", 0.1)

    async def scenario(net: Net) -> None:
        listens, listener = net.driver()
        address = await listener.listen(HERE, {Role.worker})
        peer = await let_in(address, Role.worker, b"a" * 16)
        await listens.until(lambda: bool(listens.peers))
        # More than sockets hold, less than what makes a peer one that is behind.
        transport = listener.connections[listens.peers[0]]._transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        say(listener, listens, Send(listens.peers[0], Assign(b"", b"", b"", [bytes(3 << 20)])))
        async with asyncio.timeout(LIMIT):
            while not transport.get_write_buffer_size():
                await asyncio.sleep(0.001)
        if how == "nonsense":
            await asyncio.get_running_loop().sock_sendall(peer, b"\1" * 64)
        else:
            peer.shutdown(socket.SHUT_WR)
        await listens.until(lambda: bool(listens.lost))
        peer.close()

    go(scenario)


def test_a_peer_that_reads_a_byte_now_and_then_is_dropped(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STALL_SECONDS", 0.2)

    async def scenario(net: Net) -> None:
        listens, listener = net.driver()
        address = await listener.listen(HERE, {Role.worker})
        peer = await let_in(address, Role.worker, b"a" * 16)
        await listens.until(lambda: bool(listens.peers))
        say(listener, listens, Send(listens.peers[0], Assign(b"", b"", b"", [bytes(16 << 20)])))

        async def sip() -> None:
            while True:
                await asyncio.get_running_loop().sock_recv(peer, 512)
                await asyncio.sleep(0.01)

        sipping = asyncio.create_task(sip())
        await listens.until(lambda: bool(listens.lost))
        assert "too little" in listens.lost[0][1]
        sipping.cancel()
        await asyncio.wait([sipping])
        peer.close()

    go(scenario)
