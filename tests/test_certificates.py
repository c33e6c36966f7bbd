"""``scaler make-certificate``: what it writes, and for whom. That TLS takes it is seen in test_tls.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaler.certificates import make_certificates
from scaler.cli import make_certificate
from scaler.errors import ConfigurationError


def test_keys_are_their_owners(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        made = make_certificates(tmp_path / "c", ["localhost"])
    finally:
        os.umask(mask)
    names = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem", "client.pem", "client-key.pem"]
    assert made == names and sorted(names) == sorted(path.name for path in (tmp_path / "c").iterdir())
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    for name in names:
        assert (tmp_path / "c" / name).stat().st_mode & 0o777 == (0o600 if "key" in name else 0o644)


def test_the_ca_stays(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["localhost"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make_certificates(tmp_path, ["localhost"]) == [
        "server.pem",
        "server-key.pem",
        "client.pem",
        "client-key.pem",
    ]
    same = {name for name, content in before.items() if (tmp_path / name).read_bytes() == content}
    assert same == {"ca.pem", "ca-key.pem"}


def test_a_ca_that_cannot_be_used(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_certificates(tmp_path / name, ["localhost"])
    (tmp_path / "a" / "ca.pem").rename(tmp_path / "b" / "ca.pem")
    with pytest.raises(ConfigurationError, match="is not the key of"):
        make_certificates(tmp_path / "b", ["localhost"])
    with pytest.raises(ConfigurationError, match="a part of a CA"):
        make_certificates(tmp_path / "a", ["localhost"])
    (tmp_path / "b" / "ca-key.pem").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        make_certificates(tmp_path / "b", ["localhost"])


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="no name of a host"):
        make_certificates(tmp_path, ["grün.example"])
    (tmp_path / "file").write_text("")
    assert make_certificate.main([str(tmp_path / "file" / "c"), "--host", "a"]) == 1
    assert "scaler make-certificate: cannot write" in capsys.readouterr().err
    assert make_certificate.main([str(tmp_path / "c"), "--host", "node5.example", "10.0.0.5"]) == 0
    assert "for node5.example, 10.0.0.5, good for 365 days" in capsys.readouterr().out
