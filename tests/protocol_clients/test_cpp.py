"""protocol/clients/cpp: built, and run on a live cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler import SchedulerClusterCombo
from tests.protocol_clients.conftest import PROTOCOL, Gate, needs, run, tour, tour_by_tls

pytestmark = pytest.mark.integration
CPP = PROTOCOL / "clients" / "cpp"
HEADERS = ("capnp/message.h", "openssl/hmac.h", "nlohmann/json.hpp")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where its programs are."""
    needs("g++", "make", "capnp")
    missing = [header for header in HEADERS if not (Path("/usr/include") / header).exists()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    place = tmp_path_factory.mktemp("cpp")
    run("make", "-j2", f"BUILD={place}", "CXXFLAGS=-O0 -Wall -Wextra -Werror", cwd=CPP, seconds=600)
    yield place
    shutil.rmtree(place)


def test_what_its_readme_shows(built: Path, cluster: SchedulerClusterCombo, secret_file: Path) -> None:
    readme = (CPP / "README.md").read_text()
    assert (CPP / "examples" / "hello.cpp").read_text() in readme
    shown = run(built / "hello", cluster.get_address(), secret_file).splitlines()
    assert f"prints {', '.join(f'`{line}`' for line in shown)}." in readme
    for option in ("libcapnp-dev", "libssl-dev", "nlohmann-json3-dev"):
        assert option in readme and option in (PROTOCOL.parent / ".ci" / "run").read_text()


def test_a_wrong_secret_is_refused(built: Path, cluster: SchedulerClusterCombo, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("another secret of some length")
    done = subprocess.run(
        [built / "hello", cluster.get_address(), other], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0 and "the secret was not proved" in done.stderr


def test_the_vectors_mean_the_same(built: Path) -> None:
    assert " checked, 0 wrong" in run(built / "vectors", PROTOCOL / "vectors")


def test_it_can_do_what_its_tour_shows(
    built: Path, gate: Gate, cluster: SchedulerClusterCombo, secret_file: Path
) -> None:
    tour(gate, cluster, secret_file, built / "tour")


def test_the_same_by_tls(
    built: Path, tls_cluster: SchedulerClusterCombo, secret_file: Path, certificates: Path
) -> None:
    tour_by_tls(tls_cluster, secret_file, certificates, built / "tour")


def test_who_leaves_does_not_come_back(built: Path, cluster: SchedulerClusterCombo, secret_file: Path) -> None:
    """The scheduler answers a goodbye by closing; a client that takes this for a lost connection never ends."""
    assert run(built / "leaving", cluster.get_address(), secret_file) == "all have left\n"
