"""The report of a client, without a cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from scaler.client.report import FunctionReport, Report, SlowCall

FUNCTION = FunctionReport(
    "<b>price",
    1000,
    3,
    1,
    5,
    20.0,
    0.02,
    0.05,
    0.5,
    10.0,
    0.01,
    0.02,
    1 << 30,
    ((0.016, 0.032, 900), (0.032, 0.064, 100)),
)
REPORT = Report(
    "ann",
    "tcp://here:1",
    1e9,
    20.0,
    10.0,
    4,
    2,
    2048,
    1024,
    1 << 20,
    0,
    (FUNCTION,),
    (SlowCall("<b>price", 17, 0.5, False),),
)


def test_the_terminal() -> None:
    text = str(REPORT)
    assert text.splitlines()[:3] == [
        "client ann at tcp://here:1: 1,000 calls, 3 failed, 1 cancelled, 2 unfinished; run again 5 times",
        "busy 10.00 s of 20.00 s; 20.00 s of calls, 2 at once on 4 slots (50%)",
        "arguments 2 KiB, results 1 KiB; object storage 1 MiB put, 0 B fetched",
    ]
    row = next(line for line in text.splitlines() if line.startswith("<b>price"))
    assert "  ".join(row.split()[:4]) == "<b>price  1,000  3  5"
    assert row.endswith("20.00 s  20 ms  50 ms  500 ms  10.00 s  10 ms  20 ms   1 GiB")
    assert "    500 ms  <b>price (task 17), failed" in text
    assert max(map(len, text.splitlines())) <= 120


def test_one_that_has_done_nothing() -> None:
    empty = replace(REPORT, functions=(), slowest=(), busy_seconds=0.0, slots=0)
    assert "0 calls" in str(empty) and "0 at once\n" in str(empty)
    assert "table" not in empty.html().split("</style>")[-1]


def test_a_long_name_is_cut() -> None:
    name = "f" * 200
    report = replace(REPORT, functions=(replace(FUNCTION, name=name),))
    assert "fff…" in str(report) and name not in str(report) and name in report.html()


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str | None] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def test_the_page_stands_alone_and_shows_names_as_text() -> None:
    page, seen = REPORT.html(), Seen()
    seen.feed(page)
    assert not seen.open and not seen.sources and not {"b", "script", "link", "img"} & set(seen.tags)
    assert "<b>price" in seen.text and "32 ms to 64 ms: 100 calls" in seen.text
    assert "prefers-color-scheme: dark" in page
    assert seen.tags.count("rect") == 2
    assert REPORT._repr_html_() in page


def test_files(tmp_path) -> None:
    for suffix, begin in ((".html", "<!doctype html>"), (".json", "{"), (".txt", "client ann")):
        REPORT.save(tmp_path / f"r{suffix}")
        assert (tmp_path / f"r{suffix}").read_text().startswith(begin)
    told = json.loads((tmp_path / "r.json").read_text())
    assert (told["calls"], told["parallelism"], told["slots_used"]) == (1000, 2.0, 0.5)
    assert told["functions"][0]["wall_p95"] == 0.05 and told["slowest"][0]["task_id"] == 17
    with pytest.raises(ValueError, match=r"r\.pdf: a report can be written as \.html, \.json, \.txt"):
        REPORT.save(tmp_path / "r.pdf")
    with pytest.raises(OSError, match="No such file"):
        REPORT.save(tmp_path / "no" / "r.txt")
