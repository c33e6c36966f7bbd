"""Executors that do not do what they were told are named in the log."""

from __future__ import annotations

from scaler.machine import Log
from scaler.messages import CancelAssigned

from .builders import Rig, i, q


def stuck_lines(rig: Rig, seconds: int) -> list[str]:
    lines: list[str] = []
    for _ in range(seconds):
        lines += [o.text for o in rig.at(rig.now + 1.0) if isinstance(o, Log) and o.text.startswith("stuck")]
    return lines


def test_an_executor_that_does_not_begin_what_it_was_given() -> None:
    rig = Rig()
    rig.assign(7)
    (line,) = stuck_lines(rig, 50)
    assert line.startswith(
        "stuck: the executor of slot 0 does not begin task 7 (f0, attempt 1) that it was given for 3"
    )


def test_one_that_was_killed_and_has_not_ended() -> None:
    rig = Rig()
    rig.assign(7)
    rig.take(0)
    rig.say(CancelAssigned(q(7), i(1)))
    (line,) = stuck_lines(rig, 50)
    assert line.startswith("stuck: the executor of slot 0 was killed (cancelled), and has not ended for 3")
    rig.exited(0)
    assert "the executor of slot 0 has not started for 3" in stuck_lines(rig, 50)[0]
    rig.started(1)
    assert stuck_lines(rig, 100) == []


def test_a_task_that_runs_for_long_is_not_stuck() -> None:
    rig = Rig()
    rig.assign(7)
    rig.take(0)
    assert stuck_lines(rig, 100) == []
