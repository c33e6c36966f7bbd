"""The pages about commands and configuration files, made from the definitions of the options."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from docs.generator import rst
from scaler import cli, config, security
from scaler.config import Option
from scaler.manager import kinds

FLAGS = {"boolean": "yes or no", "str": "text", "upper": "text"}
"""Kinds of options that need no explanation."""
INTRODUCTION = """\
Each explains itself with ``--help`` and tells its version with ``--version``. They end with exit code 0 when they are told to by
SIGINT or SIGTERM, with 2 and one line on bad usage. Options can be given in other ways than as flags, too: see
:doc:`configuration`.
"""
WAYS = """\
Each option can be given in four ways; the first that is there counts:

1. as a flag: ``--max-number-of-tasks-waiting 1000``
2. in the environment: ``SCALER_SCHEDULER_MAX_NUMBER_OF_TASKS_WAITING=1000``
3. in a TOML file, in the command's table: ``max_number_of_tasks_waiting = 1000`` in ``[scheduler]``
4. as its default.

The options of security can be given for all commands at once, in variables like ``SCALER_SECRET_FILE`` and in the table
``[security]``. A file is read by ``scaler FILE``, which runs all that it describes, and by each command with ``--config``.
Keys may be written with ``-`` for ``_``; unknown ones are refused.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """A command: as it is called, what it says of itself, its table in a file, its options."""

    program: str
    description: str
    section: str
    options: Sequence[Option]
    kinds: dict[str, Sequence[Option]]
    """Further options by the value of the option ``type``."""


def commands() -> list[Described]:
    """All commands there are, those with most to say in the order of their names."""
    modules = [importlib.import_module(f"scaler.cli.{module.name}") for module in pkgutil.iter_modules(cli.__path__)]
    return sorted(filter(None, map(_described, modules)), key=lambda command: command.program)


def _described(module: ModuleType) -> Described | None:
    """Modules of commands have a COMMAND, or a PROGRAM and OPTIONS."""
    command = getattr(module, "COMMAND", None)
    if command is not None:
        more = {kind: kinds.load(kind).OPTIONS for kind in command.kinds}
        return Described(command.program, command.description, command.section, command.options, more)
    if not hasattr(module, "PROGRAM"):
        return None
    return Described(module.PROGRAM, module.DESCRIPTION, "", module.OPTIONS, {})


def pages() -> dict[str, str]:
    """Name of a file -> its text."""
    found = commands()
    names = {command.program: f"commands/{command.program.replace(' ', '-')}" for command in found}
    texts = {names[command.program]: _page(command) for command in found}
    return {"commands": _index(found, names), "configuration": _configuration(found), **texts}


# ---- commands


def _index(found: list[Described], names: dict[str, str]) -> str:
    lines = [f"- :doc:`{c.program} <{names[c.program]}>`: {_first_line(c.description)}" for c in found]
    return "\n".join(
        [
            rst.heading("Commands"),
            INTRODUCTION,
            rst.contents(names.values()),
            *lines,
            "",
        ]
    )


def _first_line(description: str) -> str:
    return rst.escaped(description.strip().splitlines()[0])


def _page(command: Described) -> str:
    parts = [rst.heading(command.program), _description(command.description)]
    file = f" In a file they stand in the table ``[{command.section}]``." if command.section else ""
    parts += [rst.heading("Options", 1), f".. program:: {command.program}\n"]
    if file:
        parts.append(f"How values are written is explained in :doc:`/reference/configuration`.{file}\n")
        parts.append(".. option:: --config FILE, -c FILE\n\n   A TOML file; the table of this command is read.\n")
    parts += [option_text(command.section, option) for option in command.options]
    for kind, options in command.kinds.items():
        parts += [rst.heading(f"Options of {kind}", 1), f"Where the workers are {rst.escaped(kinds.KINDS[kind])}.\n"]
        parts += [
            f".. program:: {command.program} {kind}\n",
            *(option_text(command.section, option) for option in options),
        ]
    return "\n".join(parts)


def _description(text: str) -> str:
    """A command's own text: indented lines are what to type."""
    lines: list[str] = []
    typed = False
    for line in text.strip().splitlines():
        if line.startswith("    ") and not typed:
            lines += ["", ".. code-block:: text", ""]
        typed = line.startswith("    ") or (typed and not line.strip())
        lines.append(line if typed else rst.escaped(line))
    return "\n".join([*lines, ""])


def option_text(section: str, option: Option) -> str:
    """An option with all the ways to give it."""
    facts = [_kind(option), *_default(option)]
    if section:
        facts += [rst.code(name) for name in variables(section, option)]
        facts.append(f"in a file {rst.code(option.name)}")
    text = rst.escaped(option.help[0].upper() + option.help[1:]).rstrip(".") + "."
    return f".. option:: {signature(option)}\n\n   {text}\n\n   .. rst-class:: facts\n\n   {' · '.join(facts)}\n"


def signature(option: Option) -> str:
    """The ways to write it on a command line."""
    if option.positional:
        return option.name.upper()
    if option.kind is config.boolean:
        return ", ".join(filter(None, (option.flag, option.flag.replace("--", "--no-", 1), option.short)))
    value = " VALUE" + (" …" if option.many else "")
    return ", ".join(flag + value for flag in (option.flag, option.short) if flag)


def variables(section: str, option: Option) -> list[str]:
    """The environment variables that are asked for it."""
    own = f"SCALER_{section}_{option.name}".upper()
    return [own, *([security.variable(option.name)] if option.name in security.OPTIONS else [])]


def _kind(option: Option) -> str:
    if option.choices:
        return " | ".join(map(rst.code, option.choices)).replace("|", "\\|")
    name = option.kind.__name__
    known = FLAGS.get(name) or f":ref:`{name.replace('_', ' ')} <values>`"
    return f"{known}, one or more" if option.many else known


def _default(option: Option) -> list[str]:
    if option.default in (None, "", ()):
        return []
    if option.kind is config.boolean:
        return [f"default: {'yes' if option.default else 'no'}"]
    values = option.default if isinstance(option.default, tuple) else (option.default,)
    return [f"default: {rst.code(' '.join(map(str, values)))}"]


# ---- configuration


def _configuration(found: list[Described]) -> str:
    tables = [command for command in found if command.section]
    return "\n".join(
        [
            rst.heading("Configuration"),
            WAYS,
            ".. _values:\n",
            rst.heading("How values are written", 1),
            rst.table(("Kind", ""), _kinds(found)),
            rst.heading("All keys of a file", 1),
            "With their defaults; those without one are commented out. A file needs only what differs.\n",
            *(_keys(command) for command in tables),
            rst.heading("[security]", 2),
            "Holds for all tables that do not say otherwise.\n",
            _block("[security]", _security(tables)),
        ]
    )


def _kinds(found: list[Described]) -> Iterator[tuple[str, str]]:
    options = [option for c in found for group in (c.options, *c.kinds.values()) for option in group]
    known: dict[str, Callable[[str], Any]] = {option.kind.__name__: option.kind for option in options}
    for name, kind in sorted(known.items()):
        if name not in FLAGS:
            text = (kind.__doc__ or "").removeprefix("An option's type: ").strip()
            yield name.replace("_", " "), " ".join(text.split()).rstrip(".")
    yield (
        "yes or no",
        "as a flag ``--name`` or ``--no-name``; elsewhere ``true``, ``yes``, ``on``, ``1`` or their opposites",
    )


def _keys(command: Described) -> str:
    title = "[[worker_manager]]" if command.kinds else f"[{command.section}]"
    parts = [rst.heading(title, 2), f"Read by :doc:`commands/{command.program}`.\n", _block(title, command.options)]
    for kind, options in command.kinds.items():
        if options:
            parts += [f'With ``type = "{kind}"`` also:\n', _block("", options)]
    return "\n".join(parts)


def _security(tables: list[Described]) -> list[Option]:
    return list({o.name: o for c in tables for o in c.options if o.name in security.OPTIONS}.values())


def _block(title: str, options: Sequence[Option]) -> str:
    lines = [title] * bool(title) + [toml_line(option) for option in options]
    return ".. code-block:: toml\n\n" + rst.indented("\n".join(lines)) + "\n"


def toml_line(option: Option) -> str:
    """A key and its default."""
    value = option.default
    if isinstance(value, bool):
        return f"{option.name} = {str(value).lower()}"
    if isinstance(value, tuple) and option.many:
        return f"{option.name} = [{', '.join(map(_quoted, value))}]"
    if isinstance(value, int | float):
        return f"{option.name} = {value}"
    return f"{option.name} = {_quoted(value)}" if value else f"# {option.name} ="


def _quoted(value: object) -> str:
    return f'"{value}"'
