"""Files that are for one user alone."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from scaler.errors import ConfigurationError


def open_private(what: str, path: str | os.PathLike[str]) -> BinaryIO:
    """To be read. Raises OSError, and ConfigurationError, with the text of what it is, for a file that others may use."""
    # Not to wait, where it is a pipe, for somebody who writes.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        check_private(what, path, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def check_private(what: str, path: object, found: os.stat_result) -> None:
    """Raises ConfigurationError for a file that others may use, with the text of what it is.

    A file that root lends to a group of ours, as Kubernetes mounts them, is as good as one of our own.
    """
    lent = found.st_uid == 0 != os.getuid() and not found.st_mode & 0o037
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"the {what} {path} is no regular file")
    if found.st_mode & 0o077 and not lent:
        raise ConfigurationError(
            f"others may use the {what} {path} (mode {stat.S_IMODE(found.st_mode):04o}); say: chmod 600 {path}"
        )
