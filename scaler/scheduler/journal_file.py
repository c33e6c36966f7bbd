"""The file of a journal: read at the start, appended to, rewritten when little of it matters any more."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scaler.errors import ConfigurationError, ProtocolError
from scaler.messages import JournalRecord
from scaler.scheduler.journal_digest import Digest
from scaler.scheduler.journal_format import Scan, decoded, header, journal_codec, scan
from scaler.writing import write_at

WRITE_BYTES = 1 << 20


@dataclass(slots=True)
class Found:
    """What a journal had to say."""

    records: list[JournalRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class JournalFile:
    """One process has it at a time. All methods but open() may raise OSError; then the file is as it was before."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.size = 0
        self.rewritten_size = 0
        """What it had when it was rewritten last."""
        self._lock = lock
        self._file = -1
        self._number = 0

    # ---- the start

    @classmethod
    def open(cls, path: Path) -> tuple[JournalFile, Found]:
        """Raises ConfigurationError where the file cannot be used at all: another process has it, or it may not be written."""
        try:
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"the journal {path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            journal = cls(path, lock)
            return journal, journal._begin()
        except BlockingIOError:
            os.close(lock)
            raise ConfigurationError(f"the journal {path} is used by another scheduler") from None
        except OSError as error:
            os.close(lock)
            raise ConfigurationError(f"the journal {path} cannot be used: {error.strerror}") from None

    def _begin(self) -> Found:
        found = Found()
        with suppress(FileNotFoundError):
            self._new_path.unlink()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with _mapped(self._file) as data:
            seen = scan(data)
            digest = Digest(lambda: decoded(data, seen.records), at_start=True)
            found.records = list(digest.records())
            self._tell(seen, digest, found)
        self._number = seen.next_number
        try:
            self._keep_damaged(seen, found)
            self.replace(self.rewritten(found.records), self.size)
        except OSError as error:
            found.warnings.append(f"the journal {self.path} could not be rewritten: {error.strerror}")
            self.size = self.rewritten_size = seen.end
        return found

    def _tell(self, seen: Scan, digest: Digest, found: Found) -> None:
        if seen.torn_bytes and seen.records:
            found.warnings.append(
                f"the journal {self.path} ends in {seen.torn_bytes} bytes that are no whole record; they are dropped"
            )
        if seen.damaged:
            places = ", ".join(f"{begin} to {end}" for begin, end in seen.damaged[:5])
            more = "" if len(seen.damaged) <= 5 else f" and {len(seen.damaged) - 5} more"
            found.warnings.append(
                f"the journal {self.path} is damaged: {seen.damaged_bytes} bytes before its end are no records ({places}{more});"
                " what they said is lost"
            )
        if digest.passed_over:
            found.warnings.append(
                f"the journal {self.path}: {digest.passed_over} records are of clients of which nothing is known"
            )

    def _keep_damaged(self, seen: Scan, found: Found) -> None:
        """What cannot be read as a whole is not thrown away: somebody may want to look at it, or it is no journal at all."""
        if seen.damaged or (seen.torn_bytes and not seen.records):
            kept = Path(f"{self.path}.damaged")
            kept.unlink(missing_ok=True)
            os.link(self.path, kept)
            found.warnings.append(f"the damaged journal is kept as {kept}")

    # ---- writing

    def append(self, messages: Iterable[bytes]) -> None:
        """Encoded records, after those that are there."""
        number = self._number
        parts: list[memoryview] = []
        for message in messages:
            parts += [memoryview(header(number, message)), memoryview(message)]
            number += 1
        self.size, self._number = write_at(self._file, parts, self.size), number

    def sync(self) -> None:
        """What was appended outlives the machine."""
        os.fdatasync(self._file)

    def rewritten(self, records: Iterable[JournalRecord]) -> JournalFile:
        """A file of these records beside this one, which replace() puts in its place. May be called in another thread."""
        new = JournalFile(self._new_path, -1)
        new._number = self._number
        new._file = os.open(self._new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            new._fill(encoded(records))
            os.fsync(new._file)
        except BaseException:
            self.give_up(new)
            raise
        return new

    def give_up(self, new: JournalFile) -> None:
        """It is not to replace this one."""
        os.close(new._file)
        self._new_path.unlink(missing_ok=True)

    def replace(self, new: JournalFile, tail_from: int) -> None:
        """The file is that one from now on, with what was appended to this one from ``tail_from`` on."""
        try:
            new._fill(self._messages(tail_from))
            os.fsync(new._file)
            self._new_path.rename(self.path)
        except BaseException:
            self.give_up(new)
            raise
        os.close(self._file)
        self._file, self._number = new._file, max(new._number, self._number)
        self.size = self.rewritten_size = new.size
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _fill(self, messages: Iterable[bytes]) -> None:
        together: list[bytes] = []
        size = 0
        for message in messages:
            together.append(message)
            size += len(message)
            if size >= WRITE_BYTES:
                self.append(together)
                together, size = [], 0
        self.append(together)

    def digest(self, end: int) -> Iterator[JournalRecord]:
        """What matters of the records before this place. Reads the file; nothing before its end ever changes."""
        with _mapped(self._file) as data:
            places = [(begin, last) for begin, last in scan(data).records if last <= end]
            yield from Digest(lambda: decoded(data, places)).records()

    def _messages(self, begin: int) -> Iterator[bytes]:
        if begin < self.size:
            appended = os.pread(self._file, self.size - begin, begin)
            for first, last in scan(appended).records:
                yield appended[first:last]

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    @property
    def _new_path(self) -> Path:
        return Path(f"{self.path}.new")


def encoded(records: Iterable[JournalRecord]) -> Iterator[bytes]:
    """As they are appended; one that is too large for a message is left out."""
    encode = journal_codec().encode
    for record in records:
        try:
            yield encode(record)
        except ProtocolError:
            continue


@contextmanager
def _mapped(file: int) -> Iterator[bytes | mmap.mmap]:
    """What is in the file now."""
    if not os.fstat(file).st_size:
        yield b""
        return
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as data:
        yield data
