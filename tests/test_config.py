"""Options: where their values come from, and what is said about those that cannot be used."""

from __future__ import annotations

import pytest

from scaler.cli.arguments import parse
from scaler.config import (
    Option,
    address,
    boolean,
    capabilities,
    http_address,
    integer,
    interval,
    limit,
    memory_limit,
    natural,
    nearest,
    preload,
    read_toml,
    resolve,
    seconds,
    size,
)
from scaler.errors import ConfigurationError
from scaler.ids import Address

OPTIONS = (
    Option("address", "where", kind=address, positional=True),
    Option("max_waiting", "how many", 5, natural, short="-mw"),
    Option("protected", "or not", True, boolean, short="-p"),
    Option("paths", "where to", ("here",), many=True, short="-lp"),
    Option("color", "which", "red", choices=("red", "green")),
    Option("offers", "what", (), capabilities),
)
WHERE = "tcp://127.0.0.1:1"


def read(*argv: str):
    return parse("ann", "Does things.", "scheduler", OPTIONS, argv)


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "c.toml").write_text(text)
        return str(tmp_path / "c.toml")

    return write


@pytest.fixture
def refused(capsys):
    """What is said about bad usage, which is one line."""

    def call(*argv: str) -> str:
        with pytest.raises(SystemExit) as ended:
            read(*argv)
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err

    return call


def test_defaults():
    given = read(WHERE)
    assert vars(given) == {
        "address": Address("127.0.0.1", 1),
        "max_waiting": 5,
        "protected": True,
        "paths": ("here",),
        "color": "red",
        "offers": (),
    }


def test_a_default_is_read_as_what_users_write():
    options = (Option("gui_address", "where", "127.0.0.1:50001", http_address), Option("none", "no", "", address))
    assert vars(resolve("gui", options, {}, {})) == {"gui_address": Address("127.0.0.1", 50001), "none": ""}


def test_flags_weigh_more_than_environment_more_than_file_more_than_default(file, monkeypatch):
    path = file("[scheduler]\nmax_waiting = 2")
    assert read(WHERE).max_waiting == 5
    assert read(WHERE, "-c", path).max_waiting == 2
    monkeypatch.setenv("SCALER_SCHEDULER_MAX_WAITING", "3")
    assert read(WHERE, "-c", path).max_waiting == 3
    assert read(WHERE, "-c", path, "--max-waiting", "4").max_waiting == 4


def test_a_positional_can_come_from_anywhere(file, monkeypatch):
    path = file(f'[scheduler]\naddress = "{WHERE}"')
    assert read("--config", path).address.port == 1
    monkeypatch.setenv("SCALER_SCHEDULER_ADDRESS", "tcp://127.0.0.1:2")
    assert read("--config", path).address.port == 2
    assert read("--config", path, "tcp://127.0.0.1:3").address.port == 3


def test_lists_and_booleans(file):
    path = file('[scheduler]\npaths = ["a", "b"]\nprotected = false\noffers = ["gpu", "linux=3"]')
    given = read(WHERE, "-c", path)
    assert given.paths == ("a", "b")
    assert given.protected is False
    assert given.offers == ("gpu", "linux")
    assert read(WHERE, "-lp", "c", "d").paths == ("c", "d")
    assert read(WHERE, "-lp", "c", "--paths", "d", "e").paths == ("c", "d", "e")
    assert read(WHERE, "--no-protected").protected is False
    assert read(WHERE, "-c", path, "-p").protected is True


def test_keys_may_have_dashes(file):
    assert read(WHERE, "-c", file("[scheduler]\nmax-waiting = 2")).max_waiting == 2


def test_one_table_of_several_is_that_table(file):
    assert read(WHERE, "-c", file("[[scheduler]]\nmax_waiting = 2")).max_waiting == 2


def test_without_a_section_there_is_no_file_and_the_variables_are_short(monkeypatch):
    monkeypatch.setenv("SCALER_MAX_WAITING", "9")
    given = parse("ann", "", "", (*OPTIONS, Option("config", "a file", "", short="-c")), [WHERE, "-c", "x"])
    assert (given.max_waiting, given.config) == (9, "x")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "ann: ADDRESS is missing; see ann --help"),
        (("nowhere",), "ann: ADDRESS: 'nowhere' is not an address; write it as tcp://host:port"),
        ((WHERE, "--max-waiting", "0"), "ann: --max-waiting: 0 is less than 1"),
        ((WHERE, "--max-waiting", "x"), "ann: --max-waiting: 'x' is no whole number"),
        ((WHERE, "--max-wating", "1"), "ann: unknown argument --max-wating; did you mean --max-waiting?"),
        ((WHERE, "--max-wating=1"), "ann: unknown argument --max-wating=1; did you mean --max-waiting?"),
        ((WHERE, "--color", "gren"), "ann: --color: 'gren' is none of red, green; did you mean green?"),
        ((WHERE, "-c", "/no/file"), "ann: cannot read /no/file: No such file or directory"),
    ],
)
def test_bad_flags(refused, argv, said):
    assert refused(*argv).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scheduler]\nmax_wating = 1", "unknown key 'max_wating' in [scheduler]; did you mean max_waiting?"),
        ("[scheduler]\nmax_waiting = 0", "max_waiting in [scheduler]: 0 is less than 1"),
        ("[scheduler]\nprotected = 3", "protected in [scheduler]: '3' is neither yes nor no"),
        ("[schedular]", "unknown section [schedular]; did you mean scheduler?"),
        ("scheduler = 1", "scheduler is no table; write [scheduler] and its keys below"),
        ("[[scheduler]]\n[[scheduler]]", "there are 2 tables [[scheduler]]; run `scaler FILE` for all"),
        ("[scheduler", "is no valid TOML"),
    ],
)
def test_bad_files(refused, file, text, said):
    assert said in refused(WHERE, "-c", file(text))


def test_a_bad_variable_is_named(refused, monkeypatch):
    monkeypatch.setenv("SCALER_SCHEDULER_COLOR", "blue")
    assert refused(WHERE).startswith("ann: environment variable SCALER_SCHEDULER_COLOR: 'blue' is none of red, green")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="is no valid TOML"):
        read_toml(str(path))


def test_resolve_says_where():
    with pytest.raises(ConfigurationError, match=r"unknown key 'adress' in \[scheduler\]; did you mean address\?"):
        resolve("scheduler", OPTIONS, {}, {"adress": WHERE})


def test_nearest():
    assert nearest("schedular", ["scheduler", "top"]) == "; did you mean scheduler?"
    assert nearest("xyz", ["scheduler"]) == ""


def test_help_and_version(capsys):
    for flag, text in (("--help", "how many (default: 5)"), ("--version", "ann ")):
        with pytest.raises(SystemExit) as ended:
            read(flag)
        assert ended.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (boolean, "Yes", True),
        (boolean, "off", False),
        (integer, "-3", -3),
        (natural, "1", 1),
        (limit, "-1", -1),
        (limit, "0", 0),
        (seconds, "0", 0.0),
        (interval, "0.5", 0.5),
        (size, "0", 0),
        (size, "2147483648", 2 << 30),
        (size, "2G", 2 << 30),
        (size, "2 gib", 2 << 30),
        (size, "512K", 512 << 10),
        (memory_limit, "0", 0),
        (memory_limit, "64M", 64 << 20),
        (preload, "no.such.module:f(1)", "no.such.module:f(1)"),
        (capabilities, " linux, cpu=4 ,", ("cpu", "linux")),
    ],
)
def test_kinds(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (boolean, "2"),
        (integer, "1.5"),
        (natural, "0"),
        (limit, "-2"),
        (seconds, "-1"),
        (seconds, "nan"),
        (seconds, "inf"),
        (seconds, "soon"),
        (interval, "0"),
        (size, "-1"),
        (memory_limit, "63M"),
        (size, "2GB"),
        (size, "1.5G"),
        (size, "iB"),
        (preload, "no.such.module"),
    ],
)
def test_values_that_are_none(kind, text):
    with pytest.raises(ValueError, match=r"\S"):
        kind(text)
