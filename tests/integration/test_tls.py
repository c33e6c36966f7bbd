"""A cluster by TLS, with certificates on both sides and a secret: all works as ever, and who may not come is told why."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scaler import Client, ConnectionLostError, NotTrustedError, RefusedError, SchedulerClusterCombo, SecurityConfig
from scaler.certificates import make_certificates
from scaler.ids import Address, new_identity
from scaler.security import make_secret
from scaler.storage.client import StorageClient
from tests.integration.conftest import Command

pytestmark = pytest.mark.integration
SECURITY_PAGE = Path(__file__).parents[2] / "docs" / "security.md"
LARGE = 20_000_000


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SCALER_TLS", "SCALER_SECRET"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def where(certificates: Path, tmp_path: Path) -> Path:
    """Certificates of a test's own, and a secret."""
    shutil.copytree(certificates, tmp_path / "c")
    make_secret(tmp_path / "c" / "secret")
    return tmp_path / "c"


def of(where: Path, name: str = "client", **more: Any) -> SecurityConfig:
    return SecurityConfig(where / "secret", where / f"{name}.pem", where / f"{name}-key.pem", where / "ca.pem", **more)


def told(where: Path, name: str) -> list[str]:
    """The same as options of a command; servers ask for certificates."""
    files = ["--secret-file", "secret", "--tls-ca", "ca.pem", "--tls-certificate", f"{name}.pem"]
    files += ["--tls-key", f"{name}-key.pem"]
    options = [str(where / word) if word[0] != "-" else word for word in files]
    return [*options, "--tls-require-client-certificate"] if name == "server" else options


@pytest.fixture
def addresses(free_addresses: tuple[str, str]) -> tuple[str, str]:
    scheduler, storage = (address.replace("tcp", "tls") for address in free_addresses)
    return scheduler, storage


@pytest.fixture
def cluster(where: Path, start: Callable[..., Command], addresses: tuple[str, str]) -> Iterator[list[Command]]:
    """Storage, scheduler and two slots, each a command."""
    scheduler, storage = addresses
    yield [
        start("scaler_object_storage_server", storage, *told(where, "server")),
        start("scaler_scheduler", scheduler, "-osa", storage, *told(where, "server")),
        start("scaler_cluster", "-n", "2", scheduler, *told(where, "client")),
    ]


def nested(count: int) -> int:
    with Client() as client:
        return int(client.submit(sum, range(count)).result())


def large(size: int) -> bytes:
    return bytes(range(250)) * (size // 250)


def both(*contents: bytes) -> int:
    return sum(map(len, contents))


def test_all_works_as_ever(
    cluster: list[Command], where: Path, addresses: tuple[str, str], start: Callable[..., Command]
) -> None:
    scheduler, storage = addresses
    with Client(scheduler, security_config=of(where), timeout_seconds=20) as client:
        assert client.submit(nested, 10).result() == 45
        assert client.map(abs, range(-500, 500)) == [abs(n) for n in range(-500, 500)]
        assert client.submit(len, client.submit(large, LARGE).result()).result() == LARGE
        top = start("scaler_top", str(Address.parse(scheduler).of_monitor()), "--once", *told(where, "client"))
        assert top.wait() == 0 and any(scheduler in line for line in top.lines)
        make_certificates(where, ["127.0.0.1"])
        psutil.Process(cluster[1].pid).send_signal(signal.SIGHUP)
        cluster[1].wait_for_line("new connections have the certificates as their files are now")
        with Client(scheduler, security_config=of(where), timeout_seconds=20) as another:
            assert another.submit(abs, -1).result() == 1
        assert client.submit(abs, -2).result() == 2
    said = "".join(line for command in cluster for line in command.lines)
    assert "certificates have changed" in said or "new connections have" in said
    objects = StorageClient(Address.parse(storage), new_identity(), "", of(where).load(), 20)
    assert objects.shares()  # Memory is shared on one host, with TLS as without.
    objects._current().share = False
    for size in (0, 1, 1 << 20, LARGE):
        name, owner, content = new_identity(), new_identity(), large(size)
        objects.put(name, content, owner)
        assert objects.get(name) == content
    objects.close()


def test_who_may_not_come_is_told_at_once(cluster: list[Command], where: Path, addresses: tuple[str, str]) -> None:
    scheduler, storage = addresses
    cluster[1].wait_for_line("listen to scheduler monitor address")
    without = SecurityConfig(where / "secret", tls_ca=where / "ca.pem")
    stranger = SecurityConfig(where / "secret")
    make_secret(where / "another")
    wrong = SecurityConfig(where / "another", where / "client.pem", where / "client-key.pem", where / "ca.pem")
    refusals = [
        (scheduler, without, "refused the connection: the peer asks for a certificate, and none is configured here"),
        (scheduler, stranger, "is not to be trusted: the peer's certificate is signed by .*--tls-ca"),
        (scheduler, wrong, "another one, or somebody is between the two"),
        (scheduler, of(where, tls_server_name="node5.example"), r"not to be trusted.*is not for node5\.example"),
        (scheduler.replace("tls", "tcp"), of(where), "this address takes TLS only: write tls:// instead of tcp://"),
    ]
    for address, security, says in refusals:
        with pytest.raises(ConnectionLostError, match=says):
            Client(address, security_config=security, timeout_seconds=300)
    for security, error, says in (
        (without, RefusedError, "asks for a certificate"),
        (stranger, NotTrustedError, "--tls-ca"),
        (wrong, RefusedError, "not proved"),
    ):
        client = StorageClient(Address.parse(storage), new_identity(), "", security.load(), 300)
        with pytest.raises(error, match=says):
            client.put(new_identity(), b"x", new_identity())
        client.close()
    plain = StorageClient(Address.parse(storage.replace("tls", "tcp")), new_identity(), "", of(where).load(), 300)
    with pytest.raises(RefusedError, match="takes TLS only"):
        plain.get(new_identity())
    plain.close()


def test_who_wants_tls_takes_nothing_else(
    where: Path, start: Callable[..., Command], free_addresses: tuple[str, str]
) -> None:
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage, "--secret-file", str(where / "secret"))
    start("scaler_scheduler", scheduler, "-osa", storage, "--secret-file", str(where / "secret"))
    with pytest.raises(ConnectionLostError, match=r"the peer does not speak TLS; if that is right.*tcp://"):
        Client(scheduler.replace("tcp", "tls"), security_config=of(where), timeout_seconds=300)
    client = StorageClient(Address.parse(storage.replace("tcp", "tls")), new_identity(), "", of(where).load(), 300)
    with pytest.raises(RefusedError, match="does not speak TLS"):
        client.put(new_identity(), b"x", new_identity())
    client.close()


def test_objects_go_from_host_to_host(where: Path, start: Callable[..., Command], addresses: tuple[str, str]) -> None:
    scheduler, center = addresses
    start("scaler_object_storage_server", center, *told(where, "server"))
    start("scaler_scheduler", scheduler, "-osa", center, *told(where, "server"))
    storages = []
    for name in ("one", "two"):
        storage = start("scaler_object_storage_server", "tls://127.0.0.1:0", "--center", center, *told(where, "server"))
        line = storage.wait_for_line("listen to object storage address")
        own = line.rsplit(" ", 1)[1].strip()
        storages.append(storage)
        assert own.startswith("tls://")
        start("scaler_cluster", "-n", "1", scheduler, "-osa", own, "-pwc", name, *told(where, "client"))
    with Client(scheduler, security_config=of(where), timeout_seconds=30) as client:
        made = client.submit_verbose(large, (LARGE,), {}, capabilities={"one": 1})
        assert made.result() == large(LARGE)  # By way of the object storage of all, which gets it from the host.
        graph = {"a": (large, LARGE), "b": (large, LARGE + 250), "c": (both, "a", "b")}
        assert client.get(graph, ["c"]) == {"c": 2 * LARGE + 250}
    assert not any("cannot get object" in line for host in storages for line in host.lines)


def test_a_cluster_that_a_program_starts(where: Path) -> None:
    combo = SchedulerClusterCombo(
        1,
        address="tls://127.0.0.1:0",
        object_storage_address="tls://127.0.0.1:0",
        monitor_address="tls://127.0.0.1:0",
        security_config=of(where, "server"),
    )
    try:
        assert combo.get_address().startswith("tls://")
        with Client(combo.get_address(), security_config=of(where), timeout_seconds=20) as client:
            assert client.submit(nested, 10).result() == 45
    finally:
        combo.shutdown()


def test_the_commands_that_the_documentation_shows(
    tmp_path: Path,
    start: Callable[..., Command],
    addresses: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = SECURITY_PAGE.read_text().partition("## TLS")[2]
    lines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].replace("\\\n", " ")
    monkeypatch.setenv("HOME", str(tmp_path))
    ours = {
        "tls://10.0.0.5:8516": addresses[0],
        "tls://10.0.0.5:8517": addresses[1],
        "tls://10.0.0.5:8518": str(Address.parse(addresses[0]).of_monitor()),
        "10.0.0.5": "127.0.0.1",
    }
    for theirs, own in ours.items():
        lines = lines.replace(theirs, own)
    ran = []
    for line in lines.splitlines():
        words = [re.sub(r"(^|=)~/", rf"\1{tmp_path}/", word) for word in shlex.split(line, comments=True)]
        if words[:1] == ["export"]:
            for name, _, value in (word.partition("=") for word in words[1:]):
                monkeypatch.setenv(name, value)
        elif words:
            command = start(*words, *(["--once"] if words[0] == "scaler_top" else []))
            if words[0] in ("scaler", "scaler_top"):
                assert command.wait() == 0, command.lines
            ran.append(words[0])
    assert ran == [
        "scaler",
        "scaler",
        "scaler_object_storage_server",
        "scaler_scheduler",
        "scaler_cluster",
        "scaler_top",
    ]
    with Client(addresses[0], timeout_seconds=20) as client:
        assert client.submit(pow, 2, 10).result() == 1024
