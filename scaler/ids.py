"""What things are called: identities, task ids, object ids and addresses."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from typing_extensions import Buffer

from scaler.errors import AddressError

Column: TypeAlias = "bytes | array[int]"
"""Packed little-endian integers: see "COLUMNS" in protocol/task.capnp."""

IDENTITY_BYTES = 16
OBJECT_ID_BYTES = 16
SEQUENCE_BITS = 40
MAX_SEQUENCE = (1 << SEQUENCE_BITS - 1) - 1
"""Of a client's task or item. The bit above says that the scheduler minted the number, for a range."""
RANGE_BIT = MAX_SEQUENCE + 1
MAX_CLIENT_NUMBER = (1 << 24) - 1
LOST_OBJECT = struct.Struct("<I16s")
"""An entry in the payload of an ``object_lost`` result from a worker: which input of the task it is, and the object's id."""
NO_INPUT = 0xFFFFFFFF
"""Its first part for an object that is no input."""
LONGEST_PATH = 107
"""Of a Unix socket, in bytes, as Linux has it."""


_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)


def new_identity() -> bytes:
    """16 random bytes that name a process for its life, or an object."""
    while True:
        try:
            return _drawn.pop()
        except IndexError:
            # Many at once: a system call lets other threads run, and has to wait for them.
            many = os.urandom(IDENTITY_BYTES * 64)
            _drawn.extend(many[i : i + IDENTITY_BYTES] for i in range(0, len(many), IDENTITY_BYTES))


def content_object_id(*content: Buffer) -> bytes:
    """The id of an object named by its bytes, in parts that follow each other: BLAKE2b with a digest of 16 bytes."""
    digest = hashlib.blake2b(digest_size=OBJECT_ID_BYTES)
    for part in content:
        digest.update(part)
    return digest.digest()


def task_id(client_number: int, sequence: int) -> int:
    """The scheduler's name of a client's task, as protocol/task.capnp defines it."""
    return client_number << SEQUENCE_BITS | sequence


def sequence_of(id: int) -> int:
    """The client's name of a task, from its task id."""
    return id & (1 << SEQUENCE_BITS) - 1


def task_label(task: int) -> str:
    """A task's id for people: client number and sequence; of a range ``r`` and its number."""
    sequence = sequence_of(task)
    top = 1 << SEQUENCE_BITS - 1
    return f"{task >> SEQUENCE_BITS}:{f'r{sequence - top}' if sequence >= top else sequence}"


def u32(data: Column) -> array[int]:
    """A u32 column as an array. Raises ValueError for a length that is no multiple of 4."""
    return data if isinstance(data, array) else array("I", data)


def u64(data: Column) -> array[int]:
    """A u64 column as an array. Raises ValueError for a length that is no multiple of 8."""
    return data if isinstance(data, array) else array("Q", data)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon listens: ``tcp://host:port`` or ``tls://host:port``, with IPv6 hosts in brackets, or ``ipc://path``, a Unix
    socket."""

    host: str
    port: int
    path: str = ""
    """Of a Unix socket; host and port mean nothing then."""
    tls: bool = False
    """Whether TLS is spoken there."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises AddressError, saying what is wrong with the text, for anything but tcp://host:port, tls://host:port and ipc://path."""
        if text.strip().startswith("ipc://"):
            return cls._of_path(text.strip().removeprefix("ipc://"))
        match = re.fullmatch(r"(tcp|tls)://(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]+)):(\d{1,5})/?", text.strip())
        if match is None:
            raise AddressError(
                f"{text!r} is not an address; write it as tcp://host:port, for example tcp://127.0.0.1:8516, or tls://host:port,"
                " or ipc://path"
            )
        port = int(match[4])
        if port > 65535:
            raise AddressError(f"port {port} in {text!r} is greater than 65535")
        return cls(match[2] or match[3], port, tls=match[1] == "tls")

    @classmethod
    def _of_path(cls, path: str) -> Address:
        if not path or "\0" in path:
            raise AddressError("ipc:// needs the path of a Unix socket, for example ipc:///run/user/1000/scaler")
        full = str(Path(path).absolute())
        if len(os.fsencode(full)) > LONGEST_PATH:
            raise AddressError(f"the path {full} is longer than the {LONGEST_PATH} bytes that a Unix socket's may have")
        return cls("", 0, full)

    def __str__(self) -> str:
        if self.path:
            return f"ipc://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"

    def with_port(self, port: int) -> Address:
        """The same host at another port; a Unix socket has none."""
        return self if self.path else replace(self, port=port)

    def of_monitor(self) -> Address:
        """Where a scheduler that listens here is watched unless it is told: port + 2, or the path with ``.monitor``.

        Raises AddressError where there is no such port or path.
        """
        if self.path:
            return self._of_path(f"{self.path}.monitor")
        if self.port + 2 > 65535:
            raise AddressError(f"there is no port {self.port + 2} for the monitor address; name one")
        return self.with_port(self.port + 2)
