"""The results as pictures: small SVG files that stand beside the documentation."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.goals import LABELS, values

Results = dict[str, Any]
BARS = (
    ("submit", "submit, tasks/s", "greater is better"),
    ("map", "map, items/s", "greater is better"),
    ("round_trip", "round trip p50, us", "less is better"),
    ("graph", "tree graph, nodes/s", "greater is better"),
    ("echo", "100 MiB array echo, s", "less is better"),
)


def draw(results: Results, folder: Path) -> list[str]:
    """Write what can be drawn; returns the names of the files. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    # Text as text, and nothing that changes from run to run: small files with small differences.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "scaler", "font.size": 9})
    written = []
    for name, drawn in (("benchmarks-peers.svg", _peers(results)), ("benchmarks-growth.svg", _growth(results))):
        if drawn is not None:
            drawn.tight_layout()
            drawn.savefig(folder / name, metadata={"Date": None})
            written.append(name)
    return written


def _peers(results: Results) -> Any:
    from matplotlib import pyplot

    systems = [name for name, found in results.get("systems", {}).items() if "missing" not in found]
    panels = [bar for bar in BARS if any(values(results, name, bar[0]) for name in systems)]
    if not panels:
        return None
    size = (1.5 + 1.9 * len(panels), 0.8 + 0.3 * len(systems))
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (measure, label, better) in zip(axes[0], panels, strict=True):
        for place, name in enumerate(systems):
            found = values(results, name, measure)
            if found:
                axis.barh(place, statistics.median(found), color="tab:blue" if name == "scaler" else "lightgray")
                axis.plot([min(found), max(found)], [place, place], color="black", linewidth=1)
        axis.set_xscale("log")
        axis.set_title(f"{label}\n({better})", fontsize=9)
    axes[0][0].set_yticks(range(len(systems)), [LABELS[name] for name in systems])
    axes[0][0].invert_yaxis()
    return figure


def _growth(results: Results) -> Any:
    from matplotlib import pyplot

    curves = results.get("growth", {})
    if not curves:
        return None
    figure, axes = pyplot.subplots(1, len(curves), figsize=(3 * len(curves), 2.6), sharey=True, squeeze=False)
    for axis, (curve, sizes) in zip(axes[0], curves.items(), strict=True):
        places = [int(size) for size in sizes]
        axis.plot(places, [statistics.median(found) for found in sizes.values()], marker="o", color="tab:blue")
        axis.fill_between(places, [min(f) for f in sizes.values()], [max(f) for f in sizes.values()], alpha=0.2)
        axis.set_xscale("log")
        axis.set_xlabel(curve)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("us a task")
    axes[0][0].set_ylim(bottom=0)  # for all of them, once all have been drawn
    return figure
