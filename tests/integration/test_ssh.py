"""The ssh backend against a real sshd on this machine: three names of it are three hosts."""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from scaler import Client
from scaler.errors import ConfigurationError
from scaler.manager.backend import Phase, WorkerOrder
from scaler.manager.ssh import Host, SshWorkers
from scaler.manager.template import WorkerTemplate
from scaler.worker.state import WorkerOptions

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not Path(SSHD).exists() and "CI" not in os.environ, reason="there is no sshd here"),
]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def ssh_config(tmp_path_factory):
    """A configuration file of ssh by which ``one``, ``two`` and ``three`` are this machine, and ``nowhere`` does not answer."""
    where = tmp_path_factory.mktemp("sshd")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", where / key], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (where / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {where}/host\nAuthorizedKeysFile {where}/user.pub\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    (where / "config").write_text(
        f"Host one two three\n  Port {port}\nHost nowhere\n  Port 1\n"
        f"Host *\n  HostName 127.0.0.1\n  User {getpass.getuser()}\n  IdentityFile {where}/user\n  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    )
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", where / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not answers(port):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        yield str(where / "config")
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def make(ssh_config, request):
    """Backends whose workers find no scheduler, and so do nothing until they are stopped."""
    manager = f"{request.node.name}-{os.getpid()}"

    def make(*hosts: Host, worker_slots: int = 0) -> SshWorkers:
        worker = WorkerOptions(1, manager_name=manager, scheduler_address="tcp://127.0.0.1:1")
        template = WorkerTemplate(asdict(worker), "uvloop", ("INFO", ("/dev/stdout",), None))
        return SshWorkers(template, hosts, ["ssh", "-F", ssh_config], sys.executable, worker_slots)

    return make


def phases(sightings) -> dict[str, Phase]:
    return {sighting.name: sighting.phase for sighting in sightings}


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be cleared away."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_are_started_found_again_and_stopped(make):
    async def run() -> None:
        backend = make(Host("one", 2), Host("two", 4), worker_slots=2)
        await backend.prepare()
        assert (backend.most_slots, backend.worker_slots) == (6, 2)
        orders = [WorkerOrder(name, 2) for name in "abcd"]
        told = phases(await backend.start(orders))
        assert list(told.values()).count(Phase.RUNNING) == 3 and told["d"] == Phase.ENDED
        assert phases(await backend.list()) == dict.fromkeys("abc", Phase.RUNNING)
        await backend.close()
        again = make(Host("two", 4), Host("one", 2), worker_slots=2)
        await again.prepare()
        seen = await again.list()
        assert phases(seen) == dict.fromkeys("abc", Phase.RUNNING) and {s.slots for s in seen} == {2}
        pids = [int(sighting.label.split()[1]) for sighting in seen]
        assert all(map(runs, pids))
        await again.stop(["a", "b", "never-there"])
        assert phases(await again.list()) == {"a": Phase.ENDED, "b": Phase.ENDED, "c": Phase.RUNNING}
        assert phases(await again.list()) == {"c": Phase.RUNNING}
        await again.stop(["c"])
        (ended,) = await again.list()
        assert "stopped by SIGTERM" in ended.story and not any(map(runs, pids))
        await again.close()

    asyncio.run(run())


def test_a_host_that_does_not_answer_is_asked_for_nothing(make):
    async def run() -> None:
        backend = make(Host("nowhere", 8), Host("one", 2))
        await backend.prepare()
        assert backend.most_slots == 2
        await backend.close()
        with pytest.raises(ConfigurationError, match="none of the hosts answers: nowhere does not answer as it should"):
            await make(Host("nowhere", 8)).prepare()

    asyncio.run(run())


def test_without_a_number_a_host_has_as_many_slots_as_cpus(make):
    async def run() -> None:
        backend = make(Host("one", 0))
        await backend.prepare()
        assert backend.most_slots == backend.worker_slots == len(os.sched_getaffinity(0))
        await backend.close()

    asyncio.run(run())


def test_a_whole_cluster(start, free_addresses, ssh_config, tmp_path):
    address, storage = free_addresses
    file = tmp_path / "cluster.toml"
    file.write_text(
        f"""
        [object_storage_server]
        address = "{storage}"
        [scheduler]
        address = "{address}"
        policy_content = "scaling=vanilla; idle_seconds=0.5"
        [[worker_manager]]
        type = "ssh"
        hosts = ["one=1", "two=1", "three=2"]
        ssh_config = "{ssh_config}"
        remote_python = "{sys.executable}"
        worker_manager_id = "{tmp_path.name}"
        """
    )

    def pid(_: int) -> int:  # By value: the workers stand elsewhere.
        time.sleep(0.1)
        return os.getpid()

    stack = start("scaler", str(file))
    with Client(address, timeout_seconds=20) as client:
        pids = client.map(pid, range(20))
    assert len(set(pids)) == 4
    for host in ("one", "two", "three"):
        stack.wait_for_line(f" on {host} with 1 slots")
    stack.wait_for_line(f"worker manager {tmp_path.name} is to have 0 slots")
    stack.wait_for_line("it had 1 slots")
