"""Whole clusters whose workers are on AWS: moto keeps the books, and what it has is started here as AWS would start it."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moto.batch.models import batch_backends

from scaler import Client

from ..aws_server import REGION, Aws, batch_queue, serving
from .conftest import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with serving() as aws:
        yield aws


class Machines:
    """Starts what is there, and tells of what has ended."""

    def __init__(
        self, pending: Callable[[], dict[str, tuple[list[str], dict[str, str]]]], ended: Callable[[str], None]
    ):
        self._pending, self._ended = pending, ended
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            for id, (command, told) in self._pending().items():
                if id not in self.processes:
                    self.processes[id] = subprocess.Popen(command, env={**os.environ, **told})
            for id, process in self.processes.items():
                if process.poll() is not None:
                    self._ended(id)

    def close(self) -> None:
        """What still runs is terminated, as AWS does it."""
        self._over.set()
        self._thread.join()
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait(20)


@pytest.fixture
def cluster(start, free_addresses, aws, tmp_path: Path):
    """Starts a scheduler, a storage, and a manager with these settings; returns the address."""
    aws.reset(batch={"use_docker": False})

    def run(kind: str, idle_seconds: float = 0.5, **settings: Any) -> str:
        address, storage = free_addresses
        told = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
        file = tmp_path / "cluster.toml"
        file.write_text(
            f"""
            [object_storage_server]
            address = "{storage}"
            [scheduler]
            address = "{address}"
            policy_content = "scaling=vanilla; idle_seconds={idle_seconds}"
            [[worker_manager]]
            type = "{kind}"
            worker_manager_id = "ann"
            slots_per_worker = 1
            aws_region = "{REGION}"
            aws_access_key_id = "x"
            aws_secret_access_key = "y"
            aws_endpoint_url = "{aws.url}"
            {told}
            """
        )
        stack = start("scaler", str(file))
        stack.wait_for_line("worker manager ann (" + kind + ") connected")
        return address

    return run


def mark(where: str, n: int) -> int:  # By value: the workers stand elsewhere.
    with open(f"{where}/{n}", "a") as file:  # noqa: PTH123
        file.write("x")
    time.sleep(0.1)
    return os.getpid()


class Busy:
    """A client whose tasks leave a mark each time that they run."""

    def __init__(self, client: Client, where: Path) -> None:
        self._client, self._where = client, where
        self._tasks = 0
        self._pids: set[int] = set()

    def work(self) -> int:
        """Run some tasks; returns how many executors have run any so far."""
        futures = [self._client.submit(mark, str(self._where), self._tasks + n) for n in range(20)]
        self._tasks += 20
        self._pids.update(future.result(20) for future in futures)
        return len(self._pids)

    def each_ran_once(self) -> bool:
        return {(self._where / str(n)).read_text() for n in range(self._tasks)} == {"x"}


def test_ecs_tasks_work(cluster, aws, tmp_path):
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="scaler-cluster")
    subnet = aws.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]

    def pending() -> dict[str, tuple[list[str], dict[str, str]]]:
        arns = ecs.list_tasks(cluster="scaler-cluster")["taskArns"]
        found = ecs.describe_tasks(cluster="scaler-cluster", tasks=arns)["tasks"] if arns else []
        return {task["taskArn"]: (command(task), environment(task)) for task in found}

    def environment(task: dict[str, Any]) -> dict[str, str]:
        (told,) = task["overrides"]["containerOverrides"]
        return {entry["name"]: entry["value"] for entry in told["environment"]}

    def command(task: dict[str, Any]) -> list[str]:
        told = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
        (container,) = told["containerDefinitions"]
        words = [*container["entryPoint"], *container["command"]]
        return [word.replace("exec python", f"exec {sys.executable}") for word in words]

    address = cluster("aws_raw_ecs", ecs_subnets=subnet, ecs_task_image="any", max_workers=2)
    machines = Machines(pending, lambda arn: ecs.stop_task(cluster="scaler-cluster", task=arn))
    try:
        with Client(address, timeout_seconds=20) as client:
            busy = Busy(client, tmp_path)
            wait_until(lambda: busy.work() == 2, "two of them work")
        assert busy.each_ran_once()
        wait_until(lambda: all(p.poll() == 0 for p in machines.processes.values()), "idle workers leave, and end")
        assert aws.asked.count("RunTask") == 2
    finally:
        machines.close()


def test_batch_jobs_work(cluster, aws, tmp_path):
    queue = batch_queue(aws, "queue")

    def pending() -> dict[str, tuple[list[str], dict[str, str]]]:
        """moto calls them done when they are submitted; they are put back into the state that they would have."""
        found = {}
        for id, job in list(batch_backends["123456789012"][REGION]._jobs.items()):
            if id not in machines.processes:
                job.status = "RUNNING"
                told = {entry["name"]: entry["value"] for entry in job.container_overrides["environment"]}
                found[id] = [sys.executable, "-m", "scaler.worker"], told
        return found

    def ended(id: str) -> None:
        batch_backends["123456789012"][REGION]._jobs[id].status = "SUCCEEDED"

    address = cluster("aws_hpc", job_queue=queue, job_definition="worker", max_workers=2)
    machines = Machines(pending, ended)
    try:
        with Client(address, timeout_seconds=20) as client:
            busy = Busy(client, tmp_path)
            wait_until(lambda: busy.work() == 2, "two of them work")
        assert busy.each_ran_once()
        wait_until(lambda: all(p.poll() == 0 for p in machines.processes.values()), "idle workers leave, and end")
        assert aws.asked.count("submitjob") == 2
    finally:
        machines.close()


class Metadata(BaseHTTPRequestHandler):
    """Of an instance that will be taken away once that is ``announced``."""

    announced = threading.Event()

    def do_PUT(self) -> None:
        self._answer(200, "token")

    def do_GET(self) -> None:
        self._answer(*(200, '{"action": "terminate"}') if self.announced.is_set() else (404, ""))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_ec2_instances_work_and_what_is_taken_away_loses_nothing(cluster, aws, tmp_path):
    """The first instance is taken away while it works: what it has begun ends there, another one is started in its place."""
    ec2 = aws.client("ec2")
    image = aws.image()
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)

    def pending() -> dict[str, tuple[list[str], dict[str, str]]]:
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        groups = ec2.describe_instances(Filters=states)["Reservations"]
        ids = [instance["InstanceId"] for group in groups for instance in group["Instances"]]
        return {id: (["sh", "-c", user_data(id)], environment(id)) for id in ids if id not in machines.processes}

    def environment(id: str) -> dict[str, str]:
        unlucky.append(id)
        port = metadata.server_port if id == unlucky[0] else 1
        return {"SCALER_POWER_OFF": ":", "SCALER_METADATA": f"http://127.0.0.1:{port}"}

    def user_data(id: str) -> str:
        told = ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")["UserData"]["Value"]
        return base64.b64decode(told).decode()

    address = cluster(
        "orb_aws_ec2",
        idle_seconds=10,
        image_id=image,
        instance_type="c5.xlarge",
        spot="yes",
        instance_python=sys.executable,
        max_workers=2,
    )
    unlucky: list[str] = []
    machines = Machines(pending, lambda id: ec2.terminate_instances(InstanceIds=[id]))
    threading.Thread(target=metadata.serve_forever).start()
    try:
        with Client(address, timeout_seconds=20) as client:
            busy = Busy(client, tmp_path)
            wait_until(lambda: busy.work() == 2, "two instances work")
            Metadata.announced.set()
            wait_until(lambda: busy.work() == 3, "another one works in the place of the first", 30)
        assert machines.processes[unlucky[0]].wait(20) == 0
        assert busy.each_ran_once()
        assert aws.asked.count("RunInstances") == 4, "one of them a rehearsal"
    finally:
        machines.close()
        metadata.shutdown()
        metadata.server_close()
