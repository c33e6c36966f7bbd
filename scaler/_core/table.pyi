"""Tables: arrays and lists read and written by columns of dense indexes, a whole column in one call.

A table of numbers is an array 'I' (TypeError otherwise). One that must grow for an index raises IndexError for slots.NONE,
and BufferError, changing nothing, while a buffer of it is held.
"""

from array import array
from typing import Any

from typing_extensions import Buffer

def fill(table: array[int], indexes: Buffer, value: int) -> None:
    """``table[i] = value`` for each index of a u32 column; the table (array 'I') grows, with zeros, as needed."""

def scatter(table: array[int], indexes: Buffer, values: Buffer) -> None:
    """``table[i] = v`` for each index and value (u32 columns of one length). Raises ValueError for unequal lengths."""

def gather(table: array[int], indexes: Buffer) -> array[int]:
    """``table[i]`` for each index (u32 column). Raises IndexError for one outside."""

def add_at(table: array[int], indexes: Buffer, amount: int) -> None:
    """``table[i] += amount`` for each index (u32 column), repeats included; the table grows as needed."""

def scatter_objects(table: list[Any], indexes: Buffer, values: list[Any]) -> None:
    """``table[i] = v`` for each index (u32 column) and value; the list grows with None.

    Raises ValueError for unequal lengths.
    """

def gather_objects(table: list[Any], indexes: Buffer) -> list[Any]:
    """``table[i]`` for each index. Raises IndexError for one outside."""

def clear_objects(table: list[Any], indexes: Buffer) -> None:
    """``table[i] = None`` for each index inside the list."""

def join_ids(high: int, low: Buffer) -> array[int]:
    """``high << 40 | v`` for each v of a u64 column. Raises ValueError for a v of 2**39 or a high of 2**24."""

def split_ids(ids: Buffer) -> array[int]:
    """The low 40 bits of each (u64 columns)."""

def same_high(ids: Buffer) -> int:
    """The bits above the low 40 if they are the same in all of a u64 column that is not empty; -1 otherwise."""

def sum_and_max(values: Buffer) -> tuple[int, int]:
    """The sum (modulo 2**64) and the greatest of a u64 column; zeros for an empty one."""
