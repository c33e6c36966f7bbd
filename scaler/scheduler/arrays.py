"""Task arrays: many items that a client submitted as one, and the ranges of them that are given out.

A range is a task of the board: it has an index, an id that the scheduler mints, an attempt, a place in a queue or with a
worker. What is ready is cut in the moment in which a worker has room, into pieces as long as their measured time suggests.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import gt

from scaler._core.claims import MOST_ITEMS
from scaler.errors import ProtocolError
from scaler.ids import MAX_SEQUENCE, u32
from scaler.messages import SubmitArray, TaskOptions

PIECE_US = 5_000
"""How long a range should run: long enough to make its messages cheap, short enough to be given out evenly."""
LEAST_PIECE_US = 500
"""Even at the end of the work nothing shorter is cut."""


@dataclass(slots=True, eq=False)
class TaskArray:
    """What a client submitted as one. Nothing in it changes."""

    client: int
    first_sequence: int
    function: int
    """The scheduler's number for it."""
    items: bytes
    ends: array[int]
    options: TaskOptions
    depth: int = 0
    """Of the tasks inside of which it was submitted."""
    came: float = 0.0
    """When it was submitted, in seconds of the clock."""
    share: int = 0
    """For whom: see Board.add()."""

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(slots=True, eq=False)
class TaskRange:
    """Items of an array that follow each other, by their positions in it."""

    whole: TaskArray
    begin: int
    """The first without a result."""
    end: int
    assigned: int = 0
    """Where it began when it was assigned, from which its worker counts."""

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def sequence(self) -> int:
        """The sequence of the first item without a result."""
        return self.whole.first_sequence + self.begin

    @property
    def payload(self) -> bytes:
        """The arguments of its items, one after the other."""
        ends = self.whole.ends
        return self.whole.items[ends[self.begin - 1] if self.begin else 0 : ends[self.end - 1]]

    @property
    def item_ends(self) -> bytes:
        """Where each item ends in the payload; empty for a range of one item, which travels as a single task."""
        if len(self) == 1:
            return b""
        ends = self.whole.ends[self.begin : self.end]
        before = self.whole.ends[self.begin - 1] if self.begin else 0
        return (array("I", [end - before for end in ends]) if before else ends).tobytes()


def checked_array(message: SubmitArray) -> array[int]:
    """Where the items end. Raises ProtocolError when the message does not fit together."""
    ends = u32(message.item_ends)
    if not ends or ends[-1] != len(message.items) or any(map(gt, ends, ends[1:])):
        raise ProtocolError("the columns of items do not fit together")
    if len(ends) > MOST_ITEMS:
        raise ProtocolError(f"an array of {len(ends)} items; more than {MOST_ITEMS} go into several arrays")
    if message.first_sequence + len(ends) - 1 > MAX_SEQUENCE:
        raise ProtocolError(f"the sequence of an item is greater than {MAX_SEQUENCE}")
    return ends


def piece_items(mean_us: float | None, left: int, slots: int, last: bool) -> int:
    """How many items to cut off.

    Args:
        mean_us: the measured time of an item; None before the first has ended: then slots get one item each.
        left: how many items there are.
        slots: of all workers.
        last: whether nothing else waits: then the pieces shrink, so that all slots end at the same time.
    """
    if mean_us is None:
        return 1
    wanted = PIECE_US
    if last:
        wanted = max(LEAST_PIECE_US, min(wanted, int(left * mean_us / (2 * max(1, slots)))))
    return max(1, min(left, int(wanted / (mean_us + 0.1))))


def gaps(begin: int, end: int, taken: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of [begin, end) that none of the intervals covers."""
    for first, last in sorted(taken):
        if first > begin:
            yield begin, min(first, end)
        begin = max(begin, last)
        if begin >= end:
            return
    if begin < end:
        yield begin, end
