"""Pages lie in the tree as in the checkout, with what they link to."""

from pathlib import Path

import pytest

from docs.generator import navigation, tree


@pytest.fixture
def planted(tmp_path) -> Path:
    """A tree of a small checkout."""
    top = tmp_path / "top"
    for name, text in {
        "README.md": "# Front\n\n![p](docs/p.svg) [licence](LICENSE)\n",
        "LICENSE": "free\n",
        "CHANGELOG.md": "# Changes\n\n[front](README.md) [guide](docs/guide.md#there)\n",
        "docs/p.svg": "<svg/>",
        "docs/guide.md": "# Guide\n\n[up](../README.md#a) [schema](../protocol/task.capnp) [dir](../protocol/clients/cpp/)\n"
        "[gone](x.md)\n",
        "docs/later.md": "# Later\n",
        "docs/gallery/index.md": "# Gallery\n",
        "docs/gallery/a.md": "# A\n\n[web](https://example.org/x) [here](#a)\n",
        "docs/generator/x.py": "",
        "protocol/task.capnp": "",
        "protocol/README.md": "# Protocol\n",
        "protocol/clients/cpp/README.md": "# C++\n\n[source](main.cpp)\n",
        "protocol/clients/cpp/main.cpp": "int main() {}\n",
        "protocol/clients/ts/node_modules/x/README.md": "# Not ours\n",
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    place = tmp_path / "tree"
    tree.plant(top, place)
    return place


def test_links_hold_in_the_tree(planted):
    guide = (planted / "docs/guide.md").read_text()
    assert "[up](../index.md#a)" in guide
    assert "[schema](../reference/protocol/task.rst)" in guide
    assert "[dir](../protocol/clients/cpp/README.md)" in guide
    assert "[gone](x.md)" in guide
    assert "[front](index.md) [guide](docs/guide.md#there)" in (planted / "CHANGELOG.md").read_text()
    assert "[web](https://example.org/x) [here](#a)" in (planted / "docs/gallery/a.md").read_text()


def test_what_is_linked_to_is_there_and_nothing_else(planted):
    found = {path.relative_to(planted).as_posix() for path in planted.rglob("*") if path.is_file()}
    assert found == {
        "index.md",
        "LICENSE",
        "CHANGELOG.md",
        "docs/p.svg",
        "docs/guide.md",
        "docs/later.md",
        "docs/gallery/index.md",
        "docs/gallery/a.md",
        "protocol/README.md",
        "protocol/clients/cpp/README.md",
        "protocol/clients/cpp/main.cpp",
    }


def test_each_page_is_in_one_section(planted):
    found = navigation.sections(planted)
    assert found["User guide"] == ["docs/guide"]
    assert found["Inside and contributing"] == ["protocol/README", "protocol/clients/cpp/README"]
    assert found["The project"] == ["docs/later", "CHANGELOG"]  # what no section names
    assert "Start" not in found  # none of its pages is there
    assert list(found) == [title for title in navigation.SECTIONS if title in found]


def test_the_navigation_is_written_behind_the_pages(planted):
    tree.finish(planted)
    front, gallery = (planted / "index.md").read_text(), (planted / "docs/gallery/index.md").read_text()
    assert front.startswith("# Front\n")
    assert "```{toctree}\n:hidden:\n:caption: Gallery\n\ndocs/gallery/index\n```" in front
    assert gallery == "# Gallery\n\n```{toctree}\n:hidden:\n\na\n```\n"
