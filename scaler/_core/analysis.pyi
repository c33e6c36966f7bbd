"""Analysis of whole graphs, given as columns.

A graph of n nodes is two u32 columns: ``dependencies[ends[i-1]:ends[i]]`` are the nodes that node i depends on; repeats do no
harm. All is linear in nodes and edges, and nothing recurses. Raises ValueError for columns that do not fit together,
IndexError for a node >= n.
"""

from array import array

from typing_extensions import Buffer

def critical_path(ends: Buffer, dependencies: Buffer) -> array[int]:
    """The number of nodes on the longest chain that starts at each node and runs through dependents (u32, >= 1).

    Raises ValueError for a cycle.
    """

def levels(ends: Buffer, dependencies: Buffer) -> array[int]:
    """The number of nodes on the longest chain that ends before each node: 0 for those without dependencies (u32).

    Raises ValueError for a cycle.
    """

def run_order(ends: Buffer, dependencies: Buffer) -> array[int]:
    """All nodes in the order in which they should run: longest critical path first, then lowest level, then number.

    So each comes after its dependencies, whose critical paths are longer. Raises ValueError for a cycle.
    """

def find_cycle(ends: Buffer, dependencies: Buffer) -> array[int]:
    """One cycle as a column of nodes, each depending on the next and the last on the first; empty if there is none."""

def needed(ends: Buffer, dependencies: Buffer, targets: Buffer) -> array[int]:
    """``targets`` (u32 column) and all that they depend on, directly or not: each once, ascending. Cycles do no harm."""
