"""Slots: 64-bit task ids to small dense indexes and back, so that every other table is an array."""

from array import array
from typing import Final, final

from typing_extensions import Buffer

NONE: Final[int]
"""The index that stands for "no such task" in every column of indexes: 0xFFFFFFFF."""

@final
class Slots:
    """Ids (u64) to dense indexes (u32). A freed index is used again, so tables stay as small as the peak."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def capacity(self) -> int:
        """One more than the highest index ever given out: the length other tables need."""
    def add(self, ids: Buffer) -> array[int]:
        """Give each id (u64 column) an index; returns u32 column.

        Raises KeyError, changing nothing, when an id is present already or stands twice in the column.
        """
    def find(self, ids: Buffer) -> array[int]:
        """The index of each id, NONE where there is none (u32 column, same length)."""
    def ids(self, indexes: Buffer) -> array[int]:
        """The ids of these indexes (u64 column). Raises IndexError for an index not in use."""
    def remove(self, indexes: Buffer) -> None:
        """Free these indexes. Raises IndexError, changing nothing, for one that is not in use or stands twice."""
    def check(self) -> None:
        """Recompute everything derived; raises AssertionError where it differs."""
