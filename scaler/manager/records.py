"""Which workers of a manager run on this machine: a small file for each, so that a later manager finds them again."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import psutil


@dataclass(frozen=True, slots=True)
class Record:
    """A worker's process."""

    name: str
    pid: int
    slots: int
    created: float
    """When the process began, by which it is told from a later one with the same number."""

    @property
    def lives(self) -> bool:
        """Whether that process still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def directory(manager: str) -> Path:
    """Where the records of a manager are. Raises OSError if it belongs to somebody else."""
    top = Path(tempfile.gettempdir()) / f"scaler-workers-{os.getuid()}"
    path = top / quote(manager, safe="")
    for each in (top, path):
        each.mkdir(mode=0o700, exist_ok=True)
        if each.is_symlink() or each.stat().st_uid != os.getuid():
            raise PermissionError(f"{each} belongs to somebody else; remove it, or set TMPDIR")
    return path


def write(manager: str, name: str, pid: int, slots: int) -> None:
    """Note a worker that has just been started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        record = Record(name, pid, slots, psutil.Process(pid).create_time())
        path = directory(manager) / quote(name, safe="")
        path.with_name(path.name + "~").write_text(json.dumps(asdict(record)))
        path.with_name(path.name + "~").rename(path)


def remove(manager: str, name: str) -> None:
    """Forget a worker that has ended, and the directory with the last one."""
    with contextlib.suppress(OSError):
        path = directory(manager)
        (path / quote(name, safe="")).unlink(missing_ok=True)
        path.rmdir()


def living(manager: str) -> list[Record]:
    """The workers that run; records of others are removed."""
    found = []
    where = directory(manager)
    for path in where.iterdir():
        if path.name.endswith(("~", ".log")):
            continue
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = Record(**json.loads(path.read_text()))
            if record.lives:
                found.append(record)
            else:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        where.rmdir()  # If nothing is left in it.
    return found
