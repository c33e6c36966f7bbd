"""The handshake of ``protocol/handshake.capnp``, from both sides, without I/O.

Each side is told what the peer said and answers with what to say. A side ends in ``peer`` (let in) or ``error``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

from scaler.errors import ProtocolError, RefusedError
from scaler.ids import IDENTITY_BYTES
from scaler.machine import Peer
from scaler.messages import Challenge, Hello, Message, Proof, RefusalReason, Refused, Role, Welcome
from scaler.software import MAX_SOFTWARE_BYTES
from scaler.wire import schema
from scaler.wire.codec import UnionCodec, codec

_SCHEMA = schema.load("handshake")
MAGIC: int = _SCHEMA.magic
PROTOCOL_VERSION: int = _SCHEMA.protocolVersion
OLDEST_VERSION = 1
MAX_NAME_BYTES = 256
NONCE_BYTES = 32


def handshake_codec() -> UnionCodec:
    """Both directions use the same union."""
    return codec("handshake", "Handshake")


def _mac(secret: bytes, who: bytes, hello: Hello, nonce: bytes) -> bytes:
    said = who + hello.nonce + nonce + hello.identity + bytes([hello.role])
    return hmac.digest(secret, said, hashlib.sha256)


class Dialer:
    """The side that opened the connection."""

    def __init__(
        self,
        role: Role,
        identity: bytes,
        name: str = "",
        secret: bytes = b"",
        nonce: bytes = b"",
        software: str = "",
    ) -> None:
        self.peer: Peer | None = None
        self.error: ProtocolError | None = None
        self._role = role
        self._secret = secret
        self._challenge = b""
        self.hello = Hello(
            MAGIC, PROTOCOL_VERSION, OLDEST_VERSION, role, identity, name, nonce if secret else b"", software
        )

    def receive(self, message: Message) -> list[Message]:
        """What to answer, if anything."""
        if isinstance(message, Challenge):
            return self._prove(message)
        if isinstance(message, Refused):
            self.error = RefusedError(message.text or "refused without a reason")
        elif isinstance(message, Welcome):
            self._welcome(message)
        else:
            self.error = ProtocolError(f"{type(message).__name__} is no answer to hello")
        return []

    def _prove(self, message: Challenge) -> list[Message]:
        if not self._secret:
            self.error = RefusedError("the peer asks for a secret, and none is configured here")
        elif message.method != "hmac-sha256":
            self.error = RefusedError(
                f"the peer asks for authentication by {message.method!r}, which is not known here"
            )
        else:
            self._challenge = message.nonce
            return [Proof(_mac(self._secret, b"scaler dialer", self.hello, message.nonce))]
        return []

    def _welcome(self, message: Welcome) -> None:
        if message.magic != MAGIC:
            self.error = ProtocolError("the peer does not speak Scaler's protocol: wrong magic number")
        elif not OLDEST_VERSION <= message.protocol_version <= PROTOCOL_VERSION:
            self.error = ProtocolError(f"the peer picked protocol version {message.protocol_version}, not known here")
        elif self._secret and not hmac.compare_digest(
            message.mac, _mac(self._secret, b"scaler listener", self.hello, self._challenge)
        ):
            self.error = RefusedError("the peer did not prove that it knows the secret")
        else:
            self.peer = Peer(self._role, message.identity, "", message.protocol_version)


class Listener:
    """The side that accepted the connection."""

    def __init__(self, roles: Collection[Role], identity: bytes, secret: bytes = b"", nonce: bytes = b"") -> None:
        self.peer: Peer | None = None
        self.error: ProtocolError | None = None
        self._roles = roles
        self._identity = identity
        self._secret = secret
        self._nonce = nonce
        self._hello: Hello | None = None
        self._version = 0

    def receive(self, message: Message) -> list[Message]:
        """What to answer. When ``error`` is set afterwards, send the answer and close."""
        if isinstance(message, Hello) and self._hello is None:
            return self._greet(message)
        if isinstance(message, Proof) and self._hello is not None and self.peer is None:
            expected = _mac(self._secret, b"scaler dialer", self._hello, self._nonce)
            if not self._secret or not hmac.compare_digest(expected, message.mac):
                return self._refuse(RefusalReason.authentication, "the secret was not proved")
            return self._let_in(self._hello, _mac(self._secret, b"scaler listener", self._hello, self._nonce))
        return self._refuse(
            RefusalReason.not_scaler, f"{type(message).__name__} does not belong here; begin with hello"
        )

    def refuse_unreadable(self) -> list[Message]:
        """The answer to a first frame that is no handshake."""
        return self._refuse(RefusalReason.not_scaler, "the first frame is no handshake of Scaler's protocol")

    def _greet(self, hello: Hello) -> list[Message]:
        self._hello = hello
        if hello.magic != MAGIC:
            return self._refuse(RefusalReason.not_scaler, "wrong magic number: this is a Scaler daemon")
        self._version = min(hello.protocol_version, PROTOCOL_VERSION)
        if self._version < max(hello.oldest_version, OLDEST_VERSION):
            return self._refuse(
                RefusalReason.version,
                f"no protocol version in common: peer speaks {hello.oldest_version} to {hello.protocol_version}, "
                f"this side {OLDEST_VERSION} to {PROTOCOL_VERSION}",
            )
        if hello.role not in self._roles:
            asked = Role(hello.role).name if hello.role in list(Role) else str(hello.role)
            served = ", ".join(sorted(Role(role).name for role in self._roles))
            return self._refuse(RefusalReason.role, f"role {asked!r} is not served here; this address serves {served}")
        if len(hello.identity) != IDENTITY_BYTES or len(hello.name.encode()) > MAX_NAME_BYTES:
            return self._refuse(RefusalReason.not_scaler, "an identity has 16 bytes, and a name at most 256")
        if len(hello.software.encode()) > MAX_SOFTWARE_BYTES:
            return self._refuse(RefusalReason.not_scaler, f"software is told in {MAX_SOFTWARE_BYTES} bytes at most")
        if self._secret:
            return [Challenge("hmac-sha256", self._nonce)]
        return self._let_in(hello, b"")

    def _let_in(self, hello: Hello, mac: bytes) -> list[Message]:
        self.peer = Peer(Role(hello.role), hello.identity, hello.name, self._version, hello.software)
        return [Welcome(MAGIC, self._version, self._identity, mac)]

    def _refuse(self, reason: RefusalReason, text: str) -> list[Message]:
        self.error = ProtocolError(text)
        return [Refused(reason, text)]
