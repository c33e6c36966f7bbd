"""What objects show of themselves."""

import pytest

from scaler.display import duration, html_table, plural, size, span


def test_html_is_text_only():
    shown = html_table("<b>", {"a&b": "<script>"})
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "a&amp;b" in shown
    assert "<b>" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 us"), (0.00085, "850 us"), (0.0123, "12.3 ms"), (4.56, "4.56 s"), (3600, "3,600.00 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plural():
    assert [plural(n, "slot") for n in (0, 1, 2000)] == ["0 slots", "1 slot", "2,000 slots"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (600 << 20, "600 MiB"), (5 << 40, "5 TiB")],
)
def test_sizes(count, text):
    assert size(count) == text


def test_long_times() -> None:
    times = (4.5, 99.9, 100, 3599, 3600, 90_061, 864_000)
    assert [span(t) for t in times] == ["4.50 s", "99.90 s", "1m 40s", "59m 59s", "1h 00m", "1d 01h", "10d 00h"]
