"""The overview: the numbers that tell how it goes, each with its course, and why tasks wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Grid, VerticalScroll
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Sparkline, Static

from scaler.display import duration, plural, size, span
from scaler.monitor.model import Charts, Model
from scaler.monitor.series import Series
from scaler.monitor.snapshot import waiting_line

WIDE = 120
TALL = 24
SHOWN_VALUES = 120


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one chart shows."""

    title: str
    series: Callable[[Charts], Series]
    text: Callable[[Model], str]


def _seconds(value: float) -> str:
    return duration(value) if value else "-"


QUANTITIES = (
    Quantity("tasks/s", lambda charts: charts.rate, lambda model: f"{model.charts.rate.last:,.0f}"),
    Quantity("queue", lambda charts: charts.queue, lambda model: f"{model.tasks.waiting + model.tasks.ready:,}"),
    Quantity("slots busy", lambda charts: charts.busy_slots, lambda model: f"{model.busy_slots:,} of {model.slots:,}"),
    Quantity("failures/s", lambda charts: charts.failure_rate, lambda model: f"{model.charts.failure_rate.last:,.1f}"),
    Quantity("scheduler cpu", lambda charts: charts.scheduler_cpu, lambda model: f"{model.scheduler_cpu_percent:.0f}%"),
    Quantity(
        "scheduler memory", lambda charts: charts.scheduler_memory, lambda model: size(model.scheduler_resident_bytes)
    ),
    Quantity("workers cpu", lambda charts: charts.workers_cpu, lambda model: f"{model.charts.workers_cpu.last:,.0f}%"),
    Quantity(
        "workers memory",
        lambda charts: charts.workers_memory,
        lambda model: size(int(model.charts.workers_memory.last)),
    ),
    Quantity("round trip", lambda charts: charts.round_trip, lambda model: _seconds(model.charts.round_trip.last)),
    Quantity("scheduler lag", lambda charts: charts.lag, lambda model: _seconds(model.charts.lag.last)),
    Quantity("with workers", lambda charts: charts.held, lambda model: f"{int(model.charts.held.last):,}"),
    Quantity("objects", lambda charts: charts.objects_bytes, lambda model: size(model.objects.bytes)),
)


class Chart(Widget):
    """One quantity: its name, its value now, and how it was."""

    DEFAULT_CSS = """
    Chart { height: 2; layout: vertical; }
    Chart Static { height: 1; }
    Chart Sparkline { height: 1; }
    .tall Chart { height: 4; }
    .tall Chart Sparkline { height: 3; }
    Chart Sparkline > .sparkline--max-color { color: $success; }
    Chart Sparkline > .sparkline--min-color { color: $success-darken-2; }
    """

    def __init__(self, quantity: Quantity) -> None:
        super().__init__()
        self._quantity = quantity

    def compose(self) -> ComposeResult:
        yield Static()
        yield Sparkline([])

    def show(self, model: Model) -> None:
        label = Text(f"{self._quantity.title} ", style="dim")
        label.append(self._quantity.text(model), style="bold not dim")
        self.query_one(Static).update(label)
        values = list(self._quantity.series(model.charts).values)[-SHOWN_VALUES:]
        self.query_one(Sparkline).data = [0.0, *values]  # Heights count from zero.


class Overview(VerticalScroll):
    """Two charts beside each other, four where there is room, and taller ones."""

    DEFAULT_CSS = """
    Overview { height: 1fr; padding: 0 1; }
    Overview Grid { grid-size: 2; grid-gutter: 0 3; grid-rows: 2; height: auto; }
    Overview.wide Grid { grid-size: 4; grid-gutter: 1 3; }
    Overview.tall Grid { grid-rows: 4; grid-gutter: 1 3; }
    Overview #words { height: auto; margin-top: 1; }
    """

    def __init__(self, model: Model, id: str | None = None) -> None:
        super().__init__(id=id)
        self._model = model

    def compose(self) -> ComposeResult:
        with Grid():
            for quantity in QUANTITIES:
                yield Chart(quantity)
        yield Static(id="words")

    def on_mount(self) -> None:
        self.show()

    def on_resize(self, event: Resize) -> None:
        wide = event.size.width >= WIDE
        self.set_class(wide, "wide")
        self.set_class(event.size.height >= (TALL if wide else 2 * TALL), "tall")

    def show(self) -> None:
        """Read the model again."""
        for chart in self.query(Chart):
            chart.show(self._model)
        self.query_one("#words", Static).update(words(self._model))


def words(model: Model) -> Text:
    """What the charts do not tell."""
    tasks, facts = model.tasks, model.scheduler
    text = Text()
    text.append("tasks  ", "dim")
    text.append(
        f"{tasks.waiting:,} wait for others, {tasks.ready:,} ready, {tasks.assigned + tasks.running:,} with workers\n       "
    )
    text.append(f"{tasks.succeeded:,} succeeded, ")
    text.append(f"{tasks.failed:,} failed", "bold red" if tasks.failed else "")
    text.append(f", {tasks.cancelled:,} cancelled\n")
    text.append("here   ", "dim")
    text.append(
        f"{plural(len(model.workers), 'worker')}, {plural(len(model.clients), 'client')}, "
        f"{plural(len(model.managers), 'manager')}; "
    )
    started = facts.started_unix_milliseconds / 1000
    text.append(f"up {span(model.unix_seconds - started) if started else '?'}, version {facts.version or '?'}\n")
    for waiting in model.waiting:
        text.append("waits  ", "dim")
        text.append(waiting_line(waiting) + "\n", "" if waiting.offered else "yellow")
    return text
