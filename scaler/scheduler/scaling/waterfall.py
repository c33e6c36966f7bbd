"""Engine ``waterfall_v1``: managers are filled one after the other, and drained in the opposite order.

Each line of the text is a rule: ``priority, worker_manager_id, max_task_concurrency``. The lowest priority comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaler.scheduler.scaling.allotment import allot
from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot, Wanted

UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Rule:
    """One line."""

    priority: int
    manager: str
    most: int
    """Slots; UNLIMITED: as many as the manager offers."""


def waterfall(snapshot: Snapshot, rules: Sequence[Rule]) -> Wanted:
    """A slot for each task. Managers without a rule are asked for nothing.

    What runs counts as if it were still to be placed. So as soon as the first managers have room for all, the last ones
    are to be drained, also while they have something to do: they finish it, and get nothing new.
    """
    wanted = snapshot.demand()
    for busy, of_class, manager in zip(
        snapshot.worker_busy, snapshot.worker_class, snapshot.worker_manager, strict=True
    ):
        if of_class != UNMANAGED and manager != UNMANAGED:
            wanted[of_class] += busy
    by_name = {rule.manager: rule for rule in rules}
    ruled = [manager for manager, name in enumerate(snapshot.manager_names) if name in by_name]
    ruled.sort(key=lambda m: (by_name[snapshot.manager_names[m]].priority, snapshot.manager_names[m]))
    most = [
        _limit(by_name.get(name), offered)
        for name, offered in zip(snapshot.manager_names, snapshot.manager_most, strict=True)
    ]
    return allot(snapshot, wanted, [0] * len(most), ruled, most)


def _limit(rule: Rule | None, offered: int) -> int:
    if rule is None:
        return 0
    return offered if rule.most == UNLIMITED else min(rule.most, offered)
