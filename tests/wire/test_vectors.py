"""The vectors of protocol/vectors: they are those of the schemas, and this implementation means the same by them."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scaler import neutral, serialization
from scaler.errors import ProtocolError
from scaler.ids import new_identity
from scaler.messages import Failure, Hello, Message, RefusalReason, Refused, Role, Welcome
from scaler.wire import schema
from scaler.wire.codec import codec, snake, struct_codec
from scaler.wire.frame_reader import FrameReader
from scaler.wire.framing import HEADER
from scaler.wire.handshake import PROTOCOL_VERSION, Dialer, Listener, handshake_codec

from .random_messages import CLASSES, STRUCTS, UNIONS

HERE = Path(__file__).parents[2] / "protocol" / "vectors"
VALUES = {"msgpack": neutral.MessagePackSerializer(), "json": neutral.JsonSerializer()}
FILE_OF = {union: file for file, union in UNIONS}


def load(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text())
    return found


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", HERE / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SPOKEN = [v for name in sorted(generator().CONVERSATIONS) for v in load(name)]
OTHERS = [*load("newer"), *load("older")]
by_name = {"ids": lambda vector: f"{vector.get('union', '')} {vector['name']}"}


def message_of(name: str, meaning: dict[str, Any]) -> Any:
    """What a vector says, as this implementation has it."""
    kinds = {str(f.name): f.slot.type for f in STRUCTS[name].node.struct.fields}
    told = {snake(key): _told(STRUCTS[name], key, kinds[key], value) for key, value in meaning.items()}
    return CLASSES[name](**told)


def _told(owner: Any, key: str, kind: Any, value: Any) -> Any:
    which = str(kind.which())
    if which == "struct":
        return message_of(_name(owner.fields[key].schema), value)
    if which == "list" and str(kind.list.elementType.which()) == "struct":
        return [message_of(_name(owner.fields[key].schema.elementType), entry) for entry in value]
    if which == "list":
        return [_scalar(str(kind.list.elementType.which()), entry) for entry in value]
    return _scalar(which, value)


def _scalar(which: str, value: Any) -> Any:
    return bytes.fromhex(value) if which == "data" else int(value) if which in ("uint64", "int64") else value


def _name(struct: Any) -> str:
    return str(struct.node.displayName[struct.node.displayNamePrefixLength :])


def said(vector: dict[str, Any]) -> Any:
    ((arm, meaning),) = vector["says"].items()
    union = getattr(schema.load(FILE_OF[vector["union"]]), vector["union"])
    return message_of(_name(union.schema.fields[arm].schema), meaning)


def taken(frame: bytes, union: str) -> tuple[bytes, bytes]:
    """(message, attachment) of a whole frame. Raises what is wrong with it."""
    reader = FrameReader()
    if union != "Handshake":
        reader.handshake_done()
    reader.feed(frame)
    found = reader.take()
    if reader.error is not None:
        raise reader.error
    assert found is not None
    return bytes(found[0]), bytes(found[1])


def test_they_are_what_the_schemas_give() -> None:
    """python protocol/vectors/make.py writes them anew."""
    files = generator().files()
    assert {path.name: path.read_text() for path in HERE.glob("*.json")} == files


@pytest.mark.parametrize("vector", SPOKEN, **by_name)
def test_each_message_means_the_same_and_has_the_same_bytes(vector: dict[str, Any]) -> None:
    frame, attachment = bytes.fromhex(vector["frame"]), bytes.fromhex(vector.get("attachment", ""))
    union = codec(FILE_OF[vector["union"]], vector["union"])
    message, rest = taken(frame, vector["union"])
    assert rest == attachment
    assert same(union.decode(message), said(vector))
    written = union.encode(said(vector))
    assert HEADER.pack(len(written), len(attachment)) + written + attachment == frame


def same(one: Any, other: Any) -> bool:
    """Columns may be bytes or arrays."""
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int | float | str):
        return bool(one == other)
    return bytes(one) == bytes(other)


@pytest.mark.parametrize("vector", OTHERS, **by_name)
def test_peers_whose_schemas_are_newer_or_older_are_understood(vector: dict[str, Any]) -> None:
    message, _ = taken(bytes.fromhex(vector["frame"]), vector["union"])
    assert same(codec(FILE_OF[vector["union"]], vector["union"]).decode(message), said(vector))


@pytest.mark.parametrize("vector", load("refused"), **by_name)
def test_what_breaks_a_rule_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        message, _ = taken(bytes.fromhex(vector["frame"]), vector["union"])
        codec(FILE_OF[vector["union"]], vector["union"]).decode(message)


def test_the_failure() -> None:
    (vector,) = load("failure")
    failure = message_of("Failure", vector["says"])
    assert struct_codec("task", "Failure").encode(failure).hex() == vector["message"]
    found = serialization.read_failure(bytes.fromhex(vector["message"]))
    assert isinstance(found, Failure) and found == failure


@pytest.mark.parametrize("vector", load("values"), **by_name)
def test_values_are_the_same_in_messagepack_and_json(vector: dict[str, Any]) -> None:
    inputs, objects = ["input"], {bytes(range(16)): {"msgpack": b"\xa1o", "json": b'"o"'}}
    found = []
    for tag, content in (("msgpack", bytes.fromhex(vector["msgpack"])), ("json", json.dumps(vector["json"]).encode())):
        fetch = {name: content[tag] for name, content in objects.items()}.__getitem__
        found.append(VALUES[tag].read(content, inputs.__getitem__, fetch))
    assert repr(found[0]) == repr(found[1])
    if "$input" not in str(vector["json"]) and "$object" not in str(vector["json"]):
        assert json.loads(VALUES["json"].serialize(found[0])) == vector["json"]
        again = VALUES["msgpack"].serialize(found[0])
        assert repr(VALUES["msgpack"].deserialize(again)) == repr(found[0])


@pytest.mark.parametrize(("channel", "by"), [(b"", ""), (b"c" * 32, " by TLS")])
def test_the_handshake_is_one_that_both_sides_hold(channel: bytes, by: str) -> None:
    said_by_name = {v["name"]: said(v) for v in load("handshake")}
    dialer = Dialer(Role.client, b"A" * 16, "vector", b"0123456789abcdef", b"n" * 32)
    listener = Listener([Role.client], b"B" * 16, b"0123456789abcdef", b"m" * 32)
    hello, challenge = said_by_name["hello with a secret"], said_by_name["challenge"]
    proof, welcome = said_by_name[f"proof{by}"], said_by_name[f"welcome with a proof{by}"]
    dialer.channel = listener.channel = channel
    assert dialer.hello == hello
    assert listener.receive(hello) == [challenge]
    assert dialer.receive(challenge) == [proof]
    assert listener.receive(proof) == [welcome]
    assert dialer.receive(welcome) == [] and dialer.peer is not None


# ---- versions


def hello(oldest: int, newest: int) -> Hello:
    known = next(said(v) for v in load("handshake") if v["name"] == "hello without a secret")
    return Hello(known.magic, newest, oldest, known.role, known.identity, "ann")


def answer_to(oldest: int, newest: int) -> Message:
    listener, union = Listener([Role.client], new_identity()), handshake_codec()
    (answer,) = listener.receive(union.decode(union.encode(hello(oldest, newest))))  # type: ignore[arg-type]
    return answer


@pytest.mark.parametrize(
    ("oldest", "newest"), [(PROTOCOL_VERSION, PROTOCOL_VERSION + 1), (PROTOCOL_VERSION - 1, PROTOCOL_VERSION), (1, 99)]
)
def test_a_client_that_also_speaks_this_version_is_let_in(oldest: int, newest: int) -> None:
    answer = answer_to(oldest, newest)
    assert isinstance(answer, Welcome) and answer.protocol_version == PROTOCOL_VERSION


@pytest.mark.parametrize(("oldest", "newest"), [(PROTOCOL_VERSION + 1,) * 2, (0, PROTOCOL_VERSION - 1), (7, 9)])
def test_a_client_of_other_versions_only_is_told_both_ranges(oldest: int, newest: int) -> None:
    answer = answer_to(oldest, newest)
    assert isinstance(answer, Refused) and answer.reason == RefusalReason.version
    assert f"peer speaks {oldest} to {newest}, this side 1 to {PROTOCOL_VERSION}" in answer.text


def test_a_scheduler_that_picks_a_version_that_was_not_offered_is_told_of() -> None:
    dialer = Dialer(Role.client, b"A" * 16)
    dialer.receive(Welcome(dialer.hello.magic, PROTOCOL_VERSION + 1, b"B" * 16, b""))
    assert "protocol version 2" in str(dialer.error)
