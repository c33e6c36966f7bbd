"""What a client's calls took since it connected: for the terminal, for programs, and as a page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaler.client.tally import Distribution, Tally
from scaler.display import duration, plural, size, span

if TYPE_CHECKING:
    from scaler.client.service import ClientService

NAME_WIDTH = 32
HALF, MOST = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class FunctionReport:
    """All calls of the functions of one name that have ended. Times in seconds; those of single calls are wrong by 6 % at most.

    Items of a map that ran together count with their mean.
    """

    name: str
    """The function's, or what the calls were given as name."""
    calls: int
    """All that have ended."""
    failed: int
    """Of these, how many raised or could not be run."""
    cancelled: int
    """Of these, how many were cancelled."""
    retried: int
    """How often calls were run again, after an error or a death."""
    wall_seconds: float
    """Of all calls together."""
    wall_p50: float
    """Half of the calls took no longer."""
    wall_p95: float
    """95 of 100 calls took no longer."""
    wall_max: float
    """The longest call took this."""
    cpu_seconds: float
    """Of the processor, of all calls together."""
    cpu_p50: float
    """As wall_p50, of the processor."""
    cpu_p95: float
    """As wall_p95, of the processor."""
    memory_peak: int
    """The largest resident size of an executor up to the end of a call, in bytes."""
    durations: tuple[tuple[float, float, int], ...]
    """(from, to, calls) by their time, a row for each doubling."""


@dataclass(frozen=True, slots=True)
class SlowCall:
    """One of the slowest calls."""

    function: str
    """Its name."""
    task_id: int
    """As ScalerFuture.task_id; the items of a map have numbers, too."""
    wall_seconds: float
    """How long it took."""
    succeeded: bool
    """Whether it returned."""

    def __str__(self) -> str:
        how = "" if self.succeeded else ", failed"
        return f"  {duration(self.wall_seconds):>10}  {_short(self.function)} (task {self.task_id}){how}"


@dataclass(frozen=True, slots=True)
class Report:
    """See Client.report(). ``str()`` of it is for the terminal. Times in seconds."""

    client: str
    """Its name, or the begin of its identity."""
    scheduler: str
    """Its address."""
    connected_unix: float
    """When the client connected, Unix time."""
    connected_seconds: float
    """How long that was ago."""
    busy_seconds: float
    """For how long of that anything was unfinished."""
    slots: int
    """How many tasks run at once on the cluster, as the scheduler told last; 0: it has not told yet."""
    unfinished: int
    """Calls that have not ended."""
    argument_bytes: int
    """Of arguments inside messages; large ones went through the object storage."""
    result_bytes: int
    """Of results inside messages."""
    put_bytes: int
    """Put into the object storage."""
    fetched_bytes: int
    """Fetched from the object storage."""
    functions: tuple[FunctionReport, ...]
    """Those that took longest first."""
    slowest: tuple[SlowCall, ...]
    """The slowest first."""

    @property
    def calls(self) -> int:
        """All that have ended."""
        return sum(function.calls for function in self.functions)

    @property
    def failed(self) -> int:
        """Of these, how many raised or could not be run."""
        return sum(function.failed for function in self.functions)

    @property
    def cancelled(self) -> int:
        """Of these, how many were cancelled."""
        return sum(function.cancelled for function in self.functions)

    @property
    def retried(self) -> int:
        """How often calls were run again, after an error or a death."""
        return sum(function.retried for function in self.functions)

    @property
    def wall_seconds(self) -> float:
        """Of all calls together."""
        return sum(function.wall_seconds for function in self.functions)

    @property
    def parallelism(self) -> float:
        """How many calls ran at once, on average over the time in which anything was unfinished."""
        return self.wall_seconds / self.busy_seconds if self.busy_seconds else 0.0

    @property
    def slots_used(self) -> float:
        """The same as a share of the slots; less when other clients use them, or when their number changes."""
        return self.parallelism / self.slots if self.slots else 0.0

    def __str__(self) -> str:
        return "\n".join([*self.summary(), *self._table(), *self._slowest()])

    def _repr_html_(self) -> str:
        from scaler.client.report_page import content

        return content(self)

    def summary(self) -> list[str]:
        """A few lines about all of it."""
        others = [(self.failed, "failed"), (self.cancelled, "cancelled"), (self.unfinished, "unfinished")]
        ends = "".join(f", {count:,} {what}" for count, what in others if count)
        again = f"; run again {plural(self.retried, 'time')}" if self.retried else ""
        return [
            f"client {self.client} at {self.scheduler}: {plural(self.calls, 'call')}{ends}{again}",
            f"busy {span(self.busy_seconds)} of {span(self.connected_seconds)}; {span(self.wall_seconds)} of calls,"
            f" {self.parallelism:.3g} at once{self._of_slots()}",
            f"arguments {size(self.argument_bytes)}, results {size(self.result_bytes)};"
            f" object storage {size(self.put_bytes)} put, {size(self.fetched_bytes)} fetched",
        ]

    def _of_slots(self) -> str:
        return f" on {plural(self.slots, 'slot')} ({self.slots_used:.0%})" if self.slots else ""

    def _table(self) -> list[str]:
        if not self.functions:
            return []
        head = ("function", "calls", "failed", "again", "wall", "p50", "p95", "max", "CPU", "p50", "p95", "memory")
        rows = [head] + [
            (
                _short(f.name),
                f"{f.calls:,}",
                f"{f.failed:,}",
                f"{f.retried:,}",
                *map(span, (f.wall_seconds, f.wall_p50, f.wall_p95, f.wall_max, f.cpu_seconds, f.cpu_p50, f.cpu_p95)),
                size(f.memory_peak),
            )
            for f in self.functions
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
        return ["", *map("  ".join, lines)]

    def _slowest(self) -> list[str]:
        if not self.slowest:
            return []
        return ["", "slowest", *map(str, self.slowest)]

    def as_dict(self) -> dict[str, Any]:
        """All of it in the types of JSON."""
        whole = ("calls", "failed", "cancelled", "retried", "wall_seconds", "parallelism", "slots_used")
        return {**asdict(self), **{name: getattr(self, name) for name in whole}}

    def html(self) -> str:
        """A page that needs nothing but a browser."""
        from scaler.client.report_page import page

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write it to a file: a page (``.html``), JSON (``.json``) or text (``.txt``).

        Raises ValueError for another suffix, OSError for a file that cannot be written.
        """
        writers: dict[str, Callable[[], str]] = {
            ".html": self.html,
            ".json": lambda: json.dumps(self.as_dict(), indent=1) + "\n",
            ".txt": lambda: f"{self}\n",
        }
        write = writers.get(Path(path).suffix.lower())
        if write is None:
            raise ValueError(f"{path}: a report can be written as {', '.join(writers)}")
        Path(path).write_text(write(), encoding="utf-8")


def _short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def report_of(service: ClientService, name: str, slots: int) -> Report:
    """Of what has ended by now."""
    tally, now = service.tally, time.monotonic()
    since = tally.busy_since
    return Report(
        name or service.identity.hex()[:8],
        str(service.address),
        service.began_unix,
        now - service.began,
        tally.busy_seconds + (now - since if since is not None else 0),
        slots,
        service.unfinished if service.closed is None else 0,
        tally.arguments_bytes,
        tally.results_bytes,
        service.objects.put_bytes,
        service.objects.fetched_bytes,
        _functions(tally),
        tuple(
            SlowCall(tally.names[place], sequence, wall_us / 1e6, good)
            for wall_us, sequence, place, good in sorted(tally.slowest, reverse=True)
        ),
    )


def _functions(tally: Tally) -> tuple[FunctionReport, ...]:
    found = [_function(name, *row) for name, row in tally.rows().items()]
    return tuple(sorted(found, key=lambda function: -function.wall_seconds))


def _function(name: str, sums: list[int], wall: Distribution, cpu: Distribution) -> FunctionReport:
    calls, failed, cancelled, retried, wall_us, longest_us, cpu_us, peak = sums
    return FunctionReport(
        name,
        calls,
        failed,
        cancelled,
        retried,
        wall_us / 1e6,
        wall.quantile(HALF, longest_us) / 1e6,
        wall.quantile(MOST, longest_us) / 1e6,
        longest_us / 1e6,
        cpu_us / 1e6,
        cpu.quantile(HALF) / 1e6,
        cpu.quantile(MOST) / 1e6,
        peak,
        tuple((low / 1e6, high / 1e6, count) for low, high, count in wall.octaves()),
    )
