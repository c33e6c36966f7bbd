"""Certificates in files, and TLS sessions joined without a socket."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from scaler.certificates import make_certificates
from scaler.errors import ConfigurationError, NotTrustedError, ProtocolError, RefusedError
from scaler.ids import Address
from scaler.tls import RECORD_BYTES, Certificates, PlainPeerError, TlsSession

HERE = Address("localhost", 8516, tls=True)


def of(where: Path, name: str = "server", **more: Any) -> Certificates:
    return Certificates(where / f"{name}.pem", where / f"{name}-key.pem", where / "ca.pem", **more)


def trusting(where: Path, **more: Any) -> Certificates:
    """Who trusts the CA there, and has no certificate."""
    return Certificates(ca=where / "ca.pem", **more)


def sessions(dials: Certificates, listens: Certificates, address: Address = HERE) -> tuple[TlsSession, TlsSession]:
    dialer, listener = dials.dialing(address), listens.listening(address)
    assert dialer is not None and listener is not None
    return dialer, listener


def handshake(dialer: TlsSession, listener: TlsSession) -> None:
    """Until both have it, or one raises; what that one says then is told to the other."""
    for _ in range(4):
        for one, other in ((dialer, listener), (listener, dialer)):
            if one.established:
                continue
            try:
                one.shake_hands()
            finally:
                said = one.outgoing()
                if said:
                    other.feed(said)


def joined(dials: Certificates, listens: Certificates, address: Address = HERE) -> tuple[TlsSession, TlsSession]:
    dialer, listener = sessions(dials, listens, address)
    handshake(dialer, listener)
    assert dialer.established and listener.established
    return dialer, listener


def sealed(session: TlsSession, parts: Sequence[bytes | memoryview]) -> bytes:
    return b"".join(session.seal(parts))


def heard(session: TlsSession, size: int = 1 << 20) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: session.read_into(buffer)])


# ---- sessions


def test_what_is_sealed_is_read_at_the_other_end(certificates: Path) -> None:
    dialer, listener = joined(trusting(certificates), of(certificates))
    assert dialer.channel == listener.channel and len(dialer.channel) == 32
    listener.feed(sealed(dialer, [b"one", memoryview(b"two")]))
    assert listener.buffered and heard(listener) == b"onetwo" and not listener.buffered
    dialer.feed(sealed(listener, [b"three"]))
    assert heard(dialer, 2) == b"th" and dialer.buffered and heard(dialer) == b"ree"


def test_it_is_tls_1_3_and_nothing_before_1_2(certificates: Path) -> None:
    dialer, _ = joined(trusting(certificates), of(certificates))
    assert dialer._tls.version() == "TLSv1.3"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    _, listener = sessions(trusting(certificates), of(certificates))
    with pytest.raises(ProtocolError, match=r"no version of TLS in common; here it is 1\.2 or newer"):
        handshake(TlsSession(old, "localhost"), listener)


@pytest.mark.parametrize("sizes", [(1, 300_000), (300_000,), (5,) * 1000, (100, 70_000, 3, 200_000, 1), (0, 1, 0)])
def test_parts_of_all_sizes_arrive_in_few_records(certificates: Path, sizes: tuple[int, ...]) -> None:
    dialer, listener = joined(trusting(certificates), of(certificates))
    parts = [bytes([at % 251]) * size for at, size in enumerate(sizes)]
    content = b"".join(parts)
    said = sealed(dialer, parts)
    for begin in range(0, len(said), 100_000):
        listener.feed(said[begin : begin + 100_000])
    assert heard(listener, len(content) + 1) == content
    records = (len(said) - len(content)) / 22
    assert records <= len(content) / RECORD_BYTES + 3


def test_an_end_that_is_told_is_known(certificates: Path) -> None:
    dialer, listener = joined(trusting(certificates), of(certificates))
    assert sessions(trusting(certificates), of(certificates))[0].goodbye() == b""
    listener.feed(sealed(dialer, [b"last"]) + dialer.goodbye())
    assert heard(listener) == b"last" and listener.ended


def test_bytes_that_somebody_changed_are_refused(certificates: Path) -> None:
    dialer, listener = joined(trusting(certificates), of(certificates))
    said = bytearray(sealed(dialer, [b"pay ann"]))
    said[-1] ^= 1
    listener.feed(said)
    with pytest.raises(ProtocolError, match="TLS failed"):
        heard(listener)


def test_mutual_tls(certificates: Path) -> None:
    asks = of(certificates, require_client_certificate=True)
    dialer, listener = joined(of(certificates, "client"), asks)
    listener.feed(sealed(dialer, [b"hello"]))
    assert heard(listener) == b"hello"
    joined(of(certificates), asks)  # Servers dial each other, too.


# ---- whom not to trust


def test_a_client_without_a_certificate_is_told(certificates: Path) -> None:
    dialer, listener = sessions(trusting(certificates), of(certificates, require_client_certificate=True))
    with pytest.raises(ProtocolError, match="has no certificate, and one is asked for"):
        handshake(dialer, listener)
    with pytest.raises(RefusedError, match=r"asks for a certificate, and none is configured here.*--tls-certificate"):
        heard(dialer)


def test_a_client_of_another_ca_is_told(certificates: Path, tmp_path: Path) -> None:
    make_certificates(tmp_path, ["localhost"])
    stranger = Certificates(tmp_path / "client.pem", tmp_path / "client-key.pem", certificates / "ca.pem")
    dialer, listener = sessions(stranger, of(certificates, require_client_certificate=True))
    with pytest.raises(ProtocolError, match="the peer's certificate is signed by nobody whom this side trusts"):
        handshake(dialer, listener)
    with pytest.raises(RefusedError, match="does not trust who signed the certificate"):
        heard(dialer)


def test_a_client_whose_certificate_has_expired_is_told(certificates: Path, tmp_path: Path) -> None:
    shutil.copytree(certificates, tmp_path / "c")
    make_certificates(tmp_path / "c", ["localhost"], days=-1)
    dialer, listener = sessions(of(tmp_path / "c", "client"), of(certificates, require_client_certificate=True))
    with pytest.raises(ProtocolError, match="the peer's certificate has expired"):
        handshake(dialer, listener)
    with pytest.raises(RefusedError, match="the certificate of --tls-certificate here has expired"):
        heard(dialer)


def another_ca(where: Path) -> Certificates:
    make_certificates(where, ["localhost"])
    return of(where)


def expired(where: Path) -> Certificates:
    make_certificates(where, ["localhost"], days=-1)
    return of(where)


def other_name(where: Path) -> Certificates:
    make_certificates(where, ["node5.example", "10.0.0.5"])
    return of(where)


def for_clients(where: Path) -> Certificates:
    return of(where, "client")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (another_ca, "signed by nobody whom this side trusts; name the CA's certificate with --tls-ca"),
        (expired, "has expired; it needs a new one"),
        (other_name, "is not for localhost: dial it by a name or address in its certificate, or .*--tls-server-name"),
        (for_clients, "is not one for servers"),
    ],
)
def test_a_listener_that_is_not_trusted(
    certificates: Path, tmp_path: Path, make: Callable[[Path], Certificates], says: str
) -> None:
    where = tmp_path / "c"
    if make is not another_ca:
        shutil.copytree(certificates, where)
    dialer, listener = sessions(trusting(certificates), make(where))
    with pytest.raises(NotTrustedError, match=f"the peer's certificate .*{says}"):
        handshake(dialer, listener)
    assert not dialer.established
    with pytest.raises(ProtocolError):
        listener.shake_hands()


def test_without_a_ca_those_of_the_system_count(certificates: Path) -> None:
    dialer, listener = sessions(Certificates(), of(certificates))
    with pytest.raises(NotTrustedError, match="--tls-ca"):
        handshake(dialer, listener)


def test_an_address_is_verified_as_well_as_a_name(certificates: Path) -> None:
    for host in ("127.0.0.1", "::1"):
        joined(trusting(certificates), of(certificates), Address(host, 1, tls=True))
    with pytest.raises(NotTrustedError, match=r"is not for 127\.0\.0\.2"):
        joined(trusting(certificates), of(certificates), Address("127.0.0.2", 1, tls=True))


def test_another_name_may_be_asked_for(certificates: Path) -> None:
    joined(trusting(certificates, server_name="localhost"), of(certificates), Address("10.1.2.3", 1, tls=True))
    with pytest.raises(NotTrustedError, match=r"is not for node5\.example"):
        joined(trusting(certificates, server_name="node5.example"), of(certificates))


def test_who_speaks_no_tls_is_told(certificates: Path) -> None:
    dialer, listener = sessions(trusting(certificates), of(certificates))
    with pytest.raises(PlainPeerError):
        listener.feed(b"\xa0\0\0\0\0\0\0\0")
    with pytest.raises(RefusedError, match=r"does not speak TLS.*tcp://"):
        dialer.feed(b"\x50\0\0\0")


def test_addresses_without_tls_have_no_session(certificates: Path) -> None:
    for text in ("tcp://localhost:1", "ipc:///tmp/x"):
        assert of(certificates).dialing(Address.parse(text)) is None
        assert of(certificates).listening(Address.parse(text)) is None


# ---- files


def test_new_connections_have_the_files_as_they_are_then(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = tmp_path / "c"
    shutil.copytree(certificates, where)
    dials, listens = trusting(where), of(where)
    dialer, listener = joined(dials, listens)
    first = listener.channel
    make_certificates(where, ["localhost"])
    assert joined(dials, listens)[1].channel != first
    assert joined(dials, listens)[0].channel != first
    listener.feed(sealed(dialer, [b"still here"]))  # Those there are go on.
    assert heard(listener) == b"still here"
    assert dials.reload() == listens.reload() == "new connections have the certificates as their files are now"


def test_files_that_cannot_be_used_change_nothing(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = tmp_path / "c"
    shutil.copytree(certificates, where)
    listens = of(where)
    listens.check()
    old = (where / "server.pem").read_bytes()
    make_certificates(where, ["localhost"])
    new = (where / "server.pem").read_bytes()
    (where / "server.pem").write_bytes(old)  # With the new key.
    joined(trusting(certificates), listens)
    joined(trusting(certificates), listens)
    assert caplog.text.count("cannot be used") == 1 and "is not that of the certificate" in caplog.text
    assert "the certificates stay as they were: the key" in listens.reload()
    (where / "server.pem").unlink()
    joined(trusting(certificates), listens)
    (where / "server.pem").write_bytes(new)
    assert joined(trusting(certificates), listens)[0].channel != b""


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda c: (c / "server.pem").unlink(),
            r"cannot read .*server\.pem, which --tls-certificate names: No such file",
        ),
        (
            lambda c: (c / "server-key.pem").unlink(),
            r"cannot read .*server-key\.pem, which --tls-key names: No such file",
        ),
        (lambda c: (c / "ca.pem").unlink(), r"cannot read .*ca\.pem, which --tls-ca names: No such file"),
        (lambda c: (c / "server.pem").write_text("x"), "no certificate in PEM"),
        (lambda c: (c / "ca.pem").write_text("x"), "no certificate in PEM"),
        (lambda c: (c / "server-key.pem").write_text("x"), "no key in PEM"),
        (lambda c: (c / "server-key.pem").chmod(0o640), "others may use the key file .*chmod 600"),
        (lambda c: shutil.copy(c / "client-key.pem", c / "server-key.pem"), "is not that of the certificate"),
    ],
)
def test_files_that_cannot_be_used(
    certificates: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    where = tmp_path / "c"
    shutil.copytree(certificates, where)
    damage(where)
    with pytest.raises(ConfigurationError, match=says):
        of(where).check()


def test_a_key_with_a_passphrase_asks_nobody(certificates: Path, tmp_path: Path) -> None:
    where = tmp_path / "c"
    shutil.copytree(certificates, where)
    key = where / "server-key.pem"
    locked = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"sesame")
    )
    key.write_bytes(locked)
    with pytest.raises(ConfigurationError, match="asks for a passphrase"):
        of(where).check()


def test_what_goes_together(certificates: Path) -> None:
    with pytest.raises(ConfigurationError, match="go together"):
        Certificates(certificates / "server.pem")
    with pytest.raises(ConfigurationError, match="go together"):
        Certificates(key=certificates / "server-key.pem")
    with pytest.raises(ConfigurationError, match="needs --tls-ca"):
        Certificates(certificates / "server.pem", certificates / "server-key.pem", None, True)
    with pytest.raises(ConfigurationError, match="--tls-certificate and --tls-key"):
        trusting(certificates).check_listening(HERE)
