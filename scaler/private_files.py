"""Files that are for one user alone."""

from __future__ import annotations

import os
import stat

from scaler.errors import ConfigurationError


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
