"""The handshake of ``protocol/handshake.capnp``, from both sides, without I/O.

Each side is told what the peer said and answers with what to say. A side ends in ``peer`` (let in) or ``error``.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
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


METHOD = "hmac-sha256"
_VERSIONS = struct.Struct("<HH")
_ROLE = struct.Struct("<H")


def _mac(secret: bytes, who: bytes, hello: Hello, nonce: bytes, more: bytes) -> bytes:
    """All parts but the last have lengths of their own, so no two handshakes say the same bytes."""
    versions = _VERSIONS.pack(hello.protocol_version, hello.oldest_version)
    said = who + hello.nonce + nonce + hello.identity + _ROLE.pack(hello.role) + versions
    return hmac.digest(secret, said + more, hashlib.sha256)


def _dialer_mac(secret: bytes, hello: Hello, nonce: bytes, channel: bytes) -> bytes:
    return _mac(secret, b"scaler dialer", hello, nonce, channel)


def _listener_mac(secret: bytes, hello: Hello, nonce: bytes, version: int, identity: bytes, channel: bytes) -> bytes:
    return _mac(secret, b"scaler listener", hello, nonce, _ROLE.pack(version) + identity + channel)


class Dialer:
    """The side that opened the connection.

    With a secret it takes a listener only that proves the same one. ``channel`` is set before the first message: what both
    sides know of the TLS session, 32 bytes, or nothing without TLS.
    """

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
        self.channel = b""
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
            self.error = RefusedError(
                "the peer asks for a secret, and none is configured here; name its file: --secret-file"
            )
        elif message.method != METHOD:
            self.error = RefusedError(
                f"the peer asks for authentication by {message.method!r}, which is not known here"
            )
        elif len(message.nonce) != NONCE_BYTES or self._challenge:
            self.error = ProtocolError(f"a challenge comes once, with a nonce of {NONCE_BYTES} bytes")
        else:
            self._challenge = message.nonce
            return [Proof(_dialer_mac(self._secret, self.hello, message.nonce, self.channel))]
        return []

    def _welcome(self, message: Welcome) -> None:
        if message.magic != MAGIC:
            self.error = ProtocolError("the peer does not speak Scaler's protocol: wrong magic number")
        elif not OLDEST_VERSION <= message.protocol_version <= PROTOCOL_VERSION:
            self.error = ProtocolError(f"the peer picked protocol version {message.protocol_version}, not known here")
        elif self._secret and not self._challenge:
            self.error = RefusedError("the peer asks for no secret, and one is configured here; is it the right one?")
        elif self._secret and not self._proved(message):
            self.error = RefusedError("the peer did not prove that it knows the secret")
        else:
            self.peer = Peer(self._role, message.identity, "", message.protocol_version)

    def _proved(self, message: Welcome) -> bool:
        version, identity = message.protocol_version, message.identity
        expected = _listener_mac(self._secret, self.hello, self._challenge, version, identity, self.channel)
        return hmac.compare_digest(message.mac, expected)


class Listener:
    """The side that accepted the connection. ``channel`` as with Dialer; ``nonce`` has to be new for each connection."""

    def __init__(self, roles: Collection[Role], identity: bytes, secret: bytes = b"", nonce: bytes = b"") -> None:
        self.peer: Peer | None = None
        self.error: ProtocolError | None = None
        self.channel = b""
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
        if isinstance(message, Proof) and self._hello is not None and self.peer is None and self.error is None:
            return self._check(message, self._hello)
        return self._refuse(
            RefusalReason.not_scaler, f"{type(message).__name__} does not belong here; begin with hello"
        )

    def _check(self, proof: Proof, hello: Hello) -> list[Message]:
        expected = _dialer_mac(self._secret, hello, self._nonce, self.channel)
        nonce_is_good = len(hello.nonce) == NONCE_BYTES
        if not self._secret or not nonce_is_good or not hmac.compare_digest(expected, proof.mac):
            text = "the secret was not proved: the peer has another one" + (
                ", or somebody is between the two" if self.channel else ""
            )
            return self._refuse(RefusalReason.authentication, text)
        mac = _listener_mac(self._secret, hello, self._nonce, self._version, self._identity, self.channel)
        return self._let_in(hello, mac)

    def refuse_unreadable(self) -> list[Message]:
        """The answer to a first frame that is no handshake."""
        return self._refuse(RefusalReason.not_scaler, "the first frame is no handshake of Scaler's protocol")

    def refuse_plain(self) -> list[Message]:
        """The answer to a peer that does not speak TLS, where it is asked for."""
        return self._refuse(RefusalReason.tls, "this address takes TLS only: write tls:// instead of tcp://")

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
            if len(hello.nonce) not in (0, NONCE_BYTES):
                return self._refuse(RefusalReason.not_scaler, f"a nonce has {NONCE_BYTES} bytes")
            return [Challenge(METHOD, self._nonce)]
        return self._let_in(hello, b"")

    def _let_in(self, hello: Hello, mac: bytes) -> list[Message]:
        # Names stand in logs and on screens, where they are to begin no line and move no cursor.
        name = "".join([letter if letter.isprintable() else "?" for letter in hello.name])
        self.peer = Peer(Role(hello.role), hello.identity, name, self._version, hello.software)
        return [Welcome(MAGIC, self._version, self._identity, mac)]

    def _refuse(self, reason: RefusalReason, text: str) -> list[Message]:
        self.error = ProtocolError(text)
        return [Refused(reason, text)]
