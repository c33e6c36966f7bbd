"""The task stream in files: as a trace for Perfetto and Chrome, as CSV, as Parquet. Written as it comes, nothing is kept.

What a scheduler tells is a sample where more than about 500 tasks end in a second: see Model.ended.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import SEQUENCE_BITS, task_label
from scaler.messages import ResultStatus, Update
from scaler.monitor.model import EndedTask, Model

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".json", ".json.gz", ".csv", ".csv.gz", ".parquet")
COLUMNS = (
    "task",
    "client",
    "function",
    "worker",
    "slot",
    "status",
    "began",
    "ended",
    "wall_seconds",
    "cpu_seconds",
    "memory_peak_bytes",
    "count",
)
ARGUMENTS = ("task", "client", "status", "wall_seconds", "cpu_seconds", "memory_peak_bytes", "count")
"""What is told of a slice in a trace."""
ROWS_AT_ONCE = 10_000
"""Of Parquet, in one group."""
ELSEWHERE = 1_000_000
"""The thread of a trace for tasks of which the slot is not known."""


class TaskFile(Protocol):
    """A file of tasks, in one of the formats."""

    def write(self, tasks: Sequence[EndedTask], model: Model) -> None:
        """Append tasks that a model was told last."""

    def close(self, model: Model) -> None:
        """Append what belongs to the end, and close it."""


Row = tuple[Any, ...]
"""COLUMNS of a task: times are Unix seconds, the slot is None where it is not known."""
_Told = tuple[EndedTask, Row]


def rows_of(tasks: Iterable[EndedTask], model: Model) -> Iterator[Row]:
    """A row for each task."""
    clients = {client.number: model.client_label(client.identity) for client in model.clients.values()}
    return (_row(task, clients.get(task.task >> SEQUENCE_BITS, ""), model) for task in tasks)


def _row(task: EndedTask, client: str, model: Model) -> Row:
    return (
        task_label(task.task),
        client,
        task.function,
        model.worker_label(task.worker),
        task.slot,
        ResultStatus(task.status).name,
        task.began,
        task.ended,
        task.wall,
        task.cpu,
        task.peak_memory,
        task.count,
    )


class CsvFile:
    """A line for each task; times are ISO 8601 in UTC."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, tasks: Sequence[EndedTask], model: Model) -> None:
        for label, client, function, worker, slot, status, began, ended, *others in rows_of(tasks, model):
            times = _iso(began), _iso(ended)
            named = map(_no_formula, (client, function, worker))
            self._writer.writerow([label, *named, "" if slot is None else slot, status, *times, *others])
        self._file.flush()

    def close(self, model: Model) -> None:
        self._file.close()


def _iso(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="microseconds")


def _no_formula(text: str) -> str:
    """A name that a spreadsheet would take for a formula gets a sign before it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


class ParquetFile:
    """A row for each task; times are timestamps in UTC."""

    def __init__(self, path: str | Path) -> None:
        """Raises ExtraMissingError without pyarrow, OSError for a file that cannot be written."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise ExtraMissingError("Parquet needs pyarrow: pip install 'opengris-scaler[parquet]'") from None
        text, number, when = pa.string(), pa.int64(), pa.timestamp("us", "UTC")
        kinds = (text, text, text, text, pa.int32(), text, when, when, pa.float64(), pa.float64(), number, number)
        self._arrow = pa
        self._schema: pyarrow.Schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        self._writer = parquet.ParquetWriter(str(path), self._schema)
        self._rows: list[tuple[Any, ...]] = []

    def write(self, tasks: Sequence[EndedTask], model: Model) -> None:
        for row in rows_of(tasks, model):
            times = (int(seconds * 1e6) for seconds in row[6:8])
            self._rows.append((*row[:6], *times, *row[8:]))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        columns = [
            self._arrow.array(c, f.type) for c, f in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))
        self._rows.clear()

    def close(self, model: Model) -> None:
        if self._rows:
            self._flush()
        self._writer.close()


class TraceFile:
    """Chrome's trace events, which Perfetto opens: a process for each worker, a thread for each slot, a slice for each task.

    The scheduler hears of a task after its end, and of several at once; where they would lie on each other in one slot they are
    laid one after the other.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._events = 0
        self._processes: dict[bytes, int] = {}
        self._threads: set[tuple[int, int]] = set()
        self._ends: dict[tuple[int, int], int] = {}
        """By process and thread: when the last slice there ended, in microseconds."""
        self._file.write('{"displayTimeUnit": "ms", "traceEvents": [')
        self._metadata("process_name", 0, 0, {"name": "cluster"})

    def write(self, tasks: Sequence[EndedTask], model: Model) -> None:
        slots: dict[tuple[int, int], list[_Told]] = defaultdict(list)
        for task, row in zip(tasks, rows_of(tasks, model), strict=True):
            slots[self._thread(task.worker, task.slot, model)].append((task, row))
        for place, told in slots.items():
            self._lay_out(place, told)
        counts, held = model.tasks, model.tasks.assigned + model.tasks.running
        self._counter("tasks", model, {"queued": counts.waiting + counts.ready, "with workers": held})
        self._counter("slots", model, {"busy": model.busy_slots, "free": model.slots - model.busy_slots})
        self._file.flush()

    def _lay_out(self, place: tuple[int, int], told: list[_Told]) -> None:
        """A slice for each, so that none begins before the one before it has ended."""
        spans: list[tuple[int, int]] = []
        next_begin = int(told[-1][0].ended * 1e6)
        for task, _ in reversed(told):
            end = min(int(task.ended * 1e6), next_begin)
            next_begin = end - int(task.wall * 1e6)
            spans.append((next_begin, end))
        last = self._ends.get(place, 0)
        for (task, row), (earliest, end) in zip(told, reversed(spans), strict=True):
            begin = max(earliest, last)
            last = max(end, begin)
            self._slice(place, task, row, begin, last)
        self._ends[place] = last

    def _slice(self, place: tuple[int, int], task: EndedTask, row: Row, begin: int, end: int) -> None:
        told = dict(zip(COLUMNS, row, strict=True))
        at = {"pid": place[0], "tid": place[1]}
        event = {"name": task.function, "cat": "task", "ph": "X", "ts": begin, "dur": end - begin, **at}
        event["args"] = {name: told[name] for name in ARGUMENTS}
        if not task.succeeded:
            # Red, where Chrome's own viewer shows it; Perfetto shows the mark.
            event |= {"cat": "failed", "cname": "terrible"}
            mark = f"{told['status']}: {task.function}"
            self._add({"name": mark, "cat": "failed", "ph": "i", "s": "t", "ts": end, **at})
        self._add(event)

    def _thread(self, worker: bytes, slot: int | None, model: Model) -> tuple[int, int]:
        """Process and thread of a slot, which are named when they are new."""
        if worker not in self._processes:
            self._processes[worker] = len(self._processes) + 1
            name = f"worker {model.worker_label(worker)}"
            self._metadata("process_name", self._processes[worker], 0, {"name": name})
        place = self._processes[worker], ELSEWHERE if slot is None else slot
        if place not in self._threads:
            self._threads.add(place)
            self._metadata("thread_name", *place, {"name": "slot not known" if slot is None else f"slot {slot}"})
            self._metadata("thread_sort_index", *place, {"sort_index": place[1]})
        return place

    def _metadata(self, what: str, process: int, thread: int, told: dict[str, Any]) -> None:
        self._add({"name": what, "ph": "M", "pid": process, "tid": thread, "args": told})

    def _counter(self, name: str, model: Model, values: dict[str, int]) -> None:
        self._add({"name": name, "ph": "C", "ts": int(model.unix_seconds * 1e6), "pid": 0, "args": values})

    def _add(self, event: dict[str, Any]) -> None:
        self._file.write(("\n" if not self._events else ",\n") + json.dumps(event))
        self._events += 1

    def close(self, model: Model) -> None:
        """What runs is a slice without an end."""
        for task in model.running():
            place = self._thread(task.worker, task.slot, model)
            begin = max(int((model.unix_seconds - task.seconds) * 1e6), self._ends.get(place, 0))
            args = {"task": task_label(task.task), "status": "running"}
            event = {"name": task.function, "cat": "running", "ph": "B", "ts": begin, "pid": place[0], "tid": place[1]}
            self._add({**event, "args": args})
        self._file.write(f'\n], "otherData": {{"left_out": {model.left_out}}}}}\n')
        self._file.close()


def check_suffix(path: str | Path) -> str:
    """Which of SUFFIXES a file has. Raises ConfigurationError for another one."""
    found = [suffix for suffix in SUFFIXES if str(path).lower().endswith(suffix)]
    if not found:
        text = "write .json for a trace, .csv or .parquet for a table; .json.gz and .csv.gz are compressed"
        raise ConfigurationError(f"{path}: there is no format for it; {text}")
    return found[0]


def open_task_file(path: str | Path) -> TaskFile:
    """A file in the format that its suffix says.

    Raises ConfigurationError for an unknown suffix, ExtraMissingError for what is not installed, OSError for a file that cannot
    be written.
    """
    suffix = check_suffix(path)
    if suffix == ".parquet":
        return ParquetFile(path)
    opened: Callable[..., Any] = gzip.open if suffix.endswith(".gz") else Path.open
    file: TextIO = opened(Path(path), "wt", encoding="utf-8", newline="")
    return TraceFile(file) if suffix.startswith(".json") else CsvFile(file)


def as_text(tasks: Sequence[EndedTask], model: Model, kind: type[CsvFile] | type[TraceFile]) -> str:
    """What a file of these tasks would have in it."""

    class Kept(io.StringIO):
        def close(self) -> None:
            """Its content is still wanted."""

    kept = Kept()
    file = kind(kept)
    file.write(tasks, model)
    file.close(model)
    return kept.getvalue()


class Export:
    """Folds updates into a model of its own, and writes each task that ended once."""

    def __init__(self, file: TaskFile) -> None:
        self.model = Model()
        self.written = 0
        """Entries; each is a task, or items that ended together."""
        self._file = file
        self._last = 0.0
        """When the last task that was written had ended."""

    def apply(self, update: Update) -> None:
        """Raises OSError where the file cannot be written."""
        model, before = self.model, self.model.ended_count
        again = update.full and model.updates > 0
        model.apply(update)
        new: Iterable[EndedTask] = islice(model.ended, max(0, len(model.ended) - (model.ended_count - before)), None)
        # After a lost connection all is told that the scheduler still has.
        tasks = [task for task in new if not again or task.ended > self._last]
        if tasks:
            self._last = tasks[-1].ended
        self._file.write(tasks, model)
        self.written += len(tasks)

    def close(self) -> None:
        self._file.close(self.model)
