"""``scaler demo``: reads the source of the Python standard library on a cluster and tells what is in it."""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaler.cli.arguments import parse
from scaler.cli.options import SECURITY, security_of
from scaler.config import Option, address, natural
from scaler.errors import ScalerError
from scaler.security import SecurityConfig

PROGRAM = "scaler demo"
DESCRIPTION = """Start a cluster on this machine and read the Python standard library on it.

Each source file is one task of a map; a graph of merges combines what they found.
"""
OPTIONS = (
    Option(
        "address",
        "a running scheduler whose workers have this Python, instead of a cluster of its own",
        kind=address,
    ),
    Option(
        "num_of_workers", "how many tasks run at once; as many as there are CPUs without it", kind=natural, short="-n"
    ),
    *SECURITY,
)
MERGE = 16
"""How many summaries one task of the graph combines."""
RANKED = 6
INTERRUPTED = 130
ENDS = f"0 done; 1 it did not work; {INTERRUPTED} interrupted by Ctrl-C"


@dataclass(slots=True)
class Summary:
    """What is known of one file, or of many."""

    files: int = 0
    unreadable: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    imports: Counter[str] = field(default_factory=Counter)
    """Module to the number of files that import it."""
    names: Counter[str] = field(default_factory=Counter)
    longest_files: list[tuple[int, str]] = field(default_factory=list)
    """(lines, path), longest first."""
    longest_functions: list[tuple[int, str]] = field(default_factory=list)
    processes: set[int] = field(default_factory=set)


def analyse(path: str, shown: str) -> Summary:
    """Read one source file. ``shown`` is what to call it."""
    found = Summary(files=1, processes={os.getpid()})
    try:
        text = Path(path).read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's tests have bad escapes on purpose
            tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        found.unreadable = 1
        return found
    found.lines = text.count("\n")
    found.longest_files = [(found.lines, shown)]
    modules: set[str] = set()
    for node in ast.walk(tree):
        _count(node, found, modules, shown)
    found.imports.update(modules)
    found.longest_functions = sorted(found.longest_functions, reverse=True)[:RANKED]
    return found


def _count(node: ast.AST, found: Summary, modules: set[str], shown: str) -> None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        found.functions += 1
        found.longest_functions.append(((node.end_lineno or node.lineno) - node.lineno + 1, f"{shown}: {node.name}"))
    elif isinstance(node, ast.ClassDef):
        found.classes += 1
    elif isinstance(node, ast.Import):
        modules.update(alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        modules.add(node.module.split(".")[0])
    elif isinstance(node, ast.Name):
        found.names[node.id] += 1


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
        total.longest_files += one.longest_files
        total.longest_functions += one.longest_functions
        total.processes |= one.processes
    total.longest_files = sorted(total.longest_files, reverse=True)[:RANKED]
    total.longest_functions = sorted(total.longest_functions, reverse=True)[:RANKED]
    return total


def conclude(found: Summary) -> Summary:
    """The last node: only what is shown has to travel to the client."""
    found.imports = Counter(dict(found.imports.most_common(RANKED)))
    found.names = Counter(dict(found.names.most_common(RANKED)))
    return found


def merge_graph(summaries: Sequence[Summary]) -> dict[str, Any]:
    """A tree of merges over the summaries; the node "all" has the result."""
    graph: dict[str, Any] = {f"file-{i}": summary for i, summary in enumerate(summaries)}
    level = list(graph)
    while len(level) > 1:
        groups = [level[i : i + MERGE] for i in range(0, len(level), MERGE)]
        level = [f"merge-{len(graph) + i}" for i in range(len(groups))]
        graph.update((key, (merge, *group)) for key, group in zip(level, groups, strict=True))
    graph["all"] = (conclude, *level)
    return graph


def source_files() -> tuple[list[str], list[str]]:
    """Paths of the standard library's source files and what to call them, the largest first: none is left for the end."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for path in library.rglob("*.py") if "site-packages" not in path.parts and path.is_file()]
    files.sort(key=lambda path: path.stat().st_size, reverse=True)
    return [str(path) for path in files], [str(path.relative_to(library)) for path in files]


def report(found: Summary, slots: int | None, tasks: int, took: float) -> str:
    """What was found, for people."""
    where = f"{slots} slots" if slots else f"{len(found.processes)} processes"
    totals = (
        (f"{found.files:,}", "files" + (f", {found.unreadable} of them not valid" if found.unreadable else "")),
        (f"{found.lines:,}", "lines"),
        (f"{found.functions:,}", "functions"),
        (f"{found.classes:,}", "classes"),
    )
    lines = [f"The standard library of Python {sys.version.split()[0]}, read on {where}", ""]
    lines += [f"  {number:>9} {what}" for number, what in totals]
    lines += _ranking("Imported by most files", [(count, name) for name, count in found.imports.most_common()])
    lines += _ranking("Names used most", [(count, name) for name, count in found.names.most_common()])
    lines += _ranking("Longest files, in lines", found.longest_files)
    lines += _ranking("Longest functions, in lines", found.longest_functions)
    lines += ["", f"{tasks:,} tasks in {took:.1f} s on {where}: {tasks / took:,.0f} tasks/s"]
    return "\n".join(lines)


def _ranking(title: str, entries: Sequence[tuple[int, str]]) -> list[str]:
    return ["", title, *(f"  {number:>9,} {name}" for number, name in entries)]


def work(where: str | None, slots: int | None, security: SecurityConfig | None = None) -> str:
    """Do the work on a cluster, and say what was found."""
    from scaler.client.client import Client

    paths, names = source_files()
    with Client(where, n_workers=slots, name="demo", security_config=security) as client:
        print(f"{len(paths):,} files to read, at {client.address}", flush=True)
        began = time.perf_counter()
        summaries = client.map(analyse, paths, names, progress=True)
        graph = merge_graph(summaries)
        found = client.get(graph, ["all"])["all"]
        took = time.perf_counter() - began
        used = client.cluster.slots if client.cluster is not None else None
    # A task for each file, whose summary is a constant of the graph, and one for each other node.
    return report(found, used, len(graph), took)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    options = parse(PROGRAM, DESCRIPTION, "", OPTIONS, argv, ENDS)
    try:
        where = str(options.address) if options.address else None
        print("\n" + work(where, options.num_of_workers, security_of(options)))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return INTERRUPTED
    except ScalerError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
