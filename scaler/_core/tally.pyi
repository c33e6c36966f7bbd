"""What calls took, by function: sums, maxima and distributions, added a column at a time.

A table is an ``array("Q")`` of rows of WIDTH numbers: calls, failed ones, cancelled ones, retries (which are for the caller
to add), wall microseconds, those of the longest call, processor microseconds, the largest peak in bytes; then BUCKETS counts
of calls by their wall time, and as many by their processor time. There are eight buckets for each power of two, so that a time
read from them is wrong by 6 % at most.
"""

from array import array

from typing_extensions import Buffer

BUCKETS: int
WIDTH: int
GOOD: int
FAILED: int
CANCELLED: int

def bucket_bounds(bucket: int) -> tuple[int, int]:
    """The least value that is counted there, and the least that is counted behind it. Raises IndexError for no bucket."""

def add_calls(
    table: array[int],
    places: Buffer,
    kinds: Buffer,
    counts: Buffer,
    wall: Buffer,
    cpu: Buffer,
    peak: Buffer,
    slow: int,
) -> list[int]:
    """Add calls that ended to the rows at ``places`` (u32 column; 0xFFFFFFFF: to none).

    ``kinds`` is a column of bytes: GOOD, FAILED, CANCELLED. ``counts`` (u32 column) has how many calls an entry is for, empty:
    one each; what they took together counts as that many of their mean. ``wall``, ``cpu`` (microseconds) and ``peak`` (bytes)
    are u64 columns. What did not end well and took no time never began: it is counted and no more.
    Returns the positions of those entries whose mean is ``slow`` microseconds or more. Raises IndexError for a place without a
    row, ValueError for columns of different lengths.
    """
