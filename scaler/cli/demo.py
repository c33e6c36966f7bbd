"""``scaler demo``: reads the source of the Python standard library on a local cluster and tells what is in it."""

from __future__ import annotations

import ast
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaler.client.client import Client
from scaler.config import Option, natural, parse
from scaler.errors import ScalerError

OPTIONS = (
    Option("num_of_workers", "how many tasks run at once (default: as many as there are CPUs)", None, natural, "-n"),
)
DESCRIPTION = """\
Starts a local cluster, analyses the source files of the Python standard
library on it, one task a file, combines the answers through a graph, and
shows what it found.
"""
MERGE = 16
"""How many summaries one task of the graph combines."""


@dataclass(slots=True)
class Summary:
    """What is known of one file, or of many."""

    files: int = 0
    unreadable: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    longest: list[tuple[int, str]] = field(default_factory=list)
    """(lines, path) of the longest functions, longest first."""


def analyse(path: str) -> Summary:
    """Read one source file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return Summary(files=1, unreadable=1)
    found = Summary(files=1, lines=text.count("\n"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions += 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            found.longest.append((length, f"{Path(path).name}:{node.name}"))
        elif isinstance(node, ast.ClassDef):
            found.classes += 1
        elif isinstance(node, ast.Import):
            found.imports.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.imports[node.module.split(".")[0]] += 1
        elif isinstance(node, ast.Name):
            found.names[node.id] += 1
    found.names = Counter(dict(found.names.most_common(50)))
    found.longest = sorted(found.longest, reverse=True)[:5]
    return found


def merge(*summaries: Summary) -> Summary:
    """Many summaries as one."""
    total = Summary()
    for one in summaries:
        total.files += one.files
        total.unreadable += one.unreadable
        total.lines += one.lines
        total.functions += one.functions
        total.classes += one.classes
        total.imports.update(one.imports)
        total.names.update(one.names)
        total.longest += one.longest
    total.longest = sorted(total.longest, reverse=True)[:5]
    return total


def merge_graph(summaries: Sequence[Summary]) -> tuple[dict[str, Any], str]:
    """A tree of merges over the summaries, and the key of its root."""
    graph: dict[str, Any] = {f"file-{i}": summary for i, summary in enumerate(summaries)}
    level = list(graph)
    while len(level) > 1:
        groups = [level[i : i + MERGE] for i in range(0, len(level), MERGE)]
        level = []
        for group in groups:
            key = f"merge-{len(graph)}"
            graph[key] = (merge, *group)
            level.append(key)
    return graph, level[0]


def source_files() -> list[str]:
    """The standard library's source files, the largest first so that none is left for the end."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
    files.sort(key=lambda path: path.stat().st_size, reverse=True)
    return [str(path) for path in files]


def report(found: Summary, slots: int, tasks: int, took: float) -> str:
    """What was found, for people."""

    def ranking(counter: Counter[str]) -> str:
        return "  ".join(f"{name} {count:,}" for name, count in counter.most_common(6))

    longest = "\n".join(f"    {lines:>7,} lines   {place}" for lines, place in found.longest)
    return f"""
The Python standard library, read on {slots} slots:

    {found.files:>9,} files, {found.unreadable} of them not valid Python
    {found.lines:>9,} lines
    {found.functions:>9,} functions
    {found.classes:>9,} classes

Most imported   {ranking(found.imports)}
Most used       {ranking(found.names)}
Longest functions
{longest}

{tasks:,} tasks in {took:.2f} s: {tasks / took:,.0f} tasks/s
"""


def work(slots: int | None) -> str:
    """Start a cluster, do the work, and say what was found."""
    files = source_files()
    with Client(n_workers=slots, name="demo") as client:
        began = time.perf_counter()
        summaries = client.map(analyse, files, progress=True)
        graph, root = merge_graph(summaries)
        found = client.get(graph, [root])[root]
        took = time.perf_counter() - began
        merges = len(graph) - len(files)
        assert client.cluster is not None
        return report(found, client.cluster.slots, len(files) + merges, took)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = parse("scaler demo", DESCRIPTION, "cluster", OPTIONS, argv)
    try:
        print(work(given.num_of_workers))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except ScalerError as error:
        print(f"scaler demo: {error}", file=sys.stderr)
        return 1
    return 0
