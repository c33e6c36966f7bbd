"""A cluster with a secret: who has it works as ever, who has not sees nothing, and nobody can read it off anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from scaler import Client, ConfigurationError, ConnectionLostError, SecurityConfig, keyring
from scaler.ids import Address
from scaler.security import make_secret
from tests.integration.conftest import Command

NOBODY = 65534
LARGE = 3_000_000


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret"
    make_secret(path)
    return path


@pytest.fixture
def cluster(secret: Path, start: Callable[..., Command], free_addresses: tuple[str, str]) -> Iterator[list[Command]]:
    """Storage, scheduler and two slots, each a command."""
    scheduler, storage = free_addresses
    told = ["--secret-file", str(secret)]
    yield [
        start("scaler_object_storage_server", storage, *told),
        start("scaler_scheduler", scheduler, "-osa", storage, *told),
        start("scaler_cluster", "-n", "2", scheduler, *told),
    ]


def nested(count: int) -> int:
    with Client() as client:
        return int(client.submit(sum, range(count)).result())


def large(size: int) -> bytes:
    return b"x" * size


def what_others_see(process: psutil.Process) -> str:
    """Of a process and all that it started: command lines and environments."""
    told = []
    for each in [process, *process.children(recursive=True)]:
        told += [*each.cmdline(), *each.environ().values()]
    return "\n".join(told)


def test_commands_with_a_secret(
    cluster: list[Command], secret: Path, free_addresses: tuple[str, str], start: Callable[..., Command]
) -> None:
    address, monitor = free_addresses[0], str(Address.parse(free_addresses[0]).of_monitor())
    with Client(address, security_config=SecurityConfig(secret_file=secret), timeout_seconds=20) as client:
        assert client.submit(nested, 10).result() == 45
        assert client.submit(len, client.submit(large, LARGE).result()).result() == LARGE
        seen = "".join(what_others_see(psutil.Process(command.pid)) for command in cluster)
        assert client.explain(client.submit(abs, -1))
    top = start("scaler_top", monitor, "--once", "--secret-file", str(secret))
    assert top.wait() == 0 and any("worker" in line.lower() for line in top.lines)
    said = "".join(line for command in (*cluster, top) for line in command.lines)
    assert str(secret) in seen and "listen to scheduler address" in said
    assert secret.read_text().strip() not in seen + said


def test_who_has_no_secret_or_another_one_is_refused(
    cluster: list[Command], tmp_path: Path, free_addresses: tuple[str, str], start: Callable[..., Command]
) -> None:
    address, _ = free_addresses
    cluster[1].wait_for_line("listen to scheduler monitor address")
    with pytest.raises(ConnectionLostError, match="refused the connection: the peer asks for a secret"):
        Client(address, timeout_seconds=20)
    make_secret(tmp_path / "other")
    with pytest.raises(ConnectionLostError, match="not proved"):
        Client(address, security_config=SecurityConfig(secret_file=tmp_path / "other"), timeout_seconds=20)
    top = start("scaler_top", str(Address.parse(address).of_monitor()), "--once")
    assert top.wait() == 1 and "asks for a secret" in "".join(top.lines)
    worker = start("scaler_worker_manager", "baremetal_native", address, "--secret-file", str(tmp_path / "other"))
    assert worker.wait() == 1 and "not proved" in "".join(worker.lines)


def test_a_client_with_a_secret_trusts_no_scheduler_without_one(
    secret: Path, start: Callable[..., Command], free_addresses: tuple[str, str]
) -> None:
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", address, "-osa", storage)
    with pytest.raises(ConnectionLostError, match="asks for no secret"):
        Client(address, security_config=SecurityConfig(secret_file=secret), timeout_seconds=20)


def test_commands_refuse_what_is_no_secret(
    tmp_path: Path, start: Callable[..., Command], free_addresses: tuple[str, str]
) -> None:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef")
    path.chmod(0o644)
    refused = start("scaler_object_storage_server", free_addresses[1], "--secret-file", str(path))
    assert refused.wait() == 2 and f"chmod 600 {path}" in "".join(refused.lines)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Client(free_addresses[0], security_config=SecurityConfig(secret_file=path))


def test_a_stack_whose_file_names_the_secret_once(
    tmp_path: Path, start: Callable[..., Command], free_addresses: tuple[str, str]
) -> None:
    address, storage = free_addresses
    assert start("scaler", "make-secret", str(tmp_path / "secret")).wait() == 0
    file = tmp_path / "stack.toml"
    file.write_text(f"""
[security]
secret_file = "{tmp_path / "secret"}"
[object_storage_server]
address = "{storage}"
[scheduler]
address = "{address}"
[[worker_manager]]
type = "baremetal_native"
max_task_concurrency = 2
""")
    stack = start("scaler", str(file))
    stack.wait_for_line("listen to scheduler monitor address")
    with Client(address, security_config=SecurityConfig(secret_file=tmp_path / "secret"), timeout_seconds=20) as client:
        assert client.map(nested, [3, 4]) == [3, 6]


def test_a_cluster_of_this_machine_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(n_workers=1, timeout_seconds=20) as client:
        assert client.submit(nested, 10).result() == 45
        with Client(client.address, timeout_seconds=20) as another:
            assert another.submit(abs, -1).result() == 1
        own = keyring.find(Address.parse(client.address))
        assert len(own) == 64
        process = psutil.Process(client.cluster.pid)
        assert own.decode() not in what_others_see(process)
        monkeypatch.setattr(keyring, "PLACE", str(tmp_path))
        with pytest.raises(ConnectionLostError, match="asks for a secret"):
            Client(client.address, timeout_seconds=20)
        monkeypatch.undo()
        address = client.address
    assert keyring.find(Address.parse(address)) == b""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_of_this_machine_is_refused() -> None:
    code = """if True:
        import os, sys
        from scaler import Client
        from scaler.net.driver import load_conversations
        from scaler.software import software
        load_conversations(), software()
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        Client(sys.argv[1], timeout_seconds=20)
    """
    with Client(n_workers=1, timeout_seconds=20) as client:
        command = [sys.executable, "-c", code.replace("NOBODY", str(NOBODY)), client.address]
        tried = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert tried.returncode == 1 and "asks for a secret" in tried.stderr
