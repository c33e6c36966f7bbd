"""Processes that die, for real."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo, TaskCrashedError

from .conftest import wait_until

pytestmark = pytest.mark.integration


def square(x: int) -> int:
    return x * x


def die(how: int) -> None:
    print("last words", file=sys.stderr)
    os.kill(os.getpid(), how)


def family(client: Client) -> list[psutil.Process]:
    """All processes of a client's local cluster: launcher, storage, scheduler, worker, fork server, executors."""
    launcher = psutil.Process(client.cluster.pid)
    return [launcher, *launcher.children(recursive=True)]


def executors(client: Client) -> list[psutil.Process]:
    # Not by their order, which is that of their numbers: these begin again at some time.
    daemons = psutil.Process(client.cluster.pid).children()
    (fork_server,) = [child for daemon in daemons for child in daemon.children()]
    return fork_server.children()


def wait_gone(processes: list[psutil.Process], seconds: float = 15.0) -> None:
    _, alive = psutil.wait_procs(processes, seconds)
    alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not alive, f"still there: {alive}"


def test_executors_killed_while_tasks_run():
    count, stop = 30_000, threading.Event()
    with Client(n_workers=2) as client:
        client.submit(square, 1).result(20)
        killed = []

        def kill():
            chance = random.Random(1)
            # Seldom enough that hardly any task is the victim four times: that would rightly end it.
            while not stop.wait(0.15):
                victims = executors(client)
                if victims:
                    victim = chance.choice(victims)
                    victim.kill()
                    killed.append(victim.pid)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            futures = [client.submit(square, x) for x in range(count)]
            assert [future.result(60) for future in futures] == [x * x for x in range(count)]
        finally:
            stop.set()
            killer.join()
        assert killed


def test_a_task_that_kills_its_executor_fails_with_the_story():
    with Client(n_workers=2) as client:
        bystanders = [client.submit(square, x) for x in range(200)]
        poison = client.submit(die, signal.SIGSEGV)
        with pytest.raises(TaskCrashedError) as caught:
            poison.result(30)
        story = str(caught.value)
        assert story.count("SIGSEGV") == 4
        assert "last words" in story
        assert [future.result(20) for future in bystanders] == [x * x for x in range(200)]


def test_exit_code_is_told():
    with Client(n_workers=1) as client, pytest.raises(TaskCrashedError, match="exit code 7"):
        client.submit(os._exit, 7).result(30)


def test_worker_killed_and_replaced_by_its_manager(free_addresses, start):
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", scheduler, "-osa", storage)
    manager = start("scaler_cluster", "-n", "2", scheduler)
    with Client(scheduler, timeout_seconds=20) as client:
        assert client.submit(abs, -3).result(20) == 3
        futures = [client.submit(abs, -x) for x in range(30_000)]
        worker = psutil.Process(manager.pid).children()[0]
        under_it = worker.children(recursive=True)
        worker.kill()
        wait_gone([worker, *under_it])
        assert [future.result(60) for future in futures] == list(range(30_000))


def test_a_restarted_scheduler_gets_everything_again(free_addresses, start):
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    first = start("scaler_scheduler", scheduler, "-osa", storage)
    start("scaler_cluster", "-n", "2", scheduler)
    with Client(scheduler, timeout_seconds=30) as client:
        assert client.submit(abs, -3).result(20) == 3
        futures = [client.submit(abs, -x) for x in range(20_000)]
        first.kill()
        first.wait()
        start("scaler_scheduler", scheduler, "-osa", storage)
        assert [future.result(60) for future in futures] == list(range(20_000))


def noted(number: int, seconds: float, path: str) -> int:
    """A task that leaves a line each time it is run."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return number


def test_tasks_that_run_outlive_their_scheduler_and_none_runs_twice(free_addresses, start, tmp_path):
    scheduler, storage = free_addresses
    notes = tmp_path / "notes"
    start("scaler_object_storage_server", storage)
    first = start("scaler_scheduler", scheduler, "-osa", storage)
    start("scaler_cluster", "-n", "2", scheduler)
    with Client(scheduler, timeout_seconds=30) as client:
        long = [client.submit(noted, number, 2.0, str(notes)) for number in range(2)]
        short = [client.submit(noted, number, 0.01, str(notes)) for number in range(2, 100)]
        wait_until(notes.exists, "a task begins")
        first.kill()
        first.wait()
        again = start("scaler_scheduler", scheduler, "-osa", storage)
        assert [future.result(60) for future in long + short] == list(range(100))
        parents = [client.submit(parent, str(notes), number) for number in (200, 300)]
        wait_until(lambda: "201\n" in notes.read_text() and "301\n" in notes.read_text(), "children begin")
        again.kill()
        again.wait()
        start("scaler_scheduler", scheduler, "-osa", storage)
        assert [future.result(60) for future in parents] == [201, 301]
    lines = sorted(map(int, notes.read_text().split()))
    assert [line for line in lines if line < 100] == list(range(100))
    # Tasks inside of tasks go on as well, but when a worker is much later than the clients, they may run again.
    assert set(lines[100:]) == {201, 301}


def parent(path: str, number: int) -> int:
    with Client(os.environ["SCALER_ADDRESS"], timeout_seconds=20) as client:
        return client.submit(noted, number + 1, 1.0, path).result()


def test_nothing_outlives_a_killed_client():
    program = (
        "from scaler import Client; import time\n"
        "client = Client(n_workers=2); client.submit(abs, -1).result()\n"
        "client.submit(time.sleep, 3600)\n"
        "print(client.cluster.pid, flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        launcher = psutil.Process(int(process.stdout.readline()))
        processes = [launcher, *launcher.children(recursive=True)]
        assert len(processes) >= 6
        process.kill()
        process.wait()
        wait_gone(processes)


def test_nothing_outlives_a_killed_launcher():
    with (
        SchedulerClusterCombo(2, logging_level="ERROR") as combo,
        Client(combo.get_address(), timeout_seconds=1) as client,
    ):
        client.submit(square, 1).result(20)
        launcher = psutil.Process(combo._cluster.pid)
        processes = launcher.children(recursive=True)
        launcher.kill()
        wait_gone(processes)


def test_ctrl_c_in_a_script_leaves_nothing():
    program = (
        "from scaler import Client; import time\n"
        "with Client(n_workers=2) as client:\n"
        "    client.submit(abs, -1).result(); print(client.cluster.pid, flush=True)\n"
        "    client.map(time.sleep, [3600] * 10)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        launcher = psutil.Process(int(process.stdout.readline()))
        processes = [launcher, *launcher.children(recursive=True)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert "KeyboardInterrupt" in errors
        wait_gone(processes)


def test_a_vanished_client_is_cleaned_up_after(free_addresses, start):
    scheduler, storage = free_addresses
    start("scaler_object_storage_server", storage)
    log = start("scaler_scheduler", scheduler, "-osa", storage, "-ct", "1")
    start("scaler_cluster", "-n", "1", scheduler)
    program = (
        f"from scaler import Client; import os, time; c = Client({scheduler!r})\n"
        "c.submit(time.sleep, 3600); c.submit(abs, 1).done(); c.submit_verbose(abs, (1,), {}, capabilities=['nowhere'])\n"
        "time.sleep(0.5); os._exit(0)"
    )
    gone = subprocess.run([sys.executable, "-c", program], check=False)
    assert gone.returncode == 0
    log.wait_for_line("is forgotten")
    with Client(scheduler, timeout_seconds=20) as client:
        began = time.monotonic()
        assert client.submit(abs, -4).result(20) == 4  # the only slot is free again
        assert time.monotonic() - began < 10
