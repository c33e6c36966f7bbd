"""Processes of this machine: started, told apart, stopped, found again. Their scheduler is nowhere, so they only wait."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import psutil
import pytest

from scaler.manager import records
from scaler.manager.backend import Phase, Sighting, WorkerOrder
from scaler.manager.baremetal_native import NativeWorkers, manner
from scaler.manager.template import WorkerTemplate
from scaler.worker.state import WorkerOptions


@pytest.fixture
def template(monkeypatch, tmp_path) -> WorkerTemplate:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = WorkerOptions(1, manager_name="ann", scheduler_address="tcp://127.0.0.1:1")
    return WorkerTemplate(asdict(worker), "uvloop", ("ERROR", ("/dev/stdout",), None))


def orders(*names: str) -> list[WorkerOrder]:
    return [WorkerOrder(name, 1) for name in names]


def pid_of(sighting: Sighting) -> int:
    return int(sighting.label.split()[1])


async def until(backend: NativeWorkers, reached: Callable[[list[Sighting]], bool]) -> list[Sighting]:
    """List, whenever something has changed, until that is so."""
    changed = asyncio.Event()
    backend.changed = changed.set
    seen = []
    deadline = time.monotonic() + 10
    while True:
        seen += await backend.list()
        if reached(seen):
            return seen
        await asyncio.wait_for(changed.wait(), deadline - time.monotonic())
        changed.clear()


def ended(seen: list[Sighting]) -> dict[str, Sighting]:
    return {sighting.name: sighting for sighting in seen if sighting.phase == Phase.ENDED}


@pytest.mark.parametrize("fixed", [False, True])
def test_workers_start_and_stop(template, fixed):
    async def run() -> None:
        backend = NativeWorkers(template, 4, fixed)
        await backend.prepare()
        started = await backend.start(orders("ann-1", "ann-2"))
        assert [(s.name, s.phase) for s in started] == [("ann-1", Phase.RUNNING), ("ann-2", Phase.RUNNING)]
        first, second = map(pid_of, started)
        assert psutil.pid_exists(first) and psutil.pid_exists(second) and first != second
        await backend.stop(["ann-1", "ann-9"])
        seen = await until(backend, lambda seen: bool(ended(seen)))
        # In order, or so early that it could not hear of it.
        assert ended(seen)["ann-1"].story.startswith(f"worker {first} ")
        os.kill(second, signal.SIGKILL)
        seen = await until(backend, lambda seen: "ann-2" in ended(seen))
        assert ended(seen)["ann-2"].story == f"worker {second} was killed by SIGKILL"
        assert not ended(seen)["ann-2"].orderly
        await backend.close()

    asyncio.run(run())


def test_who_has_lost_a_worker_can_soon_replace_others(template):
    async def run() -> None:
        backend = NativeWorkers(template, 1, fixed=True)
        await backend.prepare()
        parents = []
        for number in range(3):
            (started,) = await backend.start(orders(f"ann-{number}"))
            worker = psutil.Process(pid_of(started))
            parents.append(worker.ppid())
            worker.kill()
            seen = await until(backend, lambda seen: f"ann-{number}" in ended(seen))  # noqa: B023
            assert ended(seen)[f"ann-{number}"].story == f"worker {worker.pid} was killed by SIGKILL"
        assert parents[0] == os.getpid() and parents[1] == parents[2] != os.getpid()
        assert records.living("ann") == []
        await backend.close()

    asyncio.run(run())


def test_a_later_manager_finds_them(template):
    async def run() -> None:
        first = NativeWorkers(template, 4, fixed=False)
        await first.prepare()
        (started,) = await first.start([WorkerOrder("ann-1", 3)])
        await first.close()
        second = NativeWorkers(template, 4, fixed=False)
        await second.prepare()
        (found,) = await second.list()
        assert (found.name, found.slots, found.label) == ("ann-1", 3, started.label)
        assert second.poll_seconds > 0, "nobody tells of the end of another's child"
        await second.stop(["ann-1"])
        seen = await until(second, lambda seen: "ann-1" in ended(seen))
        assert ended(seen)["ann-1"].story == f"worker {pid_of(started)} is gone"
        assert second.poll_seconds == 0
        await second.close()

    asyncio.run(run())


def test_workers_outlive_the_process_that_forked_them(template):
    async def run() -> None:
        backend = NativeWorkers(template, 4, fixed=False)
        await backend.prepare()
        (started,) = await backend.start(orders("ann-1"))
        nursery = psutil.Process(pid_of(started)).parent()
        assert nursery is not None and nursery.pid != os.getpid()
        nursery.kill()
        await until(backend, lambda seen: backend.poll_seconds > 0)
        (again,) = await backend.start(orders("ann-2"))
        assert again.phase == Phase.RUNNING
        assert {s.name for s in await backend.list()} == {"ann-1", "ann-2"}
        await backend.stop(["ann-1", "ann-2"])
        await until(backend, lambda seen: ended(seen).keys() == {"ann-1", "ann-2"})
        await backend.close()

    asyncio.run(run())


@pytest.mark.parametrize(("most", "slots"), [(1, 1), (8, 1), (9, 2), (64, 8)])
def test_at_most_eight_workers(template, most, slots):
    assert NativeWorkers(template, most, fixed=False).worker_slots == slots


@pytest.mark.parametrize(
    ("code", "text"),
    [(3, "ended with exit code 3"), (-9, "was killed by SIGKILL"), (-99, "was killed by signal 99")],
)
def test_how_a_process_ended(code, text):
    assert manner(code) == text


class TestRecords:
    @pytest.fixture(autouse=True)
    def place(self, monkeypatch: Any, tmp_path: Any) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def test_who_lives_is_told(self):
        records.write("a/b", "w 1", os.getpid(), 2)
        (record,) = records.living("a/b")
        assert (record.name, record.pid, record.slots) == ("w 1", os.getpid(), 2)
        assert records.living("other") == []
        records.remove("a/b", "w 1")
        assert records.living("a/b") == []

    def test_a_later_process_with_the_same_number_is_another(self):
        records.write("m", "w", os.getpid(), 1)
        (path,) = records.directory("m").iterdir()
        created = str(psutil.Process().create_time())
        path.write_text(path.read_text().replace(created, "1.5"))
        assert records.living("m") == []
        assert not path.exists()

    def test_what_cannot_be_read_is_passed_over(self):
        (records.directory("m") / "w").write_text("no JSON")
        assert records.living("m") == []

    @pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can give a directory away")
    def test_a_directory_of_somebody_else_is_not_believed(self, tmp_path):
        os.chown(records.directory("m"), 12345, 12345)
        with pytest.raises(PermissionError, match="belongs to somebody else; remove it, or set TMPDIR"):
            records.living("m")
