"""``scaler_top``: screens over a model that a source keeps up to date."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Footer, Static

from scaler.errors import ScalerError
from scaler.ids import task_label
from scaler.messages import Answer, ExecutorFacts, FailedTask, FunctionFacts, Update, WorkerFacts
from scaler.monitor.feed import Feed, Recording, Status
from scaler.monitor.model import EndedTask, Model, RunningTask, task_from_label
from scaler.monitor.profile import Profile
from scaler.monitor.tables import (
    ENDED,
    FAILED,
    FUNCTIONS,
    GRAPHS,
    LOG,
    MANAGERS,
    RUNNING,
    WORKERS,
    clock,
    failure_line,
)
from scaler.tui.dialogs import HELP, Asking, Question, Reading
from scaler.tui.executors import ExecutorsScreen
from scaler.tui.facts_table import FactsTable
from scaler.tui.objects import Objects
from scaler.tui.overview import Overview
from scaler.tui.profile import ProfileScreen

REFRESH_SECONDS = 0.2
PROFILE_SECONDS = 30.0
SCREENS = ("overview", "workers", "running", "ended", "failed", "functions", "graphs", "managers", "objects", "log")
TITLES = ("Overview", "Workers", "Running", "Ended", "Failed", "Calls", "Graphs", "Managers", "Store", "Log")


class TopApp(App[int]):
    """Reads keys at once: what comes from the scheduler changes the model only, and a few times a second the picture."""

    TITLE = "scaler_top"
    CSS = """
    #status { height: 1; background: $panel; padding: 0 1; }
    #screens { height: 1; }
    ContentSwitcher { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str((n + 1) % 10), f"show('{name}')", show=False) for n, name in enumerate(SCREENS)),
        Binding("left", "turn(-1)", show=False),
        Binding("right", "turn(1)", show=False),
        Binding("slash", "filter", "filter"),
        Binding("e", "explain", "why"),
        Binding("c", "cancel", "cancel"),
        Binding("d", "drain", "drain"),
        Binding("p", "profile", "profile"),
        Binding("h", "hold", "hold"),
        Binding("question_mark", "help", "help"),
        Binding("escape", "clear", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, source: Feed | Recording) -> None:
        super().__init__()
        self.model = Model()
        self.held = False
        self.status = Status(False, "connecting")
        self._source = source
        self._shown = -1
        source.told, source.changed = self._told, self._changed

    # ---- the picture

    def compose(self) -> ComposeResult:
        yield Static(id="status")
        yield Static(id="screens")
        with ContentSwitcher(initial="overview"):
            yield Overview(self.model, id="overview")
            for table in (WORKERS, RUNNING, ENDED, FAILED, FUNCTIONS, GRAPHS):
                yield FactsTable(table, self.model, id=table.name)
            yield FactsTable(MANAGERS, self.model, id="managers")
            yield Objects(self.model, id="objects")
            yield FactsTable(LOG, self.model, id="log")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._name_screens()
        self._show_status()
        self.set_interval(REFRESH_SECONDS, self.show_changes)
        with suppress(RuntimeError, ValueError, NotImplementedError):  # as in tests, beside the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, 0)
        self.run_worker(self._follow(), exit_on_error=True)

    async def _follow(self) -> None:
        try:
            await self._source.run()
        except ScalerError as error:
            self.exit(1, message=str(error))

    def _told(self, update: Update) -> None:
        self.model.apply(update)

    def _changed(self, status: Status) -> None:
        self.status = status
        if self.is_running:
            self._show_status()

    def show_changes(self) -> None:
        """Draw what is seen anew, if there is something new."""
        if isinstance(self.screen, ProfileScreen) and not self.held:
            self.screen.show_changes()
        if self.held or self._shown == self.model.updates:
            return
        self._shown = self.model.updates
        self._show_status()
        for view in (self.view, self.screen):
            if isinstance(view, Overview | FactsTable | Objects | ExecutorsScreen):
                view.show()

    @property
    def view(self) -> Any:
        """What the switcher shows."""
        return self.query_one(ContentSwitcher).visible_content

    @property
    def table(self) -> FactsTable | None:
        """The table that keys are meant for, if one is seen."""
        if isinstance(self.screen, ExecutorsScreen | ProfileScreen):
            return self.screen.table
        view = self.view
        return view.table if isinstance(view, Objects) else view if isinstance(view, FactsTable) else None

    def _show_status(self) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("● " if self.status.connected else "○ ", "green" if self.status.connected else "bold red")
        text.append(self.status.text, "" if self.status.connected else "bold red")
        if self.model.updates:
            text.append(f"  {clock(self.model.unix_seconds)}", "dim")
        if self.held:
            text.append("  held, h goes on", "bold yellow")
        if self.table is not None and self.table.words:
            text.append(f"  only: {self.table.words}", "bold yellow")
        self.query_one("#status", Static).update(text)

    def _name_screens(self) -> None:
        current = self.query_one(ContentSwitcher).current
        parts = []
        for n, (name, title) in enumerate(zip(SCREENS, TITLES, strict=True)):
            style = "bold reverse" if name == current else ""
            parts.append(f"[@click=app.show('{name}')][{style or 'dim'}]{(n + 1) % 10}{title}[/][/]")
        self.query_one("#screens", Static).update(" ".join(parts))

    # ---- keys

    def action_show(self, name: str) -> None:
        if self.screen is not self.screen_stack[0]:
            return
        self.query_one(ContentSwitcher).current = name
        self._name_screens()
        if isinstance(self.view, Overview | FactsTable | Objects):
            self.view.show()
            (self.table or self.view).focus()
        self._show_status()

    def action_turn(self, by: int) -> None:
        current = self.query_one(ContentSwitcher).current or SCREENS[0]
        self.action_show(SCREENS[(SCREENS.index(current) + by) % len(SCREENS)])

    def action_filter(self) -> None:
        table = self.table
        if table is not None:
            self.push_screen(
                Asking(
                    "Show only rows with these words", table.words, "words, for instance a name, a state, a capability"
                ),
                lambda words: self._filter(table, words),
            )

    def _filter(self, table: FactsTable, words: str | None) -> None:
        if words is not None:
            table.filter(words)
            self._show_status()

    def action_clear(self) -> None:
        if self.table is not None:
            self._filter(self.table, "")

    def action_hold(self) -> None:
        self.held = not self.held
        self._show_status()

    def action_help(self) -> None:
        self.push_screen(Reading("Help", HELP))

    def on_facts_table_chosen(self, event: FactsTable.Chosen) -> None:
        row = event.row
        if isinstance(row, WorkerFacts):
            self.push_screen(ExecutorsScreen(self.model, row.identity))
        elif isinstance(row, FailedTask):
            self.push_screen(Reading(f"{row.name} {task_label(row.task)}", failure_text(self.model, row)))
        elif isinstance(row, RunningTask):
            self.action_explain()
        else:
            table = event.table.table
            lines = [f"{column.title:>10}  {column.text(self.model, row)}" for column in table.columns]
            self.push_screen(Reading(table.title, "\n".join(lines)))

    # ---- asking the scheduler

    def _task_at_cursor(self) -> int | None:
        """Of the row at the cursor."""
        row = self.table.row if self.table is not None else None
        return getattr(row, "task", 0) or None

    def action_explain(self) -> None:
        task = self._task_at_cursor()
        if task is not None:
            self._explain(task)
        else:
            self.push_screen(Asking("Which task?", hint="3:17 is number 17 of client 3"), self._explain_named)

    def _explain_named(self, words: str | None) -> None:
        if words:
            try:
                self._explain(task_from_label(words))
            except ValueError:
                self.notify(f"{words!r} names no task; write client:number, as the tables do", severity="error")

    def _explain(self, task: int) -> None:
        async def ask() -> None:
            told = await self._source.explain(task)
            self.push_screen(Reading(f"Why {told.name or 'task'} {task_label(task)}", told.text))

        self._ask(ask())

    def action_cancel(self) -> None:
        task = self._task_at_cursor()
        if task is None:
            self.notify("There is no task at the cursor; go to Running", severity="warning")
            return
        self._act(f"Cancel task {task_label(task)}?", lambda: self._source.cancel(task))

    def action_drain(self) -> None:
        row = self.table.row if self.table is not None else None
        identity = self.screen.worker if isinstance(self.screen, ExecutorsScreen) else getattr(row, "identity", None)
        if identity not in self.model.workers:
            self.notify("There is no worker at the cursor; go to Workers", severity="warning")
            return
        label = self.model.worker_label(identity)
        self._act(
            f"Have worker {label} leave, when it has done what it has begun?", lambda: self._source.drain(identity)
        )

    def action_profile(self) -> None:
        """Of what is at the cursor; of everything where that is nothing that runs."""
        if isinstance(self.screen, ProfileScreen):
            return
        row = self.table.row if self.table is not None else None
        worker = self.screen.worker if isinstance(self.screen, ExecutorsScreen) else b""
        profile = profile_of(row, worker)
        title = f"Profile of {profile_label(self.model, profile)}"
        question = f"{title}, {profile.hertz} times a second for {profile.seconds:g} s?"

        async def take() -> Answer:
            answer = await self._source.profile(profile)
            if answer.done:
                stop = partial(self._source.stop_profile, profile)
                self.push_screen(ProfileScreen(profile, title, self.model, stop))
            return answer

        self._act(question, take)

    def _act(self, question: str, act: Callable[[], Awaitable[Answer]]) -> None:
        """Ask the user first, then the scheduler, and show what it says."""

        async def do() -> None:
            answer = await act()
            self.notify(answer.text, title="Done" if answer.done else "Refused", severity=_severity(answer), timeout=10)

        def answered(yes: bool | None) -> None:
            if yes:
                self._ask(do())

        self.push_screen(Question(question), answered)

    def _ask(self, asking: Any) -> None:
        async def guarded() -> None:
            try:
                await asking
            except ScalerError as error:
                self.notify(str(error), title="No answer", severity="error")

        self.run_worker(guarded())


def profile_of(row: object, worker: bytes) -> Profile:
    """What to look at where the cursor is on this row; ``worker``: the one whose executors are shown."""
    profile = Profile(PROFILE_SECONDS)
    if isinstance(row, WorkerFacts):
        profile.worker = row.identity
    elif isinstance(row, RunningTask):
        profile.worker, profile.slots = row.worker, (row.slot,)
    elif isinstance(row, ExecutorFacts) and worker:
        profile.worker, profile.slots = worker, (row.slot,)
    elif isinstance(row, FunctionFacts):
        profile.function = row.name
    elif isinstance(row, EndedTask):
        profile.function = row.function
    elif isinstance(row, FailedTask):
        profile.function = row.function_name
    return profile


def profile_label(model: Model, profile: Profile) -> str:
    """What is looked at, for people."""
    if profile.slots:
        return f"slot {profile.slots[0]} of worker {model.worker_label(profile.worker)}"
    if profile.worker:
        return f"worker {model.worker_label(profile.worker)}"
    return profile.function or "all that runs"


def _severity(answer: Answer) -> Any:
    return "information" if answer.done else "error"


def failure_text(model: Model, failed: FailedTask) -> str:
    """All that is known of a failure."""
    lines = [
        f"task       {task_label(failed.task)}, {failed.name} ({failed.function_name}), attempt {failed.attempt}",
        f"client     {model.client_label(failed.client)}",
        f"worker     {model.worker_label(failed.worker) if failed.worker else 'none'}",
        f"ended      {clock(failed.unix_milliseconds / 1000)} as {failed.status.name}",
        f"error      {failure_line(failed)}",
        *(f"before     {line}" for line in failed.attempts),
        "",
        failed.traceback or failed.message,
    ]
    return "\n".join(lines)
