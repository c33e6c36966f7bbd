"""A client of nothing but Cap'n Proto and a socket, by the steps of protocol/README.md; and what others that are newer hear."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import capnp
import pytest

from scaler import Client, SchedulerClusterCombo, SecurityConfig
from scaler.ids import Address
from tests.protocol_clients.conftest import PROTOCOL
from tests.wire.test_vectors import generator

pytestmark = pytest.mark.integration
SCHEMAS = {name: capnp.load(str(PROTOCOL / f"{name}.capnp")) for name in ("handshake", "client", "storage", "task")}


class Peer:
    """A connection after its handshake, in which messages are dictionaries."""

    def __init__(
        self, address: str, role: str, secret: bytes, said: Any, heard: Any, versions: tuple[int, int] = (1, 1)
    ):
        place = Address.parse(address)
        self.socket = socket.create_connection((place.host, place.port), 20)
        self.identity = os.urandom(16)
        self._said, self._heard = said, heard
        self._versions, self._role = versions, role
        self._shake_hands(secret)

    def _shake_hands(self, secret: bytes) -> None:
        union, nonce = SCHEMAS["handshake"].Handshake, os.urandom(32)
        oldest, newest = self._versions
        told = {"magic": SCHEMAS["handshake"].magic, "protocolVersion": newest, "oldestVersion": oldest}
        self.write(union, {"hello": {**told, "role": self._role, "identity": self.identity, "nonce": nonce}})
        answer = self.read(union)
        if answer.which() == "challenge":
            role = SCHEMAS["handshake"].Role.schema.enumerants[self._role]
            numbers = struct.pack("<HHH", role, newest, oldest)
            parts = b"scaler dialer" + nonce + answer.challenge.nonce + self.identity + numbers
            self.write(union, {"proof": {"mac": hmac.digest(secret, parts, hashlib.sha256)}})
            answer = self.read(union)
        self.answer = answer

    def write(self, union: Any, message: dict[str, Any], attachment: bytes = b"") -> None:
        content = union.new_message(**message).to_bytes()
        self.socket.sendall(struct.pack("<II", len(content), len(attachment)) + content + attachment)

    def read(self, union: Any) -> Any:
        message, attachment = struct.unpack("<II", self._exactly(8))
        content = self._exactly(message)
        self.attachment = self._exactly(attachment)
        with union.from_bytes(content) as found:
            return found.as_builder()

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            part = self.socket.recv(size - len(content))
            if not part:
                raise EOFError
            content += part
        return content

    def say(self, **message: Any) -> None:
        self.write(self._said, message)

    def hear(self, *arms: str) -> Any:
        """The next message that is one of these."""
        while True:
            message = self.read(self._heard)
            if message.which() in arms:
                return getattr(message, str(message.which()))

    def closed(self) -> bool:
        """Waits for it."""
        try:
            while True:
                self.read(self._heard)
        except (EOFError, ConnectionError):
            return True


@pytest.fixture
def secret(secret_file: Path) -> bytes:
    return secret_file.read_bytes().strip()


@pytest.fixture
def peer(cluster: SchedulerClusterCombo, secret: bytes) -> Iterator[Peer]:
    unions = SCHEMAS["client"].ClientToScheduler, SCHEMAS["client"].SchedulerToClient
    peer = Peer(cluster.get_address(), "client", secret, *unions)
    yield peer
    peer.socket.close()


def u64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def define(peer: Peer, *paths: str) -> None:
    functions = [{"number": i, "serializer": "json", "content": p.encode(), "name": p} for i, p in enumerate(paths)]
    peer.say(define={"functions": functions})


def two_results(peer: Peer) -> dict[int, tuple[int, bytes]]:
    """(status, payload) of the next two tasks that end, by sequence."""
    ended: dict[int, tuple[int, bytes]] = {}
    while len(ended) < 2:
        results = peer.hear("results")
        sequences = struct.unpack(f"<{len(results.statuses)}Q", results.tasks)
        ended |= dict(zip(sequences, zip(results.statuses, results.payloads, strict=True), strict=True))
    return ended


def test_ten_steps_in_json(peer: Peer, secret: bytes) -> None:
    assert peer.answer.which() == "welcome"
    settings = peer.hear("settings")
    define(peer, "math:sqrt", "builtins:sorted", "math:fsum")
    peer.say(submit={"sequences": u64(0, 1), "functions": u32(0), "payloads": [b"[[2.25],{}]", b"[[-1],{}]"]})
    ended = two_results(peer)
    assert ended[0] == (1, b"1.5")
    with SCHEMAS["task"].Failure.from_bytes(ended[1][1]) as failure:
        assert (failure.typeName, failure.exception) == ("builtins.ValueError", b"")
    # A graph whose second task takes the result of the first, which is large, at the depth that it likes.
    content = json.dumps([[list(range(50_000))], {"reverse": True}]).encode()
    name = put(settings.objectStorageAddress, secret, peer.identity, content)
    payloads = [json.dumps({"$object": name.hex()}).encode(), b'[[{"$input":0}],{}]']
    graph = {"sequences": u64(2, 3), "functions": u32(1, 2), "payloads": payloads, "wanted": b"\1\1"}
    peer.say(submit={**graph, "dependencyEnds": u32(0, 1), "dependencies": u64(2)})
    ended = two_results(peer)
    assert ended[3] == (1, b"1249975000.0")
    assert ended[2][0] == 2
    assert json.loads(get(settings.objectStorageAddress, secret, ended[2][1][:16]))[0] == 49_999
    # An array: one message, and results of items in runs.
    items = [b"[[%d],{}]" % (n * n) for n in range(100)]
    ends = u32(*(sum(map(len, items[: n + 1])) for n in range(100)))
    peer.say(submitArray={"firstSequence": 4, "function": 0, "items": b"".join(items), "itemEnds": ends})
    roots: dict[int, float] = {}
    while len(roots) < 100:
        results = peer.hear("results")
        for i, first in enumerate(struct.unpack(f"<{len(results.statuses)}Q", results.tasks)):
            count = struct.unpack_from("<I", results.counts, 4 * i)[0] if results.counts else 1
            item_ends = results.itemEnds[i] if len(results.itemEnds) else b""
            cuts = struct.unpack(f"<{count}I", item_ends) if item_ends else (len(results.payloads[i]),)
            for item, (begin, end) in enumerate(zip((0, *cuts), cuts, strict=False)):
                roots[first + item] = json.loads(results.payloads[i][begin:end])
    assert roots == {4 + n: float(n) for n in range(100)}
    peer.say(goodbye={})
    assert peer.closed()


def storage_peer(address: str, secret: bytes) -> Peer:
    return Peer(address, "storageUser", secret, SCHEMAS["storage"].ToStorage, SCHEMAS["storage"].FromStorage)


def put(address: str, secret: bytes, owner: bytes, content: bytes) -> bytes:
    peer, name = storage_peer(address, secret), os.urandom(16)
    told = {"request": 1, "object": name, "owner": owner, "totalBytes": len(content)}
    peer.write(SCHEMAS["storage"].ToStorage, {"put": told}, content)
    assert peer.hear("stored", "failed").request == 1
    peer.socket.close()
    return name


def get(address: str, secret: bytes, name: bytes) -> bytes:
    peer, content = storage_peer(address, secret), b""
    peer.say(get={"request": 1, "object": name, "existed": True})
    while True:
        chunk = peer.hear("chunk")
        content += peer.attachment
        if len(content) == chunk.totalBytes:
            peer.socket.close()
            return content


def test_a_client_of_an_older_version_too_is_served_as_one_of_this(
    cluster: SchedulerClusterCombo, secret: bytes
) -> None:
    """Its schemas lack the last field of each message: all that it says is what they had before."""
    make = generator()
    with tempfile.TemporaryDirectory() as directory:
        older = make.other_version(make._older, Path(directory))["client"]
        assert "counts" in SCHEMAS["client"].Cancel.schema.fields and "counts" not in older.Cancel.schema.fields
        peer = Peer(cluster.get_address(), "client", secret, older.ClientToScheduler, older.SchedulerToClient, (0, 1))
        assert peer.answer.welcome.protocolVersion == 1
        peer.hear("settings")
        peer.say(define={"functions": [{"number": 0, "serializer": "json", "content": b"math:sqrt"}]})
        peer.say(submit={"sequences": u64(0, 1), "functions": u32(0), "payloads": [b"[[4],{}]", b"[[9],{}]"]})
        assert {payload for _, payload in two_results(peer).values()} == {b"2.0", b"3.0"}
        peer.say(cancel={"sequences": u64(0)})
        peer.say(goodbye={})
        assert peer.closed()
        peer.socket.close()


def test_a_client_of_a_newer_version_too_is_served_as_one_of_this(
    cluster: SchedulerClusterCombo, secret: bytes
) -> None:
    make = generator()
    with tempfile.TemporaryDirectory() as directory:
        newer = make.other_version(make._newer, Path(directory))["client"]
        peer = Peer(cluster.get_address(), "client", secret, newer.ClientToScheduler, newer.SchedulerToClient, (1, 2))
        assert peer.answer.welcome.protocolVersion == 1
        assert peer.hear("settings").later == 0
        define = {"number": 0, "serializer": "json", "content": b"math:sqrt", "name": "root", "laterText": "unknown"}
        peer.say(define={"functions": [define], "later": 7})
        submit = {"sequences": u64(0), "functions": u32(0), "payloads": [b"[[4],{}]"]}
        peer.say(submit={**submit, "later": 9, "laterText": "unknown"})
        assert peer.hear("results").payloads[0] == b"2.0"
        peer.socket.close()


@pytest.mark.parametrize("versions", [(2, 3), (0, 0)])
def test_a_client_of_newer_or_older_versions_only_is_told_so(
    cluster: SchedulerClusterCombo, secret: bytes, versions: tuple[int, int]
) -> None:
    peer = Peer(cluster.get_address(), "client", secret, *[SCHEMAS["handshake"].Handshake] * 2, versions=versions)
    assert peer.answer.which() == "refused" and peer.answer.refused.reason == "version"
    assert f"peer speaks {versions[0]} to {versions[1]}, this side 1 to 1" in peer.answer.refused.text
    assert peer.closed()
    peer.socket.close()


def test_a_message_that_nobody_knows_closes_that_connection_only(
    cluster: SchedulerClusterCombo, secret_file: Path, secret: bytes, peer: Peer
) -> None:
    refused = json.loads((PROTOCOL / "vectors" / "refused.json").read_text())
    with Client(cluster.get_address(), security_config=SecurityConfig(secret_file=str(secret_file))) as other:
        vectors = [v for v in refused if v["union"] == "ClientToScheduler"]
        for vector in vectors:
            unions = SCHEMAS["client"].ClientToScheduler, SCHEMAS["client"].SchedulerToClient
            stranger = Peer(cluster.get_address(), "client", secret, *unions)
            stranger.socket.sendall(bytes.fromhex(vector["frame"]))
            assert stranger.closed(), vector["name"]
            stranger.socket.close()
        assert other.submit(abs, -1).result() == 1 and len(vectors) > 3
    define(peer, "math:sqrt")
    peer.say(submit={"sequences": u64(0), "functions": u32(0), "payloads": [b"[[4],{}]"]})
    assert peer.hear("results").payloads[0] == b"2.0"
