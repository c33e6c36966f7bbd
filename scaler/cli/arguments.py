"""From options to the arguments of a command line, and a help that teaches them."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from scaler import config, security
from scaler.config import COMPATIBILITY, SECURITY, Option, nearest, read_toml, resolve, version
from scaler.errors import ConfigurationError

WIDEST = 110
HELP_COLUMN = 30
VALUES: dict[object, str] = {
    config.address: "ADDRESS",
    config.http_address: "HOST:PORT",
    config.capabilities: "NAMES",
    config.integer: "N",
    config.natural: "N",
    config.count: "N",
    config.limit: "N",
    config.preload: "CALL",
    config.function_pattern: "PATTERN",
}
UNITS = ("hours", "minutes", "seconds", "bytes")
"""Words at the end of an option's name that say what its value is."""
DAEMON_ENDS = "0 told to end, by Ctrl-C or SIGTERM; 1 it could not go on, the log says why"
ENDS = "0 done; 1 it did not work, one line says why"


class Parser(argparse.ArgumentParser):
    """Ends with exit code 2 and one line on bad usage; with the nearest flag for an unknown one."""

    flags: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            wrong = message.removeprefix("unrecognized arguments: ").split()[0]
            message = f"unknown argument {wrong}{nearest(wrong.split('=')[0], self.flags)}"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    """The short name first, the value once."""

    def __init__(self, prog: str) -> None:
        width = min(WIDEST, shutil.get_terminal_size().columns) - 2
        super().__init__(prog, max_help_position=HELP_COLUMN, width=width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = sorted(action.option_strings, key=len)
        if not names:
            return str(action.metavar)
        value = "" if action.nargs == 0 else f" {action.metavar}{'...' if action.nargs == '+' else ''}"
        return ", ".join(names) + value


def make_parser(
    program: str, description: str, section: str, options: Sequence[Option], ends: str = ENDS
) -> argparse.ArgumentParser:
    """What reads the flags of a command, and explains them. ``ends``: what its exit codes mean, without that for bad usage."""
    parser = Parser(
        program,
        usage=" ".join([program, "[OPTIONS]", *(_asked(option) for option in options if option.positional)]),
        description=description,
        epilog=_epilog(section, options, ends),
        formatter_class=_Help,
    )
    parser._positionals.title = "arguments"
    parser._optionals.title = "options"
    parser.add_argument("--version", action="version", version=f"{program} {version()}", help="print it, and end")
    if section:
        parser.add_argument("--config", "-c", metavar="FILE", help=f"a TOML file; its table [{section}] is read")
    headings: dict[str, argparse._ArgumentGroup] = {}
    for option in sorted(options, key=lambda option: option.group == COMPATIBILITY):
        if option.group and option.group not in headings:
            headings[option.group] = parser.add_argument_group(option.group)
        _add(headings.get(option.group, parser), option)
    parser.flags = [flag for action in parser._actions for flag in action.option_strings]
    return parser


def parse(
    program: str,
    description: str,
    section: str,
    options: Sequence[Option],
    argv: Sequence[str] | None,
    ends: str = ENDS,
) -> argparse.Namespace:
    """The options of a command, by name. Ends the process with exit code 2 on bad usage.

    A command with an empty ``section`` has no table of its own in the file, and is not offered ``--config``.
    """
    parser = make_parser(program, description, section, options, ends)
    given = vars(parser.parse_args(argv))
    try:
        content = read_toml(given["config"]) if section and given["config"] else {}
        file = content.get(section, {})
        if isinstance(file, list):
            if len(file) != 1:
                raise ConfigurationError(f"there are {len(file)} tables [[{section}]]; run `scaler FILE` for all")
            file = file[0]
        return resolve(section, options, given, file, content.get(SECURITY, {}))
    except ConfigurationError as error:
        parser.error(str(error))


def value_of(option: Option) -> str:
    """What the help calls the value of an option."""
    if option.positional:
        return option.name.upper()
    if option.choices:
        return "{" + ",".join(option.choices) + "}"
    last = option.name.rpartition("_")[2]
    return option.value or (last in UNITS and last.upper()) or VALUES.get(option.kind) or last.upper()


def _asked(option: Option) -> str:
    return value_of(option) if option.default is None else f"[{value_of(option)}]"


def _add(parser: argparse._ActionsContainer, option: Option) -> None:
    text = (option.help + _default(option)).replace("%", "%%")
    names = [option.flag, *([option.short] if option.short else [])]
    if option.positional:
        parser.add_argument(option.name, nargs="?", default=None, metavar=value_of(option), help=text)
    elif option.kind is config.boolean:
        parser.add_argument(*names, action=argparse.BooleanOptionalAction, default=None, help=text, dest=option.name)
    else:
        many: dict[str, Any] = {"nargs": "+", "action": "extend"} if option.many else {}
        parser.add_argument(*names, default=None, metavar=value_of(option), help=text, dest=option.name, **many)


def _default(option: Option) -> str:
    default: Any = option.default
    if default in (None, "", ()) or (default == 0 and "0:" not in option.help):
        return ""
    if option.kind is config.boolean:
        return " (default: yes)" if default else ""
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    elif isinstance(default, float):
        default = f"{default:g}"
    elif option.kind is config.size and default and default % (1 << 30) == 0:
        default = f"{default >> 30}G"
    return f" (default: {default})"


def _epilog(section: str, options: Sequence[Option], ends: str) -> str:
    """Where else options can be said, and the exit codes."""
    width = min(WIDEST, shutil.get_terminal_size().columns) - 2
    parts = [*_elsewhere(section, options), f"Exit codes: {ends}; 2 bad usage, one line says what and where."]
    return "\n\n".join(textwrap.fill(part, width, break_on_hyphens=False) for part in parts)


def _elsewhere(section: str, options: Sequence[Option]) -> Iterable[str]:
    own = [
        option
        for option in options
        if not option.positional and option.group != COMPATIBILITY and option.name not in ("config", *security.OPTIONS)
    ]
    if own:
        shown = own[0]
        file = f", and in the file of --config, as {shown.name} in the table [{section}]" if section else ""
        order = "a flag goes before the environment" + (", that before the file" if section else "")
        yield (
            f"Each option can also be said in the environment, {shown.flag} as {shown.variable(section)}{file}; {order},"
            " that before the default."
        )
    if any(option.name in security.OPTIONS for option in options):
        yield (
            "Those of security can be said for all commands at once, --secret-file as SCALER_SECRET_FILE and so on, and in the"
            " table [security] of a file."
        )
