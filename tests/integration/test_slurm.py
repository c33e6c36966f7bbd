"""The Slurm backend against a real Slurm of this machine."""

import asyncio
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from scaler import Client
from scaler.cli.worker_manager import COMMAND
from scaler.errors import ConfigurationError
from scaler.manager import slurm
from scaler.manager.backend import Phase, WorkerOrder
from scaler.manager.template import WorkerTemplate
from scaler.worker.state import WorkerOptions
from tests import slurm_cluster

from .conftest import wait_until

MISSING = slurm_cluster.missing()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=MISSING or "-"),
]
CPUS = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.slurm(tmp_path_factory.mktemp("slurm"), CPUS, ("main", "other")) as environment:
        yield environment


@pytest.fixture
def make(cluster, monkeypatch, request):
    """Backends whose workers find no scheduler, and so do nothing until they are stopped."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    manager = f"{request.node.name[:40]} {os.getpid()}"

    def make(*flags: str) -> slurm.SlurmWorkers:
        options = COMMAND.parse(["slurm", "tcp://127.0.0.1:1", *flags])
        worker = WorkerOptions(1, manager_name=manager, scheduler_address="tcp://127.0.0.1:1")
        template = WorkerTemplate(asdict(worker), "uvloop", ("INFO", ("/dev/stdout",), None))
        return slurm.SlurmWorkers(options, template)

    return make


async def until(backend: slurm.SlurmWorkers, wanted: dict[str, Phase], ended: tuple[str, ...] = ()) -> dict[str, str]:
    """List until the workers are so far; returns the stories of those that ended."""
    stories: dict[str, str] = {}
    deadline = time.monotonic() + 30
    while True:
        listed = await backend.list()
        seen = {sighting.name: sighting.phase for sighting in listed if sighting.phase != Phase.ENDED}
        stories |= {sighting.name: sighting.story for sighting in listed if sighting.phase == Phase.ENDED}
        if seen == wanted and stories.keys() == set(ended):
            return stories
        assert time.monotonic() < deadline, (seen, stories)
        await asyncio.sleep(0.05)


def test_workers_are_started_found_again_and_stopped(make, tmp_path):
    async def run() -> None:
        backend = make("--log-directory", str(tmp_path))
        await backend.prepare()
        assert (backend.most_slots, backend.worker_slots) == (CPUS, CPUS)
        told = await backend.start([WorkerOrder("a", 2), WorkerOrder("b", 6)])
        told += await backend.start([WorkerOrder("c", 2)])
        assert [sighting.phase for sighting in told] == [Phase.PENDING] * 3
        await until(backend, {"a": Phase.RUNNING, "b": Phase.RUNNING, "c": Phase.PENDING})
        again = make()
        await again.prepare()
        seen = {sighting.name: sighting.slots for sighting in await again.list()}
        assert seen == {"a": 2, "b": 6, "c": 2}
        await again.stop(["b", "c", "never-there"])
        stories = await until(again, {"a": Phase.RUNNING}, ended=("b", "c"))
        assert stories["c"].endswith("was cancelled")
        (log,) = tmp_path.glob("a.out")
        wait_until(lambda: "Worker" in log.read_text(), "the worker's log")
        await backend.stop(["a"])
        await backend.close()
        assert await make().list() == []

    asyncio.run(run())


def test_a_job_that_fails_is_told_with_its_exit_code_and_last_words(make, tmp_path):
    async def run() -> None:
        broken = tmp_path / "python"
        broken.write_text("#!/bin/sh\necho no such environment >&2\nexit 7\n")
        broken.chmod(0o755)
        backend = make("--remote-python", str(broken), "--log-directory", str(tmp_path))
        await backend.prepare()
        (told,) = await backend.start([WorkerOrder("w", 1)])
        stories = await until(backend, {}, ended=("w",))
        assert stories["w"] == f"{told.label} failed with exit code 7; its last words: no such environment"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--partition", "nowhere"), "partition nowhere"),
        (("--constraint", "moon"), "(?i)feature"),
        (("--gres", "gpu:1"), "(?i)generic resource"),
        (("--slots-per-worker", "99"), "(?i)node configuration"),
        (("--sbatch-arguments=--no-such-flag",), "no-such-flag"),
    ],
)
def test_what_slurm_would_refuse_is_told_at_the_start(make, flags, text):
    with pytest.raises(ConfigurationError, match=text):
        asyncio.run(make(*flags).prepare())


def test_without_slurm_the_start_says_so(make, monkeypatch):
    backend = make()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="sinfo is not installed here"):
        asyncio.run(backend.prepare())


def test_a_controller_that_does_not_answer_is_no_end_of_workers(make, monkeypatch, tmp_path):
    async def run() -> None:
        backend = make()
        await backend.prepare()
        (tmp_path / "slurm.conf").write_text(
            Path(os.environ["SLURM_CONF"]).read_text() + "SlurmctldPort=1\nMessageTimeout=2\n"
        )
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        with pytest.raises(OSError, match="squeue: "):
            await backend.list()
        (told,) = await backend.start([WorkerOrder("w", 1)])
        assert told.phase == Phase.ENDED and "does not take a job: sbatch: " in told.story

    asyncio.run(run())


def test_a_job_of_which_nobody_knows_whether_it_was_taken_is_looked_for(make, monkeypatch, tmp_path):
    """Another one at once might be one too many."""

    async def run() -> None:
        real, backend = os.environ["PATH"], make("--partition", "main,other")
        await backend.prepare()
        assert backend.most_slots == CPUS, "a node of two partitions is one node"
        late = tmp_path / "sbatch"
        late.write_text(f"#!/bin/sh\nPATH='{real}' sbatch \"$@\"\necho 'sbatch: error: Socket timed out' >&2\nexit 1\n")
        late.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{real}")
        (told,) = await backend.start([WorkerOrder("w", 1)])
        assert told.phase == Phase.PENDING
        await until(backend, {"w": Phase.RUNNING})
        await backend.stop(["w"])
        await backend.close()

    asyncio.run(run())


def test_a_thousand_tasks_on_jobs_that_leave_while_they_run(make, start, free_addresses, tmp_path):
    """After many short tasks a few long ones are left: the other jobs leave meanwhile, and come again."""
    address, storage = free_addresses
    make()  # For the environment.
    start("scaler_object_storage_server", storage)
    start("scaler_scheduler", address, "-osa", storage, "-pc", "scaling=vanilla; idle_seconds=0.5")
    flags = ["--slots-per-worker", "2", "--slurm-poll-seconds", "0.5", "-wmi", tmp_path.name]
    manager = start("scaler_worker_manager", "slurm", address, *flags)
    runs = tmp_path / "runs"

    def note(number: int, seconds: float) -> str:
        time.sleep(seconds)
        with runs.open("a") as file:
            file.write(f"{number}\n")
        return os.environ["SLURM_JOB_ID"]

    with Client(address, timeout_seconds=30) as client:
        short = client.starmap(note, [(number, 0.02) for number in range(700)])
        assert len(set(short)) == 4
        long = [client.submit(note, number, 4) for number in range(700, 703)]
        wait_until(lambda: len(_jobs().splitlines()) < 4, "the end of a job while others run")
        assert not any(future.done() for future in long)
        again = client.starmap(note, [(number, 0.02) for number in range(703, 1000)])
        assert not set(again) <= set(short), "others came"
        assert {future.result() for future in long} <= set(short)
        manager.wait_for_line("the scheduler wants 0 slots")
        wait_until(lambda: not _jobs(), "the end of all jobs")
    assert sorted(map(int, runs.read_text().split())) == list(range(1000)), "each ran, and none twice"
    manager.interrupt()
    assert manager.wait(30) == 0


def _jobs() -> str:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout


def test_a_dry_run_shows_the_command(make, capsys):
    make()
    code = COMMAND.main(["slurm", "tcp://127.0.0.1:1", "--dry-run", "-mtc", "4", "-spw", "2", "--time-limit", "1:00"])
    shown = capsys.readouterr().out
    assert code == 0 and shown.count("would start: sbatch --parsable") == 2 and "--time=1:00" in shown
