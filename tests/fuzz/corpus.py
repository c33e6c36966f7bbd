"""Inputs that reach what others do not: one file for each target, all small, so that a test replays them in no time.

A file is its inputs one after the other, each behind its length (u16, little-endian).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

from scaler.messages import Role
from tests.wire.random_messages import UNIONS

from .states import SUBJECTS, Subject
from .targets import CONNECT, written

DIRECTORY = Path(__file__).with_name("corpus")
VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
_LENGTH = struct.Struct("<H")
LARGEST_BYTES = 8192
"""Larger inputs are not kept."""
MOST_BYTES = 24 << 10
"""Of a target; the smallest inputs are kept."""


def kept(target: str) -> list[bytes]:
    """The inputs of a target that are in the tree."""
    path = DIRECTORY / target
    content, at, found = path.read_bytes() if path.exists() else b"", 0, []
    while at < len(content):
        (size,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size + size
        found.append(content[at - size : at])
    return found


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Have these in the tree instead of those that are."""
    small = sorted({one for one in inputs if len(one) <= LARGEST_BYTES}, key=lambda one: (len(one), one))
    ends = accumulate(_LENGTH.size + len(one) for one in small)
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / target).write_bytes(
        b"".join(_LENGTH.pack(len(one)) + one for one, end in zip(small, ends, strict=True) if end <= MOST_BYTES)
    )


def seeds(target: str) -> list[bytes]:
    """Where looking begins: what the protocol's vectors have for a target."""
    vectors = [vector for path in sorted(VECTORS.glob("*.json")) for vector in json.loads(path.read_text())]
    spoken = [vector for vector in vectors if "frame" in vector]
    unions = [name for _, name in UNIONS]
    if target == "frames":
        return [bytes([vector["union"] == "Handshake", 7, 31]) + bytes.fromhex(vector["frame"]) for vector in spoken]
    if target == "messages":
        return [
            *(bytes([unions.index(v["union"])]) + _message(v) for v in spoken if v["union"] in unions),
            *(bytes([len(unions)]) + bytes.fromhex(v["message"]) for v in vectors if "message" in v),
        ]
    if target == "handshake":
        said = [bytes.fromhex(vector["frame"]) for vector in spoken if vector["union"] == "Handshake"]
        return [bytes([kind]) + one for kind in range(4) for one in [*said, b"".join(said)]]
    if target in ("msgpack", "json"):
        values = [vector for vector in vectors if "msgpack" in vector]
        if target == "msgpack":
            return [bytes.fromhex(vector["msgpack"]) for vector in values]
        return [json.dumps(vector["json"]).encode() for vector in values]
    if target == "layouts":
        return [bytes(range(count, count + 12)) for count in range(1, 16)]
    return _talks(SUBJECTS[target], spoken)


def _message(vector: dict[str, Any]) -> bytes:
    frame = bytes.fromhex(vector["frame"])
    return frame[8 : 8 + struct.unpack_from("<I", frame)[0]]


def _talks(subject: Subject, spoken: list[dict[str, Any]]) -> list[bytes]:
    """All messages of each role alone, and one after the other."""
    found = []
    for number, role in enumerate(subject.roles):
        said = [_message(v) for v in spoken if v["union"] == subject.hears(Role(role)).name]
        hello = (CONNECT, number, b"")
        found += [written([hello, (16 * turn % 64 + 8, 0, one)]) for turn, one in enumerate(said)]
        found.append(written([hello, *((8, 0, one) for one in said)]))
    return found
