"""``scaler completion SHELL``: what completes commands and options in a shell, made of the options themselves."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Iterator, Sequence

import shtab

from scaler.cli.arguments import parse, value_of
from scaler.cli.main import COMMANDS, SUBCOMMANDS
from scaler.cli.main import OPTIONS as STACK_OPTIONS
from scaler.cli.main import PROGRAM as STACK
from scaler.config import COMPATIBILITY, Option, boolean
from scaler.manager.kinds import KINDS

PROGRAM = "scaler completion"
SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = """Print what makes a shell complete all commands of Scaler, their options and their values.

    eval "$(scaler completion bash)"         in ~/.bashrc
    eval "$(scaler completion zsh)"          in ~/.zshrc, after compinit
    scaler completion fish | source          in ~/.config/fish/config.fish
"""
OPTIONS = (Option("shell", "bash, zsh or fish", positional=True, choices=SHELLS),)
PATHS = {"FILE": shtab.FILE, "DIRECTORY": shtab.DIRECTORY}
HELP_WIDTH = 70
FILES_TOO = {
    "bash": "_shtab_scaler_pos_0_COMPGEN=_shtab_compgen_files\n",
    "zsh": "functions[_scaler_subcommands]=$functions[_shtab_scaler_commands]\n"
    "_shtab_scaler_commands() { _scaler_subcommands; _files }\n",
    "fish": "complete -c scaler -n '_shtab_scaler_using; and test $_shtab_scaler_npos -eq 0'"
    " -ka '(__fish_complete_path (commandline -ct))'\n",
}
"""``scaler`` takes a file where its subcommands may stand, which argparse, and so shtab, cannot say."""


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    options = parse(PROGRAM, DESCRIPTION, "", OPTIONS, argv)
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """For all commands, one after the other."""
    text = "\n".join([*(shtab.complete(parser, shell) for parser in parsers()), FILES_TOO[shell]])
    if shell == "fish":
        # Names of several letters after one dash, as in -osa: fish calls them old.
        text = re.sub(r"(?m)^(complete .*?) -s (\w{2,})\b", r"\1 -o \2", text)
    return text


def parsers() -> Iterator[argparse.ArgumentParser]:
    """One for each command, which knows what can be completed and reads nothing."""
    stack = _parser(STACK, STACK_OPTIONS)
    below = stack.add_subparsers()
    for name, module in SUBCOMMANDS.items():
        subcommand = importlib.import_module(module)
        _fill(below.add_parser(name, help=_first_line(subcommand.DESCRIPTION)), subcommand.OPTIONS)
    yield stack
    for command in COMMANDS.values():
        config = Option("config", f"a TOML file; its table [{command.section}] is read", short="-c", value="FILE")
        if not command.kinds:
            yield _parser(command.program, (config, *command.options))
            continue
        parser = _parser(command.program, ())
        kinds = parser.add_subparsers()
        for kind in command.kinds:
            options = [option for option in command.options_for(kind) if option.name != "type"]
            _fill(kinds.add_parser(kind, help=KINDS[kind]), (config, *options))
        yield parser


def _parser(program: str, options: Sequence[Option]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program)
    _fill(parser, options)
    return parser


def _fill(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    for option in options:
        if option.group == COMPATIBILITY or (option.positional and parser.prog == STACK):
            continue  # Of no use to anybody, or in FILES_TOO.
        names = [option.name] if option.positional else [option.flag, *filter(None, [option.short])]
        text = _first_line(option.help).replace("%", "%%")
        if option.kind is boolean:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, help=text)
            continue
        many = "+" if option.many else None
        action = parser.add_argument(*names, nargs=many, choices=option.choices or None, help=text)
        if path := PATHS.get(value_of(option)):
            action.complete = path  # type: ignore[attr-defined]


def _first_line(text: str) -> str:
    """As much of a help as there is room for beside a name."""
    line = re.split(r"[\n;]|\. |: ", text, maxsplit=1)[0].rstrip(".")
    return line if len(line) <= HELP_WIDTH else f"{line[: HELP_WIDTH - 1]}…"
