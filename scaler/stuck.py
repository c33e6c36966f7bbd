"""What a state waits for longer than it should: found by looking now and then, and told once in a while, with since when."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

STUCK_SECONDS = 30.0
"""What should take a moment, and has not happened for so long, is told."""
LOOK_SECONDS = 5.0
MOST_LINES = 10
"""At most so many lines for one look; the others are counted."""

Finding = tuple[Hashable, float | None, str]
"""What it is about, since when it is so (None: since it was found first), and the sentence, which ends before "for 30 s"."""


class Stuck:
    """Who uses it looks for what seems to be stuck each LOOK_SECONDS, at a bounded number of places. One look means nothing: what
    is found again and again, for STUCK_SECONDS, is told; and again each time that it has lasted twice as long."""

    def __init__(self, log: Callable[[int, str], None]) -> None:
        self._log = log
        self._since: dict[Hashable, float] = {}
        self._told: dict[Hashable, float] = {}
        """How long it had lasted when it was told of."""
        self._looked_at = 0.0

    @property
    def next_look(self) -> float:
        return self._looked_at + LOOK_SECONDS

    def due(self, now: float) -> bool:
        """Whether it is time to look. After a time in which nothing happened here at all, what was seen before means nothing."""
        if now < self.next_look:
            return False
        if now > self._looked_at + STUCK_SECONDS:
            self._since.clear()
        self._looked_at = now
        return True

    def found(self, findings: Iterable[Finding], now: float) -> None:
        """What seems to be stuck now. What was found before, and is not found now, goes on."""
        seen: dict[Hashable, float] = {}
        stuck: list[tuple[float, str]] = []
        for key, since, text in findings:
            seen[key] = began = self._since.get(key, now) if since is None else since
            lasted = now - began
            if lasted >= max(STUCK_SECONDS, 2 * self._told.get(key, 0.0)):
                stuck.append((lasted, text))
                self._told[key] = lasted
        self._since = seen
        self._told = {key: lasted for key, lasted in self._told.items() if key in seen}
        stuck.sort(reverse=True)
        for lasted, text in stuck[:MOST_LINES]:
            self._log(30, f"stuck: {text} for {lasted:.0f} s")
        if len(stuck) > MOST_LINES:
            self._log(30, f"stuck: {len(stuck) - MOST_LINES} more")
