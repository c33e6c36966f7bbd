"""Who may connect: the shared secret, and the files of TLS. Only paths are told on command lines and in the environment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scaler import keyring
from scaler.errors import ConfigurationError
from scaler.ids import Address
from scaler.private_files import open_private
from scaler.tls import Certificates, TlsSession

LEAST_SECRET_BYTES = 16
MOST_SECRET_BYTES = 4096
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """Where the files are that let a client or a daemon in.

    Args:
        secret_file: the shared secret that all of a cluster have, readable by its owner alone; ``scaler make-secret PATH``
            makes one.
        tls_certificate: the certificate, in PEM, by which others know us, followed by those between it and the CA. Who listens
            at a ``tls://`` address needs one, and who connects to where one is asked for. ``scaler make-certificate`` makes
            some.
        tls_key: its private key, in PEM without a passphrase, readable by its owner alone.
        tls_ca: the certificates, in PEM, of those who sign the certificates that are trusted; those of the system without it.
        tls_require_client_certificate: listeners let only those in whose certificate is signed by one of tls_ca.
        tls_server_name: the name that certificates of those we connect to are to have; the host of their address without it.

    What is not given is taken from the environment: ``SCALER_SECRET_FILE``, ``SCALER_TLS_CERTIFICATE`` and so on. Certificates
    and their keys are read again when the files change: new connections have the new ones.
    """

    secret_file: str | os.PathLike[str] | None = None
    tls_certificate: str | os.PathLike[str] | None = None
    tls_key: str | os.PathLike[str] | None = None
    tls_ca: str | os.PathLike[str] | None = None
    tls_require_client_certificate: bool | None = None
    tls_server_name: str | None = None

    def completed(self) -> SecurityConfig:
        """With what only the environment says."""
        told: dict[str, Any] = {name: value for name, value in asdict(self).items() if value not in (None, "")}
        for name in OPTIONS:
            text = os.environ.get(variable(name))
            if text and name not in told:
                told[name] = _boolean(variable(name), text) if name == _REQUIRE else text
        return SecurityConfig(**told)

    def environment(self) -> dict[str, str]:
        """As child processes are told: absolute paths."""
        told = at("", {name: value for name, value in asdict(self).items() if value not in (None, "")})
        return {
            variable(name): str(value).lower() if value in (True, False) else str(value) for name, value in told.items()
        }

    def load(self) -> Security:
        """Read the files. Raises ConfigurationError, naming the file and what to do, for one that cannot be used."""
        secret = read_secret(self.secret_file) if self.secret_file else b""
        certificates = Certificates(
            self.tls_certificate,
            self.tls_key,
            self.tls_ca,
            bool(self.tls_require_client_certificate),
            self.tls_server_name or "",
        )
        certificates.check()
        return Security(secret, certificates=certificates)


OPTIONS = tuple(SecurityConfig.__dataclass_fields__)
"""The names of its fields, which commands have as options."""
FILES = ("secret_file", "tls_certificate", "tls_key", "tls_ca")
"""Those that are paths."""
_REQUIRE = "tls_require_client_certificate"


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"SCALER_{name.upper()}"


def at(directory: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """The same as another host has it: files under their names in a directory of its own, or at the same places."""
    return {name: _there(directory, value) if name in FILES else value for name, value in told.items()}


def _there(directory: str, path: Any) -> str:
    return str(Path(directory, Path(path).name)) if directory else _absolute(path)


def _boolean(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ConfigurationError(f"environment variable {name}: {text!r} is neither yes nor no")
    return known[text.lower()]


def from_environment() -> Security:
    """As SCALER_SECRET_FILE and its like say. Raises ConfigurationError for a file that cannot be used."""
    return SecurityConfig().completed().load()


class Security:
    """What a process has to prove and asks of others. Nothing that is made of it for people shows a secret."""

    def __init__(self, secret: bytes = b"", announced: bool = False, certificates: Certificates | None = None) -> None:
        """``announced``: the secret is one that processes of this user find by the addresses of those who ask for it."""
        self._secret = secret
        self._announced = announced
        self.certificates = certificates or Certificates()

    def with_own_secret(self) -> Security:
        """For a cluster of this machine: a secret that nobody had before, and the same certificates."""
        return Security(secrets.token_hex(SECRET_BYTES).encode(), announced=True, certificates=self.certificates)

    @property
    def asks(self) -> bool:
        """Whether who connects has to prove a secret."""
        return bool(self._secret)

    @property
    def secret(self) -> bytes:
        """What those who connect have to prove; empty: nothing."""
        return self._secret

    def secret_for(self, address: Address) -> bytes:
        """What to prove there; empty where no secret is known."""
        return self._secret or keyring.find(address)

    def dialing(self, address: Address) -> TlsSession | None:
        """Our end of a new connection to there, where TLS is spoken. Raises ConfigurationError for files."""
        return self.certificates.dialing(address)

    def accepted(self, address: Address) -> TlsSession | None:
        """Our end of a connection that was accepted there, where TLS is spoken."""
        return self.certificates.listening(address)

    def check_listening(self, address: Address) -> None:
        """Raises ConfigurationError where we cannot listen there for want of a certificate."""
        self.certificates.check_listening(address)

    def listening(self, address: Address) -> None:
        """Somebody listens at this address now, with this security. Raises ConfigurationError."""
        if self._announced:
            keyring.announce(address, self._secret)
        else:
            keyring.forget(address)

    def closed(self, address: Address) -> None:
        """And now no more."""
        if self._announced:
            keyring.forget(address)

    def __repr__(self) -> str:
        return f"<Security {'with' if self._secret else 'without'} a secret>"


def read_secret(path: str | os.PathLike[str]) -> bytes:
    """The secret in a file, without white space around it. Raises ConfigurationError for a file that cannot be used."""
    try:
        with open_private("secret file", path) as file:
            secret = file.read(MOST_SECRET_BYTES + 1).strip()
    except OSError as error:
        hint = f"; make one with: scaler make-secret {path}" if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"cannot read the secret file {path}: {error.strerror}{hint}") from None
    if not LEAST_SECRET_BYTES <= len(secret) <= MOST_SECRET_BYTES:
        what = (
            "is empty"
            if not secret
            else f"holds {len(secret)} bytes"
            if len(secret) <= MOST_SECRET_BYTES
            else "is long"
        )
        raise ConfigurationError(
            f"the secret file {path} {what}; a secret has {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} bytes:"
            " scaler make-secret makes a good one"
        )
    return secret


def make_secret(path: str | os.PathLike[str]) -> None:
    """Write a new secret into a new file that only its owner may read. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already; it is not overwritten, since others may use it") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(secrets.token_hex(SECRET_BYTES) + "\n")


def _absolute(path: Any) -> str:
    return str(Path(path).absolute())
