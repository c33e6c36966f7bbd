"""A profile as a browser draws it: a flame graph, and a table. No I/O."""

from __future__ import annotations

from typing import Any

from scaler.monitor.profile import Profile
from scaler.monitor.profile_text import where

MOST_NODES = 3000
LEAST_SHARE = 0.001
"""Of all, below which a place is not drawn."""
MOST_FUNCTIONS = 100


def profile_view(profile: Profile) -> dict[str, Any]:
    """Places as columns that plotly takes: ids, parents, labels, seconds. And what each function had."""
    root = profile.tree()
    ids: dict[int, str] = {id(root): "0"}
    columns: dict[str, list[Any]] = {"ids": ["0"], "parents": [""], "labels": ["all"], "where": [""], "seconds": []}
    columns["seconds"].append(root.total / profile.hertz)
    waiting = [root]
    for node in waiting:
        for child in node.children:
            if len(ids) >= MOST_NODES or child.total < LEAST_SHARE * root.total:
                break
            ids[id(child)] = str(len(ids))
            columns["ids"].append(ids[id(child)])
            columns["parents"].append(ids[id(node)])
            columns["labels"].append(child.frame.name or "(unnamed)")
            columns["where"].append(where(child.frame))
            columns["seconds"].append(child.total / profile.hertz)
            waiting.append(child)
    return {
        "label": profile.label,
        "ended": profile.ended,
        "parts": profile.parts,
        "missing": profile.notes,
        "flame": columns,
        "functions": [
            {
                "name": share.frame.name,
                "where": where(share.frame),
                "own": share.own / profile.hertz,
                "total": share.total / profile.hertz,
            }
            for share in profile.shares()[:MOST_FUNCTIONS]
        ],
    }
