"""Drivers that dial each other by TLS over real sockets; what they say where it does not work."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from scaler.certificates import make_certificates
from scaler.errors import ConfigurationError, NotTrustedError, RefusedError
from scaler.ids import Address
from scaler.machine import Send
from scaler.messages import ClientHeartbeat, HeartbeatEcho, Put, RefusalReason, Refused, Role, Stored
from scaler.net import connection as connection_module
from scaler.net.driver import Driver
from scaler.security import Security, SecurityConfig
from scaler.wire.frame_reader import FrameReader
from scaler.wire.handshake import handshake_codec
from tests.net.test_driver import LIMIT, Net, Notes, go, say, talk

__all__ = ["go"]  # the fixture

SECRET = b"0123456789abcdef"


def security(where: Path, secret: bytes = b"", name: str = "server", **more: Any) -> Security:
    """With a certificate of this name, and the CA; with no certificate for an empty name."""
    own = {"tls_certificate": where / f"{name}.pem", "tls_key": where / f"{name}-key.pem"} if name else {}
    certificates = SecurityConfig(tls_ca=where / "ca.pem", **own, **more).load().certificates
    return Security(secret, certificates=certificates)


def driver(net: Net, own: Security) -> tuple[Notes, Driver]:
    notes = Notes()
    number = len(net.drivers)
    net.drivers.append(Driver(notes, bytes([65 + number]) * 16, f"driver {number}", None, own))
    return notes, net.drivers[-1]


async def listening(net: Net, own: Security, role: Role = Role.client) -> tuple[Notes, Driver, Address]:
    notes, made = driver(net, own)
    return notes, made, await made.listen(Address("127.0.0.1", 0, tls=True), {role})


async def connected(net: Net, dials: Security, listens: Security, role: Role = Role.client) -> tuple[Any, ...]:
    there, listener, address = await listening(net, listens, role)
    here, dialer = driver(net, dials)
    dialer.dial(address, role, "the listener")
    await here.until(lambda: bool(here.peers))
    await there.until(lambda: bool(there.peers))
    return there, listener, here, dialer


async def refused(net: Net, dials: Security, address: Address) -> str:
    """How a dialer ends that is to go on as long as that is of use."""
    _, dialer = driver(net, dials)
    dialer.dial(address, Role.client, "the scheduler")
    end = await asyncio.wait_for(dialer.stopped, LIMIT)
    assert end.exit_code == 1
    return end.reason


def test_connect_and_talk(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        asks = security(certificates, SECRET, tls_require_client_certificate=True)
        there, _, here, dialer = await connected(net, security(certificates, SECRET, "client"), asks)
        there.answer = lambda peer, message: [Send(peer, HeartbeatEcho(message.sent_microseconds))]
        say(dialer, here, *[Send(here.peers[0], ClientHeartbeat(n)) for n in range(500)])
        await here.until(lambda: len(here.heard) == 500)
        assert here.heard == [HeartbeatEcho(n) for n in range(500)]

    go(scenario)


def test_large_attachments_arrive_whole(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        there, _, here, dialer = await connected(net, security(certificates), security(certificates), Role.storage_user)
        whole: list[bytes] = []
        receive = there.receive
        there.receive = lambda peer, message, now, attachment=b"": (  # type: ignore[method-assign]
            whole.append(bytes(attachment)),
            receive(peer, message, now),
        )
        parts = [bytes([n]) * (1 << 20) for n in range(8)]
        puts = [Put(n, b"x" * 16, b"o" * 16, 8 << 20, n << 20) for n in range(8)]
        say(dialer, here, *[Send(here.peers[0], put, part) for put, part in zip(puts, parts, strict=True)])
        await there.until(lambda: len(there.heard) == 8)
        assert whole == parts
        there.todo.append(Send(there.peers[0], Stored(7, False)))
        net.drivers[0].wake()
        await here.until(lambda: bool(here.heard))

    go(scenario)


def test_another_thread_sends(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        there, _, here, dialer = await connected(net, security(certificates), security(certificates))
        there.answer = lambda peer, message: [Send(peer, HeartbeatEcho(message.sent_microseconds))]
        dialer.let_threads_send()

        def send() -> None:
            for n in range(300):
                with dialer.lock:
                    dialer.send_in_thread(here.peers[0], ClientHeartbeat(n))

        await asyncio.to_thread(send)
        await here.until(lambda: len(here.heard) == 300)
        assert there.heard == [ClientHeartbeat(n) for n in range(300)]

    go(scenario)


def test_what_the_socket_does_not_take_from_a_thread_the_loop_sends(
    go: Any, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(net: Net) -> None:
        there, _, here, dialer = await connected(net, security(certificates), security(certificates))
        dialer.let_threads_send()
        write, taken = os.write, iter([3, 0, 10])

        def little(descriptor: int, data: bytes) -> int:
            count = next(taken, None)
            return write(descriptor, data if count is None else data[:count]) if count != 0 else 0

        monkeypatch.setattr(connection_module.os, "write", little)

        def send() -> None:
            for n in range(20):
                with dialer.lock:
                    dialer.send_in_thread(here.peers[0], ClientHeartbeat(n))

        await asyncio.to_thread(send)
        await there.until(lambda: len(there.heard) == 20)
        assert there.heard == [ClientHeartbeat(n) for n in range(20)]

    go(scenario)


def test_the_end_of_a_connection_is_told(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        there, _, _, dialer = await connected(net, security(certificates), security(certificates))
        await dialer.close()
        await there.until(lambda: bool(there.lost))
        assert there.lost[0][1] == "the peer closed the connection"

    go(scenario)


def test_new_connections_have_the_new_certificates(go: Any, certificates: Path, tmp_path: Path) -> None:
    async def scenario(net: Net) -> None:
        where = tmp_path / "c"
        shutil.copytree(certificates, where)
        there, _, address = await listening(net, security(where))
        here, dialer = driver(net, security(where))
        first, _ = await dialer.dial_once(address, Role.client)
        make_certificates(where, ["127.0.0.1"], days=-1)
        with pytest.raises(NotTrustedError, match="has expired"):
            await dialer.dial_once(address, Role.client)
        make_certificates(where, ["127.0.0.1"])
        second, _ = await dialer.dial_once(address, Role.client)
        assert first._tls is not None and second._tls is not None and first._tls.channel != second._tls.channel
        for number in list(here.peers):
            say(dialer, here, Send(number, ClientHeartbeat(number)))
        await there.until(lambda: len(there.heard) == 2)

    go(scenario)


def test_somebody_between_the_two_with_a_certificate_that_is_good(go: Any, certificates: Path, tmp_path: Path) -> None:
    """He has a key of his own, and a certificate for the same name from the same CA, and passes on all that both say."""
    where = tmp_path / "c"
    shutil.copytree(certificates, where)
    make_certificates(where, ["127.0.0.1"])

    async def scenario(net: Net) -> None:
        there, _, address = await listening(net, security(certificates, SECRET))
        his = security(where).certificates
        served, context = his._loaded().listening, his._loaded().dialing

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

        async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            to = await asyncio.open_connection(address.host, address.port, ssl=context)
            await asyncio.gather(pass_on(reader, to[1]), pass_on(to[0], writer))

        server = await asyncio.start_server(between, "127.0.0.1", 0, ssl=served)
        port = server.sockets[0].getsockname()[1]
        said = await refused(net, security(certificates, SECRET), address.with_port(port))
        assert "another one, or somebody is between the two" in said and there.peers == []
        # Without a secret nobody would know; and without him they get on.
        _, dialer = driver(net, security(certificates, SECRET))
        await dialer.dial_once(address, Role.client)
        server.close()

    go(scenario)


def test_who_is_not_trusted_is_not_dialed_again(go: Any, certificates: Path, tmp_path: Path) -> None:
    async def scenario(net: Net) -> None:
        _, _, address = await listening(net, security(certificates))
        make_certificates(tmp_path, ["127.0.0.1"])
        said = await refused(net, security(tmp_path), address)
        assert said.startswith(
            f"the scheduler at {address} is not to be trusted: the peer's certificate is signed by nobody"
        )
        shutil.copytree(certificates, tmp_path / "c")
        make_certificates(tmp_path / "c", ["node5.example"])
        _, _, address = await listening(net, security(tmp_path / "c"))
        assert "is not to be trusted: the peer's certificate is not for 127.0.0.1" in await refused(
            net, security(certificates), address
        )

    go(scenario)


def test_a_client_without_a_certificate_is_told_at_once(
    go: Any, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(net: Net) -> None:
        there, _, address = await listening(net, security(certificates, tls_require_client_certificate=True))
        said = await refused(net, security(certificates, name=""), address)
        assert "refused the connection: the peer asks for a certificate, and none is configured here" in said
        assert there.peers == []
        assert "the peer has no certificate, and one is asked for" in caplog.text

    with caplog.at_level(logging.WARNING, "scaler"):
        go(scenario)


def test_who_dials_without_tls_is_told_so(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        _, _, address = await listening(net, security(certificates))
        plain = Address(address.host, address.port)
        said = await refused(net, security(certificates), plain)
        assert said.endswith("this address takes TLS only: write tls:// instead of tcp://")
        frames = FrameReader()
        frames.feed(await talk(plain, b"GET / HTTP/1.1\r\n\r\n"))
        message, _ = frames.take()
        answer = handshake_codec().decode(message)
        assert isinstance(answer, Refused) and answer.reason == RefusalReason.tls

    go(scenario)


def test_who_dials_by_tls_never_talks_without(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        there, listener = driver(net, Security())
        address = await listener.listen(Address("127.0.0.1", 0), {Role.client})
        said = await refused(net, security(certificates), Address(address.host, address.port, tls=True))
        assert "the peer does not speak TLS; if that is right, its address begins with tcp://" in said
        assert there.peers == []

    go(scenario)


def test_who_says_nothing_or_nonsense_harms_nobody(
    go: Any, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(net: Net) -> None:
        there, _, address = await listening(net, security(certificates))
        for nonsense in (b"\x16\x03\x01\x00\x05hello", b"\x16" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            await talk(address, nonsense)
        _, dialer = driver(net, security(certificates))
        await dialer.dial_once(address, Role.client)
        await there.until(lambda: len(there.peers) == 1)

    go(scenario)


def test_to_listen_takes_a_certificate(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        with pytest.raises(ConfigurationError, match=r"--tls-certificate and --tls-key \(`scaler make-certificate`"):
            await listening(net, security(certificates, name=""))

    go(scenario)


def test_a_secret_that_is_not_the_same_is_refused_inside_tls(go: Any, certificates: Path) -> None:
    async def scenario(net: Net) -> None:
        _, _, address = await listening(net, security(certificates, SECRET))
        for other, says in ((b"another secret!!", "not proved"), (b"", "asks for a secret")):
            _, dialer = driver(net, security(certificates, other))
            with pytest.raises(RefusedError, match=says):
                await dialer.dial_once(address, Role.client)

    go(scenario)
