"""Who may connect: the shared secret, and the files of TLS. Only paths are told on command lines and in the environment."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scaler import keyring
from scaler.errors import ConfigurationError
from scaler.ids import Address

LEAST_SECRET_BYTES = 16
MOST_SECRET_BYTES = 4096
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    """Where the files are that let a client or a daemon in.

    Args:
        secret_file: the shared secret that all of a cluster have, readable by its owner alone; ``scaler make-secret PATH``
            makes one.

    What is not given is taken from the environment: ``SCALER_SECRET_FILE``.
    """

    secret_file: str | os.PathLike[str] | None = None

    def completed(self) -> SecurityConfig:
        """With what only the environment says."""
        told = {name: value or os.environ.get(variable(name)) or None for name, value in asdict(self).items()}
        return SecurityConfig(**told)

    def environment(self) -> dict[str, str]:
        """As child processes are told: absolute paths."""
        return {variable(name): _absolute(value) for name, value in asdict(self).items() if value}

    def load(self) -> Security:
        """Read the files. Raises ConfigurationError, naming the file and what to do, for one that cannot be used."""
        return Security(read_secret(self.secret_file) if self.secret_file else b"")


OPTIONS = tuple(SecurityConfig.__dataclass_fields__)
"""The names of its fields, which commands have as options."""


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"SCALER_{name.upper()}"


def at(directory: str, paths: Mapping[str, Any]) -> dict[str, str]:
    """The same files as another host has them: under their names in a directory of its own."""
    return {
        name: str(Path(directory, Path(path).name)) if directory else _absolute(path) for name, path in paths.items()
    }


def from_environment() -> Security:
    """As SCALER_SECRET_FILE and its like say. Raises ConfigurationError for a file that cannot be used."""
    return SecurityConfig().completed().load()


class Security:
    """What a process has to prove and asks of others. Nothing that is made of it for people shows a secret."""

    def __init__(self, secret: bytes = b"", announced: bool = False) -> None:
        """``announced``: the secret is one that processes of this user find by the addresses of those who ask for it."""
        self._secret = secret
        self._announced = announced

    @classmethod
    def of_own(cls) -> Security:
        """For a cluster of this machine: a secret that nobody had before."""
        return cls(secrets.token_hex(SECRET_BYTES).encode(), announced=True)

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
        with Path(path).open("rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
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


def _check_mode(path: object, found: os.stat_result) -> None:
    """A file that root lends to a group of ours, as Kubernetes mounts them, is as good as one of our own."""
    lent = found.st_uid == 0 != os.getuid() and not found.st_mode & 0o037
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"the secret file {path} is no regular file")
    if found.st_mode & 0o077 and not lent:
        raise ConfigurationError(
            f"others may use the secret file {path} (mode {stat.S_IMODE(found.st_mode):04o}); say: chmod 600 {path}"
        )


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
