"""Workers as jobs of AWS Batch, over HTTP to moto's, which starts none: tests say what state they are in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.batch.models import batch_backends

from scaler.cli import worker_manager
from scaler.config import WORKER_ORDER
from scaler.errors import ConfigurationError
from scaler.manager import aws as shared
from scaler.manager.aws_hpc import check, make
from scaler.manager.backend import Phase, WorkerOrder

from ..aws_server import REGION, Aws, batch_queue
from .conftest import options_of, phases, run, template

ORDERS = [WorkerOrder("ann-1", 4), WorkerOrder("ann-2", 2)]


@pytest.fixture
def queue(aws: Aws) -> str:
    return batch_queue(aws, "queue")


def backend(queue: str, manager: str = "ann", **given: Any):
    told = options_of("aws_hpc", **{"job_queue": queue, "job_definition": "worker", **given})
    check(told)
    return make(told, template(manager))


def jobs() -> dict[str, Any]:
    """By the workers' names."""
    found = batch_backends["123456789012"][REGION]._jobs.values()
    return {job.job_name: job for job in found}


def become(status: str, *names: str) -> None:
    for name, job in jobs().items():
        if name in names or not names:
            job.status = status


def test_jobs_are_submitted_found_again_by_another_one_and_terminated(aws, queue):
    async def work() -> None:
        first = backend(queue)
        await first.prepare()
        assert (first.worker_slots, first.most_slots) == (2, 16)
        assert phases(await first.start(ORDERS)) == dict.fromkeys(("ann-1", "ann-2"), Phase.PENDING)
        other = backend(queue, "ann-b")
        await other.prepare()
        await other.start([WorkerOrder("ann-b-1", 4)])
        become("RUNNABLE")
        become("RUNNING", "ann-2")
        second = backend(queue)
        await second.prepare()
        seen = await second.list()
        assert phases(seen) == {"ann-1": Phase.PENDING, "ann-2": Phase.RUNNING}
        assert sorted(sighting.slots for sighting in seen) == [2, 4]
        await second.stop(["ann-1", "never-there"])
        assert aws.asked.count("terminatejob") == 1
        become("FAILED", "ann-1")
        ended = {sighting.name: sighting for sighting in await first.list()}["ann-1"]
        assert ended.phase == Phase.ENDED and not ended.orderly
        assert ended.story.startswith("job ") and " has failed: " in ended.story
        assert phases(await first.list()) == {"ann-2": Phase.RUNNING}
        become("SUCCEEDED", "ann-2")
        (ended,) = await first.list()
        assert (ended.phase, ended.orderly) == (Phase.ENDED, True)
        assert phases(await other.list()) == {"ann-b-1": Phase.PENDING}

    run(work)


def test_a_job_is_told_its_order_and_marked(aws, queue):
    async def work() -> None:
        one = backend(
            queue,
            job_vcpus="8",
            job_memory="15.5",
            job_timeout_minutes=90,
            aws_tags=["team=blue"],
            job_command="sh -c 'a b'",
        )
        await one.prepare()
        assert one.worker_slots == 8
        assert one.describe(ORDERS[0]) == "a job of worker:1 in the queue queue, 4 slots, as ann-1"
        await one.start(ORDERS[:1])

    run(work)
    (job,) = jobs().values()
    told = job.container_overrides
    assert [entry["name"] for entry in told["environment"]] == [WORKER_ORDER]
    order = json.loads(told["environment"][0]["value"])["options"]
    assert (order["worker_name"], order["slots"], order["grace_seconds"]) == ("ann-1", 4, 25)
    assert told["command"] == ["sh", "-c", "a b"]
    assert told["resourceRequirements"] == [{"type": "VCPU", "value": "8"}, {"type": "MEMORY", "value": "15872"}]
    assert job.timeout == {"attemptDurationSeconds": 5400}
    assert job.describe()["tags"] == {
        "scaler:worker-manager": "ann",
        "scaler:worker": "ann-1",
        "scaler:slots": "4",
        "team": "blue",
    }


def test_without_a_revision_the_newest_definition_is_taken(aws, queue):
    needs = [{"type": "VCPU", "value": "16"}, {"type": "MEMORY", "value": "2048"}]
    newest = aws.client("batch").register_job_definition(
        jobDefinitionName="worker", type="container", containerProperties={"image": "i", "resourceRequirements": needs}
    )

    async def work() -> None:
        for name in ("worker", newest["jobDefinitionArn"]):
            one = backend(queue, job_definition=name)
            await one.prepare()
            assert one.worker_slots == 16

    run(work)


def test_why_a_job_waits_is_said_once(aws, queue, caplog):
    async def work() -> None:
        one = backend(queue)
        await one.prepare()
        await one.start(ORDERS)
        become("RUNNABLE")
        for job in jobs().values():
            job.job_stopped_reason = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
        for _ in range(2):
            assert set(phases(await one.list()).values()) == {Phase.PENDING}

    run(work)
    said = [message for message in caplog.messages if "MISCONFIGURATION" in message]
    assert len(said) == 1 and " waits: " in said[0]


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("TooManyRequestsException", 429, "AWS wants fewer requests; it is tried again later"),
        ("AccessDeniedException", 403, "the permissions that a manager needs are in docs/aws.md"),
        ("ExpiredTokenException", 403, "the credentials have expired"),
    ],
)
def test_what_goes_wrong_with_one_is_told_and_harms_no_other(aws, queue, code, status, said):
    async def work() -> None:
        one = backend(queue)
        await one.prepare()
        aws.fail("submitjob", code, "because", status, times=shared.ATTEMPTS if status == 429 else 1)
        (failed,) = await one.start(ORDERS[:1])
        assert failed.phase == Phase.ENDED
        assert failed.story.startswith(f"no job could be started: aws_hpc in us-east-1: SubmitJob: {code}: because; ")
        assert said in failed.story
        (seen,) = await one.start(ORDERS[1:])
        assert seen.phase == Phase.PENDING

    run(work)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"queue": "other"}, "there is no job queue other in us-east-1"),
        ({"job_definition": "other"}, "there is no active job definition other in us-east-1"),
        ({"job_definition": "worker:7"}, "there is no active job definition worker:7"),
    ],
)
def test_what_is_not_there_is_named_before_anything_starts(aws, queue, given, said):
    with pytest.raises(ConfigurationError, match=said):
        run(backend(**{"queue": queue, **given}).prepare)


def test_a_queue_that_is_disabled_is_refused(aws, queue):
    aws.client("batch").update_job_queue(jobQueue=queue, state="DISABLED")
    with pytest.raises(ConfigurationError, match="the job queue queue takes no jobs \\(DISABLED, VALID"):
        run(backend(queue).prepare)


def test_orders_that_are_too_long_are_refused_at_the_start(aws, queue):
    long = template()
    long.options["preload"] = "x" * 9000
    told = options_of("aws_hpc", job_queue=queue, job_definition="worker")
    with pytest.raises(ConfigurationError, match="AWS Batch takes 8192; shorten --preload"):
        run(make(told, long).prepare)


def test_a_sweep_needs_nothing_but_name_and_queue(aws, queue, capsys):
    async def leave_one() -> None:
        one = backend(queue)
        await one.prepare()
        await one.start(ORDERS)
        become("RUNNING", "ann-1")

    run(leave_one)
    assert worker_manager.main(["aws_hpc", "tcp://127.0.0.1:1", "-wmi", "ann", "--sweep", "--job-queue", queue]) == 0
    assert "1 workers of ann ended" in capsys.readouterr().out
    assert aws.asked.count("terminatejob") == 1
