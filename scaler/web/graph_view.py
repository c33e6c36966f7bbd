"""A graph as a browser draws it: nodes in layers, each behind all that it needs. No I/O."""

from __future__ import annotations

from collections import Counter
from typing import Any

from scaler.ids import task_label, u32, u64
from scaler.messages import GraphDescription

STATES = ("", "waiting", "ready", "assigned", "running", "asked back", "succeeded", "failed", "cancelled")
MOST_NODES = 1000
"""Larger graphs are drawn with a node for each function in each layer."""
MOST_EDGES = 5000

Node = dict[str, Any]


def graph_view(told: GraphDescription) -> dict[str, Any]:
    """Nodes with their place (layer, and position in it), and edges as pairs of places in the list of nodes.

    Raises ValueError for columns that do not fit together.
    """
    tasks, functions, ends, needed = (
        u64(told.tasks),
        u32(told.functions),
        u32(told.dependency_ends),
        u32(told.dependencies),
    )
    if not len(tasks) == len(functions) == len(told.states) == len(ends):
        raise ValueError("columns of different lengths")
    before = [needed[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []
    layers = _layers([list(dependencies) for dependencies in before])
    nodes: list[Node] = [
        {
            "task": task_label(task),
            "function": told.function_names[function],
            "state": STATES[state] if state < len(STATES) else str(state),
            "layer": layer,
            "count": 1,
        }
        for task, function, state, layer in zip(tasks, functions, told.states, layers, strict=True)
    ]
    edges = [(place, after) for after, dependencies in enumerate(before) for place in dependencies]
    if len(nodes) > MOST_NODES:
        nodes, edges = _grouped(nodes, edges)
    _place(nodes, edges)
    return {"nodes": nodes, "edges": edges[:MOST_EDGES], "shown": len(tasks), "total": told.total}


def _layers(before: list[list[int]]) -> list[int]:
    """For each the length of the longest chain before it."""
    after: list[list[int]] = [[] for _ in before]
    missing = [len(dependencies) for dependencies in before]
    for node, dependencies in enumerate(before):
        for dependency in dependencies:
            after[dependency].append(node)
    layers = [0] * len(before)
    free = [node for node, count in enumerate(missing) if not count]
    for node in free:
        for user in after[node]:
            layers[user] = max(layers[user], layers[node] + 1)
            missing[user] -= 1
            if not missing[user]:
                free.append(user)
    return layers


def _grouped(nodes: list[Node], edges: list[tuple[int, int]]) -> tuple[list[Node], list[tuple[int, int]]]:
    """A node for all of a function, in the same layer and state."""
    places: dict[tuple[str, int, str], int] = {}
    of_node = [places.setdefault((node["function"], node["layer"], node["state"]), len(places)) for node in nodes]
    counts = Counter(of_node)
    grouped = [
        {"task": "", "function": function, "state": state, "layer": layer, "count": counts[place]}
        for (function, layer, state), place in places.items()
    ]
    return grouped, list(dict.fromkeys((of_node[begin], of_node[end]) for begin, end in edges))


def _place(nodes: list[Node], edges: list[tuple[int, int]]) -> None:
    """Positions in layers: near the middle of what each needs, so that few edges cross."""
    before: dict[int, list[int]] = {}
    for begin, end in edges:
        before.setdefault(end, []).append(begin)
    layers: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        layers.setdefault(node["layer"], []).append(place)
    for layer in sorted(layers):
        middle = {}
        for place in layers[layer]:
            needed = [nodes[other]["position"] for other in before.get(place, ()) if "position" in nodes[other]]
            middle[place] = sum(needed) / len(needed) if needed else 0.0
        ordered = sorted(layers[layer], key=lambda place: (middle[place], place))
        for rank, place in enumerate(ordered):
            nodes[place]["position"] = rank - (len(ordered) - 1) / 2
