"""The tree that Sphinx reads: the pages of the checkout, each at its own place, and what they link to."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from docs.generator import navigation

PAGES = ("CHANGELOG.md", "SECURITY.md", "docs/**/*.md", "protocol/**/*.md")
FRONT = "README.md"
"""It is the front page of the site, too."""
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def plant(top: Path, tree: Path) -> None:
    """Copy the pages of a checkout into an empty directory, with pictures and files that they link to."""
    _plant_page(top, tree, top / FRONT, tree / navigation.FRONT)
    for pattern in PAGES:
        for page in top.glob(pattern):
            if "node_modules" not in page.parts:
                _plant_page(top, tree, page, tree / page.relative_to(top))


def finish(tree: Path) -> None:
    """Write the navigation into the front page, and into the indices of directories."""
    front = tree / navigation.FRONT
    front.write_text(navigation.with_contents(tree))
    for index in tree.glob("docs/*/index.md"):
        index.write_text(navigation.with_subpages(index))


def _plant_page(top: Path, tree: Path, page: Path, place: Path) -> None:
    def planted(link: re.Match[str]) -> str:
        return link[1] + _target(top, tree, page, link[2]) + link[3]

    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(LINK.sub(planted, page.read_text()))


def _target(top: Path, tree: Path, page: Path, link: str) -> str:
    """Where a link of a page leads in the tree; files that are no pages are copied there."""
    path = (page.parent / link).resolve()
    if not path.is_relative_to(top):
        return link
    name = path.relative_to(top)
    if path == top / FRONT:
        return _from(page, top, Path(navigation.FRONT))
    if path.suffix == ".capnp" and name.parent == Path("protocol"):
        return _from(page, top, Path("reference/protocol", f"{path.stem}.rst"))
    if path.is_dir():
        inside = [name / index for index in ("index.md", "README.md") if (path / index).is_file()]
        return _from(page, top, inside[0]) if inside else link
    if path.is_file() and path.suffix != ".md":
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, tree / name)
    return link


def _from(page: Path, top: Path, name: Path) -> str:
    return Path(os.path.relpath(top / name, page.parent)).as_posix()
