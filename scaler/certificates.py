"""Makes the certificates of a cluster, for trying TLS and for small sites. Needs the extra ``tls``."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.private_files import check_private

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise ExtraMissingError(
        "making certificates needs cryptography: pip install 'opengris-scaler[tls]'; TLS itself does not"
    ) from None

CA, SERVER, CLIENT = "ca", "server", "client"
CA_DAYS = 3650
DAYS = 365
_SLACK = datetime.timedelta(minutes=5)
"""Clocks of machines differ: a new certificate has been valid for a while."""


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(directory: str | os.PathLike[str], hosts: Sequence[str], days: int = DAYS) -> list[str]:
    """Write a CA, a certificate for servers of these names and one for clients, and their keys; returns the new files' names.

    The CA stays where there is one, so whoever trusts it trusts the new certificates. Raises ConfigurationError.
    """
    there = Path(directory)
    try:
        there.mkdir(mode=0o700, parents=True, exist_ok=True)
        signer, made = _signer(there)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        # Servers dial each other, too.
        made += _write(there, SERVER, *_signed(signer, "scaler server", both, days, [_name(host) for host in hosts]))
        made += _write(there, CLIENT, *_signed(signer, "scaler client", both[1:], days, []))
    except OSError as error:
        raise ConfigurationError(f"cannot write {error.filename or there}: {error.strerror}") from None
    return made


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise ConfigurationError(f"{host!r} is no name of a host, and no address") from None


def _signer(there: Path) -> tuple[_Signer, list[str]]:
    """The CA of a directory; a new one where there is none."""
    certificate, key = there / f"{CA}.pem", there / f"{CA}-key.pem"
    if not certificate.exists() and not key.exists():
        own = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scaler CA")])
        uses = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _begun(name, name, own.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True).add_extension(
            uses, critical=True
        )
        made = builder.sign(own, hashes.SHA256())
        return _Signer(made, own), _write(there, CA, made, own)
    try:
        check_private("key file", key, key.stat())
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        signs = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"{there} has a part of a CA that cannot be used, {CA}.pem or {CA}-key.pem: {error}"
        ) from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != signs.public_key():
        raise ConfigurationError(f"{key} is not the key of {certificate}")
    return _Signer(signs, loaded), []


def _signed(
    signer: _Signer, name: str, purposes: list[x509.ObjectIdentifier], days: int, names: list[x509.GeneralName]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _begun(subject, signer.certificate.subject, own.public_key(), days)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    uses = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = (
        builder.add_extension(authority, critical=False)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(uses, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer.key, hashes.SHA256()), own


def _begun(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(min(now, now + datetime.timedelta(days)) - _SLACK)
    builder = builder.not_valid_after(now + datetime.timedelta(days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _write(there: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> list[str]:
    """Key and certificate, each replaced whole: daemons may read them at any time."""
    plain = serialization.NoEncryption()
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    _replace(there / f"{name}-key.pem", written, 0o600)
    _replace(there / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return [f"{name}.pem", f"{name}-key.pem"]


def _replace(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f"{path.name}~{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    fresh.rename(path)
