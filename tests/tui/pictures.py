"""Pictures of the screens for the documentation, from a recorded feed: ``make pictures``. The same every time."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from pathlib import Path

from scaler.monitor.feed import Recorder, Recording, recorded
from scaler.tui.app import SCREENS, TopApp
from scaler.tui.profile import ProfileScreen
from tests.monitor.demo_profile import demo_profile

from .demo_feed import feed

PICTURES = Path("docs/pictures")
SIZE = (100, 28)
BEFORE: dict[str, tuple[str, ...]] = {name: (str((n + 1) % 10),) for n, name in enumerate(SCREENS)} | {
    "executors": ("2", "down", "down", "enter"),
    "traceback": ("5", "down", "enter"),
    "help": ("question_mark",),
    "profile": (),
}
"""The keys that lead to each picture. A profile is none of a recording."""


async def draw(recording: Path, keys: tuple[str, ...]) -> str:
    """One picture, as SVG."""
    app = TopApp(Recording(recorded(recording), lambda update: None, speed=0, label="a demonstration"))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.show_changes()
        if keys:
            await pilot.press(*keys)
        else:
            app.push_screen(ProfileScreen(demo_profile(), "Profile of all that runs", app.model, lambda: None))
        await pilot.pause()
        return app.export_screenshot()


def pictures(directory: Path) -> list[Path]:
    """Draw all of them into a directory; returns the files."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    with tempfile.TemporaryDirectory() as place:
        recording = Path(place, "feed")
        recorder = Recorder(recording)
        for update in feed():
            recorder.write(update)
        recorder.close()
        made = []
        for name, keys in BEFORE.items():
            made.append(directory / f"top-{name}.svg")
            # Fonts come with the system: documents should not fetch any.
            drawn = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", asyncio.run(draw(recording, keys)), flags=re.DOTALL)
            made[-1].write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n")
    return made


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    print("\n".join(map(str, pictures(PICTURES))))
