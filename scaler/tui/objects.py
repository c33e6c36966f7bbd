"""The object storage, and the clients that own what is in it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from scaler.display import size
from scaler.monitor.model import Model
from scaler.monitor.tables import CLIENTS
from scaler.tui.facts_table import FactsTable


class Objects(Vertical, can_focus=False):
    """Numbers of the storage above, clients below."""

    DEFAULT_CSS = """
    Objects { height: 1fr; }
    Objects Static { height: auto; padding: 0 1; margin-bottom: 1; }
    """

    def __init__(self, model: Model, id: str | None = None) -> None:
        super().__init__(id=id)
        self._model = model

    def compose(self) -> ComposeResult:
        yield Static()
        yield FactsTable(CLIENTS, self._model)

    @property
    def table(self) -> FactsTable:
        return self.query_one(FactsTable)

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Read the model again."""
        self.query_one(Static).update(storage_text(self._model))
        self.table.show()


def storage_text(model: Model) -> str:
    """The object storage in a few lines."""
    objects = model.objects
    limit = f" of {size(objects.memory_limit_bytes)}" if objects.memory_limit_bytes else ""
    return "\n".join(
        [
            f"objects   {objects.objects:,} of {objects.owners:,} owners, {size(objects.bytes)} in all",
            f"memory    {size(objects.memory_bytes)}{limit}",
            f"on disk   {objects.spilled_objects:,} objects, {size(objects.spilled_bytes)}",
            f"since the start   {objects.puts:,} puts ({objects.puts_saved:,} saved), {objects.gets:,} gets, "
            f"{objects.freed:,} freed",
            f"waiting   {objects.waiting_gets:,} gets, {objects.waiting_puts:,} puts",
        ]
    )
