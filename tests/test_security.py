"""Secret files, and what is never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaler import keyring
from scaler.errors import ConfigurationError
from scaler.ids import Address
from scaler.security import Security, SecurityConfig, at, make_secret, read_secret

HERE = Address("127.0.0.1", 8516)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keyring, "PLACE", str(tmp_path))
    monkeypatch.delenv("SCALER_SECRET_FILE", raising=False)
    return tmp_path / f"scaler-secrets-{os.getuid()}"


def written(path: Path, content: bytes = b"0123456789abcdef\n", mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_new_secret_is_its_owners_and_good(tmp_path: Path) -> None:
    os.umask(os.umask(0))
    make_secret(tmp_path / "a")
    make_secret(tmp_path / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert len(read_secret(tmp_path / "a")) == 64
    assert read_secret(tmp_path / "a") != read_secret(tmp_path / "b")
    with pytest.raises(ConfigurationError, match="exists already"):
        make_secret(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_secret_that_others_can_use_is_none(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "secret", mode=mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        read_secret(path)


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "is empty"), (b" \n", "is empty"), (b"short", "holds 5"), (b"x" * 5000, "is long")]
)
def test_a_secret_has_a_decent_length(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        read_secret(written(tmp_path / "secret", content))


def test_a_pipe_is_no_secret_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="no regular file"):
        read_secret(tmp_path / "pipe")


def test_a_secret_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No such file.*scaler make-secret"):
        read_secret(tmp_path / "none")
    with pytest.raises(ConfigurationError):
        read_secret(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot write"):
        make_secret(tmp_path / "none" / "secret")


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    security = SecurityConfig(secret_file=written(tmp_path / "secret")).load()
    assert security.asks and security.secret == b"0123456789abcdef"
    for shown in (repr(security), str(security), f"{security}", repr([security])):
        assert "0123456789abcdef" not in shown
    with pytest.raises(ConfigurationError) as failure:
        read_secret(written(tmp_path / "long", b"0123456789abcdef" * 1000))
    assert "0123456789abcdef" not in str(failure.value)


def test_what_is_not_given_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALER_SECRET_FILE", "elsewhere")
    assert SecurityConfig().completed() == SecurityConfig("elsewhere")
    assert SecurityConfig("secret").completed().environment() == {"SCALER_SECRET_FILE": str(path)}


def test_what_children_are_told_is_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = SecurityConfig("/s", "/c", "/k", "/ca", True, "node5.example")
    for name, value in said.environment().items():
        monkeypatch.setenv(name, value)
    assert SecurityConfig().completed() == said
    assert SecurityConfig(tls_require_client_certificate=False).completed().tls_require_client_certificate is False
    monkeypatch.setenv("SCALER_TLS_REQUIRE_CLIENT_CERTIFICATE", "perhaps")
    with pytest.raises(
        ConfigurationError, match="SCALER_TLS_REQUIRE_CLIENT_CERTIFICATE: 'perhaps' is neither yes nor no"
    ):
        SecurityConfig().completed()


def test_files_of_other_hosts(tmp_path: Path) -> None:
    here = {"secret_file": "/home/ann/secret"}
    assert at("", here) == here
    assert at("/etc/scaler", here) == {"secret_file": "/etc/scaler/secret"}


def test_a_cluster_of_this_machine_is_found_by_its_address(own_place: Path) -> None:
    security = Security().with_own_secret()
    security.listening(HERE)
    assert own_place.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in own_place.iterdir())
    for name in ("127.0.0.1", "localhost", "::1"):
        assert Security().secret_for(Address(name, 8516)) == security.secret
    for other in (Address("127.0.0.1", 8517), Address("10.0.0.5", 8516), Address("", 0, "/run/x")):
        assert Security().secret_for(other) == b""
    assert Security(b"given").secret_for(HERE) == b"given"
    security.closed(HERE)
    assert Security().secret_for(HERE) == b""
    assert list(own_place.iterdir()) == []


def test_who_listens_without_a_secret_sets_aside_what_a_killed_one_left() -> None:
    Security().with_own_secret().listening(HERE)
    Security().listening(HERE)
    assert Security().secret_for(HERE) == b""


def test_sockets_of_unix_have_secrets_of_their_own() -> None:
    security, where = Security().with_own_secret(), Address.parse("ipc:///run/scaler/a")
    security.listening(where)
    assert Security().secret_for(where) == security.secret
    assert Security().secret_for(Address.parse("ipc:///run/scaler/b")) == b""


def test_what_others_could_have_written_is_not_believed(own_place: Path) -> None:
    Security().with_own_secret().listening(HERE)
    (entry,) = own_place.iterdir()
    entry.chmod(0o644)
    assert keyring.find(HERE) == b""
    entry.chmod(0o600)
    own_place.chmod(0o755)
    assert keyring.find(HERE) == b""
    with pytest.raises(ConfigurationError, match="not a directory of this user alone"):
        Security().with_own_secret().listening(HERE)
    own_place.chmod(0o700)
    entry.rename(own_place / "elsewhere")
    entry.symlink_to(own_place / "elsewhere")
    assert keyring.find(HERE) == b""
