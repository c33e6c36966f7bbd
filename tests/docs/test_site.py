"""The whole site is made once: with nothing to warn of, nothing from elsewhere, and all that the code has in its reference."""

import importlib
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import scaler
from docs.generator.protocol import label
from scaler import errors
from scaler.config import Option
from scaler.wire import schema

TOP = Path(__file__).parents[2]
SUBCOMMANDS = ("scaler.cli.demo", "scaler.cli.make_secret", "scaler.cli.make_certificate")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "docs.generator", "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=TOP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return output / "html"


@pytest.fixture(scope="module")
def names(site) -> dict[str, set[str]]:
    """What can be linked to, by its kind."""
    found = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    return {kind: set(entries) for kind, entries in found.items()}


class Loaded(HTMLParser):
    """What a browser loads for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag == "link" and told.get("rel") in ("canonical", "license"):
            return
        loaded = ("src", "srcset", "data", *(["href"] if tag == "link" else []))
        self.places += [told[name] or "" for name in loaded if told.get(name)]


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert len(loaded.places) > 3
        assert [place for place in loaded.places if re.match(r"\w+:|//", place) and not place.startswith("data:")] == []
    for sheet in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = sheet.read_text()
        assert re.findall(r"url\(\s*['\"]?(?:\w+:)?//[^)]*|@import[^;]*", text) == [], sheet


def test_pages_are_found_by_their_words_without_a_server(site):
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(")
    for page in ("docs/guide", "protocol/README", "reference/commands/scaler_scheduler", "CHANGELOG"):
        assert f'"{page}"' in index


def test_every_page_is_in_the_navigation(site):
    front = (site / "index.html").read_text()
    for page in sorted((TOP / "docs").glob("*.md")):
        assert f'href="docs/{page.stem}.html"' in front, page


@pytest.mark.parametrize("name", scaler.__all__)
def test_the_reference_has_every_public_name(names, name):
    full = f"scaler.errors.{name}" if hasattr(errors, name) else f"scaler.{name}"
    assert full in set().union(*(found for kind, found in names.items() if kind.startswith("py:")))


@pytest.mark.parametrize("name", [name for name in dir(scaler.Client) if not name.startswith("_")])
def test_the_reference_has_every_method_of_a_client(names, name):
    assert f"scaler.Client.{name}" in set().union(*names.values())


def command_modules() -> list[str]:
    scripts = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["scripts"]
    return [*(place.partition(":")[0] for place in scripts.values()), *SUBCOMMANDS]


@pytest.mark.parametrize("module", command_modules())
def test_the_reference_has_every_option(names, module):
    of_it = importlib.import_module(module)
    command = getattr(of_it, "COMMAND", None)
    program = (command.program if command else of_it.PROGRAM).replace(" ", "-")
    options = [(program, option) for option in of_it.OPTIONS]
    for kind in command.kinds if command else ():
        options += [(f"{program}-{kind}", option) for option in command.options_of_kind(kind)]
    assert options
    for where, option in options:
        for flag in written(option):
            assert f"{where}.{flag}" in names["std:cmdoption"]


def written(option: Option) -> list[str]:
    return [option.name.upper()] if option.positional else [flag for flag in (option.flag, option.short) if flag]


@pytest.mark.parametrize("path", sorted((TOP / "protocol").glob("*.capnp")), ids=lambda path: path.stem)
def test_the_reference_has_every_message(names, path):
    declared = [name for name, value in vars(schema.load(path.stem)).items() if hasattr(value, "schema")]
    assert declared
    for name in declared:
        assert label(path.stem, name) in names["std:label"]


BAD = {
    "missing.md": "[x](missing.md)",
    "'nowhere'": "[x](a.md#nowhere)",
    "'absent'": "[x](#absent)",
    "none.png": "![x](none.png)",
}
"""What Sphinx tells of, and what a page has."""
BUILD = (
    "import sys, pathlib; from docs.generator import site; top = pathlib.Path(sys.argv[1]);"
    " sys.exit(site.build(top, top / 'out', reference=False))"
)


def test_what_leads_nowhere_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# Front\n\n[a](docs/a.md#there)\n")
    (tmp_path / "docs/a.md").write_text("# A\n\n## There\n")
    command = [sys.executable, "-c", BUILD, tmp_path]
    good = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=TOP)
    assert (good.returncode, good.stderr) == (0, "")
    for i, text in enumerate(BAD.values()):
        (tmp_path / f"docs/b{i}.md").write_text(f"# B\n\n{text}\n")
    bad = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=TOP)
    assert bad.returncode == 1
    warnings = sorted(line for line in bad.stderr.splitlines() if "WARNING" in line)
    assert len(warnings) == len(BAD)
    for i, (told, line) in enumerate(zip(BAD, warnings, strict=True)):
        assert f"docs/b{i}.md:3: " in line
        assert told in line
