"""Which tasks make a lost result again, and under which names."""

from __future__ import annotations

from scaler.client.lineage import ancestry, copies
from scaler.client.state import Group, Task
from scaler.messages import TaskOptions

X, Y = b"x" * 16, b"y" * 16


def test_a_lone_task_is_submitted_again_as_it_was() -> None:
    task = Task(5, 1, b"payload", TaskOptions(retries=2), object_id=X, cancelled=True)
    (copy,) = copies([task], 30, [])
    assert (copy.sequence, copy.function, copy.payload, copy.object_id) == (30, 1, b"payload", X)
    assert copy.options is task.options and copy.wanted and not copy.cancelled and copy.group is None


def test_of_a_graph_what_the_result_needs_and_no_more() -> None:
    """10 -> 11 -> 13, 10 -> 12, 11 -> 14: the result of 13."""
    group = Group(2, [10, 11, 12, 13, 14], shared=[Y])
    needs = {10: (), 11: (10,), 12: (10,), 13: (11, 11), 14: (11,)}
    members = [Task(n, n, b"%d" % n, None, needs[n], n in (13, 14), group, X if n == 11 else b"") for n in needs]
    chosen = ancestry(members[3], members)
    assert [task.sequence for task in chosen] == [10, 11, 13]
    again = copies(chosen, 100, [Y])
    assert [(t.sequence, t.function, t.dependencies, t.wanted) for t in again] == [
        (100, 10, (), False),
        (101, 11, (100,), False),
        (102, 13, (101, 101), True),
    ]
    (new,) = {id(task.group): task.group for task in again}.values()
    assert new is not None and new is not group
    assert (new.open_targets, new.members, new.arguments, new.tasks) == (1, [100, 101, 102], [Y], again)
