"""The site: a tree of pages, which Sphinx makes HTML of."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.cmd.build import build_main

from docs.generator import api, commands, errors, metrics, protocol, tree

CONFIGURATION = Path(__file__).with_name("sphinx")
OPTIONS = ("--quiet", "--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env", "--jobs=auto")


def build(top: Path, output: Path, reference: bool = True) -> int:
    """Make ``output/html`` of a checkout; returns the exit code, 0 when there was nothing to warn of.

    Sphinx tells on stderr what is wrong: links and anchors that lead nowhere among it.
    """
    source, html = output / "source", output / "html"
    for directory in (source, html):
        shutil.rmtree(directory, ignore_errors=True)
    tree.plant(top, source)
    if reference:
        write_reference(top, source / "reference")
    tree.finish(source)
    places = ["-c", str(CONFIGURATION), "-d", str(output / "doctrees"), str(source), str(html)]
    return int(build_main([*OPTIONS, *places]))


def write_reference(top: Path, directory: Path) -> None:
    """The pages that are made of code and schemas."""
    for name, text in {
        **api.pages(),
        **commands.pages(),
        **protocol.pages(top / "protocol"),
        "errors": errors.page(),
        "metrics": metrics.page(top / "scaler"),
    }.items():
        path = directory / f"{name}.rst"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
