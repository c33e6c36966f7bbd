"""A cluster that asks for a secret, and a way to it that can be broken, for clients in other languages."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scaler import SchedulerClusterCombo, SecurityConfig
from scaler.ids import Address
from tests.integration.conftest import wait_until

PROTOCOL = Path(__file__).parents[2] / "protocol"


class Gate:
    """Passes on what comes to ``address`` to another one, until it is told to break what goes through it."""

    def __init__(self, to: str) -> None:
        self._to = Address.parse(to)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.passed = 0
        """Connections so far."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.passed += 1
            far = socket.create_connection((self._to.host, self._to.port))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    def break_connections(self) -> None:
        for end in list(self._open):  # without those that come back meanwhile
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It was closed before.

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_connections()
        for end in self._open:
            end.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    try:
        while content := one.recv(1 << 16):
            other.sendall(content)
    except OSError:
        pass  # It was broken: so is the other way.
    try:
        other.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@pytest.fixture(scope="package")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "secret"
    path.touch(0o600)
    path.write_text(secrets.token_hex(32) + "\n")
    return path


@pytest.fixture(scope="package")
def cluster(secret_file: Path) -> Iterator[SchedulerClusterCombo]:
    security = SecurityConfig(secret_file=str(secret_file))
    with SchedulerClusterCombo(2, security_config=security, logging_level="WARNING") as cluster:
        yield cluster


@pytest.fixture(scope="package")
def tls_cluster(secret_file: Path, certificates: Path) -> Iterator[SchedulerClusterCombo]:
    """One that asks for certificates, too."""
    security = SecurityConfig(
        secret_file=str(secret_file),
        tls_certificate=str(certificates / "server.pem"),
        tls_key=str(certificates / "server-key.pem"),
        tls_ca=str(certificates / "ca.pem"),
        tls_require_client_certificate=True,
    )
    addresses = dict.fromkeys(("address", "object_storage_address", "monitor_address"), "tls://127.0.0.1:0")
    with SchedulerClusterCombo(1, security_config=security, logging_level="ERROR", **addresses) as cluster:
        yield cluster


def tour_by_tls(cluster: SchedulerClusterCombo, secret_file: Path, certificates: Path, *command: str | Path) -> None:
    """The same without broken connections; and who lacks a certificate, or does not trust the cluster's, is told so at once."""
    told = [*map(str, command), cluster.get_address(), str(secret_file)]
    ca = {"SCALER_TLS_CA": str(certificates / "ca.pem")}
    own = {
        "SCALER_TLS_CERTIFICATE": str(certificates / "client.pem"),
        "SCALER_TLS_KEY": str(certificates / "client-key.pem"),
    }
    shown = run(*told, env={**ca, **own})
    assert "WRONG" not in shown and shown.endswith("done\n")
    for environment, why in ((own, "certificate"), (ca, "certificate required")):
        done = subprocess.run(
            told, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **environment}
        )
        assert done.returncode != 0 and why in done.stderr, done.stdout + done.stderr


@pytest.fixture
def gate(cluster: SchedulerClusterCombo) -> Iterator[Gate]:
    gate = Gate(cluster.get_address())
    yield gate
    gate.close()


def needs(*programs: str) -> None:
    """Skips the test where one of these is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path, seconds: float = 120, **keywords: object) -> str:
    """What a command prints. Fails with all of it where the command fails."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=keywords.get("cwd"),
        env={**os.environ, **keywords.get("env", {})},  # type: ignore[dict-item]
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def replace_storage(address: str) -> None:
    """Kill the object storage that listens there, and wait for the empty one that takes its place."""
    place = Address.parse(address)

    def listener() -> psutil.Process | None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if any(
                    c.status == psutil.CONN_LISTEN and c.laddr.port == place.port for c in process.net_connections()
                ):
                    return process
        return None

    before = listener()
    assert before is not None
    before.kill()
    wait_until(lambda: (now := listener()) is not None and now.pid != before.pid, "another object storage")


def tour(gate: Gate, cluster: SchedulerClusterCombo, secret_file: Path, *command: str | Path) -> str:
    """What a client's tour of everything prints, while the object storage dies, and its connection breaks once; it goes by way
    of the gate."""
    process = subprocess.Popen(
        [*map(str, command), gate.address, str(secret_file), "break"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    assert process.stdin is not None and process.stdout is not None
    said = []
    with process:
        for line in process.stdout:
            said.append(line)
            if line.strip() == "lose":
                replace_storage(cluster.get_object_storage_address())
            elif line.strip() == "break":
                gate.break_connections()
            else:
                continue
            process.stdin.write("done\n")
            process.stdin.flush()
    alarm.cancel()
    shown = "".join(said)
    assert process.returncode == 0, shown
    assert "WRONG" not in shown and said[-1] == "done\n", shown
    assert gate.passed == 2, "it has to come back once"
    return shown
