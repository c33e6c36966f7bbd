"""What executors print: cut into lines, and where the tasks of another client begin."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST_LINE = 64 << 10
"""More than that, in bytes, is passed on though its end has not come."""


def mark_of(worker: bytes, client: bytes) -> bytes:
    """What an executor of this worker prints before the tasks of a client whose output is streamed, or of others (empty)."""
    return _begin(worker) + client.hex().encode() + b"\n"


def _begin(worker: bytes) -> bytes:
    return b"\0scaler-output-of:" + worker.hex().encode() + b":"


class OutputStream:
    """Standard output or standard error of one executor."""

    def __init__(self, worker: bytes, is_error: bool = False) -> None:
        self.is_error = is_error
        self._mark = _begin(worker)
        self._client = b""
        self._held = b""

    @property
    def holds(self) -> bool:
        """Whether something waits for the end of its line."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(client, content) of what can be passed on; without a client it is for where the worker prints."""
        data, self._held = self._held + data, b""
        while True:
            begin = data.find(self._mark)
            end = data.find(b"\n", begin) if begin >= 0 else -1
            if end < 0:
                break
            yield from self._pieces(data[:begin])
            self._client = bytes.fromhex(data[begin + len(self._mark) : end].decode())
            data = data[end + 1 :]
        begin = data.rfind(b"\0")
        if begin >= 0 and (self._mark.startswith(data[begin:]) or data.startswith(self._mark, begin)):
            yield from self._pieces(data[:begin])
            self._held = data[begin:]  # a mark that has not come in full
            return
        if self._client:
            whole = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if len(data) - whole > LONGEST_LINE:
                whole = _without_half_a_character(data)
            data, self._held = data[:whole], data[whole:]
        yield from self._pieces(data)

    def rest(self, ended: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """What has waited for long enough for the end of its line; all of it when the task, or the executor, has ended."""
        begin = self._held.find(b"\0")
        if begin < 0 or ended:
            begin = len(self._held)
        whole = begin if ended else _without_half_a_character(self._held[:begin])
        data, self._held = self._held[:whole], self._held[whole:]
        yield from self._pieces(data)

    def _pieces(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        while data:
            cut = len(data) if len(data) <= LONGEST_LINE or not self._client else _good_cut(data)
            yield self._client, data[:cut]
            data = data[cut:]


def _good_cut(data: bytes) -> int:
    """Where at most LONGEST_LINE bytes end: after a line if there is one, never inside a character."""
    line = data.rfind(b"\n", 0, LONGEST_LINE) + 1
    return line or _without_half_a_character(data[:LONGEST_LINE])


def _without_half_a_character(data: bytes) -> int:
    """The length up to the last whole character of UTF-8."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)
