"""What is found again and again is told, with since when; what is found once is not."""

from __future__ import annotations

from collections.abc import Hashable

from scaler.stuck import LOOK_SECONDS, MOST_LINES, STUCK_SECONDS, Stuck


class Looks:
    def __init__(self) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.stuck = Stuck(lambda level, text: self.lines.append(text))

    def look(self, *keys: Hashable, since: float | None = None, after: float = LOOK_SECONDS) -> list[str]:
        self.now += after
        assert self.stuck.due(self.now) and not self.stuck.due(self.now)
        self.stuck.found([(key, since, f"{key} waits") for key in keys], self.now)
        told, self.lines[:] = self.lines[:], []
        return told


def test_what_lasts_is_told_and_again_when_it_has_lasted_twice_as_long() -> None:
    looks = Looks()
    told = [looks.look("a") for _ in range(26)]
    said = {LOOK_SECONDS * i: lines for i, lines in enumerate(told) if lines}
    assert said == {s: [f"stuck: a waits for {s:.0f} s"] for s in (STUCK_SECONDS, 2 * STUCK_SECONDS, 4 * STUCK_SECONDS)}


def test_what_goes_on_meanwhile_begins_anew() -> None:
    looks = Looks()
    assert not any(looks.look("a") for _ in range(6))
    assert not looks.look()
    assert not any(looks.look("a") for _ in range(6))
    assert looks.look("a")


def test_what_has_a_time_of_its_own_is_told_at_once() -> None:
    looks = Looks()
    assert looks.look("a", since=looks.now - 95) == ["stuck: a waits for 100 s"]


def test_nothing_is_suspected_of_the_time_in_which_nobody_looked() -> None:
    looks = Looks()
    looks.look("a")
    assert not looks.look("a", after=1000.0)
    assert not looks.look("a")


def test_many_at_once_are_few_lines() -> None:
    looks = Looks()
    for _ in range(6):
        looks.look(*range(50))
    lines = looks.look(*range(50))
    assert len(lines) == MOST_LINES + 1 and lines[-1] == f"stuck: {50 - MOST_LINES} more"
