"""The writer of what tasks print."""

from __future__ import annotations

import sys
import threading

import pytest

from scaler.client import output
from scaler.client.output import OutputWriter


def test_it_writes_in_order_to_what_the_streams_are_now(capsys: pytest.CaptureFixture[str]) -> None:
    writer = OutputWriter()
    for number in range(100):
        writer.put(False, f"{number} é\n".encode())
    writer.put(True, b"error \xff\n")
    writer.flush()
    said = capsys.readouterr()
    assert (
        said.out == "".join(f"{number} é\n" for number in range(100))
        and said.err == "error \N{REPLACEMENT CHARACTER}\n"
    )


class Slow:
    """A stream whose reader lets one write pass at a time."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.written = ""

    def write(self, text: str) -> None:
        self.may_go_on.wait(10)
        self.written += text

    def flush(self) -> None:
        pass


def test_what_is_too_much_is_left_out_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "MOST_HELD_BYTES", 100)
    slow = Slow()
    monkeypatch.setattr(sys, "stdout", slow)
    writer = OutputWriter()
    for _ in range(5):
        writer.put(False, b"x" * 40)
    writer.flush(seconds=0)
    slow.may_go_on.set()
    writer.flush()
    assert slow.written == "x" * 80
    assert "[120 bytes that tasks printed are left out" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, object()])
def test_without_a_stream_it_goes_on(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    writer = OutputWriter()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        writer.put(False, b"lost\n")
        writer.flush()
    writer.put(False, b"seen\n")
    writer.flush()
    assert writer._written == 2
