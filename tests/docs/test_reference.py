"""The pages about the interface, commands, errors and metrics."""

import inspect
import os
import re
import tomllib
from pathlib import Path

import pytest
from sphinx.pycode import ModuleAnalyzer

import scaler
from docs.generator import api, commands, errors, metrics
from scaler.config import Option, boolean, resolve, seconds
from scaler.messages import Statistics
from scaler.metrics import families
from scaler.monitor.model import Model

FOUND = [command for command in commands.commands() if command.section]
ELSEWHERE = {"scaler.SecurityConfig", "scaler.compat.joblib.ScalerBackend"}
"""What their members are is said of the parameters, and by joblib."""
GIVEN = {"address": "tcp://127.0.0.1:8516", "type": "ssh"}


def test_a_public_name_without_a_page_is_told(monkeypatch):
    monkeypatch.setattr(scaler, "__all__", [*scaler.__all__, "Nowhere"])
    with pytest.raises(LookupError, match=r"no page for Nowhere"):
        api.pages()


def shown_classes() -> list[str]:
    names = [name for _, _, names in api.PAGES.values() for name in names]
    return [name for name in names if inspect.isclass(api.found(name)) and name not in ELSEWHERE]


@pytest.mark.parametrize("name", shown_classes())
def test_all_that_is_public_in_a_class_is_explained(name):
    kind = api.found(name)
    analyzer = ModuleAnalyzer.for_module(kind.__module__)
    analyzer.analyze()
    internal = api.INTERNAL.get(name, "").split(", ")
    for member, value in {**inspect.get_annotations(kind), **vars(kind)}.items():
        if not member.startswith("_") and member not in internal:
            of_field = analyzer.attr_docs.get((kind.__name__, member))
            assert of_field or (hasattr(value, "__get__") and inspect.getdoc(value)), member


@pytest.mark.parametrize(
    ("option", "signature", "facts"),
    [
        (
            Option("address", "where", positional=True),
            "ADDRESS",
            "text · ``SCALER_SCHEDULER_ADDRESS`` · in a file ``address``",
        ),
        (
            Option("for_seconds", "how long", 2.0, seconds, short="-f"),
            "--for-seconds VALUE, -f VALUE",
            ":ref:`seconds <values>` · default: ``2.0`` · ``SCALER_SCHEDULER_FOR_SECONDS`` · in a file ``for_seconds``",
        ),
        (
            Option("protected", "keep it", True, boolean, short="-p"),
            "--protected, --no-protected, -p",
            "yes or no · default: yes · ``SCALER_SCHEDULER_PROTECTED`` · in a file ``protected``",
        ),
        (
            Option("secret_file", "which"),
            "--secret-file VALUE",
            "text · ``SCALER_SCHEDULER_SECRET_FILE`` · ``SCALER_SECRET_FILE`` · in a file ``secret_file``",
        ),
        (
            Option("paths", "which", ("a", "b"), many=True),
            "--paths VALUE …",
            "text, one or more · default: ``a b`` · ``SCALER_SCHEDULER_PATHS`` · in a file ``paths``",
        ),
    ],
)
def test_an_option_with_all_ways_to_give_it(option, signature, facts):
    text = commands.option_text("scheduler", option)
    assert text.startswith(f".. option:: {signature}\n\n   {option.help.capitalize()}.\n")
    assert text.endswith(f"   {facts}\n")


@pytest.mark.parametrize("command", FOUND, ids=lambda command: command.program)
def test_the_keys_of_a_file_have_the_defaults_of_the_options(command, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SCALER_")]:
        monkeypatch.delenv(name)
    for kind, options in {"": command.options, **command.kinds}.items():
        text = "\n".join(map(commands.toml_line, options))
        given = {option.name: GIVEN[option.name] for option in options if option.positional}
        shown = resolve(command.section, options, given, tomllib.loads(text))
        assert shown == resolve(command.section, options, given, {}), kind
        assert len(text.splitlines()) == len(options)


def test_the_tree_of_errors():
    page = errors.page()
    depth = {
        name: len(spaces) for spaces, name in re.findall(r"^( *)- :exc:`~scaler\.errors\.(\w+)`", page, re.MULTILINE)
    }
    kinds = [kind for kind in vars(scaler.errors).values() if isinstance(kind, type)]
    assert depth.keys() == {kind.__name__ for kind in kinds}
    for kind in kinds:
        above = [base.__name__ for base in kind.__bases__ if base.__name__ in depth]
        assert depth[kind.__name__] == (depth[above[0]] + 2 if above else 0)
    assert "TaskMemoryError`\\ \\* (also a ``MemoryError``): The task took" in page


def test_every_family_of_metrics_is_named():
    page = metrics.page(Path(scaler.__file__).parent)
    served = [*families.cluster(Model()), *families.objects(Statistics())]
    assert len(served) > 25
    for family in served:
        assert f"``{family.name}`` {family.type}" in page
        assert family.documentation in page
    assert "``scaler_tasks`` gauge by ``state``" in page
    assert "``scaler_worker_slots`` gauge" in page
