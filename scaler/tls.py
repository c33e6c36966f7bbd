"""TLS: the certificates of a process, read anew when their files change, and one end of a connection, without I/O.

The protocol's own frames travel inside, so connections of asyncio and blocking ones use the same session: what the peer sent
goes in, what is for the peer comes out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from scaler.errors import ConfigurationError, NotTrustedError, ProtocolError, RefusedError
from scaler.ids import Address
from scaler.private_files import open_private

RECORD_BYTES = 16 << 10
"""What one record of TLS holds at most. Smaller parts are joined: each record costs 22 bytes and a call."""
JOINED_BYTES = 64 << 10
PIECE_BYTES = 16 * RECORD_BYTES
"""So much is sent before more is sealed: the peer has something to do meanwhile, and the processor's cache suffices."""
_HANDSHAKE, _ALERT = 0x16, 0x15
"""First bytes of records. A frame of the protocol begins with a multiple of 8, so one byte tells one from the other."""
_Path = str | os.PathLike[str]

log = logging.getLogger("scaler")


class PlainPeerError(ProtocolError):
    """The peer that dialed does not speak TLS."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was made of the files as they were then."""

    stamps: tuple[object, ...]
    dialing: ssl.SSLContext
    listening: ssl.SSLContext | None
    channel: bytes
    """SHA-256 of our own certificate, in DER."""


class Certificates:
    """Who we are and whom we trust. Each new connection has the files as they are then; those there are stay as they are.

    ``certificate`` and ``key`` go together: PEM, the certificate first and then those between it and the CA. ``ca``: whom to
    trust, those of the system without it. ``server_name``: the name that certificates of those we dial are to have, instead
    of the host of the address.
    """

    def __init__(
        self,
        certificate: _Path | None = None,
        key: _Path | None = None,
        ca: _Path | None = None,
        require_client_certificate: bool = False,
        server_name: str = "",
    ) -> None:
        """Raises ConfigurationError where files are missing that go together."""
        if bool(certificate) != bool(key):
            raise ConfigurationError("--tls-certificate and --tls-key go together: a certificate and its key")
        if require_client_certificate and not (certificate and ca):
            raise ConfigurationError(
                "--tls-require-client-certificate needs --tls-ca, who signs the certificates of clients, and --tls-certificate"
            )
        self._certificate, self._key, self._ca = certificate, key, ca
        self._require = require_client_certificate
        self._server_name = server_name
        self._lock = threading.Lock()
        self._last: _Loaded | None = None
        self._unusable: tuple[object, ...] = ()
        """The stamps of files that could not be used."""

    @property
    def configured(self) -> bool:
        """Whether any files are named."""
        return bool(self._certificate or self._ca)

    def check(self) -> None:
        """Raises ConfigurationError, naming the file and what to do, where a file cannot be used."""
        if self.configured:
            self._loaded()

    def check_listening(self, address: Address) -> None:
        """Raises ConfigurationError where we cannot listen there for want of a certificate."""
        if address.tls and not self._certificate:
            raise ConfigurationError(
                f"to listen on {address} takes a certificate and its key: --tls-certificate and --tls-key"
                " (`scaler make-certificate` makes them for small sites)"
            )

    def dialing(self, address: Address) -> TlsSession | None:
        """Our end of a connection to there; None where it is without TLS."""
        if not address.tls:
            return None
        name = self._server_name or address.host.partition("%")[0]
        return TlsSession(self._loaded().dialing, name)

    def listening(self, address: Address) -> TlsSession | None:
        """Our end of a connection that was accepted there; None where it is without TLS."""
        if not address.tls:
            return None
        loaded = self._loaded()
        assert loaded.listening is not None, "listened without check_listening()"
        return TlsSession(loaded.listening, channel=loaded.channel)

    def reload(self) -> str:
        """Read the files now, whether they have changed or not. Returns what was done, for the log."""
        self._unusable = ()
        before, self._last = self._last, None
        try:
            self.check()
        except ConfigurationError as error:
            self._last = before
            return f"the certificates stay as they were: {error}"
        return "new connections have the certificates as their files are now"

    # ---- inside

    def _loaded(self) -> _Loaded:
        with self._lock:
            last, stamps = self._last, self._stamps()
            if last is not None and stamps in (last.stamps, self._unusable):
                return last
            try:
                self._last = loaded = self._load(stamps)
            except ConfigurationError as error:
                if last is None:
                    raise
                # A certificate may be there before its key is.
                log.warning("certificates have changed and cannot be used, those before are: %s", error)
                self._unusable = stamps
                return last
        if last is not None:
            log.info("certificates have changed; new connections have the new ones")
        return loaded

    def _stamps(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._certificate, self._key, self._ca) if path)

    def _load(self, stamps: tuple[object, ...]) -> _Loaded:
        dialing = _context(ssl.PROTOCOL_TLS_CLIENT)
        listening, channel = None, b""
        if self._ca:
            _trust(dialing, self._ca)
        else:
            dialing.load_default_certs()
        if self._certificate and self._key:
            _load_pair(dialing, self._certificate, self._key)
            listening = _context(ssl.PROTOCOL_TLS_SERVER)
            _load_pair(listening, self._certificate, self._key)
            # Sessions are not resumed, and what was answered last is all there is to read.
            listening.num_tickets = 0
            listening.options |= ssl.OP_NO_TICKET
            if self._require and self._ca:
                _trust(listening, self._ca)
                listening.verify_mode = ssl.CERT_REQUIRED
            channel = _channel(_first_certificate(self._certificate))
        return _Loaded(stamps, dialing, listening, channel)


class TlsSession:
    """One end of one connection. All methods raise ProtocolError, RefusedError where dialing again is of no use.

    ``server_name`` is who is dialed; without one this end accepted the connection, and ``channel`` is of its certificate. One
    thread may seal while another one reads.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str = "", channel: bytes = b"") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._dials = bool(server_name)
        self._name = server_name
        self._tls = context.wrap_bio(self._incoming, self._outgoing, not self._dials, server_name or None)
        self._lock = threading.Lock()
        self._began = False
        self.established = False
        """Whether the handshake is over, as far as this side can tell: the other one may still refuse."""
        self.ended = False
        """Whether the peer said that nothing more comes."""
        self.channel = channel
        """What both ends know of the connection: SHA-256 of the listener's certificate in DER. Once it is established."""

    def feed(self, data: memoryview | bytes) -> None:
        """Take what the peer sent."""
        if not self._began and data:
            self._began = True
            if self._dials and data[0] not in (_HANDSHAKE, _ALERT):
                raise RefusedError("the peer does not speak TLS; if that is right, its address begins with tcp://")
            if not self._dials and data[0] != _HANDSHAKE:
                raise PlainPeerError("the peer does not speak TLS")
        self._incoming.write(data)

    def shake_hands(self) -> bool:
        """Go on with the handshake; returns whether it is over. Send outgoing() in any case, also after an error."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._fail(error)
        if self._dials:
            certificate = self._tls.getpeercert(binary_form=True)
            assert certificate is not None
            self.channel = _channel(certificate)
        self.established = True
        return True

    def outgoing(self) -> bytes:
        """What is to be sent now, perhaps nothing."""
        return self._outgoing.read()

    def seal(self, parts: Sequence[bytes | memoryview]) -> Iterator[bytes]:
        """What to send for these, and for what outgoing() would have returned, piece by piece. Go on to the end."""
        write, outgoing = self._tls.write, self._outgoing
        for part in _joined(parts):
            for begin in range(0, len(part), PIECE_BYTES):
                piece = memoryview(part)[begin : begin + PIECE_BYTES]
                with self._lock:
                    sealed = write(piece)
                    while sealed < len(piece):
                        sealed += write(piece[sealed:])
                    ready = outgoing.read()
                yield ready

    def read_into(self, view: memoryview | bytearray) -> int:
        """Fill the view with what came, as far as that goes; returns how many bytes."""
        size, at, read = len(view), 0, self._tls.read
        received: Any = RECORD_BYTES  # typeshed has read() return bytes in any case
        with memoryview(view) as room, self._lock:
            try:
                while at < size and (received == RECORD_BYTES or self.buffered):
                    received = read(size - at, room[at:])
                    if not received:
                        self.ended = True
                        break
                    at += received
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.ended = True
            except ssl.SSLError as error:
                self._fail(error)
        return at

    @property
    def buffered(self) -> bool:
        """Whether there is something to read that came already, or a part of it."""
        return bool(self._incoming.pending or self._tls.pending())

    def goodbye(self) -> bytes:
        """What to send last."""
        if not self.established:
            return b""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # The peer's own is not waited for.
        return self._outgoing.read()

    def _fail(self, error: ssl.SSLError) -> NoReturn:
        if isinstance(error, ssl.SSLCertVerificationError):
            raise NotTrustedError(_untrusted(error, self._name)) from None
        text = _explained(error)
        raise (RefusedError if self._dials else ProtocolError)(text) from None


# ---- files


def _stamp(path: _Path) -> object:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # Who stands in --tls-ca is trusted, whoever signed that one.
    return context


def _trust(context: ssl.SSLContext, path: _Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ConfigurationError(f"there is no certificate in PEM in {path}, which --tls-ca names") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}, which --tls-ca names: {error.strerror}") from None


def _load_pair(context: ssl.SSLContext, certificate: _Path, key: _Path) -> None:
    _first_certificate(certificate)
    try:
        open_private("key file", key).close()
        context.load_cert_chain(certificate, key, _no_passphrase)
    except _EncryptedKeyError:
        raise ConfigurationError(
            f"the key {key} asks for a passphrase; nobody is there to type it: decrypt it"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"the key {key} is not that of the certificate {certificate}") from None
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
            raise ConfigurationError(f"the certificate {certificate} is too weak: {error.reason}") from None
        raise ConfigurationError(f"there is no key in PEM in {key}, which --tls-key names") from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {key}, which --tls-key names: {error.strerror}") from None


class _EncryptedKeyError(Exception):
    pass


def _no_passphrase() -> str:
    raise _EncryptedKeyError


def _first_certificate(path: _Path) -> bytes:
    """The first one in the file, in DER."""
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}, which --tls-certificate names: {error.strerror}") from None
    _, begin, rest = text.partition(ssl.PEM_HEADER)
    inside, end, _ = rest.partition(ssl.PEM_FOOTER)
    try:
        if not end:
            raise ValueError
        return ssl.PEM_cert_to_DER_cert(begin + inside + end)
    except ValueError:
        raise ConfigurationError(f"there is no certificate in PEM in {path}, which --tls-certificate names") from None


def _channel(certificate: bytes) -> bytes:
    return hashlib.sha256(certificate).digest()


# ---- records


def _joined(parts: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
    """The same bytes in fewer parts; large ones are not copied."""
    if len(parts) == 1:
        return parts
    joined: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) <= JOINED_BYTES:
            small.append(part)
        elif small:
            # The last record of the small ones is filled up from the large one.
            head = b"".join(small)
            room = -len(head) % RECORD_BYTES
            joined += [head + bytes(part[:room]), memoryview(part)[room:]]
            small = []
        else:
            joined.append(part)
    if small:
        joined.append(b"".join(small))
    return joined


# ---- texts

_NOT_TRUSTED = {
    2: "is signed by nobody whom this side trusts",
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself, and not in --tls-ca",
    19: "is signed by nobody whom this side trusts",
    20: "is signed by nobody whom this side trusts",
    21: "is signed by nobody whom this side trusts",
}
_WHAT_TO_DO = {
    2: "name the CA's certificate with --tls-ca",
    18: "name the CA's certificate with --tls-ca",
    19: "name the CA's certificate with --tls-ca",
    20: "name the CA's certificate with --tls-ca",
    21: "name the CA's certificate with --tls-ca",
    9: "look at the clocks of both machines",
    10: "it needs a new one",
}
_HOST_NAME, _IP_ADDRESS, _PURPOSE = 62, 64, 26
_ALERTS = {
    "CERTIFICATE_REQUIRED": "the peer asks for a certificate, and none is configured here; name one with --tls-certificate and"
    " --tls-key",
    "UNKNOWN_CA": "the peer does not trust who signed the certificate of --tls-certificate here",
    "CERTIFICATE_EXPIRED": "the certificate of --tls-certificate here has expired",
    "BAD_CERTIFICATE": "the peer does not take the certificate of --tls-certificate here",
    "UNSUPPORTED_CERTIFICATE": "the certificate of --tls-certificate here is not for this purpose",
    "CERTIFICATE_UNKNOWN": "the peer does not take the certificate of --tls-certificate here",
    "PROTOCOL_VERSION": "no version of TLS in common; here it is 1.2 or newer",
    "UNSUPPORTED_PROTOCOL": "no version of TLS in common; here it is 1.2 or newer",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer has no certificate, and one is asked for",
    "HANDSHAKE_FAILURE": "the peer ended the TLS handshake; perhaps it asks for a certificate: --tls-certificate and --tls-key",
}


def _untrusted(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if not name:
        return f"the peer's certificate {_NOT_TRUSTED.get(code, 'is not taken: ' + str(error.verify_message))}"
    if code in (_HOST_NAME, _IP_ADDRESS):
        return (
            f"the peer's certificate is not for {name}: dial it by a name or address in its certificate, or say which one it is"
            " to be with --tls-server-name"
        )
    if code == _PURPOSE:
        return "the peer's certificate is not one for servers"
    what = _NOT_TRUSTED.get(code, f"is not trusted: {error.verify_message}")
    return "; ".join(filter(None, (f"the peer's certificate {what}", _WHAT_TO_DO.get(code, ""))))


def _explained(error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    for word, text in _ALERTS.items():
        if word in reason.upper().replace(" ", "_"):
            return text
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
