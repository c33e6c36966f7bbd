"""``scaler completion``: the scripts, in the shells that they are for."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.cli.completion import DESCRIPTION, SHELLS, main
from scaler.cli.main import COMMANDS, SUBCOMMANDS

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "installing.md"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
EXPECTED = {
    "scaler dem": ["demo"],
    "scaler conf": ["config.toml", "config.yaml"],
    "scaler demo --num": ["--num-of-workers"],
    "scaler completion b": ["bash"],
    "scaler -c conf": ["config.toml", "config.yaml"],
    "scaler_scheduler --object-s": ["--object-storage-address"],
    "scaler_scheduler -osa tcp://h:1 --event-loop uv": ["uvloop"],
    "scaler_scheduler tcp://h:1 --secret-file conf": ["config.toml", "config.yaml"],
    "scaler_object_storage_server --spill-directory pl": ["place/"],
    "scaler_worker_manager ss": ["ssh"],
    "scaler_worker_manager ssh --ho": ["--hosts"],
    "scaler_worker_manager slurm tcp://h:1 --part": ["--partition"],
    "scaler_cluster tcp://h:1 -n 3 --allow": ["--allow-functions"],
    "scaler_top --repl": ["--replay", "--replay-speed"],
    "scaler_gui --allowed": ["--allowed-hosts"],
}
"""What is typed, and what it may become."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with something to choose from."""
    (tmp_path / "config.toml").touch()
    (tmp_path / "config.yaml").touch()
    (tmp_path / "place").mkdir()
    return tmp_path


def ask(*command: str, place: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=place, env=ENVIRONMENT)
    assert done.stderr == ""
    return done.stdout


def shown(shell: str) -> str:
    """The command that documentation and help show."""
    (line,) = [line for line in DOCUMENTATION.read_text().splitlines() if f"scaler completion {shell}" in line]
    assert line.partition("  ")[0] in DESCRIPTION
    return f"{line}\n"


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_it(shell, capsys):
    assert main([shell]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in SUBCOMMANDS)
    for command in COMMANDS.values():
        assert command.program in told
        for option in command.options:
            if not option.positional and "compatib" not in option.group:
                assert option.name.replace("_", "-") in told, f"{command.program} {option.flag}"


def test_bash(place):
    asked = [shown("bash")]
    for line in EXPECTED:
        words = shlex.split(line)
        asked += [
            f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=()",
            f"_shtab_{words[0]} 2>/dev/null; printf '%s ' ${{COMPREPLY[@]}}; echo",
        ]
    (place / "..script").write_text("\n".join(asked))
    found = ask("bash", "--norc", "..script", place=place).splitlines()
    assert dict(zip(EXPECTED, [sorted(line.split()) for line in found], strict=True)) == {
        line: [word.removesuffix("/") for word in words]  # that is added when it is shown
        for line, words in EXPECTED.items()
    }


def test_fish(place):
    needs("fish")
    asks = [f"echo {shlex.quote('> ' + line)}; complete -C {shlex.quote(line)}" for line in EXPECTED]
    (place / "..script").write_text(shown("fish") + "\n".join(asks))
    told = ask("fish", "--no-config", "..script", place=place)
    found = {}
    for part in told.removeprefix("> ").split("\n> "):
        line, *candidates = part.splitlines()
        found[line] = sorted(candidate.split("\t")[0] for candidate in candidates)
    assert found == EXPECTED


class Zsh:
    """An interactive shell, which completes only at a terminal."""

    def __init__(self, place: Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(place)
            environment = {**ENVIRONMENT, "TERM": "dumb", "PS1": "READY>", "COLUMNS": "200", "HOME": str(place)}
            os.execvpe("zsh", ["zsh", "-f", "-i"], environment)

    def types(self, text: str, until: str) -> str:
        """What the terminal shows, to the first time that it is what is waited for."""
        os.write(self._terminal, text.encode())
        shown, end = "", time.monotonic() + 20
        while not re.search(until, shown) and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.1)[0]:
                shown += os.read(self._terminal, 1 << 16).decode(errors="replace")
        assert re.search(until, shown), f"{text!r}: {shown!r}"
        return shown

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.fixture
def zsh(place) -> Iterator[Zsh]:
    needs("zsh")
    shell = Zsh(place)
    shell.types("", "READY>")
    yield shell
    shell.close()


def test_zsh(zsh):
    zsh.types("setopt interactivecomments; autoload -Uz compinit; compinit -u -D\n", "READY>")
    zsh.types(shown("zsh"), "READY>")
    zsh.types("echo LOADED${#_comps[(I)scaler*]}\n", "LOADED7")
    for number, (line, words) in enumerate(EXPECTED.items()):
        zsh.types(f"{line}\t\t", r"[\s\S]*".join(map(re.escape, words)))
        zsh.types(f"\x15echo EN''D{number}\n", f"END{number}")  # Ctrl-U: the line is gone.
