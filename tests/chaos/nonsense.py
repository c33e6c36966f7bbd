"""A peer that says nothing right: ``python -m tests.chaos.nonsense HOST PORT SECONDS FRAMES`` prints how many frames it has said.

Each is one of the protocol's vectors with bytes changed, lost or added, as the first thing on a connection or after a handshake;
a connection ends with its first frame that is wrong, so each has one of its own.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from scaler.messages import Hello, Role
from scaler.wire.handshake import MAGIC, PROTOCOL_VERSION, handshake_codec

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
SPEAKS = {"ClientToScheduler": Role.client, "WorkerToScheduler": Role.worker, "ManagerToScheduler": Role.manager}
_AT_ONCE = struct.pack("ii", 1, 0)


def frames() -> list[tuple[Role | None, bytes]]:
    """(role that may say it, frame) of all that a scheduler may hear; None: before the handshake is over."""
    vectors = [vector for path in sorted(VECTORS.glob("*.json")) for vector in json.loads(path.read_text())]
    return [
        (SPEAKS.get(vector["union"]), bytes.fromhex(vector["frame"]))
        for vector in vectors
        if vector.get("union") in (*SPEAKS, "Handshake")
    ]


def damaged(frame: bytes, chance: random.Random) -> bytes:
    """The same, less or more of it, with bytes changed; its header sometimes fits."""
    content = bytearray(frame)
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
    if len(content) > 8 and chance.random() < 0.2:
        del content[chance.randrange(8, len(content)) :]
    if chance.random() < 0.2:
        content += chance.randbytes(chance.randrange(64))
    if chance.random() < 0.7:
        content[:8] = struct.pack("<II", (len(content) - 8) & ~7, 0)
    return bytes(content)


def say(host: str, port: int, number: int, role: Role | None, frame: bytes) -> None:
    """On a connection of its own, which is reset: what is closed in order keeps its port for a minute."""
    with socket.socket() as one:
        one.bind((f"127.0.0.{2 + number % 200}", 0))
        one.settimeout(5)
        one.connect((host, port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        if role is not None:
            hello = Hello(MAGIC, PROTOCOL_VERSION, 1, role, os.urandom(16), "stranger", b"", "")
            one.sendall(handshake_codec().frame(hello) + frame)
        else:
            one.sendall(frame)
        one.shutdown(socket.SHUT_WR)  # A frame that promises more than there is ends here.
        while one.recv(4096):
            pass


def main() -> None:
    host, port, seconds, most = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    chance, known = random.Random(os.getpid()), frames()
    until, said = time.monotonic() + seconds, 0
    while said < most and time.monotonic() < until:
        role, frame = chance.choice(known)
        with suppress(OSError):
            say(host, port, said, role, damaged(frame, chance))
            said += 1
    print(said)


if __name__ == "__main__":
    main()
