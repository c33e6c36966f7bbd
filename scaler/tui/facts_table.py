"""A table of any length: only the rows that are seen are made into text."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from scaler.monitor.model import Model
from scaler.monitor.tables import Table, sorted_rows

GAP = 1
TONES = {"bad": "red", "warn": "yellow", "dim": "bright_black"}


class FactsTable(ScrollView, can_focus=True):
    """Sorts, filters and scrolls; the cursor stays with its row, wherever that goes. The first line has the titles."""

    DEFAULT_CSS = """
    FactsTable { height: 1fr; scrollbar-size: 1 1; }
    FactsTable > .facts-table--titles { text-style: bold; background: $panel; color: $text; }
    FactsTable > .facts-table--cursor { background: $primary; color: $text; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"facts-table--titles", "facts-table--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home,g", "jump(0)", show=False),
        Binding("end,G", "jump(-1)", show=False),
        Binding("enter", "choose", "more"),
        Binding("s,greater_than_sign", "sort(1)", "sort"),
        Binding("less_than_sign", "sort(-1)", show=False),
        Binding("r", "reverse", "reverse"),
    ]

    class Chosen(Message):
        """Enter, or a click on the row that has the cursor."""

        def __init__(self, table: FactsTable, row: Any) -> None:
            super().__init__()
            self.table = table
            self.row = row

    def __init__(self, table: Table[Any], model: Model, id: str | None = None) -> None:
        super().__init__(id=id)
        self.table = table
        self.words = ""
        """What rows must have in them to be shown."""
        self.rows: list[Any] = []
        self.order = table.order
        self.reverse = False
        self.cursor = 0
        self._model = model
        self._at: Hashable = None

    # ---- what is shown

    def show(self) -> None:
        """Read the model again."""
        self.rows = sorted_rows(self.table, self._model, self.order, self.reverse, self.words)
        self._follow()
        self.virtual_size = Size(self._full_width(), len(self.rows) + 1)
        self.refresh()

    def on_mount(self) -> None:
        self.show()

    def on_resize(self) -> None:
        self.virtual_size = Size(self._full_width(), len(self.rows) + 1)

    @property
    def row(self) -> Any:
        """Where the cursor is; None in an empty table."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def filter(self, words: str) -> None:
        """Show only the rows that have all of these words in them."""
        self.words = words
        self.show()

    def _follow(self) -> None:
        """Find the row again that had the cursor. At the top it stays there, so that what is new is seen."""
        if self.cursor == 0 or not self.rows:
            self._put(0)
            return
        if self.cursor < len(self.rows) and self.table.identity(self.rows[self.cursor]) == self._at:
            return
        for place, row in enumerate(self.rows):
            if self.table.identity(row) == self._at:
                self._put(place)
                return
        self._put(min(self.cursor, len(self.rows) - 1))

    def _put(self, place: int) -> None:
        self.cursor = max(0, min(place, len(self.rows) - 1))
        self._at = self.table.identity(self.rows[self.cursor]) if self.rows else None

    def _full_width(self) -> int:
        return max(sum(self._widths()) + GAP * (len(self.table.columns) - 1), self.scrollable_content_region.width)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        if y == 0:
            style = self.get_component_rich_style("facts-table--titles")
            return self._strip([self._title(place) for place in range(len(self.table.columns))], style, left)
        place = top + y - 1
        if place >= len(self.rows):
            return Strip.blank(self.scrollable_content_region.width, self.rich_style)
        row = self.rows[place]
        tone = self.table.tone(row)
        style = self.rich_style + Style(color=TONES[tone]) if tone else self.rich_style
        if place == self.cursor and self.has_focus:
            style = self.get_component_rich_style("facts-table--cursor")
        return self._strip([column.text(self._model, row) for column in self.table.columns], style, left)

    def _title(self, place: int) -> str:
        column = self.table.columns[place]
        if place != self.order:
            return column.title
        falls = column.number != self.reverse
        return f"{'▼' if falls else '▲'}{column.title}"[: self._widths()[place]]

    def _widths(self) -> list[int]:
        """Of the columns here: what room there is more than they need is shared by those with words."""
        columns = self.table.columns
        widths = [column.width for column in columns]
        spare = self.scrollable_content_region.width - sum(widths) - GAP * (len(widths) - 1)
        wordy = [place for place, column in enumerate(columns) if not column.number] or [len(widths) - 1]
        if spare > 0:
            for place in wordy:
                widths[place] += spare // len(wordy)
            widths[wordy[-1]] += spare % len(wordy)
        return widths

    def _strip(self, cells: list[str], style: Style, left: int) -> Strip:
        columns = zip(cells, self._widths(), self.table.columns, strict=True)
        line = (" " * GAP).join(fitted(cell, width, column.number) for cell, width, column in columns)
        return Strip([Segment(line, style)]).crop_extend(left, left + self.scrollable_content_region.width, style)

    # ---- keys

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(1, self.scrollable_content_region.height - 2))

    def action_jump(self, to: int) -> None:
        self._go(to if to >= 0 else len(self.rows) - 1)

    def _go(self, place: int) -> None:
        self._put(place)
        top, height = self.scroll_offset.y, max(1, self.scrollable_content_region.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)
        self.refresh()

    def action_choose(self) -> None:
        if self.row is not None:
            self.post_message(self.Chosen(self, self.row))

    def action_sort(self, by: int) -> None:
        """By the next column; after the last one in the order in which things came."""
        choices = [None, *range(len(self.table.columns))]
        self.order = choices[(choices.index(self.order) + by) % len(choices)]
        self.reverse = False
        self.show()

    def action_reverse(self) -> None:
        self.reverse = not self.reverse
        self.show()

    # ---- mouse

    def on_click(self, event: events.Click) -> None:
        self.focus()
        if event.y == 0:
            self._sort_at(event.x + self.scroll_offset.x)
            return
        place = self.scroll_offset.y + event.y - 1
        if place < len(self.rows):
            if place == self.cursor:
                self.action_choose()
            self._put(place)
            self.refresh()

    def _sort_at(self, x: int) -> None:
        """By the column that is there; the other way round if it is that already."""
        begin = 0
        for place, width in enumerate(self._widths()):
            begin += width + GAP
            if x < begin or place == len(self.table.columns) - 1:
                self.reverse = place == self.order and not self.reverse
                self.order = place
                self.show()
                return


def fitted(cell: str, width: int, right: bool) -> str:
    """A cell of exactly so many characters; control characters are shown as what they are not."""
    if not cell.isprintable():
        cell = "".join(character if character.isprintable() else " " for character in cell)
    if len(cell) > width:
        return cell[: width - 1] + "…"
    return cell.rjust(width) if right else cell.ljust(width)
