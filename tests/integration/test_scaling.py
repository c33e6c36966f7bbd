"""Dynamic managers of real processes: workers come with the work, and go when it is over."""

import os
import signal
import time

import psutil
import pytest

from scaler import Client

pytestmark = pytest.mark.integration

IDLE_SECONDS = 0.5
POLICY = f"scaling=vanilla; idle_seconds={IDLE_SECONDS}"


def nap(seconds: float) -> tuple[int, float]:
    """Its process, and when it began."""
    began = time.time()
    time.sleep(seconds)
    return os.getpid(), began


@pytest.fixture
def cluster(start, free_addresses):
    """Storage and scheduler; returns the scheduler's command and address."""
    address, storage = free_addresses
    start("scaler_object_storage_server", storage)
    scheduler = start("scaler_scheduler", address, "-osa", storage, "-pc", POLICY)
    scheduler.wait_for_line("listen to scheduler address")
    return scheduler, address


def workers_of(manager) -> list[psutil.Process]:
    """The workers, not what belongs to them: they are children of the process that forks them."""
    return [worker for nursery in psutil.Process(manager.pid).children() for worker in nursery.children()]


def until(reached, seconds: float) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < seconds, "it took too long"
        time.sleep(0.01)  # There is nothing to wait on: processes of others come and go.
    return time.monotonic() - began


def test_slots_come_with_tasks_and_go_when_they_are_idle(start, cluster):
    _, address = cluster
    manager = start("scaler_worker_manager", "baremetal_native", address, "-mtc", "8", "-wmi", "ann")
    manager.wait_for_line("the scheduler wants 0 slots")
    for _ in range(2):
        assert workers_of(manager) == []
        with Client(address, timeout_seconds=20) as client:
            asked = time.time()
            ended = client.starmap(nap, [(0.3,)] * 16)
            began = sorted(when for _, when in ended)
            assert len({pid for pid, _ in ended}) == 8
            # The goal is one second on an idle machine; here others may be at work.
            assert began[7] - asked < 5
        until(lambda: not workers_of(manager), IDLE_SECONDS + 5)
    assert not any("ended before" in line or "killed" in line for line in manager.lines)


def test_what_runs_is_finished_before_a_worker_leaves(start, cluster):
    scheduler, address = cluster
    start("scaler_worker_manager", "baremetal_native", address, "-mtc", "4", "-wmi", "ann")
    with Client(address, timeout_seconds=20) as client:
        long = client.submit(nap, 3 * IDLE_SECONDS)
        client.starmap(nap, [(0.01,)] * 40)
        scheduler.wait_for_line("is asked to leave")
        assert long.result(20)
    assert not any("run again" in line for line in scheduler.lines)


def test_a_killed_manager_finds_its_workers_again(start, cluster):
    scheduler, address = cluster
    arguments = "baremetal_native", address, "-mtc", "2", "-wmi", "ann", "-dts", "60"
    manager = start("scaler_worker_manager", *arguments)
    with Client(address, timeout_seconds=20) as client:
        futures = [client.submit(nap, 4) for _ in range(2)]
        until(lambda: len(workers_of(manager)) == 2, 20)
        scheduler.wait_for_line("connected with 1 slots")
        before = {worker.pid for worker in workers_of(manager)}
        manager.kill()
        again = start("scaler_worker_manager", *arguments)
        found = again.wait_for_line("found worker")
        assert int(found.split("found worker ")[1].split()[0]) in before
        assert len({future.result(20)[0] for future in futures}) == 2
        until(lambda: not any(map(psutil.pid_exists, before)), 20)
        assert client.submit(nap, 0).result(20)
        assert not any("started worker" in line for line in again.lines[: again.lines.index(found)])
    assert not any("run again" in line for line in scheduler.lines)


def test_what_a_killed_manager_left_can_be_swept(start, cluster):
    _, address = cluster
    arguments = "baremetal_native", address, "-mtc", "2", "-wmi", "swept", "-dts", "60"
    manager = start("scaler_worker_manager", *arguments)
    with Client(address, timeout_seconds=20) as client:
        future = client.submit(nap, 60)
        until(lambda: len(workers_of(manager)) == 1, 20)
        (worker,) = workers_of(manager)
        manager.kill()
        sweep = start("scaler_worker_manager", *arguments, "--sweep")
        assert sweep.wait() == 0
        assert f"ending worker {worker.pid}\n" in sweep.lines and "1 workers of swept ended\n" in sweep.lines
        until(lambda: not worker.is_running(), 20)
        future.cancel()


def test_a_worker_that_is_killed_is_replaced(start, cluster):
    _, address = cluster
    manager = start("scaler_worker_manager", "baremetal_native", address, "-mtc", "1", "-wmi", "ann")
    with Client(address, timeout_seconds=20) as client:
        future = client.submit(nap, 0.5)
        until(lambda: len(workers_of(manager)) == 1, 20)
        (worker,) = workers_of(manager)
        worker.send_signal(signal.SIGKILL)
        manager.wait_for_line(f"worker {worker.pid} was killed by SIGKILL; another one starts in 0.1 s")
        assert future.result(20)


def test_a_dry_run_starts_nothing(start, free_addresses):
    dry = start("scaler_worker_manager", "baremetal_native", free_addresses[0], "-mtc", "20", "-mw", "2", "--dry-run")
    assert dry.wait() == 0
    told = "".join(dry.lines)
    assert "at most 2 workers of 3 slots" in told and told.count("would start: a process of this machine") == 2
