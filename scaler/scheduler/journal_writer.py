"""Writes the journal in a thread: many records at a time, with one write and one sync; and goes on when the disk does not."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from scaler.messages import JournalRecord
from scaler.scheduler.journal_file import JournalFile, encoded

GROUP_SECONDS = 0.02
"""What comes within this time is written together."""
RETRY_SECONDS = 1.0
MOST_WAITING_BYTES = 64 << 20
"""While the disk takes nothing, so much is kept in memory; more is dropped."""
REWRITE_BYTES = 64 << 20
"""A smaller file is not worth rewriting."""
REWRITE_FACTOR = 4
"""How many times what it was when it was rewritten last."""


class JournalWriter:
    """``tell`` is called in the thread, with a level and a text for the log."""

    def __init__(
        self,
        file: JournalFile,
        sync_seconds: float,
        tell: Callable[[int, str], None],
        rewrite_bytes: int = REWRITE_BYTES,
    ) -> None:
        self.failure = ""
        """Why nothing is written now."""
        self.dropped = 0
        """Records that were dropped since the disk takes nothing."""
        self.rewrites = 0
        self._file = file
        self._sync_seconds = sync_seconds
        self._tell = tell
        self._rewrite_bytes = rewrite_bytes
        self._waiting: deque[bytes | Callable[[], None]] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._more, self._closing = threading.Event(), threading.Event()
        self._synced_at = 0.0
        self._unsynced = False
        self._rewriting: threading.Thread | None = None
        self._rewritten: tuple[JournalFile, int] | None = None
        self._thread = threading.Thread(target=self._run, name="scaler-journal", daemon=True)
        self._thread.start()

    # ---- told by the event loop's thread

    def append(self, records: Iterable[JournalRecord]) -> None:
        """Have these written soon."""
        messages = list(encoded(records))
        size = sum(map(len, messages))
        with self._lock:
            if self.failure and self._waiting_bytes + size > MOST_WAITING_BYTES:
                self.dropped += len(messages)
                return
            self._waiting.extend(messages)
            self._waiting_bytes += size
        if not self._more.is_set():
            self._more.set()

    @property
    def worth_rewriting(self) -> bool:
        """Whether little of the file may matter any more."""
        file = self._file
        return self._idle and file.size > max(self._rewrite_bytes, REWRITE_FACTOR * file.rewritten_size)

    @property
    def worth_beginning_anew(self) -> bool:
        """Whether that is worth it where nothing of the file matters."""
        return self._idle and self._file.size > self._rewrite_bytes // 4

    @property
    def _idle(self) -> bool:
        return self._rewriting is None and not self.failure

    def rewrite(self, records: list[JournalRecord] | None = None) -> None:
        """What was told before is rewritten: to these records, or to what matters of it. What is told from here on follows."""
        self._rewriting = threading.current_thread()  # until the thread has begun
        self._waiting.append(lambda: self._begin_rewriting(records))
        self._more.set()

    def close(self) -> None:
        """Write what was told, as far as the disk takes it."""
        self._closing.set()
        self._more.set()
        self._thread.join()

    # ---- the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            self._more.wait(self._pause())
            if not self._closing.is_set():
                self._closing.wait(GROUP_SECONDS)
            self._turn()
        if self._rewriting is not None and self._rewriting is not threading.current_thread():
            self._rewriting.join()
        self._turn(last=True)
        self._file.close()

    def _pause(self) -> float | None:
        """How long to wait for more."""
        if self.failure:
            return RETRY_SECONDS
        if self._rewriting is not None:
            return 0.1
        return max(0.0, self._synced_at + self._sync_seconds - time.monotonic()) if self._unsynced else None

    def _turn(self, last: bool = False) -> None:
        if self.failure and not last:
            self._closing.wait(RETRY_SECONDS)
        try:
            self._write()
            due = time.monotonic() >= self._synced_at + self._sync_seconds
            if self._unsynced and (due or last):
                self._file.sync()
                self._unsynced, self._synced_at = False, time.monotonic()
            self._finish_rewriting()
        except OSError as error:
            self._failed(error)
        else:
            if self.failure:
                self._works_again()

    def _write(self) -> None:
        self._more.clear()
        while True:
            with self._lock:
                together: list[bytes] = []
                while self._waiting and isinstance(self._waiting[0], bytes):
                    together.append(self._waiting.popleft())  # type: ignore[arg-type]
                command = self._waiting.popleft() if self._waiting and not together else None
            if together:
                self._append(together)
            elif callable(command):
                command()
            else:
                return

    def _append(self, together: list[bytes]) -> None:
        try:
            self._file.append(together)
        except OSError:
            with self._lock:
                self._waiting.extendleft(reversed(together))
            raise
        self._unsynced = True
        with self._lock:
            self._waiting_bytes -= sum(map(len, together))

    def _failed(self, error: OSError) -> None:
        if not self.failure:
            self._tell(
                30, f"the journal {self._file.path} cannot be written: {error.strerror}; work goes on without it"
            )
        self.failure = error.strerror or str(error)

    def _works_again(self) -> None:
        lost = f", without {self.dropped} records of what came meanwhile" if self.dropped else ""
        self.failure, self.dropped = "", 0
        self._tell(20, f"the journal {self._file.path} is written again{lost}")

    # ---- rewriting

    def _begin_rewriting(self, records: list[JournalRecord] | None) -> None:
        end = self._file.size

        def rewrite() -> None:
            try:
                told = self._file.digest(end) if records is None else records
                self._rewritten = self._file.rewritten(told), end
            except OSError as error:
                self._tell(30, f"the journal {self._file.path} cannot be rewritten: {error.strerror}")
                self._file.rewritten_size = self._file.size  # not again at once
                self._rewriting = None
            self._more.set()

        self._rewriting = threading.Thread(target=rewrite, name="scaler-journal-rewrite", daemon=True)
        self._rewriting.start()

    def _finish_rewriting(self) -> None:
        if self._rewritten is None:
            return
        (new, end), self._rewritten = self._rewritten, None
        before = self._file.size
        try:
            self._file.replace(new, end)
        finally:
            self._rewriting = None
        self.rewrites += 1
        self._unsynced = False
        self._tell(10, f"the journal {self._file.path} is rewritten: {before} bytes were, {self._file.size} are left")
