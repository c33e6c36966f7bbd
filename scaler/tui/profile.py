"""A profile while it grows: a tree of functions, and what each called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from scaler.display import duration
from scaler.monitor.model import Model
from scaler.monitor.profile import Node, Profile
from scaler.monitor.profile_text import percent, share_of, where
from scaler.monitor.tables import Column, Table, count, text
from scaler.stacks import Frame
from scaler.tui.dialogs import BOX
from scaler.tui.facts_table import FactsTable

OPEN_SHARE = 0.2
"""What has more than this of all is open unless the user has closed it."""

Path = tuple[Frame, ...]


@dataclass(slots=True, eq=False)
class Row:
    """A line of the tree."""

    path: Path
    node: Node
    sign: str
    """Whether it is open, closed, or has nothing below it."""


class TreeRows:
    """The lines of a profile's tree that are seen: below those that are open."""

    def __init__(self, profile: Profile) -> None:
        self.root = profile.tree()
        self.flat = False
        """Whether functions are shown wherever they were called, by what they had themselves."""
        self._profile = profile
        self._shown = profile.parts
        self._turned: dict[Path, bool] = {}
        """What the user has opened or closed."""

    def rows(self) -> list[Row]:
        if self._shown != self._profile.parts:
            self._shown, self.root = self._profile.parts, self._profile.tree()
        if self.flat:
            shares = self._profile.shares()
            return [Row((share.frame,), Node(share.frame, share.total, share.own), "") for share in shares]
        found: list[Row] = []
        waiting: list[tuple[Path, Node]] = [((child.frame,), child) for child in reversed(self.root.children)]
        while waiting:
            path, node = waiting.pop()
            opened = bool(node.children) and self.is_open(path, node)
            found.append(Row(path, node, "" if not node.children else "▾" if opened else "▸"))
            if opened:
                waiting += [((*path, child.frame), child) for child in reversed(node.children)]
        return found

    def is_open(self, path: Path, node: Node) -> bool:
        return self._turned.get(path, share_of(node, self.root) >= OPEN_SHARE)

    def turn(self, row: Row, opened: bool | None = None) -> None:
        """Open or close it; the other way than it is if that is not said."""
        self._turned[row.path] = not self.is_open(row.path, row.node) if opened is None else opened


def table_of(profile: Profile, tree: TreeRows) -> Table[Row]:
    """The tree as a table."""

    def share(title: str, of: Callable[[Row], int]) -> Column[Row]:
        return Column(title, 6, lambda model, row: percent(of(row), tree.root.total), lambda model, row: of(row), True)

    def name(row: Row) -> str:
        return f"{'  ' * (len(row.path) - 1)}{row.sign or ' '} {row.node.frame.name or '(unnamed)'}"

    return Table(
        "profile",
        "Profile",
        lambda model: tree.rows(),
        lambda row: row.path,
        (
            share("total", lambda row: row.node.total),
            share("self", lambda row: row.node.own),
            count("time", 8, lambda model, row: row.node.total / profile.hertz, duration),
            text("function", 36, lambda model, row: name(row)),
            text("where", 18, lambda model, row: where(row.node.frame)),
        ),
        None,
        lambda model, row: f"{row.node.frame.name} {row.node.frame.file}",
        lambda row: "dim" if not row.node.frame.file else "",
    )


class ProfileScreen(ModalScreen[None]):
    """A profile. ``stop`` ends it before its time; so does closing the screen."""

    CSS = (
        BOX.format(name="ProfileScreen")
        + """
    ProfileScreen > .box { height: 95%; width: 100%; max-width: 100%; }
    ProfileScreen #facts { height: auto; margin-bottom: 1; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "close"),
        # Before the table, which would move sideways where it is wider than the screen.
        Binding("right", "turn(True)", show=False, priority=True),
        Binding("left", "turn(False)", show=False, priority=True),
        Binding("f", "flatten", "flat"),
        Binding("x", "stop", "stop"),
        Binding("slash", "app.filter", "filter"),
    ]

    def __init__(self, profile: Profile, title: str, model: Model, stop: Callable[[], None]) -> None:
        super().__init__()
        self.profile = profile
        self._title = title
        self._model = model
        self._stop = stop
        self._tree_rows = TreeRows(profile)
        self._shown = -1

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = self._title
            box.border_subtitle = "enter, arrows: open, close  f: flat  s: sort  /: filter  x: stop  escape: close"
            yield Static(id="facts")
            yield FactsTable(table_of(self.profile, self._tree_rows), self._model)

    @property
    def table(self) -> FactsTable:
        return self.query_one(FactsTable)

    def on_mount(self) -> None:
        self.show()
        self.table.focus()

    def show_changes(self) -> None:
        """Draw it anew if there is something new."""
        if self._shown != self.profile.parts:
            self.show()

    def show(self) -> None:
        self._shown = self.profile.parts
        lines = [self.profile.label, *(f"missing: {note}" for note in self.profile.notes)]
        self.query_one("#facts", Static).update("\n".join(lines), layout=True)
        self.table.show()

    def on_facts_table_chosen(self, event: FactsTable.Chosen) -> None:
        event.stop()
        self._tree_rows.turn(event.row)
        self.table.show()

    def action_turn(self, opened: bool) -> None:
        if self.table.row is not None:
            self._tree_rows.turn(self.table.row, opened)
            self.table.show()

    def action_flatten(self) -> None:
        self._tree_rows.flat = not self._tree_rows.flat
        self.table.show()

    def action_stop(self) -> None:
        self._stop()

    def action_leave(self) -> None:
        self._stop()
        self.dismiss(None)
