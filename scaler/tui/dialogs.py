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
    {name} > .box {{ width: 90%; max-width: 120; height: auto; max-height: 90%; border: round $primary; background: $surface;
        padding: 0 1; }}
"""
HELP = """\
Screens       1 … 9, 0, or a click on a name; left and right arrow for the one beside
Rows          up and down, page up and page down, home and end, the mouse wheel
Columns       s sorts by the next one, < by the one before, r turns the order round; or click a title
Filter        / then words that rows must have in them; escape shows all again
Enter         more of a row: the executors of a worker, the traceback of a failed task
e             why is this task where it is? Without a task at the cursor it asks for one
c             cancel the task at the cursor. Asks first
d             have the worker at the cursor leave, when it has done what it has begun. Asks first
p             hold the picture, and go on. What comes meanwhile is not lost
q             end

Task 3:17 is number 17 of client 3; r stands before the number of a range of items of an array.
Slots are busy when they have a task; lag is how long a heartbeat takes to the scheduler and back.
Ended shows a sample when more than 500 tasks end in a second; all other numbers count everything.
A protected scheduler (the default) refuses to cancel and to drain.
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
