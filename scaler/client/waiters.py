"""Who waits for tasks in a client."""

from __future__ import annotations

from typing import Protocol

from scaler.client.arrays import ItemsEnded
from scaler.client.future import Outcome


class Waiter(Protocol):
    """Who wants to know how a task ended: a future, or a batch that has a number for each of its tasks."""

    def finish_task(self, sequence: int, outcome: Outcome | BaseException) -> None: ...


class ArrayWaiter(Protocol):
    """Who wants to know how the items of arrays ended."""

    def finish_items(self, ended: ItemsEnded) -> None: ...

    def give_up(self, outcome: Outcome | BaseException) -> None:
        """No more items will end."""
