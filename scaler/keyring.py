"""Secrets of clusters of this machine: processes of the same user find them by the address, others cannot read them.

A cluster that a program or ``scaler`` starts makes a secret of its own. Each of its daemons writes it into a file of the
user's own directory, named after the address at which it listens, and removes it in the end.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
from pathlib import Path
from urllib.parse import quote

from scaler.errors import ConfigurationError
from scaler.ids import Address

PLACE = "/tmp"
"""Not TMPDIR, nor what a login session has: all processes of a user are to look at the same place."""
LONGEST = 4096


def is_loopback(where: Address) -> bool:
    """Whether only this machine can reach it."""
    if where.path:
        return True
    try:
        return ipaddress.ip_address(where.host).is_loopback
    except ValueError:
        return where.host == "localhost"


def announce(address: Address, secret: bytes) -> None:
    """Make the secret known to this user's processes. Raises ConfigurationError where that is not safe."""
    directory = _directory()
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        if not _is_private(os.lstat(directory), stat.S_ISDIR):
            raise PermissionError("it is not a directory of this user alone")
        path = directory / _name(address)
        fresh = path.with_name(f"{path.name}~{os.getpid()}")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        fresh.rename(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigurationError(
            f"cannot keep the cluster's secret in {directory}: {why}; remove it, or name a secret with --secret-file"
        ) from None


def find(address: Address) -> bytes:
    """The secret of who listens there, as far as it is a cluster of this user; empty otherwise."""
    directory = _directory()
    try:
        if not _is_private(os.lstat(directory), stat.S_ISDIR):
            return b""
        descriptor = os.open(directory / _name(address), os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(LONGEST) if _is_private(os.fstat(descriptor), stat.S_ISREG) else b""
    except OSError:
        return b""


def forget(address: Address) -> None:
    """Who listens there now, or nobody, has no secret of this kind."""
    with contextlib.suppress(OSError):
        (_directory() / _name(address)).unlink()


def _directory() -> Path:
    return Path(PLACE, f"scaler-secrets-{os.getuid()}")


def _name(address: Address) -> str:
    """All names of this machine for itself are one."""
    if address.path:
        return quote(f"ipc:{address.path}", safe="")[-200:]
    here = is_loopback(address) or address.host in ("0.0.0.0", "::")
    return quote(f"{'here' if here else address.host}:{address.port}", safe="")


def _is_private(found: os.stat_result, kind: object) -> bool:
    assert callable(kind)
    return bool(kind(found.st_mode)) and found.st_uid == os.getuid() and not found.st_mode & 0o077
