"""Inside one worker."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from scaler.display import duration, size, span
from scaler.monitor.model import Model
from scaler.monitor.tables import executors_of
from scaler.tui.dialogs import BOX
from scaler.tui.facts_table import FactsTable


class ExecutorsScreen(ModalScreen[None]):
    """A worker, and what its executors do."""

    CSS = (
        BOX.format(name="ExecutorsScreen")
        + """
    ExecutorsScreen > .box { height: 90%; width: 100%; }
    ExecutorsScreen #facts { height: auto; margin-bottom: 1; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "close"),
        Binding("e", "app.explain", "why"),
        Binding("c", "app.cancel", "cancel"),
        Binding("d", "app.drain", "drain"),
        Binding("p", "app.profile", "profile"),
    ]

    def __init__(self, model: Model, worker: bytes) -> None:
        super().__init__()
        self.worker = worker
        self._model = model

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = f"Worker {self._model.worker_label(self.worker)}"
            box.border_subtitle = "e: why  c: cancel  d: drain  p: profile  escape closes"
            yield Static(id="facts")
            yield FactsTable(executors_of(self.worker), self._model)

    @property
    def table(self) -> FactsTable:
        return self.query_one(FactsTable)

    def on_mount(self) -> None:
        self.show()
        self.table.focus()

    def show(self) -> None:
        """Read the model again."""
        self.query_one("#facts", Static).update(worker_text(self._model, self.worker), layout=True)
        self.table.show()


def worker_text(model: Model, identity: bytes) -> str:
    """A worker in a few lines."""
    worker = model.workers.get(identity)
    if worker is None:
        return "It is gone."
    since = worker.connected_unix_milliseconds / 1000
    rows = [
        f"{worker.host}, pid {worker.pid}, manager {worker.manager_name or 'none'}, identity {identity.hex()[:8]}",
        f"{worker.slots} slots, {worker.held} tasks held, {worker.running} ran at the last heartbeat"
        f"{', asked to leave' if worker.draining else ''}",
        f"cpu {worker.cpu_percent:.0f}%, memory {size(worker.resident_bytes)}, host has {size(worker.host_free_bytes)} free, "
        f"lag {duration(worker.round_trip_microseconds / 1e6)}, here for {span(max(0.0, model.unix_seconds - since))}",
        f"offers {', '.join(worker.capabilities) or 'nothing in particular'}",
    ]
    return "\n".join(rows)
