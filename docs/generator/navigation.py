"""In which section each page stands, and in which order."""

from __future__ import annotations

from pathlib import Path

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("docs/start.md", "docs/concepts.md"),
    "User guide": ("docs/guide.md", "docs/tasks.md", "docs/graphs.md", "docs/objects.md", "docs/languages.md"),
    "Gallery": ("docs/gallery/index.md",),
    "Deploying": (
        "docs/deploying.md",
        "docs/scaling.md",
        "docs/slurm.md",
        "docs/kubernetes.md",
        "docs/aws.md",
        "docs/security.md",
    ),
    "Operating": ("docs/operating.md", "docs/monitoring.md", "docs/dashboard.md", "docs/tracing.md"),
    "Reference": ("reference/*.rst",),
    "Moving from others": ("docs/moving.md", "docs/compat.md"),
    "Inside and contributing": (
        "docs/architecture.md",
        "docs/contributing.md",
        "protocol/README.md",
        "protocol/vectors/README.md",
        "protocol/clients/*/README.md",
    ),
    "Benchmarks and reliability": ("docs/benchmarks.md", "docs/benchmarks-graphs.md", "docs/reliability.md"),
    "Where it will not serve you": ("docs/where-not.md",),
    "The project": ("docs/*.md", "CHANGELOG.md", "SECURITY.md"),
}
"""Patterns of pages. A page stands in the first section that has it; the last one has those that no other names."""
FRONT = "index.md"


def sections(tree: Path) -> dict[str, list[str]]:
    """The pages of each section that are there, without their suffix; sections without pages are left out."""
    taken: set[str] = set()
    found: dict[str, list[str]] = {}
    for title, patterns in SECTIONS.items():
        pages = [path.relative_to(tree).as_posix() for pattern in patterns for path in sorted(tree.glob(pattern))]
        fresh = [page for page in dict.fromkeys(pages) if page not in taken]
        taken.update(fresh)
        if fresh:
            found[title] = [page.rpartition(".")[0] for page in fresh]
    return found


def with_contents(tree: Path) -> str:
    """The front page's text, with what makes the navigation at its end."""
    blocks = [_toctree(pages, f":caption: {title}\n") for title, pages in sections(tree).items()]
    return "\n".join([(tree / FRONT).read_text(), *blocks])


def with_subpages(index: Path) -> str:
    """The text of an index page, with the other pages of its directory below it."""
    pages = sorted(path.stem for path in index.parent.glob("*.md") if path != index)
    return index.read_text() + (_toctree(pages) if pages else "")


def _toctree(pages: list[str], options: str = "") -> str:
    return f"\n```{{toctree}}\n:hidden:\n{options}\n" + "\n".join(pages) + "\n```\n"
