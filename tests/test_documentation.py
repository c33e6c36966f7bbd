"""What the documentation shows is true: links lead somewhere, the README's program and commands run."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs.generator import commands
from scaler import config

TOP = Path(__file__).parent.parent
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("protocol/**/*.md")])
ONE_PROGRAM = TOP / "docs/graphs.md"
"""Its blocks continue each other."""
README = (TOP / "README.md").read_text()
COMMANDS = {command.program: command for command in commands.commands()}
OTHER_VARIABLES = {config.WORKER_ORDER, "SCALER_ADDRESS", "SCALER_CORE_DEBUG"}
"""Those that are no option."""


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def programs() -> list:
    """Every Python block of the pages, named after its page and line, where it is a program of its own."""
    found = []
    for page in PAGES:
        if page == ONE_PROGRAM:
            continue
        text = page.read_text()
        for block in blocks("python", text):
            line = text[: text.index(block)].count("\n") + 1
            found.append(pytest.param(block, id=f"{page.relative_to(TOP)}:{line}"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("block", programs())
def test_programs(block, tmp_path):
    """They run, and print what the comments behind ``print(...)`` say, no more; blocks of tests pass."""
    path = tmp_path / "test_shown.py"
    path.write_text(block)
    command = [sys.executable, "-m", "pytest", path] if "\ndef test_" in block else [sys.executable, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if command[1] == path:
        shown = re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)
        assert shown, "a program that prints nothing shows nothing"
        assert done.stdout.splitlines() == shown
        assert done.stderr == ""


def test_the_programs_about_graphs(tmp_path):
    page = ONE_PROGRAM.read_text()
    program = tmp_path / "graphs.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)$", page, re.MULTILINE)


def test_the_demo():
    done = subprocess.run(
        [Path(sys.executable).with_name("scaler"), "demo"], capture_output=True, text=True, timeout=120, check=True
    )
    assert re.search(r"[\d,]+ files", done.stdout)
    assert re.search(r"tasks in [\d.]+ s on \d+ slots: [\d,]+ tasks/s", done.stdout)
    assert "100%" in done.stderr


def test_the_configuration_file(tmp_path):
    content = tomllib.loads(blocks("toml")[0])
    assert content.keys() == {"object_storage_server", "scheduler", "worker_manager"}


@pytest.mark.parametrize(
    "command",
    ["scaler", "scaler_scheduler", "scaler_object_storage_server", "scaler_cluster", "scaler_worker_manager"],
)
def test_commands_explain_themselves(command):
    done = subprocess.run(
        [Path(sys.executable).with_name(command), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--config" in done.stdout
    assert len(done.stdout) > 500


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_files_and_make_targets_that_are_named_exist(page):
    text = page.read_text()
    makefile = next(place for place in (page.parent / "Makefile", TOP / "Makefile") if place.exists())
    targets = set(re.findall(r"^([\w-]+):", makefile.read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z][\w-]*)", text, re.MULTILINE)) <= targets
    named = re.findall(r"`((?:scaler|tests|docs|protocol|benchmarks|docker|\.ci)/[\w./-]*)`", text)
    assert [name for name in named if not (TOP / name).exists()] == []


def options(command: commands.Described) -> list[config.Option]:
    return [option for group in (command.options, *command.kinds.values()) for option in group]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_flags_and_variables_that_are_shown_exist(page):
    text = page.read_text()
    for line in re.findall(r"(?:^ {4,}|^|`)(scaler(?:_[a-z]+)*\b[^`\n#]*)", text, re.MULTILINE):
        words = line.split()
        command = COMMANDS.get(" ".join(words[:2])) or COMMANDS.get(words[0])
        if command is None:
            continue  # a sentence, or a name
        flags = {"--help", "--version", "--config", "-c"}
        for option in options(command):
            flags |= {option.flag, option.flag.replace("--", "--no-", 1), option.short}
        shown = {word.strip("[],;").partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
        assert shown <= flags, line
    known = {name for c in COMMANDS.values() for option in options(c) for name in commands.variables(c.section, option)}
    assert set(re.findall(r"\bSCALER_[A-Z_]+\b", text)) <= known | OTHER_VARIABLES
