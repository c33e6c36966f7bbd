"""The whole table: every state with every event, as an outside reader would draw it."""

from __future__ import annotations

from array import array
from itertools import product

import pytest

from scaler._core.lifecycle import Lifecycle
from scaler.scheduler.life import NO_MOVE, TRANSITIONS, TaskEvent, TaskState, table

# Columns in the order of TaskEvent; a dot where the event does not apply.
EXPECTED = """
              unblock assign   start    retract     return keep     requeue succeed    fail    cancel       block    lose
    none       .      .        .        .           .      .        .       .          .       .            .        .
    waiting    ready  .        .        .           .      .        .       .          failed  cancelled    .        .
    ready      .      assigned .        .           .      .        .       .          .       cancelled    waiting  .
    assigned   .      .        running  retracting  .      .        ready   succeeded  failed  cancelled    waiting  .
    running    .      .        running  .           .      running  ready   succeeded  failed  cancelled    waiting  .
    retracting .      .        running  .           ready  running  ready   succeeded  failed  cancelled    waiting  .
    succeeded  .      .        .        .           .      .        .       .          .       .            .        waiting
    failed     .      .        .        .           .      .        .       .          .       .            .        .
    cancelled  .      .        .        .           .      .        .       .          .       .            .        .
"""
HEAD, *ROWS = [line.split() for line in EXPECTED.strip().splitlines()]
CELLS = {(row[0], event): target for row in ROWS for event, target in zip(HEAD, row[1:], strict=True)}
PRODUCT = list(product(TaskState, TaskEvent))


def expected(state: TaskState, event: TaskEvent) -> TaskState | None:
    target = CELLS[state.name.lower(), event.name.lower()]
    return None if target == "." else TaskState[target.upper()]


def test_the_drawing_is_complete() -> None:
    assert [event.name.lower() for event in TaskEvent] == HEAD
    assert [row[0] for row in ROWS] == [state.name.lower() for state in TaskState]


@pytest.mark.parametrize(("state", "event"), PRODUCT, ids=lambda v: v.name.lower())
def test_each_cell(state: TaskState, event: TaskEvent) -> None:
    target = expected(state, event)
    assert TRANSITIONS.get((state, event)) == target
    assert table()[state * len(TaskEvent) + event] == (NO_MOVE if target is None else target)


@pytest.mark.parametrize(("state", "event"), [p for p in PRODUCT if p[0]], ids=lambda v: v.name.lower())
def test_each_cell_moves_a_task(state: TaskState, event: TaskEvent) -> None:
    life = Lifecycle(table(), len(TaskState), len(TaskEvent))
    task = array("I", [3])
    life.open(task, state)
    target = expected(state, event)
    assert list(life.apply(event, task)) == ([] if target is None else [3])
    assert life.state(3) == (state if target is None else target)


def test_the_table_has_no_more_cells() -> None:
    assert len(table()) == len(TaskState) * len(TaskEvent)
