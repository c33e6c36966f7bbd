"""The screens of scaler_top, driven as a user would, over a recorded feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from scaler.errors import ConnectionLostError
from scaler.messages import Answer, Explanation, Update
from scaler.monitor.feed import Recorder, Recording, Status, recorded
from scaler.monitor.profile import Profile
from scaler.monitor.tables import WORKERS, sorted_rows
from scaler.tui.app import SCREENS, TopApp
from scaler.tui.dialogs import HELP, Asking, Question, Reading
from scaler.tui.executors import ExecutorsScreen
from scaler.tui.facts_table import FactsTable, fitted
from scaler.tui.overview import Chart
from scaler.tui.profile import ProfileScreen
from tests.monitor.demo_profile import demo_profile

from .demo_feed import feed, identity, update, worker

SIZES = [(80, 24), (150, 45)]


@dataclass(slots=True)
class Scripted(Recording):
    """A recording that answers as a scheduler would."""

    asked: list[tuple[str, Any]] = field(default_factory=list)
    done: bool = False
    gone: bool = False

    async def explain(self, task: int) -> Explanation:
        self.asked.append(("explain", task))
        if self.gone:
            raise ConnectionLostError("no connection to tcp://nowhere:1")
        return Explanation(1, task, True, "price", text="it waits: no worker offers fpga\nmore")

    async def cancel(self, task: int) -> Answer:
        self.asked.append(("cancel", task))
        return Answer(1, self.done, "cancelled 1 tasks" if self.done else "the scheduler is protected")

    async def profile(self, profile: Profile) -> Answer:
        self.asked.append(("profile", profile))
        return Answer(1, self.done, "" if self.done else "the scheduler is protected")

    def stop_profile(self, profile: Profile) -> None:
        self.asked.append(("stop", profile))

    async def drain(self, worker: bytes) -> Answer:
        self.asked.append(("drain", worker))
        return Answer(1, self.done, "it leaves" if self.done else "the scheduler is protected")


def source(updates: list[Update] | None = None, **more: Any) -> Scripted:
    return Scripted(feed(20) if updates is None else updates, lambda update: None, speed=0, label="demo", **more)


Scene = Callable[[TopApp, Pilot[Any]], Coroutine[Any, Any, None]]


def play(scene: Scene, told: Recording | None = None, size: tuple[int, int] = (80, 24)) -> TopApp:
    """Run the app, in a terminal of this size, while ``scene`` uses it."""

    async def run() -> TopApp:
        app = TopApp(told if told is not None else source())
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.show_changes()
            await pilot.pause()
            await scene(app, pilot)
        return app

    return asyncio.run(run())


def lines(app: TopApp) -> list[str]:
    """What stands on the terminal."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


def screen(app: TopApp) -> str:
    return "\n".join(lines(app))


def notes(app: TopApp) -> str:
    return " ".join(note.message for note in app._notifications)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
def test_each_screen_shows_what_the_feed_tells(name: str, size: tuple[int, int]) -> None:
    expected = {
        "overview": ["tasks/s", "slots busy 44 of 48", "3 tasks that ask for fpga wait: no worker offers that"],
        "workers": ["cluster-a-00", "gpu-11", "MiB", "leave", "gpu,l"],
        "running": ["simulate_path", "2:r", "cluster-a-0"],
        "ended": ["2:19023", "calibrat", "succeeded"],
        "failed": ["price_option", "LookupError: no quote for str", "crashed"],
        "functions": ["simulate_path", "price_option", "94%"],
        "graphs": ["running", "12,500", "█", "failed"],
        "managers": ["cluster-a", "slurm", "dynamic", "fixed"],
        "objects": ["objects   4,267 of 2 owners", "notebook", "8 GiB"],
        "log": ["warning", "3 tasks wait for a worker that offers fpga"],
    }[name]

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press(str((SCREENS.index(name) + 1) % 10))
        shown = screen(app)
        for text in expected:
            assert text in shown, shown
        assert all(len(line) == size[0] for line in lines(app))
        assert "replaying" in shown or "the end of demo" in shown

    play(scene, size=size)


def test_charts_have_a_value_for_each_update() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        rate = app.query(Chart).first()
        data = rate.query_one("Sparkline").data  # type: ignore[attr-defined]
        assert data[0] == 0 and len(data) == 21 and max(data) > 9000

    play(scene)


def test_rows_are_sorted_by_keys_and_by_a_click_on_a_title() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        table = app.table
        assert table is not None
        assert [w.worker_name for w in table.rows[:2]] == ["cluster-a-00", "cluster-a-01"]
        await pilot.press("r")
        assert table.rows[0].worker_name == "gpu-11"
        await pilot.press("s", "s")
        assert table.order == 2 and "▼slot" in screen(app)
        await pilot.press("less_than_sign")
        assert table.order == 1
        x = lines(app)[2].index("memo")
        await pilot.click(FactsTable, offset=(x, 0))
        memory = [w.resident_bytes for w in table.rows]
        assert memory == sorted(memory, reverse=True)
        await pilot.click(FactsTable, offset=(x, 0))
        assert [w.resident_bytes for w in table.rows] == sorted(memory)

    play(scene)


def test_a_filter_shows_only_rows_with_these_words_until_escape() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "slash")
        assert isinstance(app.screen, Asking)
        await pilot.press(*"gpu busy", "enter")
        await pilot.pause()
        assert {w.worker_name for w in app.table.rows} == {"gpu-09", "gpu-10", "gpu-11"}  # type: ignore[union-attr]
        assert "only: gpu busy" in screen(app)
        await pilot.press("escape")
        assert len(app.table.rows) == 12  # type: ignore[union-attr]

    play(scene)


def test_the_cursor_stays_with_its_row() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "down", "down", "down")
        table = app.table
        assert table is not None and table.row.worker_name == "cluster-a-03"
        await pilot.press("r")
        assert table.row.worker_name == "cluster-a-03"
        app.model.apply(Update(False, 1, app.model.tasks, [worker(50, 1)], [identity(11), identity(3)]))
        app.show_changes()
        assert table.row is not None and len(table.rows) == 11
        await pilot.press("end")
        assert table.cursor == 10
        await pilot.press("home", "up")
        assert table.cursor == 0

    play(scene)


def test_enter_opens_the_executors_of_a_worker_and_from_there_why() -> None:
    told = source()

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, ExecutorsScreen)
        assert "node-01, pid 2301" in screen(app) and "24010" in screen(app) and "calibrate" in screen(app)
        await pilot.press("e")
        await pilot.pause()
        assert isinstance(app.screen, Reading) and "no worker offers fpga" in screen(app)
        assert told.asked[0][0] == "explain"
        await pilot.press("escape", "escape")
        assert app.screen is app.screen_stack[0]

    play(scene, told)


def test_a_worker_that_goes_while_it_is_looked_at() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "enter")
        await pilot.pause()
        app.model.apply(Update(False, 1, app.model.tasks, [], [identity(0)]))
        app.show_changes()
        await pilot.pause()
        assert "It is gone." in screen(app)

    play(scene)


def test_a_failed_task_shows_its_traceback() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("5", "slash", *"lookup", "enter")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert "line 88, in price_option" in screen(app) and "attempt 2" in screen(app)
        await pilot.press("escape")

    play(scene)


def test_any_task_can_be_asked_about() -> None:
    told = source()

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("e")
        assert isinstance(app.screen, Asking)
        await pilot.press(*"2:17", "enter")
        await pilot.pause()
        assert told.asked == [("explain", 2 << 40 | 17)] and "Why price 2:17" in screen(app)
        await pilot.press("escape", "e", *"nonsense", "enter")
        await pilot.pause()
        assert "names no task" in notes(app)

    play(scene, told)


@pytest.mark.parametrize(("done", "said"), [(False, "protected"), (True, "cancelled 1 tasks")])
def test_cancelling_asks_first_and_shows_the_answer(done: bool, said: str) -> None:
    told = source(done=done)

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("3", "down", "c")
        assert isinstance(app.screen, Question)
        await pilot.press("n")
        assert told.asked == []
        await pilot.press("c", "y")
        await pilot.pause()
        assert told.asked == [("cancel", app.table.row.task)] and said in notes(app)  # type: ignore[union-attr]

    play(scene, told)


def test_draining_asks_first_and_shows_the_answer() -> None:
    told = source()

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "down", "d")
        assert "cluster-a-01 leave" in screen(app)
        await pilot.press("y")
        await pilot.pause()
        assert told.asked == [("drain", identity(1))] and "protected" in notes(app)
        await pilot.press("1", "d", "c")
        assert told.asked == [("drain", identity(1))] and "no worker at the cursor" in notes(app)

    play(scene, told)


def test_without_a_connection_there_is_no_answer() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("3", "e")
        await pilot.pause()
        assert "no connection to tcp://nowhere:1" in notes(app)

    play(scene, source(gone=True))


def test_the_state_of_the_connection_is_seen() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        app._changed(Status(False, "no connection to tcp://a:1: Connection refused"))
        await pilot.pause()
        assert "○ no connection to tcp://a:1: Connection refused" in lines(app)[0]
        app._changed(Status(True, "connected to tcp://a:1"))
        await pilot.pause()
        assert "● connected" in lines(app)[0]

    play(scene)


def test_the_picture_can_be_held() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h")
        app._told(update(30))
        app.show_changes()
        await pilot.pause()
        assert "held" in screen(app) and "4,267" not in screen(app)
        before = screen(app)
        await pilot.press("h")
        app.show_changes()
        await pilot.pause()
        assert screen(app) != before and "held" not in screen(app)

    play(scene)


def test_help_tells_all_keys_and_screens_can_be_clicked() -> None:
    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        shown = screen(app)
        assert all(line in shown for line in HELP.splitlines() if line), shown
        await pilot.press("escape", "right")
        assert app.view.id == "workers"
        await pilot.click("#screens", offset=(lines(app)[1].index("6Calls") + 1, 0))
        await pilot.pause()
        assert app.view.id == "functions"
        await pilot.press("q")

    assert play(scene).return_code == 0


def test_no_key_is_lost_while_updates_come_sixty_times_a_second() -> None:
    updates = feed(60)
    for number, one in enumerate(updates):
        one.unix_milliseconds = 1_767_268_800_000 + number * 1000 // 60
    told = Recording(updates, lambda update: None, speed=1, label="demo")

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        for _ in range(5):
            await pilot.press(*["down"] * 6)
            await pilot.press(*["up"] * 5)
        assert app.table.cursor == 5  # type: ignore[union-attr]

    play(scene, told)


def test_ten_thousand_workers_are_scrolled_without_making_all_rows() -> None:
    first = update(0)
    first.workers = [worker(0, 0) for _ in range(10_000)]
    for number, facts in enumerate(first.workers):
        facts.identity, facts.worker_name = number.to_bytes(16, "big"), f"w-{number:05}"
    made = 0

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        nonlocal made
        await pilot.press("2")
        table = app.table
        assert table is not None and len(table.rows) == 10_000
        render = table.render_line

        def counted(y: int) -> Any:
            nonlocal made
            made += 1
            return render(y)

        table.render_line = counted  # type: ignore[method-assign]
        await pilot.press("end")
        assert "w-09999" in screen(app)
        await pilot.press(*["pageup"] * 20)
        assert table.row.worker_name == f"w-{9999 - 20 * (table.scrollable_content_region.height - 2):05}"
        assert made < 30 * 60

    play(scene, source([first]))


def test_titles_are_where_their_columns_are_and_cells_have_their_width() -> None:
    assert fitted("abc", 5, False) == "abc  " and fitted("abc", 5, True) == "  abc"
    assert fitted("abcdef", 4, False) == "abc…" and fitted("a\nb", 3, False) == "a b"


def test_rows_are_found_by_all_words_in_any_case(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "feed")
    for one in feed(3):
        recorder.write(one)
    recorder.close()
    app = TopApp(source(recorded(tmp_path / "feed")))
    for one in recorded(tmp_path / "feed"):
        app.model.apply(one)
    rows = sorted_rows(WORKERS, app.model, 0, words="GPU node-10")
    assert [row.worker_name for row in rows] == ["gpu-10"]


@pytest.mark.parametrize("size", SIZES)
def test_a_profile_grows_is_walked_through_and_stopped(size: tuple[int, int]) -> None:
    told = source(done=True)

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("6", "down", "p")
        assert isinstance(app.screen, Question) and "Profile of" in screen(app)
        await pilot.press("y")
        await pilot.pause()
        assert isinstance(app.screen, ProfileScreen) and "goes on" in screen(app)
        profile = app.screen.profile
        (what, asked) = told.asked[-1]
        assert (what, asked) == ("profile", profile) and profile.function
        found = demo_profile()
        profile.counts, profile.workers, profile.executors = found.counts, 1, 4
        profile.parts += 1
        app.show_changes()
        await pilot.pause()
        assert "59.4%" in screen(app) and "solve" in screen(app) and "curves.py:88" in screen(app)
        await pilot.press("home", "left")
        await pilot.pause()
        assert "solve" not in screen(app) and "▸ price" in screen(app), screen(app)
        await pilot.press("f")
        await pilot.pause()
        assert "solve" in screen(app)
        await pilot.press("escape")
        assert told.asked[-1] == ("stop", profile) and not isinstance(app.screen, ProfileScreen)

    play(scene, told, size)


def test_a_protected_scheduler_refuses_a_profile() -> None:
    told = source()

    async def scene(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press("2", "down", "p", "y")
        await pilot.pause()
        assert "the scheduler is protected" in notes(app) and not isinstance(app.screen, ProfileScreen)

    play(scene, told)
    assert told.asked[0][0] == "profile" and told.asked[0][1].worker
