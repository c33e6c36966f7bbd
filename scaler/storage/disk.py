"""Where spilled objects are: one file without a name, which is gone with its process however that ends."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from io import FileIO
from pathlib import Path

from scaler.storage.content import Room
from scaler.storage.extents import Extents, whole_blocks
from scaler.storage.outputs import Mark, Restore, Spill

PART_BYTES = 16 << 20
"""So much is written by one call."""
READ_BYTES = 1 << 20
"""So much is read by one call, and copied to its place while it is in the processor's cache."""
_KEEP_SIZE_PUNCH_HOLE = 0x03
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None)


def default_directory() -> Path:
    """What TMPDIR names; else /var/tmp, which is on a disk also where /tmp is in memory; else /tmp."""
    named = os.environ.get("TMPDIR")
    writable = [path for path in ("/var/tmp", "/tmp") if os.access(path, os.W_OK)]
    return Path(named or next(iter(writable), "/var/tmp"))


class Disk:
    """Copies of objects in a file that has no name. All methods block, and may be called from any thread.

    The file is made when it is first needed.
    """

    threads = 2
    finishes = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._extents = Extents()
        self._places: dict[int, tuple[int, int]] = {}
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    def write(self, spill: Spill) -> None:
        """Make a copy. Raises OSError, after which there is none."""
        key, content = spill.key, spill.content
        file = self._opened()
        with self._lock:
            offset = self._extents.take(content.nbytes or 1)
        try:
            _write(file.fileno(), content, offset)
        except BaseException:
            self._free(offset, content.nbytes or 1)
            raise
        with self._lock:
            self._places[key] = offset, content.nbytes

    def mark(self, mark: Mark) -> None:
        """Nobody asks for it: what ends with the server needs no record of owners."""
        raise NotImplementedError

    def read(self, restore: Restore, room: Room) -> None:
        """Fill room of its size with a copy. Raises OSError."""
        with self._lock:
            offset, _ = self._places[restore.key]
        done, size, part = 0, restore.size, memoryview(bytearray(min(restore.size, READ_BYTES)))
        while done < size:
            count = os.preadv(self._opened().fileno(), [part[: size - done]], offset + done)
            if not count:
                raise OSError(f"the file in {self.directory} ends before the object")
            room.write(done, part[:count])
            done += count

    def delete(self, key: int) -> None:
        """Forget a copy and give its space back."""
        with self._lock:
            offset, size = self._places.pop(key)
        self._free(offset, size or 1)

    def allocated_bytes(self) -> int:
        """How much of the disk the file takes."""
        return os.fstat(self._opened().fileno()).st_blocks * 512

    def explain(self, error: Exception) -> str:
        """What an error of write() or read() means to whoever runs the storage."""
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"{self.directory}: {why}"

    def close(self) -> None:
        """Forget all."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> FileIO:
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.directory, buffering=0)  # noqa: SIM115 (see close)
            return self._file

    def _free(self, offset: int, size: int) -> None:
        """The blocks go back to the file system where it can do that; they are used again in any case."""
        _punch_hole(self._opened().fileno(), offset, size)
        with self._lock:
            self._extents.give_back(offset, size)


def _write(file: int, content: memoryview, offset: int) -> None:
    done = 0
    while done < content.nbytes:
        done += os.pwrite(file, content[done : done + PART_BYTES], offset + done)


def _punch_hole(file: int, offset: int, size: int) -> None:
    if _fallocate is not None:
        _fallocate(file, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(whole_blocks(size)))
