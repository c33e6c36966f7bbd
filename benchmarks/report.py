"""The results as tables, and into the documentation between its marks."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS, LABELS, number, values

Results = dict[str, Any]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ROWS = (
    ("start", "value", "start to first result, s"),
    ("submit", "value", "submit, tasks/s"),
    ("map", "value", "map, items/s"),
    ("round_trip", "value", "round trip p50, us"),
    ("round_trip", "p99", "round trip p99, us"),
    ("graph", "value", "tree graph, nodes/s"),
    ("echo", "value", "100 MiB array echo, s"),
    ("shared", "value", "100 MiB array shared by 20 tasks, s"),
    ("megabytes", "value", "1 MiB bytes there and back, MB/s"),
    ("idle", "value", "idle, memory of all processes (PSS), MB"),
    ("idle", "cpu_percent", "idle, CPU of all processes, %"),
)
ROLES = ("client", "scheduler", "worker", "executor", "storage", "other")
LOADS = {"submit": "submit", "map": "map", "graph": "tree graph"}


def spread(found: list[float]) -> str:
    """The median, and the smallest and largest beside it."""
    middle = number(statistics.median(found))
    return f"{middle} ({number(min(found))} to {number(max(found))})" if len(found) > 1 else middle


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def text(results: Results, plots: list[str]) -> str:
    """All that was measured, as Markdown."""
    parts = [_machine(results)]
    if results.get("systems"):
        parts += [_systems(results), _notes(results), _cpu(results)]
    parts += [_goals(results), _alone(results)]
    if results.get("makespan"):
        parts.append(_makespan(results))
    if results.get("growth"):
        parts.append(_growth(results))
    parts += [f"![{Path(plot).stem}]({plot})" for plot in plots]
    return "\n\n".join(part for part in parts if part)


def write(document: Path, results: Results, plots: list[str]) -> None:
    """Put the text between the marks of a document; what stands outside is kept. Raises ValueError without marks."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no marks {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{text(results, plots)}\n\n{END}{after}")


def _machine(results: Results) -> str:
    machine = results["machine"]
    return (
        f"{machine['date']}: Python {machine['python']}, {machine['system']}, {machine['cpus']} CPUs, {machine['slots']} "
        f"slots, no-op tasks, {machine['repetitions']} repetitions, {machine['minutes']:.0f} minutes. "
        "Median (smallest to largest)."
    )


def _systems(results: Results) -> str:
    systems = results["systems"]
    head = ["", *(f"{LABELS[name]} {_version(found)}".strip() for name, found in systems.items())]
    rows = []
    for measure, field, label in ROWS:
        cells = [_cell(results, name, measure, field) for name in systems]
        if any(cell != "-" for cell in cells):
            rows.append([label, *cells])
    return "## Next to the peers\n\n" + table(head, rows)


def _version(found: Results) -> str:
    return re.sub("^Python .*", "", found.get("version", ""))


def _cell(results: Results, system: str, measure: str, field: str) -> str:
    found = values(results, system, measure, field)
    return spread(found) if found else "-"


def _notes(results: Results) -> str:
    """How many tasks, and every dash of the table with its reason."""
    notes = []
    for measure in ("submit", "map", "round_trip", "graph", "echo", "shared", "megabytes"):
        counts: dict[int, list[str]] = {}
        for name in results["systems"]:
            for count in {int(value) for value in values(results, name, measure, "count")}:
                counts.setdefault(count, []).append(LABELS[name])
        if counts:
            most = max(counts, key=lambda count: len(counts[count]))
            others = [f"{count:,} for {' and '.join(names)}" for count, names in counts.items() if count != most]
            notes.append(f"- {measure.replace('_', ' ')}: {', '.join([f'{most:,} tasks', *others])}.")
    for name, found in results["systems"].items():
        if "missing" in found:
            notes.append(f"- {LABELS[name]} is missing: {found['missing']}.")
            continue
        for measure, answers in found["measures"].items():
            reasons = sorted({answer["missing"] for answer in answers if "missing" in answer})
            notes += [f"- {LABELS[name]}, {measure.replace('_', ' ')}: {reason}." for reason in reasons]
        notes += [f"- {LABELS[name]}: {trouble}." for trouble in sorted(set(found.get("troubles", [])))]
    return "\n".join(notes)


def _cpu(results: Results) -> str:
    rows = []
    for load, label in LOADS.items():
        for name in results["systems"]:
            answers = _cpu_of(results, name, load)
            if answers:
                medians = {role: statistics.median(a.get(role, 0.0) for a in answers) for role in ROLES}
                cells = [number(medians[role]) if any(role in a for a in answers) else "-" for role in ROLES]
                rows.append([f"{label}: {LABELS[name]}", *cells, number(sum(medians.values()))])
    return "CPU time a task, in microseconds:\n\n" + table(["", *ROLES, "all"], rows) if rows else ""


def _cpu_of(results: Results, system: str, load: str) -> list[dict[str, float]]:
    answers = results["systems"][system].get("measures", {}).get(load, [])
    return [answer["cpu_us"] for answer in answers if "cpu_us" in answer]


def _goals(results: Results) -> str:
    rows = [[goal.name, *goal.verdict(results)] for goal in GOALS]
    return "## Goals\n\n" + table(["ratio or figure", "goal", "reached", ""], rows)


def _alone(results: Results) -> str:
    rows = [
        [f"{part}: {name}", spread(found)]
        for part in ("zero", "state", "backlog 10,000", "backlog 1,000,000")
        for name, found in results.get(part, {}).items()
    ]
    return "## Parts by themselves\n\n" + table(["", ""], rows) if rows else ""


def _makespan(results: Results) -> str:
    rows = [
        [name, *(f"{found[key]:.2f}" for key in ("makespan", "bound", "one queue")), *_over(found)]
        for name, found in results["makespan"].items()
    ]
    head = ["200 slots simulated, seconds", "makespan", "bound", "one queue", "over bound", "over one queue"]
    return "## Makespan\n\n" + table(head, rows)


def _over(found: dict[str, float]) -> list[str]:
    return [f"{(found['makespan'] / found[key] - 1) * 100:+.1f} %" for key in ("bound", "one queue")]


def _growth(results: Results) -> str:
    rows = [
        [f"{int(size):,} {curve}", spread(found)]
        for curve, sizes in results["growth"].items()
        for size, found in sizes.items()
    ]
    return "## Cost that does not grow\n\n" + table(["the scheduler's state, microseconds a task", ""], rows)
