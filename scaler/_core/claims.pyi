"""Claims: the shared page on which a worker and one of its executors agree who has a task, without a message."""

from typing import Final, final

from typing_extensions import Buffer

PAGE_BYTES: Final[int]
"""The size of a page."""
MOST_ITEMS: Final[int]
"""How many items a range may have."""
POSITIONS: Final[int]
"""How many tasks may be with one executor at a time: a power of two, 1024 or more."""

@final
class Claims:
    """One page of shared memory (at least PAGE_BYTES, zeroed at first, 8-byte aligned, writable).

    The worker numbers the tasks it sends to an executor 0, 1, 2, … (u64). Each position is offered by the worker, then
    either taken by the executor or revoked by the worker: one atomic compare-and-swap decides, so exactly one of them
    succeeds. Entry ``position % POSITIONS`` holds (position, state), so an old position is never mistaken.
    """

    def __new__(cls, page: Buffer) -> Claims:
        """Raises ValueError for a page that is too small, read-only or not aligned. Keeps the buffer alive."""
    def offer(self, position: int) -> None:
        """Worker: before the task is sent."""
    def take(self, position: int, now_us: int) -> bool:
        """Executor: before it runs the task; False when it was revoked. Sets running and started_us."""
    def revoke(self, position: int) -> bool:
        """Worker: True when the executor will never run it; False when it has begun (or was not offered).

        Asking again gives the same answer.
        """
    def rest(self) -> None:
        """Executor: after a task; running becomes None."""
    def open_range(self, position: int, count: int) -> None:
        """Executor: the position that it took is a range of so many items, none of which has begun.

        Raises OverflowError for none, or more than MOST_ITEMS.
        """
    def take_item(self, now_us: int) -> bool:
        """Executor: before it runs the next item of the range; False when none is left. Sets started_us."""
    def trim(self, position: int) -> int | None:
        """Worker: end the range after the items that have begun; returns how many have.

        None when this position does not run, or is no range: nothing has changed then.
        """
    def item(self, position: int) -> int:
        """Worker: the item of this range (by position) that began last, counted from 0; 0 where none has."""
    @property
    def running(self) -> int | None:
        """The position that runs now, None when none does. Readable by both."""
    @property
    def started_us(self) -> int:
        """The clock value given to the last successful take()."""
