"""The blocking client, over loopback, against the real state and the real codec behind a small threaded server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from scaler import keyring
from scaler.errors import (
    ClientClosedError,
    ConnectionLostError,
    ObjectLostError,
    ObjectMissingError,
    ObjectStorageError,
    ObjectStorageFullError,
    ProtocolError,
    RefusedError,
)
from scaler.ids import Address, content_object_id, new_identity
from scaler.machine import Close, Send
from scaler.messages import (
    Chunk,
    Message,
    Put,
    PutWaits,
    RefusalReason,
    Refused,
    Release,
    ReleaseOwner,
    Role,
    Shared,
    StatisticsRequest,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.security import Security
from scaler.storage import client as storage_client
from scaler.storage import link as storage_link
from scaler.storage.client import StorageClient
from scaler.storage.outputs import AnswerProbe, Open, Transmit
from scaler.storage.rooms import shared_content
from scaler.storage.segments import Segment, Written, open_object
from scaler.storage.state import StorageState
from scaler.wire import framing
from scaler.wire.codec import codec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.framing import frame_header
from scaler.wire.handshake import Listener, handshake_codec

MIB = 1 << 20
ANN, BEN = b"A" * 16, b"B" * 16
NAME = b"x" * 16
SIZES = (0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB)


class Server:
    """A thread for each connection; one lock around the state and all that it sends."""

    def __init__(
        self, secret: bytes = b"", max_object_bytes: int = 64 * MIB, shares: bool = False, port: int = 0
    ) -> None:
        self.state = StorageState(max_object_bytes)
        self.changed = threading.Condition()
        self.heard: list[Message] = []
        self.identities: list[bytes] = []
        self.identity = new_identity()
        self.sockets: dict[int, socket.socket] = {}
        self.hook: Callable[[Message], None] = lambda message: None
        self._secret = secret
        self._probe = Segment.make(1) if shares else None
        self._listening = socket.create_server(("127.0.0.1", port))
        self.address = Address("127.0.0.1", self._listening.getsockname()[1])
        keyring.forget(self.address)  # of a daemon that was killed
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(len(self._threads), sock))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: int, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, suppress(OSError, ProtocolError):
            frames = FrameReader()
            if not self._let_in(peer, sock, frames):
                return
            try:
                self._converse(peer, sock, frames)
            finally:
                with self.changed:
                    self.sockets.pop(peer, None)
                    self.state.peer_lost(peer, "over", 0.0)
                    self.changed.notify_all()

    def _let_in(self, peer: int, sock: socket.socket, frames: FrameReader) -> bool:
        side = Listener({Role.storage_user}, self.identity, self._secret, b"n" * 32)
        while side.peer is None and side.error is None:
            data = sock.recv(MIB)
            if not data:
                return False
            frames.feed(data)
            for message, _ in iter(frames.take, None):
                for answer in side.receive(handshake_codec().decode(message)):
                    said = handshake_codec().encode(answer)
                    sock.sendall(frame_header(len(said)) + said)
        if side.peer is None:
            return False
        frames.handshake_done()
        with self.changed:
            self.sockets[peer] = sock
            self.identities.append(side.peer.identity)
            self.state.peer_connected(peer, side.peer, 0.0)
            self._carry_out()
        return True

    def _converse(self, peer: int, sock: socket.socket, frames: FrameReader) -> None:
        while data := sock.recv(MIB):
            frames.feed(data)
            for encoded, attachment in iter(frames.take, None):
                message = codec("storage", "ToStorage").decode(encoded)
                with self.changed:
                    self.hook(message)
                    self.heard.append(message)
                    self.state.receive(peer, message, 0.0, attachment)
                    self._carry_out()
                    self.changed.notify_all()

    def _carry_out(self) -> None:
        for output in self.state.drain(0.0):
            if isinstance(output, Send):
                self._send(output.peer, output.message)
            elif isinstance(output, Close):
                self.sockets[output.peer].shutdown(socket.SHUT_RDWR)
            elif isinstance(output, Transmit):
                data = output.content.view
                size = data.nbytes
                for offset in range(0, size or 1, framing.MAX_ATTACHMENT_BYTES):
                    part = data[offset : offset + framing.MAX_ATTACHMENT_BYTES]
                    self._send(output.peer, Chunk(output.request, size, offset), part)
                self.state.transmitted(output.peer, output.request)
            elif isinstance(output, AnswerProbe) and self._probe is not None:
                self._send(output.peer, Shared(output.request, self._probe.piece(0, 1)))
            elif isinstance(output, AnswerProbe):
                self._send(output.peer, StorageFailure(output.request, StorageFailureReason.not_shared, "not here"))
            elif isinstance(output, Open):
                content = shared_content(open_object(output.pieces, output.total_bytes))
                self.state.opened(output.peer, output.request, content)
                self._carry_out()

    def _send(self, peer: int, message: Message, attachment: bytes | memoryview = b"") -> None:
        said = codec("storage", "FromStorage").encode(message)
        sock = self.sockets[peer]
        sock.sendall(frame_header(len(said), len(attachment)) + said)
        if attachment:
            sock.sendall(attachment)

    # ---- for tests

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 5)

    def count(self, kind: type) -> int:
        return sum(type(message) is kind for message in self.heard)

    def hang_up(self) -> None:
        """Close all connections."""
        with self.changed:
            for sock in self.sockets.values():
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        self.hang_up()
        for thread in self._threads[1:]:
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def client(server: Server) -> Iterator[StorageClient]:
    user = StorageClient(server.address, new_identity(), "test", timeout_seconds=5)
    yield user
    user.close()
    with server.changed:
        server.state.check()


def content_of(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(size % 251)


@pytest.mark.parametrize("size", SIZES)
def test_put_then_get(client: StorageClient, size: int) -> None:
    content = content_of(size)
    name = content_object_id(content)
    assert client.put(name, content, ANN) is False
    assert client.get(name) == content


def test_any_contiguous_buffer_can_be_put(client: StorageClient) -> None:
    words = memoryview(content_of(4000)).cast("I")
    client.put(NAME, words, ANN)
    assert client.get(NAME) == words.tobytes()


def test_same_content_twice_stops_sending(
    server: Server, client: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = content_of(64 * MIB)
    assert client.put(NAME, content, ANN) is False
    parts = server.count(Put)
    # The answer to the first part is awaited before the look for it, so that it is certain to be there.
    link = client._links.writers[0]
    monkeypatch.setattr(link, "readable", lambda: bool(link._poll.poll(5000)))
    assert link.put(NAME, [memoryview(content)], BEN) is True
    assert server.count(Put) == parts + 1
    monkeypatch.undo()
    assert client.get(NAME) == content
    assert client.put(b"y" * 16, b"small", ANN) is False, "the connection is as good as before"


def test_what_was_lost_with_a_connection_is_released_again(server: Server, client: StorageClient) -> None:
    client.put(NAME, b"1", ANN)
    lost: list[Message] = []

    def lose(message: Message) -> None:
        if isinstance(message, Release) and not lost:
            lost.append(message)
            raise ConnectionResetError

    server.hook = lose
    client.release([NAME], ANN)
    server.wait(lambda: bool(lost) and not server.sockets)
    assert client.statistics().objects == 0


def test_what_could_not_be_said_is_released_later(
    server: Server, client: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise ConnectionRefusedError

    client.put(NAME, b"1", ANN)
    with monkeypatch.context() as away:
        away.setattr(client, "_timeout", 0.01)
        away.setattr(storage_client, "_connected", refuse)
        server.hang_up()
        server.wait(lambda: not server.sockets)
        with pytest.raises(ConnectionLostError):
            client.release([NAME], ANN)
    assert client.statistics().objects == 0


def test_what_was_heard_is_not_released_again(server: Server, client: StorageClient) -> None:
    client.put(NAME, b"1", ANN)
    client.release([NAME], ANN)
    client.put(NAME, b"1", ANN)
    server.hang_up()
    server.wait(lambda: not server.sockets)
    assert client.statistics().objects == 1
    assert server.count(Release) == 1


def test_not_too_many_releases_are_kept_to_be_said_again(
    server: Server, client: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_link, "MOST_UNHEARD", 2)
    for _ in range(7):
        client.release([NAME], ANN)
    assert server.count(Release) >= 6
    assert server.count(StatisticsRequest) == 2
    server.hang_up()
    server.wait(lambda: not server.sockets)
    client.statistics()
    assert server.count(Release) == 8, "one of them was not known to be heard"


def test_released_object_is_lost(client: StorageClient) -> None:
    client.put(NAME, b"content", ANN)
    client.put(NAME, b"content", BEN)
    client.release([NAME], ANN)
    assert client.statistics().objects == 1
    client.release([NAME], BEN)
    numbers = client.statistics()
    assert (numbers.objects, numbers.bytes, numbers.freed, numbers.puts, numbers.puts_saved) == (0, 0, 1, 2, 1)
    for _ in range(2):
        with pytest.raises(ObjectLostError, match="freed"):
            client.get(NAME)


def test_what_existed_and_is_not_there_is_missed_at_once(server: Server, client: StorageClient) -> None:
    with pytest.raises(ObjectMissingError, match=NAME.hex()) as caught:
        client.get(NAME, existed=True)
    assert caught.value.object_id == NAME
    client.put(NAME, b"content", ANN)
    assert client.get(NAME, existed=True) == b"content"
    client.release([NAME], ANN)
    client.statistics()
    with pytest.raises(ObjectLostError) as freed:
        client.get(NAME, existed=True)
    assert type(freed.value) is ObjectLostError


def test_a_restarted_storage_is_noticed(client: StorageClient, server: Server) -> None:
    client.put(NAME, b"content", ANN)
    assert client.instances == 1
    server.hang_up()
    server.identity = new_identity()
    with pytest.raises(ObjectMissingError, match="was restarted"):
        client.get(b"y" * 16, existed=True)
    assert client.instances == 2


def test_refused_puts_raise_and_leave_the_connection_alone(server: Server, client: StorageClient) -> None:
    with pytest.raises(ObjectStorageError, match="at most"):
        client.put(NAME, bytes(64 * MIB + 1), ANN)
    client.put(NAME, b"a", ANN)
    with server.changed:
        server.state.receive(min(server.sockets), ReleaseOwner(BEN), 0.0)
    with pytest.raises(ObjectStorageError, match="released"):
        client.put(b"y" * 16, b"b", BEN)
    assert len(server.identities) == 1


@pytest.mark.parametrize(("name", "owner"), [(b"x", ANN), (NAME, b"A")])
def test_wrong_ids_raise_here(client: StorageClient, name: bytes, owner: bytes) -> None:
    for call in (lambda: client.put(name, b"", owner), lambda: client.release([name], owner)):
        with pytest.raises(ValueError, match="has 16 bytes"):
            call()


def test_waiting_get_does_not_keep_other_threads_from_putting(server: Server, client: StorageClient) -> None:
    with ThreadPoolExecutor(2) as pool:
        gets = [pool.submit(client.get, NAME) for _ in range(2)]
        server.wait(lambda: server.state.snapshot()["waiting_gets"] == 2)
        client.put(NAME, b"content", ANN)
        assert [get.result(5) for get in gets] == [b"content"] * 2


def test_threads_share_a_client(client: StorageClient) -> None:
    def echo(number: int) -> bool:
        content = number.to_bytes(4, "little") * 50_000
        name = content_object_id(content)
        client.put(name, content, ANN)
        return client.get(name) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(echo, range(64)))


def test_idle_connection_that_was_closed_is_replaced(server: Server, client: StorageClient) -> None:
    client.put(NAME, b"content", ANN)
    client.get(NAME)
    server.hang_up()
    server.wait(lambda: not server.sockets)
    assert client.get(NAME) == b"content"
    assert client.put(NAME, b"content", ANN) is True
    assert len(server.identities) == 4


def test_put_is_tried_again_when_the_connection_ends_in_the_middle(server: Server, client: StorageClient) -> None:
    def hang_up_once(message: Message) -> None:
        if isinstance(message, Put) and message.offset == 2 * MIB:
            server.hook = lambda message: None
            raise ConnectionResetError

    server.hook = hang_up_once
    content = content_of(5 * MIB)
    assert client.put(NAME, content, ANN) is False
    assert client.get(NAME) == content
    assert len(server.identities) == 3


def test_waiting_get_is_asked_again_when_the_connection_ends(server: Server, client: StorageClient) -> None:
    with ThreadPoolExecutor(1) as pool:
        get = pool.submit(client.get, NAME)
        server.wait(lambda: server.state.snapshot()["waiting_gets"] == 1)
        server.hang_up()
        server.wait(lambda: server.state.snapshot()["waiting_gets"] == 1 and len(server.identities) == 2)
        client.put(NAME, b"content", ANN)
        assert get.result(5) == b"content"


def test_large_objects_grow_with_what_arrives(client: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_link, "TRUSTED_BYTES", 1000)
    monkeypatch.setattr(storage_link, "GROWTH_BYTES", MIB)
    content = content_of(5 * MIB + 1)
    client.put(NAME, content, ANN)
    assert client.get(NAME) == content


def test_absent_server_is_named_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
    user = StorageClient(address, new_identity(), timeout_seconds=0.1)
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match=rf"{address}.*tried for 0\.\d s"):
        user.get(NAME)
    assert time.monotonic() - began < 2


def test_a_server_that_comes_late_is_found_after_a_connection_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux may give who dials the very port that is dialed, while nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
    servers: list[Server] = []
    connect = socket.create_connection

    def connect_with_itself(address: tuple[str, int], patience: float) -> socket.socket:
        monkeypatch.setattr(socket, "create_connection", start_and_connect)
        return connect(address, patience, source_address=address)

    def start_and_connect(address: tuple[str, int], patience: float) -> socket.socket:
        monkeypatch.setattr(socket, "create_connection", connect)
        servers.append(Server(port=address[1]))
        return connect(address, patience)

    monkeypatch.setattr(socket, "create_connection", connect_with_itself)
    user = StorageClient(address, new_identity(), timeout_seconds=5)
    try:
        user.put(NAME, b"found", ANN)
        assert user.get(NAME) == b"found"
    finally:
        user.close()
        for server in servers:
            server.close()


def test_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
        user = StorageClient(address, new_identity(), timeout_seconds=0.1)
        with pytest.raises(ConnectionLostError, match="timed out"):
            user.statistics()


def test_server_that_does_not_answer_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.state, "receive", lambda peer, message, now, attachment: None)
    user = StorageClient(server.address, new_identity(), timeout_seconds=0.1)
    with pytest.raises(ConnectionLostError, match="timed out"):
        user.put(NAME, b"content", ANN)
    assert server.count(Put) == 1
    user.close()


def test_put_waits_for_a_storage_that_says_it_has_no_room_yet(server: Server) -> None:
    """Longer than the client waits for one that says nothing, and with more bytes than the sockets between them hold."""
    user = StorageClient(server.address, new_identity(), timeout_seconds=0.2)
    ended = threading.Event()

    def reassure(message: Message) -> None:
        # The server's only thread for this client is here, so that nothing is read meanwhile.
        if isinstance(message, Put) and not message.offset:
            for _ in range(6):
                server._send(next(iter(server.sockets)), PutWaits(message.request))
                ended.wait(0.1)

    server.hook = reassure
    assert user.put(NAME, content_of(32 * MIB), ANN) is False
    assert user.put(BEN, b"small", ANN) is False
    assert len(user.get(NAME)) == 32 * MIB
    assert server.count(Put) == 33 and len(server.identities) == 2, "over one connection, and one for the get"
    user.close()


def test_full_storage_is_an_error_of_its_own(server: Server, client: StorageClient) -> None:
    def refuse(message: Message) -> None:
        if isinstance(message, Put):
            failure = StorageFailure(message.request, StorageFailureReason.full, "no room; free something")
            server._send(next(iter(server.sockets)), failure)

    server.hook = refuse
    with pytest.raises(ObjectStorageFullError, match="free something"):
        client.put(NAME, b"content", ANN)


@pytest.fixture
def sharing() -> Iterator[tuple[Server, StorageClient]]:
    """Large objects travel through shared memory."""
    server = Server(max_object_bytes=4 * MIB, shares=True)
    client = StorageClient(server.address, new_identity(), timeout_seconds=20)
    assert client.shares()
    yield server, client
    client.close()
    server.close()


def test_a_put_that_is_not_waited_for(sharing: tuple[Server, StorageClient]) -> None:
    server, client = sharing
    answering, kept = threading.Event(), list[Written]()
    server.hook = lambda message: None if answering.wait(5) else pytest.fail("the put waits for its answer")
    contents = [content_of(MIB + i) for i in range(3)]
    for number, content in enumerate(contents):
        client.put(bytes([number]) * 16, content, ANN, kept.append, lambda *told: pytest.fail(str(told)))
    assert [written.view() for written in kept] == contents
    answering.set()
    assert [client.get(bytes([number]) * 16) for number in range(3)] == contents
    assert client.put(b"\1" * 16, contents[1], ANN) is True
    client.release([b"\1" * 16], ANN)
    assert client.statistics().objects == 2
    assert len(server.identities) == 2, "one connection for all of it, and one for the gets"


@pytest.mark.parametrize("limit", ["MOST_UNANSWERED", "UNANSWERED_BYTES"])
def test_not_too_many_puts_are_unanswered(
    sharing: tuple[Server, StorageClient], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    server, client = sharing
    monkeypatch.setattr(storage_link, limit, 2 if limit == "MOST_UNANSWERED" else 2 * MIB)
    answering, hear = threading.Event(), storage_link.Link._hear_late

    def heard(link: storage_link.Link) -> None:
        answering.set()
        hear(link)

    monkeypatch.setattr(storage_link.Link, "_hear_late", heard)
    server.hook = lambda message: None if answering.wait(5) else pytest.fail("nobody waits for an answer")
    for number in range(2):
        client.put(bytes([number]) * 16, content_of(MIB), ANN, lambda written: None, lambda *told: None)
        assert not answering.is_set()
    client.put(b"\2" * 16, content_of(MIB), ANN, lambda written: None, lambda *told: None)
    assert answering.is_set()


def test_a_later_put_tells_what_was_not_stored(sharing: tuple[Server, StorageClient]) -> None:
    _, client = sharing
    told: list[tuple[bytes, Exception]] = []
    client.put(NAME, content_of(5 * MIB), ANN, lambda written: None, lambda *failed: told.append(failed))
    client.put(BEN, content_of(MIB), ANN)
    ((name, error),) = told
    assert name == NAME and type(error) is ObjectStorageError and "takes at most" in str(error)
    assert client.get(BEN) == content_of(MIB)


def test_a_connection_that_ends_before_the_answer_is_replaced(sharing: tuple[Server, StorageClient]) -> None:
    server, client = sharing
    returned = threading.Event()

    def hang_up_once(message: Message) -> None:
        server.hook = lambda message: None
        returned.wait(5)
        raise ConnectionResetError

    server.hook = hang_up_once
    client.put(NAME, content_of(MIB), ANN, lambda written: None, lambda *told: pytest.fail(str(told)))
    returned.set()
    server.wait(lambda: not server.sockets)
    assert client.put(BEN, content_of(MIB), ANN) is False
    with pytest.raises(ObjectMissingError):
        client.get(NAME, existed=True)


def test_get_that_waited_longer_than_the_timeout_still_reconnects(
    server: Server, client: StorageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(storage_client, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with ThreadPoolExecutor(1) as pool:
        get = pool.submit(client.get, NAME)
        for number in (1, 2, 3):
            server.wait(lambda: server.state.snapshot()["waiting_gets"] == 1 and len(server.identities) == number)  # noqa: B023
            clock.now += 7
            server.hang_up()
        client.put(NAME, b"content", ANN)
        assert get.result(5) == b"content"


def test_secret_is_proved() -> None:
    running = Server(secret=b"right")
    try:
        friend = StorageClient(running.address, new_identity(), security=Security(b"right"))
        friend.put(NAME, b"content", ANN)
        friend.close()
        for secret in (b"wrong", b""):
            with pytest.raises(RefusedError, match="secret"):
                StorageClient(running.address, new_identity(), security=Security(secret)).get(NAME)
    finally:
        running.close()


def test_nonsense_from_the_server_is_a_protocol_error(server: Server, client: StorageClient) -> None:
    def misanswer(message: Message) -> None:
        for peer in server.sockets:
            server._send(peer, Stored(77))

    server.hook = misanswer
    with pytest.raises(ProtocolError, match="no answer to request 1"):
        client.get(NAME)


@pytest.mark.parametrize(
    ("answer", "attachment"),
    [
        (Chunk(1, 3, 1), b"ab"),
        (Chunk(1, 3, 0), b"abcd"),
        (Chunk(1, 3, 0), b""),
        (Chunk(2, 3, 0), b"abc"),
        (Stored(1), b""),
    ],
)
def test_wrong_answer_to_a_get_is_a_protocol_error(
    server: Server, client: StorageClient, answer: Message, attachment: bytes
) -> None:
    server.hook = lambda message: server._send(max(server.sockets), answer, attachment)
    with pytest.raises(ProtocolError, match="expected"):
        client.get(NAME)


def test_full_server_is_dialed_again(server: Server, client: StorageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in = Listener.receive
    refusals = [Refused(RefusalReason.full, "full"), Refused(RefusalReason.full, "full")]
    monkeypatch.setattr(Listener, "receive", lambda side, said: [refusals.pop()] if refusals else let_in(side, said))
    client.put(NAME, b"content", ANN)
    assert not refusals


def test_close_wakes_a_waiting_get(server: Server, client: StorageClient) -> None:
    with ThreadPoolExecutor(1) as pool:
        get = pool.submit(client.get, NAME)
        server.wait(lambda: server.state.snapshot()["waiting_gets"] == 1)
        client.close()
        with pytest.raises(ClientClosedError):
            get.result(5)
    with pytest.raises(ClientClosedError):
        client.put(NAME, b"", ANN)


def test_child_after_fork_has_its_own_connections(server: Server, client: StorageClient) -> None:
    client.put(NAME, b"content", ANN)
    client.get(NAME)
    pid = os.fork()
    if pid == 0:
        try:
            right = client.get(NAME) == b"content" and not client.put(b"y" * 16, b"child's", BEN)
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(server.identities) == len(set(server.identities)) == 4
    assert client.get(b"y" * 16) == b"child's"
    client.put(b"z" * 16, b"parent's", ANN)
    assert len(server.identities) == 4, "the connections of the parent still serve it"


def test_event_loop_is_not_needed() -> None:
    # pycapnp imports asyncio itself, so that is imported before the look at what the client adds.
    code = """
import sys, capnp, scaler.wire.codec
before = set(sys.modules)
import scaler.storage.client
added = set(sys.modules) - before
sys.exit(any(name.split(".")[0] == "asyncio" or name.startswith("scaler.net") for name in added))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
