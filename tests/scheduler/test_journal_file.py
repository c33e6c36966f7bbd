"""The file of a journal: what is read back, from a whole one and from damaged ones; and disks that take nothing."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.errors import ConfigurationError
from scaler.messages import (
    Function,
    JournalClient,
    JournalFunctions,
    JournalOver,
    JournalRecord,
    JournalSubmit,
    Submit,
)
from scaler.scheduler import journal_writer
from scaler.scheduler.journal_file import JournalFile, encoded
from scaler.scheduler.journal_writer import JournalWriter

from .damage import main

HEAD: list[JournalRecord] = [
    JournalClient(1, b"A" * 16, "nightly"),
    JournalFunctions(1, [Function(0, "s", b"f")]),
]


def tasks(first: int, count: int, payload: bytes = b"x" * 100) -> JournalRecord:
    return JournalSubmit(1, Submit(array("Q", range(first, first + count)), array("I", [0]), [payload] * count))


def over(first: int, count: int) -> JournalRecord:
    return JournalOver(1, array("Q", range(first, first + count)))


def sequences(records: list[JournalRecord]) -> list[int]:
    return [s for r in records if isinstance(r, JournalSubmit) for s in array("Q", r.submit.sequences)]


def read(path: Path) -> list[JournalRecord]:
    file, found = JournalFile.open(path)
    file.close()
    assert not found.warnings
    return found.records


def test_damage_costs_what_is_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["200"]) == 0
    assert "200 damaged journals: all open" in capsys.readouterr().out


def test_what_was_appended_is_there_and_the_file_holds_what_matters(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    file, found = JournalFile.open(path)
    assert found.records == []
    file.append(encoded([*HEAD, tasks(0, 5), over(1, 3), tasks(5, 2)]))
    file.sync()
    file.close()
    grown = path.stat().st_size
    assert sequences(read(path)) == [0, 4, 5, 6]
    assert path.stat().st_size < grown
    assert sequences(read(path)) == [0, 4, 5, 6]


def test_what_is_no_journal_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("It was a dark and stormy night. " * 100)
    file, found = JournalFile.open(path)
    file.close()
    assert found.records == []
    assert found.warnings == [f"the damaged journal is kept as {path}.damaged"]
    assert "stormy" in Path(f"{path}.damaged").read_text()


def test_a_torn_end_is_told_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    file, _ = JournalFile.open(path)
    file.append(encoded([*HEAD, tasks(0, 5)]))
    whole = file.size
    file.append(encoded([tasks(5, 5)]))
    file.close()
    path.write_bytes(path.read_bytes()[: whole + 33])
    file, found = JournalFile.open(path)
    file.close()
    assert sequences(found.records) == [0, 1, 2, 3, 4]
    assert found.warnings == [f"the journal {path} ends in 33 bytes that are no whole record; they are dropped"]


def test_two_schedulers_do_not_share_a_journal(tmp_path: Path) -> None:
    file, _ = JournalFile.open(tmp_path / "journal")
    with pytest.raises(ConfigurationError, match="used by another scheduler"):
        JournalFile.open(tmp_path / "journal")
    file.close()
    JournalFile.open(tmp_path / "journal")[0].close()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        JournalFile.open(tmp_path / "missing" / "journal")
    (tmp_path / "directory").mkdir()
    with pytest.raises(ConfigurationError, match="Is a directory"):
        JournalFile.open(tmp_path / "directory")


# ---- the thread


class Teller:
    """What the writer says, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()

    def __call__(self, level: int, text: str) -> None:
        with self._more:
            self.lines.append(text)
            self._more.notify_all()

    def wait_for(self, text: str) -> None:
        with self._more:
            assert self._more.wait_for(lambda: any(text in line for line in self.lines), 20), self.lines


class SmallDisk(JournalFile):
    """A file on a disk that is full beyond so many bytes."""

    room = 1 << 40

    def append(self, messages: Iterator[bytes]) -> None:  # type: ignore[override]
        messages = list(messages)  # type: ignore[assignment]
        if self.size + sum(map(len, messages)) > self.room:
            raise OSError(28, "No space left on device")
        super().append(messages)


def test_all_that_was_told_is_written_when_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(JournalFile.open(path)[0], 0.1, Teller())
    writer.append(HEAD)
    for first in range(0, 5000, 10):
        writer.append([tasks(first, 10, b"x"), over(first, 9)])
    writer.close()
    assert sequences(read(path)) == list(range(9, 5000, 10))


def test_it_is_rewritten_while_more_is_told(tmp_path: Path) -> None:
    path, tell = tmp_path / "journal", Teller()
    writer = JournalWriter(JournalFile.open(path)[0], 0.0, tell, rewrite_bytes=10_000)
    writer.append(HEAD)
    for first in range(0, 3000, 10):
        writer.append([tasks(first, 10), over(first, 9)])
        if writer.worth_rewriting:
            writer.rewrite()
    writer.append([tasks(3000, 10), over(3000, 10)])
    writer.rewrite()
    tell.wait_for("is rewritten")
    writer.append([tasks(3010, 1)])
    writer.close()
    assert writer.rewrites >= 1
    assert sequences(read(path)) == [*range(9, 3000, 10), 3010]


def test_a_full_disk_is_told_and_nothing_is_lost_that_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY_SECONDS", 0.01)
    path, tell = tmp_path / "journal", Teller()
    file, _ = SmallDisk.open(path)
    assert isinstance(file, SmallDisk)
    file.room = 0
    writer = JournalWriter(file, 0.0, tell)
    writer.append([*HEAD, tasks(0, 3)])
    tell.wait_for("cannot be written: No space left on device; work goes on without it")
    assert writer.failure == "No space left on device"
    writer.append([tasks(3, 3)])
    file.room = 1 << 40
    tell.wait_for("is written again")
    assert not writer.failure
    writer.append([tasks(6, 3)])
    writer.close()
    assert sequences(read(path)) == list(range(9))


def test_what_memory_does_not_hold_while_the_disk_is_full_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(journal_writer, "MOST_WAITING_BYTES", 2000)
    path, tell = tmp_path / "journal", Teller()
    file, _ = SmallDisk.open(path)
    assert isinstance(file, SmallDisk)
    file.room = 0
    writer = JournalWriter(file, 0.0, tell)
    writer.append([*HEAD, tasks(0, 3)])
    tell.wait_for("cannot be written")
    writer.append([tasks(3, 100)])
    assert writer.dropped == 1
    file.room = 1 << 40
    tell.wait_for("is written again, without 1 records of what came meanwhile")
    writer.close()
    assert sequences(read(path)) == [0, 1, 2]
