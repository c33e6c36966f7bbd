"""The help of commands: short enough to read, and all that there is to know."""

from __future__ import annotations

import importlib

import pytest

from scaler.cli.arguments import Parser, make_parser, parse, value_of
from scaler.cli.main import COMMANDS, SUBCOMMANDS
from scaler.config import COMPATIBILITY, Option, address, boolean, grouped, interval, natural

OPTIONS = (
    Option("address", "where", kind=address, positional=True),
    *grouped(COMPATIBILITY, Option("threads", "of no use", 1, natural)),
    Option("waiting_hours", "how long", 0.0, interval, short="-wh"),
    Option("protected", "or not", True, boolean, short="-p"),
    *grouped(
        "colours", Option("color", "which", "red", choices=("red", "green")), Option("paths", "of 100%", many=True)
    ),
)
HELP = """usage: ann [OPTIONS] ADDRESS

Does things.

arguments:
  ADDRESS                     where

options:
  -h, --help                  show this help message and exit
  --version                   print it, and end
  -c, --config FILE           a TOML file; its table [scheduler] is read
  -wh, --waiting-hours HOURS  how long
  -p, --protected, --no-protected
                              or not (default: yes)

colours:
  --color {red,green}         which (default: red)
  --paths PATHS...            of 100%

accepted for compatibility, without effect:
  --threads N                 of no use (default: 1)

Each option can also be said in the environment, --waiting-hours as SCALER_SCHEDULER_WAITING_HOURS, and in
the file of --config, as waiting_hours in the table [scheduler]; a flag goes before the environment, that
before the file, that before the default.

Exit codes: 0 done; 1 it did not work, one line says why; 2 bad usage, one line says what and where.
"""


def test_the_whole_of_a_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse("ann", "Does things.", "scheduler", OPTIONS, ["--help"])
    assert capsys.readouterr().out == HELP


def test_what_values_are_called():
    assert value_of(Option("spill_directory", "")) == "DIRECTORY"
    assert value_of(Option("record", "", value="FILE")) == "FILE"
    assert value_of(Option("start_timeout_seconds", "", kind=interval)) == "SECONDS"


@pytest.mark.parametrize("width", ["80", "100", "300"])
def test_each_help_fits_and_explains_each_option(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    parsers = [
        make_parser(c.program, c.description, c.section, c.options_for(kind))
        for c in COMMANDS.values()
        for kind in c.kinds or [""]
    ]
    below = map(importlib.import_module, SUBCOMMANDS.values())
    parsers += [make_parser(module.PROGRAM, "", "", module.OPTIONS) for module in below]
    for parser in parsers:
        assert isinstance(parser, Parser)
        text = parser.format_help().replace(parser.description or "", "")
        assert max(map(len, text.splitlines())) <= min(int(width), 110), parser.prog
        for action in parser._actions:
            assert action.help and action.help.strip(), f"{parser.prog} {action.dest}"
