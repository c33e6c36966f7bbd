"""Profiles as text, and in the forms that other programs read. No I/O."""

from __future__ import annotations

from typing import Any

from scaler.display import duration
from scaler.monitor.profile import Node, Profile
from scaler.stacks import Frame

LEAST_SHARE = 0.005
"""Of all, below which a line of text is left out."""
MOST_LINES = 200


def where(frame: Frame) -> str:
    """``pricing.py:88``; empty for a function that was called as a task."""
    return f"{frame.file.replace(chr(92), '/').rpartition('/')[2]}:{frame.line}" if frame.file else ""


def percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f}%" if total else "-"


def as_text(profile: Profile) -> str:
    """A line for each function in its place, indented by depth, with what is less than half a percent left out."""
    root = profile.tree()
    nodes = list(root.walk())[1:]
    shown = [(len(path) - 2, node) for path, node in nodes if node.total >= LEAST_SHARE * root.total][:MOST_LINES]
    lines = [profile.label, *(f"missing: {note}" for note in profile.notes), ""]
    lines.append(f"{'total':>7} {'self':>7} {'time':>9}  function")
    for depth, node in shown:
        time = duration(node.total / profile.hertz)
        shares = f"{percent(node.total, root.total):>7} {percent(node.own, root.total):>7} {time:>9}"
        lines.append(f"{shares}  {'  ' * depth}{node.frame.name or '(unnamed)'}  {where(node.frame)}".rstrip())
    if len(shown) < len(nodes):
        lines.append(f"and {len(nodes) - len(shown):,} more places")
    return "\n".join(lines if nodes else [*lines, "no task ran"])


def as_json(profile: Profile) -> dict[str, Any]:
    """Plain values: what was asked, what is missing, and every stack with its seconds."""
    return {
        "seconds": profile.seconds,
        "hertz": profile.hertz,
        "worker": profile.worker.hex(),
        "function": profile.function,
        "workers": profile.workers,
        "executors": profile.executors,
        "missing": profile.notes,
        "task_seconds": profile.total / profile.hertz,
        "functions": [
            {**share.frame._asdict(), "total": share.total / profile.hertz, "self": share.own / profile.hertz}
            for share in profile.shares()
        ],
        "stacks": [
            {"function": function, "stack": [frame._asdict() for frame in stack], "seconds": count / profile.hertz}
            for (function, stack), count in profile.counts.counts.items()
        ],
    }


def as_folded(profile: Profile) -> str:
    """A line for each stack: names with semicolons between them, and a count. Many tools draw flame graphs of it."""
    return "".join(
        f"{';'.join([_plain(function), *(f'{_plain(f.name)} ({where(f)})' for f in stack)])} {count}\n"
        for (function, stack), count in profile.counts.counts.items()
    )


def _plain(name: str) -> str:
    return name.replace(";", ":").replace("\n", " ") or "(unnamed)"


def as_speedscope(profile: Profile) -> dict[str, Any]:
    """The file format of speedscope.app: a sampled profile for each function, weights in seconds."""
    frames: dict[Frame, int] = {}
    samples: dict[str, tuple[list[list[int]], list[float]]] = {}
    for (function, stack), count in profile.counts.counts.items():
        stacks, weights = samples.setdefault(function, ([], []))
        stacks.append([frames.setdefault(frame, len(frames)) for frame in (Frame(function, "", 0), *stack)])
        weights.append(count / profile.hertz)
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "scaler",
        "name": profile.label,
        "shared": {"frames": [{"name": f.name, "file": f.file, "line": f.line} for f in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": function,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": stacks,
                "weights": weights,
            }
            for function, (stacks, weights) in samples.items()
        ],
    }


def share_of(node: Node, root: Node) -> float:
    """Between 0 and 1."""
    return node.total / root.total if root.total else 0.0
