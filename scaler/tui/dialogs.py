"""What lies over the screens: texts to read, questions, the filter, help."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

BOX = """
    {name} {{ align: center middle; }}
    {name} > .box {{ width: 96%; max-width: 120; height: auto; max-height: 100%; border: round $primary; background: $surface;
        padding: 0 1; }}
"""
HELP = """\
1 … 9, 0   the screens; left and right arrow for the one beside
up, down   rows; page up, page down, home, end; the mouse wheel
Enter      more: executors of a worker, traceback of a failed task
s, <, r    sort by the next column, the one before; turn round.
           Or click on a title
/          show only rows with some words; escape shows all
e          why is this task where it is? Asks which one, where the
           cursor is on none
c          cancel the task at the cursor; asks first
d          have this worker leave, when it has done what it has
           begun; asks first
p          profile: where in their code are these tasks? Of the worker,
           executor or function at the cursor; asks first
h          hold the picture, and go on
q          end

3:17 is task 17 of client 3, 3:r4 a range of items of its arrays.
A slot is busy when it has a task. Lag is how long a heartbeat takes
to the scheduler and back. Ended is a sample when more than 500 tasks
end in a second; all else counts everything. A protected scheduler,
the default, refuses to cancel, to drain and to profile.
"""


class Reading(ModalScreen[None]):
    """A text, as long as it may be."""

    CSS = BOX.format(name="Reading") + "Reading VerticalScroll { height: auto; max-height: 100%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss(None)", "close"),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = self._title
            box.border_subtitle = "escape closes"
            with VerticalScroll():
                yield Static(Text(self._text))

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


class Question(ModalScreen[bool]):
    """Yes or no; no unless yes is said."""

    CSS = BOX.format(name="Question")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,enter,q", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_subtitle = "y: yes   n: no"
            yield Label(Text(self._question))


class Asking(ModalScreen[str | None]):
    """A line to write; None when it is given up."""

    CSS = BOX.format(name="Asking")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "give up")]

    def __init__(self, title: str, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._hint = hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = self._title
            yield Input(self._value, placeholder=self._hint)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)
