"""protocol/clients/typescript: built, and run on a live cluster."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler import SchedulerClusterCombo
from tests.protocol_clients.conftest import PROTOCOL, Gate, needs, run, tour, tour_by_tls

pytestmark = pytest.mark.integration
TYPESCRIPT = PROTOCOL / "clients" / "typescript"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of its directory, where it was built."""
    needs("node", "npm", "capnp")
    protocol = tmp_path_factory.mktemp("typescript") / "protocol"
    place = protocol / "clients" / "typescript"
    shutil.copytree(TYPESCRIPT, place, ignore=shutil.ignore_patterns("node_modules", "generated", "build"))
    for schema in PROTOCOL.glob("*.capnp"):
        shutil.copy(schema, protocol)
    run("npm", "ci", "--no-audit", "--no-fund", cwd=place, seconds=600)
    run("npm", "run", "build", cwd=place, seconds=600)
    yield place
    shutil.rmtree(protocol)


def test_what_its_readme_shows(built: Path, cluster: SchedulerClusterCombo, secret_file: Path) -> None:
    readme = (TYPESCRIPT / "README.md").read_text()
    assert (TYPESCRIPT / "examples" / "hello.ts").read_text() in readme
    shown = run("node", built / "build/examples/hello.js", cluster.get_address(), secret_file).splitlines()
    assert f"prints {', '.join(f'`{line}`' for line in shown)}." in readme


def test_the_vectors_mean_the_same(built: Path) -> None:
    assert " checked, 0 wrong" in run("node", built / "build/tests/vectors.js", PROTOCOL / "vectors")


def test_it_can_do_what_its_tour_shows(
    built: Path, gate: Gate, cluster: SchedulerClusterCombo, secret_file: Path
) -> None:
    tour(gate, cluster, secret_file, "node", built / "build/examples/tour.js")


def test_the_same_by_tls(
    built: Path, tls_cluster: SchedulerClusterCombo, secret_file: Path, certificates: Path
) -> None:
    tour_by_tls(tls_cluster, secret_file, certificates, "node", built / "build/examples/tour.js")


def test_its_lock_file_names_no_registry() -> None:
    assert "resolved" not in (TYPESCRIPT / "package-lock.json").read_text()
