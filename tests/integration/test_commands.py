"""The commands as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from pathlib import Path

import psutil
import pytest

from scaler import Client
from scaler.ids import Address
from tests.sim.__main__ import go_on
from tests.sim.load import load_file
from tests.sim.puppets import Puppets

from .conftest import wait_until

pytestmark = pytest.mark.integration

DEPLOYING = Path(__file__).parents[2] / "docs/deploying.md"
LINE = re.compile(r"\[(DEBUG|INFO|WARNING|ERROR)\]\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}: \S.*\n")


def family(command) -> list[psutil.Process]:
    process = psutil.Process(command.pid)
    return [process, *process.children(recursive=True)]


def lives(process: psutil.Process) -> bool:
    """Whether it is more than an entry that nobody has asked for yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def works(address: str) -> None:
    with Client(address, timeout_seconds=20) as client:
        # Not a function of this module: executors would have to load pytest for it.
        assert client.map(pow, range(20), [2] * 20) == [x * x for x in range(20)]
        assert len(client.submit(bytes, 300_000).result(20)) == 300_000  # by way of the object storage


def ends(command, how: str = "interrupt") -> None:
    """It ends in order, and leaves no process behind."""
    processes = family(command)
    if how == "interrupt":
        command.interrupt()
    else:
        psutil.Process(command.pid).terminate()
    assert command.wait() == 0
    wait_until(lambda: not any(map(lives, processes)), f"the end of all of {processes}")
    assert "Traceback" not in "".join(command.lines)


def test_a_first_session(start, free_addresses):
    address, storage = free_addresses
    commands = [
        start("scaler_object_storage_server", storage),
        start("scaler_scheduler", address, "-osa", storage),
        start("scaler_cluster", "-n", "3", address),
    ]
    commands[1].wait_for_line("listen to scheduler monitor address")
    works(address)
    says = "".join(commands[1].lines)
    monitor = Address.parse(address).with_port(Address.parse(address).port + 2)
    for text in (
        "Scheduler: logging to /dev/stdout",
        "Scheduler: use event loop: uvloop",
        f"Scheduler: listen to scheduler address {address}",
        f"Scheduler: connect to object storage server {storage}",
        f"Scheduler: listen to scheduler monitor address {monitor}",
    ):
        assert text in says
    commands[1].wait_for_line("connected with 3 slots")
    for command in commands:
        ends(command)
        for line in command.lines:
            assert LINE.fullmatch(line), line


def test_a_session_over_unix_sockets(start, tmp_path):
    address, storage = f"ipc://{tmp_path}/scheduler", f"ipc://{tmp_path}/storage"
    commands = [
        start("scaler_cluster", "-n", "2", address),
        start("scaler_scheduler", address, "-osa", storage),
        start("scaler_object_storage_server", storage),
    ]
    commands[1].wait_for_line(f"listen to scheduler monitor address {address}.monitor")
    works(address)
    with Client(address) as client:
        assert client.submit(bytes, 1_000_000).result(20) == bytes(1_000_000)
    for command in commands:
        ends(command)
    assert list(tmp_path.iterdir()) == []


def test_in_any_order(start, free_addresses):
    address, storage = free_addresses
    cluster = start("scaler_cluster", "-n", "1", address, "-wmi", "ann", "-pwc", "gpu")
    cluster.wait_for_line("started worker")
    scheduler = start("scaler_scheduler", address, "-osa", storage, "--event-loop", "builtin")
    scheduler.wait_for_line("worker manager ann (baremetal_native) connected")
    server = start("scaler_object_storage_server", storage)
    works(address)
    for command in (server, scheduler, cluster):
        ends(command, "terminate")


def test_a_worker_that_dies_is_replaced(start, free_addresses):
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", address, "-osa", storage)
    manager = start("scaler_worker_manager", "baremetal_native", address, "-mtc", "1", "--mode", "fixed")
    works(address)
    worker = psutil.Process(manager.pid).children()[0]
    worker.kill()
    manager.wait_for_line(f"worker {worker.pid} was killed by SIGKILL; another one starts in 0.1 s")
    works(address)
    ends(manager)


def test_workers_outlive_a_killed_manager_until_their_time_is_over(start, free_addresses):
    address, storage = free_addresses
    server = start("scaler_object_storage_server", storage)
    scheduler = start("scaler_scheduler", address, "-osa", storage)
    scheduler.wait_for_line("listen to scheduler address")
    manager = start("scaler_cluster", "-n", "1", address, "-dts", "0.5")
    works(address)
    workers = family(manager)[1:]
    manager.kill()
    works(address)
    assert all(map(lives, workers))
    for command in (scheduler, server):
        ends(command)
    wait_until(lambda: not any(map(lives, workers)), f"the end of all of {workers}")


def test_a_manager_without_a_scheduler_ends_when_its_time_is_over(start, free_addresses):
    manager = start("scaler_cluster", "-n", "1", free_addresses[0], "-dts", "0.3")
    assert manager.wait() == 1
    manager.wait_for_line("Cluster: no scheduler for 0 s (never connected); this manager and its workers end")


def test_a_port_that_is_taken(start, free_addresses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for arguments in (
            ("scaler_object_storage_server", address),
            ("scaler_scheduler", address, "-osa", free_addresses[1]),
            ("scaler_scheduler", free_addresses[0], "-osa", free_addresses[1], "-ma", address),
        ):
            command = start(*arguments)
            assert command.wait() == 1
            errors = [line for line in command.lines if "ERROR" in line]
            assert len(errors) == 1
            assert f"cannot listen on {address}: Address already in use" in errors[0]
            assert all(LINE.fullmatch(line) for line in command.lines)


def test_a_scheduler_address_where_another_service_answers(start, free_addresses):
    """A manager that is told the storage's address."""
    storage = free_addresses[1]
    server = start("scaler_object_storage_server", storage)
    server.wait_for_line("listen to object storage address")
    manager = start("scaler_cluster", "-n", "1", storage)
    assert manager.wait() == 1
    manager.wait_for_line(f"the scheduler at {storage} refused the connection: role 'manager' is not served here")
    assert "Traceback" not in "".join(manager.lines + server.lines)


def test_a_scheduler_address_that_speaks_another_protocol(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(15)

        def answer() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        manager = start("scaler_cluster", "-n", "1", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        manager.wait_for_line("waiting for the scheduler at")
        ends(manager)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_what_a_file_describes(start, free_addresses, tmp_path):
    address, storage = free_addresses
    file = tmp_path / "stack.toml"
    file.write_text(f"""
        [object_storage_server]
        address = "{storage}"
        [scheduler]
        address = "{address}"
        protected = false
        [[worker_manager]]
        type = "baremetal_native"
        max_task_concurrency = 2
        [[worker_manager]]
        type = "baremetal_native"
        max_task_concurrency = 1
        per_worker_capabilities = ["gpu"]
    """)
    stack = start("scaler", str(file))
    works(address)
    with Client(address) as client:
        assert client.submit_verbose(pow, (3, 2), {}, capabilities=["gpu"]).result(20) == 9
    stack.wait_for_line(f"or set SCALER_ADDRESS={address}")
    ends(stack)


def test_the_file_that_the_documentation_shows(start, free_addresses, tmp_path):
    text = re.search(r"```toml\n(.*?)```", DEPLOYING.read_text(), re.DOTALL)[1]
    address, storage = free_addresses
    with socket.create_server(("127.0.0.1", 0)) as free:
        gui = f"127.0.0.1:{free.getsockname()[1]}"
    for shown, ours in {
        "tcp://127.0.0.1:8516": address,
        "tcp://127.0.0.1:8517": storage,
        "127.0.0.1:50001": gui,
    }.items():
        assert shown in text
        text = text.replace(shown, ours)
    file = tmp_path / "config.toml"
    file.write_text(text)
    stack = start("scaler", str(file))
    works(address)
    stack.wait_for_line(gui)
    ends(stack)


def test_a_client_may_end_what_is_not_protected(start, free_addresses, tmp_path):
    address, storage = free_addresses
    file = tmp_path / "stack.toml"
    file.write_text(f"""
        [object_storage_server]
        address = "{storage}"
        [scheduler]
        address = "{address}"
        protected = false
        [worker_manager]
        type = "baremetal_native"
        max_task_concurrency = 1
    """)
    stack = start("scaler", str(file))
    client = Client(address, timeout_seconds=20)
    assert client.submit(pow, 2, 2).result(20) == 4
    processes = family(stack)
    client.shutdown()
    assert stack.wait() == 0
    wait_until(lambda: not any(map(lives, processes)), f"the end of all of {processes}")


def test_a_part_that_does_not_start_ends_the_stack(start, free_addresses, tmp_path):
    address, storage = free_addresses
    file = tmp_path / "stack.toml"
    with socket.create_server(("127.0.0.1", Address.parse(address).port)):
        file.write_text(f"""
            [object_storage_server]
            address = "{storage}"
            [scheduler]
            address = "{address}"
        """)
        stack = start("scaler", str(file))
        assert stack.wait() == 1
    stack.wait_for_line(f"Scheduler: cannot listen on {address}: Address already in use")
    assert "Traceback" not in "".join(stack.lines)


def test_without_a_file(start):
    """Two of them: each finds ports of its own."""
    clusters = {}
    for slots in ("1", "2"):
        cluster = start("scaler", "-n", slots)
        clusters[cluster.wait_for_line("SCALER_ADDRESS=").split("SCALER_ADDRESS=")[1].split()[0]] = cluster
    assert len(clusters) == 2
    for address, cluster in clusters.items():
        works(address)
        ends(cluster)


def test_interrupted_while_it_starts(start, free_addresses):
    """No worker is left over, however far its start had got."""
    for _ in range(3):
        manager = start("scaler_cluster", "-n", "1", free_addresses[0])
        process = psutil.Process(manager.pid)
        wait_until(lambda process=process: process.children(), "a worker was started")
        ends(manager)


def test_a_daemon_tells_what_it_does_when_it_is_asked(start, free_addresses):
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    asked = start("scaler_scheduler", scheduler, "-osa", storage)
    start("scaler_cluster", "-n", "1", scheduler)
    asked.wait_for_line("connected with 1 slots")
    os.kill(asked.pid, signal.SIGUSR1)
    line = asked.wait_for_line("'workers': 1")
    assert "1 worker" in line and "'clients': 0" in line


def test_a_scheduler_writes_its_state_into_a_file_when_it_is_asked(start, free_addresses, tmp_path, capsys):
    """Which the simulator reads, and goes on with."""
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    asked = start("scaler_scheduler", scheduler, "-osa", storage, "--dump-directory", str(tmp_path))
    asked.wait_for_line("connect to object storage")
    with Client(scheduler) as client:
        futures = [client.submit(pow, 2, n) for n in range(5)]
        client.explain(futures[-1])
        os.kill(asked.pid, signal.SIGUSR2)
        asked.wait_for_line("its state is in")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    state, now = load_file(path)
    state.check()
    assert len(state.board) == 5 and not state.workers.sessions
    assert not Puppets(state, now).run(5.0)  # There is no worker.
    assert go_on(str(path)) == 1
    assert "it waits: no worker is connected" in capsys.readouterr().out


def test_a_scheduler_that_was_not_told_where_to_write_its_state_says_so(start, free_addresses, tmp_path):
    scheduler, storage = free_addresses
    asked = start("scaler_scheduler", scheduler, "-osa", storage)
    asked.wait_for_line("connect to object storage")
    os.kill(asked.pid, signal.SIGUSR2)
    asked.wait_for_line("has to be started with --dump-directory")
