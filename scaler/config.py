"""Options: each is defined once, and can be given as a flag, in the environment, in a TOML file: the first one counts.

In the environment, ``--max-waiting`` of the command with section ``scheduler`` is ``SCALER_SCHEDULER_MAX_WAITING``;
in a TOML file it is ``max_waiting`` in the table ``[scheduler]``. Those of security can be said for all commands at once:
``SCALER_SECRET_FILE``, ``SCALER_TLS_CA`` and so on, and the table ``[security]``.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from scaler import security
from scaler.errors import ConfigurationError
from scaler.ids import Address

_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
LEAST_MEMORY = 64 << 20
WORKER_ORDER = "SCALER_WORKER_ORDER"
"""The environment variable by which a worker in a container is told what a worker manager orders."""
SECURITY = "security"
"""The table of a file that holds for all sections."""
ADDRESS_ELSEWHERE = {
    "object_storage_server": "bind_address",
    "scheduler": "bind_address",
    "worker_manager": "scheduler_address",
    "gui": "monitor_address",
    "top": "monitor_address",
}
"""What ``address`` is called in files of OpenGRIS Scaler, which are taken as they are."""
SECTIONS = ("object_storage_server", "scheduler", "cluster", "worker_manager", "gui", "top", SECURITY)


COMPATIBILITY = "accepted for compatibility, without effect"
"""The heading of options that users of OpenGRIS Scaler know and that mean nothing here."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of one command."""

    name: str
    """In snake case; the flag is made of it."""
    help: str
    default: Any = None
    kind: Callable[[str], Any] = str
    short: str = ""
    positional: bool = False
    choices: tuple[str, ...] = ()
    many: bool = False
    value: str = ""
    """What its value is called in the help, where its kind and its name do not tell: FILE, DIRECTORY."""
    group: str = ""
    """The heading that it stands below in the help."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def variable(self, section: str) -> str:
        """Its name in the environment, for the command with this section."""
        return "_".join(filter(None, ("scaler", section, self.name))).upper()


def grouped(heading: str, *options: Option) -> tuple[Option, ...]:
    """The same options below a heading of the help."""
    return tuple(replace(option, group=heading) for option in options)


def address(text: str) -> Address:
    """An option's type: ``tcp://host:port``, ``tls://host:port`` or ``ipc://path``."""
    return Address.parse(text)


def http_address(text: str) -> Address:
    """An option's type: ``host:port``, with ``http://`` before it or not, or a port of 127.0.0.1: ``9090``, ``:9090``."""
    place = text.removeprefix("http://").removeprefix("tcp://").rstrip("/")
    return Address.parse(
        f"tcp://127.0.0.1:{place.removeprefix(':')}" if place.removeprefix(":").isdigit() else f"tcp://{place}"
    )


def capabilities(text: str) -> tuple[str, ...]:
    """An option's type: names with commas between them, ``linux,cpu=4``; numbers are accepted and not counted."""
    return tuple(sorted({part.split("=")[0].strip() for part in text.split(",") if part.strip()}))


def boolean(text: str) -> bool:
    """An option's type: yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither yes nor no")


def integer(text: str) -> int:
    """An option's type: a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def natural(text: str) -> int:
    """An option's type: a whole number of 1 or more."""
    if integer(text) < 1:
        raise ValueError(f"{text} is less than 1")
    return integer(text)


def count(text: str) -> int:
    """An option's type: a whole number of 0 or more."""
    if integer(text) < 0:
        raise ValueError(f"{text} is less than 0")
    return integer(text)


def limit(text: str) -> int:
    """An option's type: a whole number of 0 or more, or -1 for no limit."""
    if integer(text) < -1:
        raise ValueError(f"{text} is less than -1, which means no limit")
    return integer(text)


def seconds(text: str) -> float:
    """An option's type: a time of 0 s or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is no time in seconds")
    return number


def interval(text: str) -> float:
    """An option's type: a time of more than 0 s."""
    if not seconds(text):
        raise ValueError(f"{text} s is no interval; it has to be greater than 0")
    return seconds(text)


def size(text: str) -> int:
    """An option's type: bytes, or so many KiB, MiB, GiB or TiB: ``2147483648``, ``2G`` and ``2GiB`` are the same."""
    found = re.fullmatch(r"([0-9]+)(?: ?([KMGT])(?:iB)?)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no size; write a number of bytes, or 512M, 2G, 2GiB (powers of 1024)")
    number, unit = found.groups()
    return int(number) << _SHIFTS[unit.upper() if unit else ""]


def memory_limit(text: str) -> int:
    """An option's type: a size that leaves an executor something for its tasks, or 0 for no limit."""
    if 0 < size(text) < LEAST_MEMORY:
        raise ValueError(f"{text} is too little; an executor needs some of it for itself, give it 64M or more")
    return size(text)


def preload(text: str) -> str:
    """An option's type: ``package.module:function``, or a call of it with literals. It is not made here."""
    from scaler.worker.preload import parse_preload

    parse_preload(text)
    return text


def function_pattern(text: str) -> str:
    """An option's type: a function's name, ``math:sqrt``, or a pattern of such, ``mypackage.*``."""
    from scaler.named import check_pattern

    return check_pattern(text)


def available_cpus() -> int:
    """How many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def version() -> str:
    """Of the installed package."""
    try:
        return metadata.version("opengris-scaler")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def nearest(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` where something is alike, else nothing."""
    found = difflib.get_close_matches(wrong, list(known), 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""


def read_toml(path: str) -> dict[str, Any]:
    """A configuration file. Raises ConfigurationError, naming file and place, for one that cannot be used."""
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no valid TOML: {error}") from None
    for name, table in content.items():
        if name not in SECTIONS:
            raise ConfigurationError(f"{path}: unknown section [{name}]{nearest(name, SECTIONS)}")
        if not all(isinstance(entry, dict) for entry in (table if isinstance(table, list) else [table])):
            raise ConfigurationError(f"{path}: {name} is no table; write [{name}] and its keys below")
        for entry in table if isinstance(table, list) else [table]:
            for key in [key for key in entry if key.replace("-", "_") == ADDRESS_ELSEWHERE.get(name)]:
                if "address" not in entry:
                    entry["address"] = entry.pop(key)
    if not isinstance(content.get(SECURITY, {}), dict):
        raise ConfigurationError(f"{path}: there is one table [{SECURITY}]")
    for key in content.get(SECURITY, {}):
        if key.replace("-", "_") not in security.OPTIONS:
            raise ConfigurationError(f"{path}: unknown key {key!r} in [{SECURITY}]{nearest(key, security.OPTIONS)}")
    return content


def resolve(
    section: str,
    options: Sequence[Option],
    given: Mapping[str, Any],
    file: Mapping[str, Any],
    for_all: Mapping[str, Any] | None = None,
) -> argparse.Namespace:
    """Each option from the first place that has it: flags, environment, file, default. ``for_all``: its table [security].

    Raises ConfigurationError for a value of the wrong kind, an unknown key of the file, or a missing positional.
    """
    names = {option.name for option in options}
    for key in file:
        if key.replace("-", "_") not in names:
            raise ConfigurationError(f"unknown key {key!r} in [{section}]{nearest(key, names)}")
    known = {key.replace("-", "_"): value for key, value in (*(for_all or {}).items(), *file.items())}
    return argparse.Namespace(**{option.name: _value(section, option, given, known) for option in options})


def _value(section: str, option: Option, given: Mapping[str, Any], file: Mapping[str, Any]) -> Any:
    variable = option.variable(section)
    for_all = security.variable(option.name) if option.name in security.OPTIONS else variable
    places = (
        (given.get(option.name), option.name.upper() if option.positional else option.flag),
        (os.environ.get(variable), f"environment variable {variable}"),
        (os.environ.get(for_all), f"environment variable {for_all}"),
        (file.get(option.name), f"{option.name} in [{section}]"),
    )
    for value, place in places:
        if value is not None:
            return _convert(option, value, place)
    if option.positional and option.default is None:
        raise ConfigurationError(f"{option.name.upper()} is missing")
    # A default may be written as users write it.
    return option.kind(option.default) if option.default and isinstance(option.default, str) else option.default


def _convert(option: Option, value: Any, place: str) -> Any:
    try:
        if option.many:
            return tuple(option.kind(str(entry)) for entry in (value if isinstance(value, list) else [value]))
        if option.kind is capabilities and isinstance(value, list):
            value = ",".join(map(str, value))
        converted = option.kind(str(value))
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    if option.choices and converted not in option.choices:
        known = ", ".join(option.choices)
        raise ConfigurationError(f"{place}: {value!r} is none of {known}{nearest(str(value), option.choices)}")
    return converted
