import importlib
from pathlib import Path

import pytest

from docs.generator import protocol, rst, schemas
from scaler.wire import schema

PROTOCOL = Path(__file__).parents[2] / "protocol"


@pytest.mark.parametrize("path", sorted(PROTOCOL.glob("*.capnp")), ids=lambda path: path.stem)
def test_finds_what_the_library_finds(path):
    loaded = {name: value.schema for name, value in vars(schema.load(path.stem)).items() if hasattr(value, "schema")}
    read = {declared.name: declared for declared in schemas.read(path).declared}
    assert read.keys() == loaded.keys()
    for name, declared in read.items():
        found = {member.name: member.number for member in declared.members}
        if declared.kind == "enum":
            assert found == loaded[name].enumerants
        else:
            fields = loaded[name].fields
            assert found == {field: fields[field].proto.ordinal.explicit for field in fields}
            assert {member.name for member in declared.members if member.in_union} == set(loaded[name].union_fields)


def test_comments_belong_to_what_stands_above(tmp_path):
    path = tmp_path / "x.capnp"
    path.write_text(
        "@0xd5f0c47e1b38a96d;\n# The file.\n#\n#   drawn\n\nconst limit :UInt16 = 7;\n# The most.\n\n"
        "struct A {\n  # All.\n  union {\n    one @0 :Void;\n    # First.\n    two @1 :List(B);\n  }\n"
        "  three @2 :Bool = true;\n}\n\nenum B {\n  zero @0;\n}\n"
    )
    found = schemas.read(path)
    assert found.comment == ["The file.", "", "  drawn"]
    assert [(one.name, one.value, one.comment) for one in found.constants] == [("limit", "7", ["The most."])]
    assert [(one.name, one.comment) for one in found.declared] == [("A", ["All."]), ("B", [])]
    assert [(m.name, m.number, m.type, m.value, m.in_union, m.comment) for m in found.declared[0].members] == [
        ("one", 0, "Void", "", True, ["First."]),
        ("two", 1, "List(B)", "", True, []),
        ("three", 2, "Bool", "true", False, []),
    ]
    page = protocol.pages(tmp_path)["protocol/x"]
    assert ".. code-block:: text\n\n     drawn" in page
    assert "``two`` @1 List of :ref:`B <capnp-x-b>`" in page
    assert "``three`` @2 Bool = ``true``" in page


def test_names_the_line_that_it_does_not_understand(tmp_path):
    path = tmp_path / "x.capnp"
    path.write_text("struct A {\n  inner :group {\n  }\n}\n")
    with pytest.raises(ValueError, match=r"x\.capnp:2: .* 'inner :group \{'"):
        schemas.read(path)


def test_comments_link_to_messages_and_files():
    found = protocol.pages(PROTOCOL)
    assert ":ref:`ClientSettings.inlineLimitBytes <capnp-client-clientsettings>`" in found["protocol/client"]
    assert ":doc:`/protocol/README`" in found["protocol/client"]
    assert ":doc:`/reference/protocol/worker`" in found["protocol/manager"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2 * 3 and *this one* and a_b", r"2 \* 3 and *this one* and a\_b"),
        ("see `--x`; or -osa, at tcp://host:1.", "see ``--x``; or ``-osa``, at ``tcp://host:1``."),
        ("'--a --b=c' or -1", r"'\ ``--a`` ``--b=c``\ ' or -1"),
        ("`chunk`s", r"``chunk``\ s"),
    ],
)
def test_plain_text_is_escaped(text, written):
    assert rst.escaped(text) == written


def test_the_package_is_that_of_this_checkout():
    """Other distributions install a package of this name, too."""
    assert Path(importlib.import_module("docs").__file__).parent == PROTOCOL.parent / "docs"
