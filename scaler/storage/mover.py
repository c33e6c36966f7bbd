"""Threads that move objects between memory and where their copies are, so that the storage's loop never waits for that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from scaler.storage.content import Content, Room
from scaler.storage.outputs import Forget, Mark, Restore, Spill
from scaler.storage.rooms import allocate

Order: TypeAlias = Spill | Restore | Forget | Mark


class Copies(Protocol):
    """Where copies are. All methods block, and may be called from any thread. They raise any Exception."""

    threads: int
    """How many copies are worth writing at once, and how many reading."""
    finishes: bool
    """Whether orders are carried out even when the server ends: its copies outlive it."""

    def write(self, spill: Spill) -> None:
        """Make a copy, or raise and leave nothing."""

    def mark(self, mark: Mark) -> None:
        """Record an owner."""

    def read(self, restore: Restore, room: Room) -> None:
        """Fill room of its size with a copy."""

    def delete(self, key: int) -> None:
        """Forget a copy."""

    def explain(self, error: Exception) -> str:
        """What an error means to whoever runs the storage."""

    def close(self) -> None:
        """No more calls follow."""


@dataclass(slots=True)
class Moved:
    """An order was carried out, or could not be: then ``error`` says why. ``content`` is what was read."""

    order: Order
    content: Content | None = None
    error: str = ""


class Mover:
    """Carries out orders, those about one copy in turn, and tells on the loop what became of them.

    Forget and Mark are told of only where they failed.
    """

    def __init__(self, copies: Copies, told: Callable[[list[Moved]], None]) -> None:
        self._copies = copies
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._writes: list[SimpleQueue[Order | None]] = [SimpleQueue() for _ in range(copies.threads)]
        self._reads: SimpleQueue[Order | None] = SimpleQueue()
        self._moved: list[Moved] = []
        self._lock = threading.Lock()
        self._ended = False
        self._threads: list[threading.Thread] = []

    def do(self, order: Order) -> None:
        """Carry this out soon."""
        if not self._threads:
            self._start()
        (self._reads if isinstance(order, Restore) else self._writes[order.key % len(self._writes)]).put(order)

    def _start(self) -> None:
        for orders in (*self._writes, *[self._reads] * self._copies.threads):
            thread = threading.Thread(target=self._work, args=(orders,), name="scaler-mover", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Wait for what was begun, or for all where the copies outlive this."""
        self._ended = True
        for orders in (*self._writes, *[self._reads] * self._copies.threads):
            orders.put(None)
        for thread in self._threads:
            thread.join()
        self._copies.close()

    def _work(self, orders: SimpleQueue[Order | None]) -> None:
        # No variable here keeps the bytes of an object while the thread waits for the next one.
        while self._work_on(orders.get()):
            pass

    def _work_on(self, order: Order | None) -> bool:
        if order is None or (self._ended and not self._copies.finishes):
            return False
        moved = self._carry_out(order)
        if moved.error or not isinstance(order, Forget | Mark):
            # One call to the loop tells all that is done by then.
            with self._lock:
                first = not self._moved
                self._moved.append(moved)
            if first and not self._ended:
                self._loop.call_soon_threadsafe(self._tell)
        return True

    def _carry_out(self, order: Order) -> Moved:
        try:
            if isinstance(order, Spill):
                self._copies.write(order)
            elif isinstance(order, Restore):
                room = allocate(order.size)
                self._copies.read(order, room)
                return Moved(order, room.content())
            elif isinstance(order, Mark):
                self._copies.mark(order)
            else:
                self._copies.delete(order.key)
        except Exception as error:
            return Moved(order, error=self._copies.explain(error))
        return Moved(order)

    def _tell(self) -> None:
        with self._lock:
            moved, self._moved = self._moved, []
        self._told(moved)
