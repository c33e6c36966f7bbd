"""Workers as ECS tasks, over HTTP to moto's ECS."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from scaler.cli import worker_manager
from scaler.config import WORKER_ORDER
from scaler.errors import ConfigurationError
from scaler.manager import aws as shared
from scaler.manager.aws_raw_ecs import check, command, make
from scaler.manager.backend import Phase, WorkerOrder

from ..aws_server import Aws
from .conftest import options_of, phases, run, template

ORDERS = [WorkerOrder("ann-1", 4), WorkerOrder("ann-2", 2)]


@pytest.fixture
def subnet(aws: Aws) -> str:
    """There is a cluster, and this."""
    aws.client("ecs").create_cluster(clusterName="scaler-cluster")
    found: str = aws.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    return found


def options(subnet: str, **given: Any):
    return options_of("aws_raw_ecs", **{"ecs_subnets": [subnet], "ecs_task_image": "registry/scaler:1", **given})


def backend(subnet: str, manager: str = "ann", **given: Any):
    told = options(subnet, **given)
    check(told)
    return make(told, template(manager))


def tasks(aws: Aws) -> list[dict[str, Any]]:
    ecs = aws.client("ecs")
    arns = ecs.list_tasks(cluster="scaler-cluster")["taskArns"]
    found: list[dict[str, Any]] = ecs.describe_tasks(cluster="scaler-cluster", tasks=arns, include=["TAGS"])["tasks"]
    return found


def test_tasks_are_started_found_again_by_another_one_and_stopped(aws, subnet):
    async def work() -> None:
        first = backend(subnet)
        await first.prepare()
        assert (first.worker_slots, first.most_slots) == (4, 32)
        assert phases(await first.start(ORDERS)) == dict.fromkeys(("ann-1", "ann-2"), Phase.PENDING)
        other = backend(subnet, "ben")
        await other.prepare()
        await other.start([WorkerOrder("ben-1", 4)])
        second = backend(subnet)
        await second.prepare()
        seen = await second.list()
        assert phases(seen) == dict.fromkeys(("ann-1", "ann-2"), Phase.RUNNING)
        assert sorted(sighting.slots for sighting in seen) == [2, 4]
        assert all(sighting.label.startswith("task ") and "/" not in sighting.label for sighting in seen)
        await second.stop(["ann-1", "never-there"])
        assert phases(await second.list())["ann-2"] == Phase.RUNNING
        ended = {sighting.name: sighting for sighting in await first.list()}["ann-1"]
        assert ended.phase == Phase.ENDED
        assert "stopped: its worker manager ended it" in ended.story
        assert phases(await first.list()) == {"ann-2": Phase.RUNNING}
        assert phases(await other.list()) == {"ben-1": Phase.RUNNING}

    run(work)


def test_a_task_is_told_its_order_and_marked(aws, subnet):
    async def work() -> None:
        one = backend(
            subnet,
            ecs_launch_type="fargate_spot",
            aws_tags=["team=blue"],
            ecs_assign_public_ip=False,
            ecs_log_group="g",
        )
        await one.prepare()
        assert "a task on FARGATE_SPOT in scaler-cluster of scaler-worker-" in one.describe(ORDERS[0])
        await one.start(ORDERS[:1])

    run(work)
    (task,) = tasks(aws)
    assert {tag["key"]: tag["value"] for tag in task["tags"]} == {
        "scaler:worker-manager": "ann",
        "scaler:worker": "ann-1",
        "scaler:slots": "4",
        "team": "blue",
    }
    ((variable,),) = [told["environment"] for told in task["overrides"]["containerOverrides"]]
    assert variable["name"] == WORKER_ORDER
    order = json.loads(variable["value"])["options"]
    assert (order["worker_name"], order["slots"], order["grace_seconds"]) == ("ann-1", 4, 115)
    assert task["capacityProviderName"] == "FARGATE_SPOT" and task["platformVersion"] == "LATEST"
    definition = aws.client("ecs").describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    assert (definition["cpu"], definition["memory"]) == ("4096", "30720")
    assert (container["image"], container["stopTimeout"]) == ("registry/scaler:1", 120)
    assert container["command"] == ["exec python -m scaler.worker"]
    assert container["logConfiguration"]["options"]["awslogs-region"] == "us-east-1"


def test_a_definition_of_the_same_content_is_made_once(aws, subnet):
    async def work() -> None:
        for given in ({}, {}, {"ecs_task_cpu": 2}):
            await backend(subnet, **given).prepare()

    run(work)
    assert aws.asked.count("RegisterTaskDefinition") == 2


def test_a_definition_that_is_given_says_how_large_a_worker_is(aws, subnet):
    containers = [
        {"name": "sidecar", "image": "i", "memory": 100, "essential": False},
        {"name": "main", "image": "i", "memory": 100, "stopTimeout": 60},
    ]
    aws.client("ecs").register_task_definition(
        family="mine", networkMode="awsvpc", cpu="8192", memory="16384", containerDefinitions=containers
    )

    async def work() -> None:
        one = backend(subnet, ecs_task_image=None, ecs_task_definition="mine")
        await one.prepare()
        assert one.worker_slots == 8
        await one.start(ORDERS[:1])

    run(work)
    (told,) = tasks(aws)[0]["overrides"]["containerOverrides"]
    assert told["name"] == "main"
    assert json.loads(told["environment"][0]["value"])["options"]["grace_seconds"] == 55


def test_want_of_capacity_is_told_and_harms_no_other(aws, subnet):
    none = {"tasks": [], "failures": [{"arn": "a", "reason": "Capacity is unavailable at this time"}]}
    aws.answer("RunTask", json.dumps(none))

    async def work() -> None:
        one = backend(subnet)
        await one.prepare()
        seen = await one.start(ORDERS)
        assert sorted(sighting.phase.value for sighting in seen) == ["ended", "pending"]
        assert one.most_slots in (2, 4), "what there is, so that others are asked for more"
        (failed,) = [sighting for sighting in seen if sighting.phase == Phase.ENDED]
        assert failed.story == (
            "no task could be started: aws_raw_ecs in us-east-1: RunTask: Capacity is unavailable at this time; AWS has no"
            " such capacity at the moment; it is tried again later, other subnets may have some"
        )

    run(work)


def test_throttling_is_tried_again_and_then_told(aws, subnet):
    async def work() -> None:
        one = backend(subnet)
        await one.prepare()
        aws.fail("RunTask", "ThrottlingException", "Rate exceeded", times=1)
        (seen,) = await one.start(ORDERS[:1])
        assert seen.phase == Phase.PENDING and aws.asked.count("RunTask") == 2
        aws.fail("RunTask", "ThrottlingException", "Rate exceeded", times=shared.ATTEMPTS)
        (seen,) = await one.start(ORDERS[1:])
        assert seen.phase == Phase.ENDED and aws.asked.count("RunTask") == 2 + shared.ATTEMPTS
        assert "RunTask: ThrottlingException: Rate exceeded; AWS wants fewer requests; it is tried again" in seen.story

    run(work)


def test_a_task_that_is_taken_away_is_leaving(aws, subnet):
    async def work() -> None:
        one = backend(subnet)
        await one.prepare()
        await one.start(ORDERS[:1])
        (task,) = tasks(aws)
        task = {**task, "lastStatus": "RUNNING", "desiredStatus": "STOPPED", "stopCode": "SpotInterruption"}
        aws.answer("ListTasks", json.dumps({"taskArns": []}))
        aws.answer("DescribeTasks", json.dumps({"tasks": [task], "failures": []}, default=str).replace(" UTC", ""))
        (seen,) = await one.list()
        assert (seen.phase, seen.leaving) == (Phase.RUNNING, True)

    run(work)


def test_what_aws_does_not_show_yet_is_taken_to_be_there_for_a_while(aws, subnet, monkeypatch):
    async def work() -> None:
        one = backend(subnet)
        await one.prepare()
        await one.start(ORDERS[:1])
        for _ in range(2):
            aws.answer("ListTasks", json.dumps({"taskArns": []}))
            aws.answer("DescribeTasks", json.dumps({"tasks": [], "failures": []}))
        assert phases(await one.list()) == {"ann-1": Phase.PENDING}
        monkeypatch.setattr(shared, "SETTLE_SECONDS", -1.0)
        assert await one.list() == []

    run(work)


def test_what_could_not_be_stopped_is_stopped_later(aws, subnet):
    async def work() -> None:
        one = backend(subnet)
        await one.prepare()
        await one.start(ORDERS)
        aws.fail("StopTask", "AccessDeniedException", "no")
        with pytest.raises(OSError, match="StopTask: AccessDeniedException: no; the credentials do not allow this"):
            await one.stop(["ann-1"])
        assert {task["desiredStatus"] for task in tasks(aws)} == {"RUNNING"}
        await one.list()
        assert sorted(task["desiredStatus"] for task in tasks(aws)) == ["RUNNING", "STOPPED"]

    run(work)


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [
        ("DescribeClusters", "ExpiredTokenException", "the credentials have expired; renew them"),
        ("DescribeClusters", "UnrecognizedClientException", "check the credentials that boto3 finds"),
        ("DescribeClusters", "AccessDeniedException", "the permissions that a manager needs are in docs/aws.md"),
    ],
)
def test_what_the_user_has_to_mend_is_told_before_anything_starts(aws, subnet, operation, code, said):
    aws.fail(operation, code)
    with pytest.raises(ConfigurationError, match=rf"^aws_raw_ecs in us-east-1: {operation}: {code}: because; .*{said}"):
        run(backend(subnet).prepare)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ecs_cluster": "other"}, "no ECS cluster other; aws ecs create-cluster --cluster-name other makes one"),
        ({"ecs_subnets": ["subnet-12345678"]}, "subnet ID 'subnet-12345678' does not exist"),
        ({"ecs_security_groups": ["sg-12345678"]}, "sg-12345678"),
        ({"ecs_task_image": None, "ecs_task_definition": "other"}, "there is no ECS task definition other"),
    ],
)
def test_what_is_not_there_is_named(aws, subnet, given, said):
    with pytest.raises(ConfigurationError, match=said):
        run(backend(subnet, **given).prepare)


def test_without_credentials_it_is_said_where_they_are_looked_for(aws, subnet, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(
        ConfigurationError, match="Unable to locate credentials; check the credentials that boto3 finds"
    ):
        run(backend(subnet).prepare)


def test_without_the_library_it_is_named():
    code = """
import sys
sys.modules["boto3"] = None
from scaler.cli.worker_manager import main
sys.exit(main(["aws_raw_ecs", "tcp://127.0.0.1:1", "-mw", "1", "--ecs-subnets", "s", "--ecs-task-image", "i"]))
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "aws_raw_ecs needs boto3: pip install 'opengris-scaler[aws]'" in ended.stdout


def test_orders_that_are_too_long_are_refused_at_the_start(aws, subnet):
    told = options(subnet)
    long = template()
    long.options["preload"] = "x" * 9000
    with pytest.raises(ConfigurationError, match="ECS takes 8192; shorten --preload"):
        run(make(told, long).prepare)


@pytest.mark.parametrize(
    ("packages", "python", "said"),
    [
        ("", "", "exec python -m scaler.worker"),
        ("numpy;a[b]>=1", "", "pip install -q --no-cache-dir numpy 'a[b]>=1' && exec python -m scaler.worker"),
    ],
)
def test_commands(packages, python, said):
    assert command(packages, python) == said


def test_another_python_gets_an_environment():
    said = command("opengris-scaler;numpy", "3.12")
    assert "uv venv -q --python 3.12 /tmp/scaler-environment && " in said
    assert said.endswith("opengris-scaler numpy && exec /tmp/scaler-environment/bin/python -m scaler.worker")


def test_dry_run_and_sweep(aws, subnet, capsys):
    argv = ["aws_raw_ecs", "tcp://127.0.0.1:1", "-wmi", "ann", "-mw", "3", "-ll", "ERROR"]
    argv += ["--ecs-subnets", subnet, "--ecs-task-image", "registry/scaler:1"]

    async def leave_one() -> None:
        one = backend(subnet)
        await one.prepare()
        await one.start(ORDERS[:1])

    run(leave_one)
    assert worker_manager.main([*argv, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "at most 3 workers of 4 slots, 12 slots in all" in shown
    assert shown.count("would start: a task on FARGATE in scaler-cluster of scaler-worker-") == 3
    assert "there already: task " in shown
    assert aws.asked.count("RunTask") == 1
    sweep = ["aws_raw_ecs", "tcp://127.0.0.1:1", "-wmi", "ann", "-ll", "ERROR", "--sweep"]
    assert worker_manager.main(sweep) == 0
    assert "1 workers of ann ended" in capsys.readouterr().out
    assert [task["desiredStatus"] for task in tasks(aws)] == ["STOPPED"]
    aws.fail("ListTasks", "AccessDeniedException", "no")
    assert worker_manager.main(sweep) == 1
    assert "cannot see or end workers: aws_raw_ecs in us-east-1: ListTasks: AccessDenied" in capsys.readouterr().out
