"""The analysis of scaler._core.analysis on python-graphblas: the same functions, with equal results.

A graph is a sparse matrix with an entry (i, j) where node i depends on node j. All searches go level by level: one product of
a sparse vector and the matrix for each.
"""

from __future__ import annotations

from array import array
from typing import Any

from scaler.errors import ExtraMissingError

try:
    import numpy
    from graphblas import Matrix, Vector, semiring
except ImportError as error:
    raise ExtraMissingError(
        f"graphs cannot be analysed by graphblas, since {error.name} is missing: pip install 'opengris-scaler[graphblas]'"
    ) from error


def critical_path(ends: array[int], dependencies: array[int]) -> array[int]:
    """See scaler._core.analysis."""
    rounds = _rounds(_users_to_needs(ends, dependencies))
    _refuse_cycle(rounds)
    return _column(rounds.astype(numpy.uint32) + 1)


def levels(ends: array[int], dependencies: array[int]) -> array[int]:
    """See scaler._core.analysis."""
    rounds = _rounds(_users_to_needs(ends, dependencies).T.new())
    _refuse_cycle(rounds)
    return _column(rounds)


def run_order(ends: array[int], dependencies: array[int]) -> array[int]:
    """See scaler._core.analysis."""
    matrix = _users_to_needs(ends, dependencies)
    chains = _rounds(matrix)
    _refuse_cycle(chains)
    return _column(numpy.lexsort((_rounds(matrix.T.new()), -chains)))


def find_cycle(ends: array[int], dependencies: array[int]) -> array[int]:
    """See scaler._core.analysis."""
    matrix = _users_to_needs(ends, dependencies)
    left = numpy.flatnonzero(_rounds(matrix) < 0)
    if not len(left):
        return array("I")
    inside = matrix[left, left].new()
    # Of each node left, the last of those left that depend on it. From any, as many steps as there are nodes end on a cycle.
    rows, needs, _ = inside.to_coo()
    last = numpy.zeros(len(left), dtype=numpy.int64)
    numpy.maximum.at(last, needs, rows)
    follow = last.tolist()
    at = len(left) - 1
    for _ in range(matrix.nrows):
        at = follow[at]
    cycle = [at]
    while (at := follow[at]) != cycle[0]:
        cycle.append(at)
    return _column(left[cycle[::-1]])


def needed(ends: array[int], dependencies: array[int], targets: array[int]) -> array[int]:
    """See scaler._core.analysis."""
    matrix = _users_to_needs(ends, dependencies)
    if len(targets) and max(targets) >= matrix.nrows:
        raise IndexError(f"target {max(targets)} of {matrix.nrows} nodes")
    seen = Vector(bool, matrix.nrows)
    starts = numpy.unique(numpy.array(targets, dtype=numpy.uint64))
    frontier = Vector.from_coo(starts, True, dtype=bool, size=matrix.nrows)
    while frontier.nvals:
        seen(frontier.S) << True
        frontier(~seen.S, replace=True) << semiring.any_pair(frontier @ matrix)
    return _column(seen.to_coo(values=False)[0])


def _users_to_needs(ends: array[int], dependencies: array[int]) -> Any:
    """The matrix of a graph, once that is found to be one."""
    offsets = numpy.concatenate(([0], numpy.frombuffer(ends, dtype=numpy.uint32))).astype(numpy.int64)
    columns = numpy.frombuffer(dependencies, dtype=numpy.uint32)
    n = len(offsets) - 1
    counts = numpy.diff(offsets)
    if (counts < 0).any():
        raise ValueError("the end of a node lies before its start")
    if offsets[-1] != len(columns):
        raise ValueError(f"the last node ends at {offsets[-1]} of {len(columns)} dependencies")
    if len(columns) and columns.max() >= n:
        raise IndexError(f"dependency {columns.max()} of {n} nodes")
    rows = numpy.repeat(numpy.arange(n, dtype=numpy.uint64), counts)
    return Matrix.from_coo(rows, columns.astype(numpy.uint64), True, dtype=bool, nrows=n, ncols=n)


def _rounds(matrix: Any) -> Any:
    """In which round each node goes when all without an entry in their columns go, with their rows, round by round.

    -1 for those that never go: they are on a cycle, or their going waits for one.
    """
    n = matrix.nrows
    rounds = numpy.full(n, -1, dtype=numpy.int64)
    entries = numpy.zeros(n, dtype=numpy.int64)
    index, counts = Vector.from_scalar(True, n).vxm(matrix, semiring.plus_pair[int]).new().to_coo()
    entries[index] = counts
    going = numpy.flatnonzero(entries == 0)
    number = 0
    while len(going):
        rounds[going] = number
        number += 1
        frontier = Vector.from_coo(going, True, dtype=bool, size=n)
        index, counts = frontier.vxm(matrix, semiring.plus_pair[int]).new().to_coo()
        entries[index] -= counts
        going = index[entries[index] == 0]
    return rounds


def _refuse_cycle(rounds: Any) -> None:
    if (rounds < 0).any():
        raise ValueError("the dependencies have a cycle")


def _column(numbers: Any) -> array[int]:
    return array("I", numpy.asarray(numbers).astype(numpy.uint32).tobytes())
