"""The work: the same functions and arguments for every system."""

from __future__ import annotations

from typing import Any

ARRAY_BYTES = 100 << 20


def noop(value: Any) -> Any:
    return value


def element(array: Any, place: int) -> float:
    return float(array[place])


def add(left: int, right: int) -> int:
    return left + right


def tree(nodes: int) -> tuple[dict[str, Any], str, int]:
    """A binary tree of about so many tasks: half of them no-ops of one constant each, half sums of two tasks.

    Returns the graph, the key of its root, and how many tasks it has. Arguments are keys and never literals, since not
    every system takes literals.
    """
    leaves = max(2, (nodes + 1) // 2)
    graph: dict[str, Any] = {f"constant{i}": i for i in range(leaves)}
    level = [f"leaf{i}" for i in range(leaves)]
    graph.update((key, (noop, f"constant{i}")) for i, key in enumerate(level))
    while len(level) > 1:
        above = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            key = f"sum{len(graph)}"
            graph[key] = (add, left, right)
            above.append(key)
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return graph, level[0], len(graph) - leaves
