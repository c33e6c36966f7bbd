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
    figure, axes = pyplot.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.8), squeeze=False)
    for axis, (measure, label, better) in zip(axes[0], panels, strict=True):
        shown = [name for name in systems if values(results, name, measure)]
        middles = [statistics.median(values(results, name, measure)) for name in shown]
        colors = ["tab:blue" if name == "scaler" else "lightgray" for name in shown]
        axis.barh(range(len(shown)), middles, color=colors)
        for place, name in enumerate(shown):
            found = values(results, name, measure)
            axis.plot([min(found), max(found)], [place, place], color="black", linewidth=1)
        axis.set_yticks(range(len(shown)), [LABELS[name] for name in shown])
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_title(f"{label}\n({better})")
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
        axis.set_ylim(bottom=0)
        axis.set_xlabel(curve)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("us a task")
    return figure
