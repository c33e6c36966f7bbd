"""The task stream in files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import task_id
from scaler.messages import EndedTasks, Update
from scaler.monitor import export as module
from scaler.monitor.export import COLUMNS, CsvFile, Export, TraceFile, as_text, check_suffix, open_task_file
from scaler.monitor.model import Model

from .builders import MIB, client, identity, update, worker

SUCCEEDED, FAILED = 1, 3
UNKNOWN = 0xFFFFFFFF
Call = tuple[int, str, int, int, int, int, int]
"""(sequence, function, worker, slot, status, when it ended in ms, wall in us)"""


def told(at: float, *calls: Call, full: bool = False, left_out: int = 0, **fields: Any) -> Update:
    """An update with these tasks."""
    names = list(dict.fromkeys(call[1] for call in calls))
    workers = list(dict.fromkeys(call[2] for call in calls))
    count = len(calls)
    ended = EndedTasks(
        array("Q", [task_id(1, call[0]) for call in calls]),
        array("I", [names.index(call[1]) for call in calls]),
        names,
        array("I", [workers.index(call[2]) for call in calls]),
        [identity(number) for number in workers],
        array("I", [call[3] for call in calls]),
        bytes(call[4] for call in calls),
        array("Q", [call[5] for call in calls]),
        array("Q", [call[6] for call in calls]),
        array("Q", [1000] * count),
        array("Q", [MIB] * count),
        array("I", [1] * count),
        count + left_out,
    )
    return update(at, full, ended=ended, clients=[client()], workers=[worker(1), worker(2)], **fields)


def first() -> Update:
    return told(
        10.0,
        (0, "f", 1, 0, SUCCEEDED, 9_000, 500_000),
        (1, "=cmd()", 1, 1, FAILED, 9_500, 1_000_000),
        (2, "f", 2, UNKNOWN, SUCCEEDED, 9_900, 100),
        full=True,
        left_out=7,
    )


def exported(path: Path, *updates: Update) -> Export:
    export = Export(open_task_file(path))
    for one in updates:
        export.apply(one)
    export.close()
    return export


def slices(events: list[dict[str, Any]], kind: str = "X") -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == kind]


def test_a_table(tmp_path: Path) -> None:
    export = exported(tmp_path / "t.csv", first(), told(11.0, (3, "g", 1, 0, SUCCEEDED, 10_500, 2)))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    assert export.written == 4 and export.model.left_out == 7
    assert [row["task"] for row in rows] == ["1:0", "1:1", "1:2", "1:3"]
    assert rows[0] == {
        "task": "1:0",
        "client": identity(101).hex()[:8],
        "function": "f",
        "worker": "host-1:4001",
        "slot": "0",
        "status": "succeeded",
        "began": "1970-01-01T00:00:08.500000+00:00",
        "ended": "1970-01-01T00:00:09.000000+00:00",
        "wall_seconds": "0.5",
        "cpu_seconds": "0.001",
        "memory_peak_bytes": str(MIB),
        "count": "1",
    }
    assert rows[1]["function"] == "'=cmd()" and rows[2]["slot"] == ""


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    exported(tmp_path / "t.parquet", first(), told(11.0, (3, "g", 1, 0, SUCCEEDED, 10_500, 2)))
    file = parquet.ParquetFile(tmp_path / "t.parquet")
    rows = file.read().to_pylist()
    assert file.num_row_groups == 2 and file.schema_arrow.names == list(COLUMNS)
    assert [row["function"] for row in rows] == ["f", "=cmd()", "f", "g"]
    assert (rows[0]["began"].timestamp(), rows[0]["ended"].timestamp(), rows[0]["slot"]) == (8.5, 9.0, 0)
    assert rows[2]["slot"] is None and rows[1]["status"] == "failed"


def test_a_trace(tmp_path: Path) -> None:
    exported(tmp_path / "t.json", first(), told(11.0, (3, "g", 1, 0, SUCCEEDED, 10_500, 2)))
    trace = json.loads((tmp_path / "t.json").read_text())
    events = trace["traceEvents"]
    names = {(e["pid"], e["tid"], e["name"]): e["args"].get("name") for e in slices(events, "M")}
    f, failed, elsewhere, g = slices(events)
    assert (f["name"], f["ts"], f["dur"], f["cat"]) == ("f", 8_500_000, 500_000, "task")
    assert f["args"]["task"] == "1:0" and f["args"]["memory_peak_bytes"] == MIB and f["args"]["status"] == "succeeded"
    assert (
        names[f["pid"], 0, "process_name"] == "worker host-1:4001"
        and names[f["pid"], f["tid"], "thread_name"] == "slot 0"
    )
    assert names[elsewhere["pid"], elsewhere["tid"], "thread_name"] == "slot not known"
    assert (g["pid"], g["tid"]) == (f["pid"], f["tid"]) != (failed["pid"], failed["tid"])
    (mark,) = slices(events, "i")
    assert (mark["name"], mark["ts"], mark["tid"]) == ("failed: =cmd()", 9_500_000, failed["tid"])
    assert failed["cat"] == "failed" and failed["cname"] == "terrible"
    assert {(e["name"], *e["args"].values()) for e in slices(events, "C")} == {("tasks", 3, 7), ("slots", 2, 2)}
    running = slices(events, "B")
    assert {event["args"]["status"] for event in running} == {"running"} and running[0]["name"] == "train"
    assert trace["otherData"] == {"left_out": 7}


def test_slices_of_a_slot_do_not_overlap() -> None:
    """The scheduler hears of several at once, and of some late."""
    export = Export(file := TraceFile(kept := Unclosed()))
    export.apply(told(10.0, *((n, "f", 1, 0, SUCCEEDED, 9_000, 400_000) for n in range(3)), full=True))
    export.apply(told(11.0, (3, "f", 1, 0, SUCCEEDED, 9_200, 5_000_000), (4, "f", 1, 1, SUCCEEDED, 9_200, 100)))
    file.close(export.model)
    events = slices(json.loads(kept.getvalue())["traceEvents"])
    spans = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["tid"] == 0]
    assert spans == [(7_800_000, 8_200_000), (8_200_000, 8_600_000), (8_600_000, 9_000_000), (9_000_000, 9_200_000)]
    assert [e["args"]["wall_seconds"] for e in events][3] == 5.0


class Unclosed(io.StringIO):
    def close(self) -> None:
        pass


def test_what_is_told_again_after_a_lost_connection_is_written_once(tmp_path: Path) -> None:
    again = told(12.0, *((n, "f", 1, 0, SUCCEEDED, 9_000 + 100 * n, 1) for n in range(12)), full=True)
    export = exported(tmp_path / "t.csv.gz", first(), again)
    with gzip.open(tmp_path / "t.csv.gz", "rt") as file:
        tasks = [row["task"] for row in csv.DictReader(file)]
    assert tasks == ["1:0", "1:1", "1:2", "1:10", "1:11"] and export.written == 5


def test_text_of_what_a_model_has() -> None:
    model = Model()
    model.apply(first())
    assert as_text(list(model.ended), model, CsvFile).count("\n") == 4
    assert len(slices(json.loads(as_text(list(model.ended), model, TraceFile))["traceEvents"])) == 3
    assert slices(json.loads(as_text([], Model(), TraceFile))["traceEvents"]) == []


def test_formats_go_by_the_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_suffix("a/T.JSON.GZ") == ".json.gz"
    with pytest.raises(ConfigurationError, match=r"t\.txt: there is no format for it; write \.json for a trace"):
        check_suffix("t.txt")
    with pytest.raises(OSError, match="No such file"):
        open_task_file(tmp_path / "no" / "t.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissingError, match=r"opengris-scaler\[parquet\]"):
        open_task_file(tmp_path / "t.parquet")
