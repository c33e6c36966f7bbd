"""Writes the test vectors beside this file, from the schemas: ``python protocol/vectors/make.py``. README.md says what they are.

Needs pycapnp, and nothing of Scaler.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import capnp

capnp.remove_import_hook()

HERE = Path(__file__).resolve().parent
CONVERSATIONS = {
    "handshake": ("Handshake",),
    "client": ("ClientToScheduler", "SchedulerToClient"),
    "worker": ("WorkerToScheduler", "SchedulerToWorker"),
    "manager": ("ManagerToScheduler", "SchedulerToManager"),
    "monitor": ("MonitorToScheduler", "SchedulerToMonitor"),
    "storage": ("ToStorage", "FromStorage"),
    "host": ("HostToStorage", "StorageToHost"),
    "executor": ("WorkerToForkServer", "ForkServerToWorker", "WorkerToExecutor", "ExecutorToWorker"),
}
SPOKEN_BY_CLIENTS = ("handshake", "client", "storage")
SCHEMAS = {name: capnp.load(str(HERE.parent / f"{name}.capnp")) for name in (*CONVERSATIONS, "task")}
INTEGERS = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "int8": 7, "int16": 15, "int32": 31, "int64": 63}


def frame(message: bytes, attachment: bytes = b"") -> bytes:
    return struct.pack("<II", len(message), len(attachment)) + message + attachment


# ---- meanings: what a message says, as JSON


def fields(kind: Any) -> list[tuple[str, Any, Any]]:
    """(name, type, schema of a struct or of a list's entries, if it has one) of each field."""
    found = []
    for name, field in kind.fields.items():
        slot = field.proto.slot.type
        which = str(slot.which())
        nested = field.schema if which in ("struct", "list") else None
        found.append((name, slot, nested))
    return found


def full(kind: Any, numbers: Any) -> dict[str, Any]:
    """Each field has a value of its own, as far as its type allows it."""
    return {name: _value(name, slot, nested, numbers) for name, slot, nested in fields(kind)}


def _value(name: str, slot: Any, nested: Any, numbers: Any) -> Any:
    which = str(slot.which())
    number = next(numbers)
    if which in INTEGERS:
        value = (1 << INTEGERS[which]) - number
        return str(value) if which in ("uint64", "int64") else value
    if which == "enum":
        return 1 + number % 2
    if which == "list":
        inner = slot.list.elementType
        entry = nested.elementType if str(inner.which()) == "struct" else None
        return [_value(name, inner, entry, numbers) for _ in range(2)]
    plain = {"bool": True, "text": f"{name} {number} ä", "data": bytes([number % 256] * (number % 5 + 1)).hex()}
    floats = {"float32": number + 0.5, "float64": number + 0.5}
    return full(nested, numbers) if which == "struct" else {**plain, **floats}[which]


def completed(kind: Any, told: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of what is not told."""
    unknown = told.keys() - kind.fields.keys()
    assert not unknown, f"{kind} has no {unknown}"
    return {name: _completed(slot, nested, told.get(name)) for name, slot, nested in fields(kind)}


def _completed(slot: Any, nested: Any, told: Any) -> Any:
    which = str(slot.which())
    if which == "struct":
        return completed(nested, told or {})
    if which == "list":
        if str(slot.list.elementType.which()) == "struct":
            return [completed(nested.elementType, entry) for entry in told or []]
        return told or []
    if told is not None:
        return told
    return {"bool": False, "text": "", "data": "", "uint64": "0", "int64": "0", "float32": 0.0, "float64": 0.0}.get(
        which, 0
    )


def fill(builder: Any, kind: Any, meaning: dict[str, Any]) -> None:
    """Write what is told into a message, field by field in the order of the schema; what is all default is not written."""
    for name, slot, nested in fields(kind):
        value = meaning[name]
        which = str(slot.which())
        if which == "struct":
            if value != completed(nested, {}):
                fill(builder.init(name), nested, value)
        elif which == "list":
            if value:
                _fill_list(builder.init(name, len(value)), slot.list.elementType, nested, value)
        elif value not in ("", 0, "0", 0.0, False):
            setattr(builder, name, _scalar(which, value))


def _fill_list(entries: Any, inner: Any, nested: Any, values: list[Any]) -> None:
    for i, value in enumerate(values):
        if str(inner.which()) == "struct":
            fill(entries[i], nested.elementType, value)
        elif value != "":
            entries[i] = _scalar(str(inner.which()), value)


def _scalar(which: str, value: Any) -> Any:
    if which == "data":
        return bytes.fromhex(value)
    return int(value) if which in ("uint64", "int64") else value


# ---- vectors


def said(file: str, union: str, name: str, arm: str, told: dict[str, Any], attachment: bytes = b"") -> dict[str, Any]:
    """The vector of a message of a conversation."""
    kind = getattr(SCHEMAS[file], union)
    inner = kind.schema.fields[arm].schema
    meaning = completed(inner, told)
    message = kind.new_message()
    fill(message.init(arm), inner, meaning)
    found = {"name": name, "union": union, "frame": frame(message.to_bytes(), attachment).hex(), "says": {arm: meaning}}
    return {**found, "attachment": attachment.hex()} if attachment else found


def walked(file: str, union: str) -> list[dict[str, Any]]:
    """Of each message one with nothing but defaults, and one in which all is told."""
    found = []
    for arm, field in getattr(SCHEMAS[file], union).schema.fields.items():
        if str(field.proto.slot.type.which()) == "struct":
            found.append(said(file, union, f"{arm}, empty", arm, {}))
            if field.schema.fields:
                found.append(said(file, union, f"{arm}, all fields", arm, full(field.schema, count(1))))
    return found


def u64(*numbers: int) -> str:
    return struct.pack(f"<{len(numbers)}Q", *numbers).hex()


def u32(*numbers: int) -> str:
    return struct.pack(f"<{len(numbers)}I", *numbers).hex()


SECRET, DIALER_NONCE, LISTENER_NONCE, DIALER, LISTENER = b"0123456789abcdef", b"n" * 32, b"m" * 32, b"A" * 16, b"B" * 16
CHANNEL = b"c" * 32
MAGIC = str(SCHEMAS["handshake"].magic)
VERSION = SCHEMAS["handshake"].protocolVersion


def _mac(who: bytes, more: bytes = b"") -> str:
    parts = who + DIALER_NONCE + LISTENER_NONCE + DIALER + struct.pack("<HHH", 1, VERSION, VERSION) + more
    return hmac.digest(SECRET, parts, hashlib.sha256).hex()


def _hello(**told: Any) -> dict[str, Any]:
    versions = {"protocolVersion": VERSION, "oldestVersion": VERSION}
    return {"magic": MAGIC, **versions, "role": 1, "identity": DIALER.hex(), "name": "vector", **told}


def handshake() -> list[dict[str, Any]]:
    """A client is let in, with the secret ``0123456789abcdef``, without TLS and with it."""
    proved = _mac(b"scaler listener", struct.pack("<H", VERSION) + LISTENER)
    welcome = {"magic": MAGIC, "protocolVersion": VERSION, "identity": LISTENER.hex(), "mac": proved}
    by_tls = {**welcome, "mac": _mac(b"scaler listener", struct.pack("<H", VERSION) + LISTENER + CHANNEL)}
    refused = {"reason": 2, "text": "versions 2 to 3 were offered, and 1 is spoken here"}
    messages: list[tuple[str, str, dict[str, Any]]] = [
        ("hello without a secret", "hello", _hello()),
        ("hello with a secret", "hello", _hello(nonce=DIALER_NONCE.hex())),
        ("challenge", "challenge", {"method": "hmac-sha256", "nonce": LISTENER_NONCE.hex()}),
        ("proof", "proof", {"mac": _mac(b"scaler dialer")}),
        ("welcome with a proof", "welcome", welcome),
        ("proof by TLS", "proof", {"mac": _mac(b"scaler dialer", CHANNEL)}),
        ("welcome with a proof by TLS", "welcome", by_tls),
        ("refused", "refused", refused),
    ]
    return [said("handshake", "Handshake", name, arm, told) for name, arm, told in messages]


def failure() -> tuple[dict[str, Any], bytes]:
    """What a failed task says: a message without a frame."""
    kind = SCHEMAS["task"].Failure
    told = {
        "typeName": "builtins.ValueError",
        "message": "math domain error",
        "traceback": "ValueError: math domain error\n",
    }
    meaning = completed(kind.schema, {**told, "types": ["builtins.ValueError", "builtins.Exception"]})
    message = kind.new_message()
    fill(message, kind.schema, meaning)
    return meaning, message.to_bytes()


CALL = bytes.fromhex("9291cb400000000000000080").hex()  # [[2.0], {}]
INPUT = bytes.fromhex("9291d60200000000" + "80").hex()  # [[input 0], {}]


def client() -> list[dict[str, Any]]:
    """What a client that calls math:sqrt says and hears."""
    to, back = "ClientToScheduler", "SchedulerToClient"
    function = {"number": 0, "serializer": "msgpack", "content": b"math:sqrt".hex(), "name": "math:sqrt"}
    options = {"capabilities": ["gpu"], "priority": -1, "retries": 2, "timeoutMilliseconds": "1500", "name": "root"}
    settings = {
        **{"clientNumber": 7, "objectStorageAddress": "tcp://127.0.0.1:8517", "inlineLimitBytes": "65536"},
        **{"heartbeatMilliseconds": "2000", "timeoutMilliseconds": "60000", "slots": 2},
    }
    one = {"sequences": u64(0), "functions": u32(0), "payloads": [CALL]}
    optional = {**one, "sequences": u64(1), "optionSets": [options], "options": u32(0)}
    graph = {
        **{"sequences": u64(2, 3), "functions": u32(0), "payloads": [CALL, INPUT], "wanted": "0001"},
        **{"dependencyEnds": u32(0, 1), "dependencies": u64(2)},
    }
    array = {
        "firstSequence": "4",
        "function": 0,
        "items": CALL * 3,
        "itemEnds": u32(*(len(CALL) // 2 * n for n in (1, 2, 3))),
    }
    root = "cb3ff6a09e667f3bcd"
    stored = (b"O" * 16).hex() + u64(1 << 20)
    results = {
        **{"tasks": u64(0, 1, 4, 3), "statuses": "01030102", "counts": u32(1, 1, 3, 1)},
        **{"payloads": [root, failure()[1].hex(), root * 3, stored], "itemEnds": ["", "", u32(9, 18, 27), ""]},
        **{
            "wallMicroseconds": u64(5, 6, 21, 7),
            "cpuMicroseconds": u64(4, 5, 18, 6),
            "peakMemoryBytes": u64(*[1 << 25] * 4),
        },
    }
    messages: list[tuple[str, str, str, dict[str, Any]]] = [
        (back, "settings", "settings", settings),
        (to, "define math:sqrt", "define", {"functions": [function]}),
        (to, "submit math:sqrt(2.0)", "submit", one),
        (to, "submit with options", "submit", optional),
        (to, "submit a graph: sqrt(sqrt(2.0))", "submit", graph),
        (to, "submit an array of three", "submitArray", array),
        (back, "results: one, an error, three items, a stored one", "results", results),
        (to, "cancel a task, and the three items", "cancel", {"sequences": u64(1, 4), "counts": u32(1, 3)}),
        (to, "heartbeat", "heartbeat", {"sentMicroseconds": "1000000"}),
        (back, "heartbeat", "heartbeat", {"sentMicroseconds": "1000000", "slots": 2}),
        (to, "resuming, at another scheduler", "resuming", {"slots": 2}),
        (to, "goodbye", "goodbye", {}),
    ]
    return [said("client", union, name, arm, told) for union, name, arm, told in messages]


def storage() -> list[dict[str, Any]]:
    """An object of six bytes in two parts, and what comes back."""
    put = {"request": "1", "object": (b"O" * 16).hex(), "owner": DIALER.hex(), "totalBytes": "6"}
    return [
        said("storage", "ToStorage", "put, the first part", "put", put, b"abcd"),
        said("storage", "ToStorage", "put, the last part", "put", {**put, "offset": "4"}, b"ef"),
        said("storage", "FromStorage", "stored", "stored", {"request": "1"}),
        said("storage", "ToStorage", "get", "get", {"request": "2", "object": (b"O" * 16).hex(), "existed": True}),
        said("storage", "FromStorage", "chunk", "chunk", {"request": "2", "totalBytes": "6"}, b"abcdef"),
    ]


# ---- other versions of the schemas


def _newer(ordinal: int, text: str) -> str:
    """Two fields more at the end of a struct."""
    return f"{text}  later @{ordinal} :UInt64;\n  laterText @{ordinal + 1} :Text;\n"


def _older(ordinal: int, text: str) -> str:
    """Without the field that came last, if there are two."""
    return re.sub(rf"  \w+ @{ordinal - 1} :[^;]*;\n", "", text) if ordinal > 1 else text


def other_version(change: Callable[[int, str], str], directory: Path) -> dict[str, Any]:
    """The schemas with each struct changed that is no union."""

    def changed(found: re.Match[str]) -> str:
        head, text, end = found.groups()
        ordinals = [int(n) for n in re.findall(r"^  \w+ @(\d+) :", text, re.MULTILINE)]
        return head + (text if "union {" in text else change(max(ordinals, default=-1) + 1, text)) + end

    for path in HERE.parent.glob("*.capnp"):
        text = re.sub(r"(?ms)^(struct \w+ \{\n)(.*?)^(\}\n)", changed, path.read_text())
        (directory / path.name).write_text(text)
    parser = capnp.SchemaParser()
    return {name: parser.load(str(directory / f"{name}.capnp")) for name in SPOKEN_BY_CLIENTS}


def said_by_others(what: str, change: Callable[[int, str], str]) -> list[dict[str, Any]]:
    """What a peer says that has other schemas, and what it means by these."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        schemas = other_version(change, Path(directory))
        for file in SPOKEN_BY_CLIENTS:
            for union in CONVERSATIONS[file]:
                for arm, field in getattr(schemas[file], union).schema.fields.items():
                    if str(field.proto.slot.type.which()) != "struct":
                        continue
                    kind = getattr(schemas[file], union)
                    meaning = full(field.schema, count(1))
                    message = kind.new_message()
                    fill(message.init(arm), field.schema, meaning)
                    known = getattr(SCHEMAS[file], union).schema.fields[arm].schema
                    vector = {"name": f"{arm}, {what}", "union": union, "frame": frame(message.to_bytes()).hex()}
                    found.append({**vector, "says": {arm: _as_known(known, meaning)}})
    return found


def _as_known(kind: Any, told: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that these schemas do not have, and with the defaults of those that are missing."""
    known = {}
    for name, slot, nested in fields(kind):
        value = told.get(name)
        if value is not None and str(slot.which()) == "struct":
            value = _as_known(nested, value)
        elif value is not None and str(slot.which()) == "list" and str(slot.list.elementType.which()) == "struct":
            value = [_as_known(nested.elementType, entry) for entry in value]
        known[name] = _completed(slot, nested, value) if value is None else value
    return known


def refused() -> list[dict[str, Any]]:
    """Frames that close the connection of whoever sends them."""
    good = bytes.fromhex(handshake()[0]["frame"])[8:]
    submit = bytes.fromhex(client()[2]["frame"])[8:]
    # Of the submit: the pointer to the list of payloads is the third of Submit's pointers, behind its word of data.
    pointers = 8 + 8 + 16 + 8
    beyond = bytearray(submit)
    beyond[pointers + 16 : pointers + 24] = struct.pack("<iI", 1 << 20 << 2 | 1, 1 << 3 | 6)
    many = bytearray(submit)
    many[pointers + 16 : pointers + 24] = struct.pack("<iI", 1, (1 << 29) - 1 << 3 | 6)
    arm = bytearray(submit)
    arm[16:18] = struct.pack("<H", 1000)
    unspecified = bytearray(submit)
    unspecified[16:18] = struct.pack("<H", 0)
    wrong: list[tuple[str, str, bytes]] = [
        ("a header of no bytes", "Handshake", struct.pack("<II", 0, 0)),
        ("a length that is no multiple of 8", "Handshake", struct.pack("<II", 12, 0) + bytes(12)),
        ("a message of more than 64 KiB before welcome", "Handshake", struct.pack("<II", (64 << 10) + 8, 0)),
        ("an attachment before welcome", "Handshake", struct.pack("<II", len(good), 8) + good + bytes(8)),
        ("another protocol: HTTP", "Handshake", b"GET / HTTP/1.1\r\n\r\n"),
        ("more segments than bytes", "Handshake", frame(struct.pack("<II", 500, 1))),
        ("a segment that is longer than the message", "Handshake", frame(struct.pack("<II", 0, 1000) + good[8:])),
        ("a message of more than 64 MiB", "ClientToScheduler", struct.pack("<II", (64 << 20) + 8, 0)),
        ("an attachment of more than 1 MiB", "ClientToScheduler", struct.pack("<II", len(submit), (1 << 20) + 1)),
        ("a list that lies outside of the message", "ClientToScheduler", frame(bytes(beyond))),
        ("a list of more entries than the message has room for", "ClientToScheduler", frame(bytes(many))),
        ("an arm of the union that nobody knows", "ClientToScheduler", frame(bytes(arm))),
        ("the arm unspecified", "ClientToScheduler", frame(bytes(unspecified))),
    ]
    return [{"name": name, "union": union, "frame": content.hex()} for name, union, content in wrong]


def values() -> list[dict[str, Any]]:
    """Arguments and results as MessagePack and as JSON."""
    dimensions = bytes.fromhex("033c693202" + u64(1, 3) + "010002000300")
    array = {"$array": {"dtype": "<i2", "shape": [1, 3], "data": "AQACAAMA"}}
    name = bytes(range(16))
    pairs: list[tuple[str, str, Any]] = [
        ("null", "c0", None),
        ("true", "c3", True),
        ("an integer", "2a", 42),
        ("a negative integer", "d1ff38", -200),
        ("a large integer", "cf001fffffffffffff", (1 << 53) - 1),
        ("a float", "cb3ff6a09e667f3bcd", 2**0.5),
        ("infinity", "cb7ff0000000000000", {"$float": "inf"}),
        ("a text", "a3c3a421", "ä!"),
        ("bytes", "c402ab00", {"$bytes": "qwA="}),
        ("a list", "93010203", [1, 2, 3]),
        ("a map", "81a161c0", {"a": None}),
        ("a map of one member whose name begins with $", "81a524666c6f6101", {"$plain": {"$floa": 1}}),
        ("an array", f"c7{len(dimensions):02x}01{dimensions.hex()}", array),
        ("a call: [[2.0], {}]", CALL, [[2.0], {}]),
        ("a call that takes input 0", INPUT, [[{"$input": 0}], {}]),
        ("a call that takes an object", "9291c71803" + name.hex() + u64(1000) + "80", [[{"$object": name.hex()}], {}]),
    ]
    return [{"name": title, "msgpack": packed, "json": plain} for title, packed, plain in pairs]


def files() -> dict[str, str]:
    """The text of each file, by its name."""
    spoken = {"handshake": handshake(), "client": client(), "storage": storage()}
    found: dict[str, list[dict[str, Any]]] = {}
    for file, unions in CONVERSATIONS.items():
        found[file] = [*spoken.get(file, []), *(vector for union in unions for vector in walked(file, union))]
    meaning, message = failure()
    found["failure"] = [{"name": "math domain error", "struct": "Failure", "message": message.hex(), "says": meaning}]
    found["refused"] = refused()
    found["values"] = values()
    found["newer"] = said_by_others("of a peer whose schemas have more fields", _newer)
    found["older"] = said_by_others("of a peer whose schemas lack the last field", _older)
    lines = {name: ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors) for name, vectors in found.items()}
    return {f"{name}.json": f"[\n{text}\n]\n" for name, text in lines.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text)
