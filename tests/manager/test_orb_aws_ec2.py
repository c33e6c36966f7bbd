"""Workers on EC2 instances, over HTTP to moto's EC2."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from typing import Any

import pytest

from scaler.cli import worker_manager
from scaler.config import WORKER_ORDER
from scaler.errors import ConfigurationError
from scaler.manager import aws as shared
from scaler.manager.backend import Phase, WorkerOrder
from scaler.manager.orb_aws_ec2 import Ec2Instances, check, make

from ..aws_server import Aws
from .conftest import options_of, phases, run, template

ORDERS = [WorkerOrder("ann-1", 4), WorkerOrder("ann-2", 2)]


@pytest.fixture
def image(aws: Aws) -> str:
    return aws.image()


@pytest.fixture
def subnets(aws: Aws) -> list[str]:
    return [subnet["SubnetId"] for subnet in aws.client("ec2").describe_subnets()["Subnets"][:2]]


def backend(image: str, manager: str = "ann", **given: Any):
    told = options_of("orb_aws_ec2", **{"image_id": image, "instance_type": "c5.xlarge", **given})
    check(told)
    return make(told, template(manager))


def instances(aws: Aws) -> list[dict[str, Any]]:
    groups = aws.client("ec2").describe_instances()["Reservations"]
    return [instance for group in groups for instance in group["Instances"]]


def user_data(aws: Aws, id: str) -> str:
    told = aws.client("ec2").describe_instance_attribute(InstanceId=id, Attribute="userData")
    return base64.b64decode(told["UserData"]["Value"]).decode()


def test_instances_are_started_found_again_by_another_one_and_terminated(aws, image):
    async def work() -> None:
        first = backend(image)
        await first.prepare()
        assert (first.worker_slots, first.most_slots) == (4, 32)
        assert phases(await first.start(ORDERS)) == dict.fromkeys(("ann-1", "ann-2"), Phase.PENDING)
        other = backend(image, "ben")
        await other.prepare()
        await other.start([WorkerOrder("ben-1", 4)])
        second = backend(image)
        await second.prepare()
        seen = await second.list()
        assert phases(seen) == dict.fromkeys(("ann-1", "ann-2"), Phase.RUNNING)
        assert sorted(sighting.slots for sighting in seen) == [2, 4]
        await second.stop(["ann-1", "never-there"])
        ended = {sighting.name: sighting for sighting in await first.list()}["ann-1"]
        assert ended.phase == Phase.ENDED and not ended.orderly
        assert ended.story.startswith("instance i-") and ended.story.endswith("User initiated shutdown")
        assert phases(await first.list()) == {"ann-2": Phase.RUNNING}
        assert phases(await other.list()) == {"ben-1": Phase.RUNNING}

    run(work)


def test_an_instance_is_what_was_asked_for_and_marked(aws, image, subnets):
    ec2 = aws.client("ec2")
    ec2.create_key_pair(KeyName="key")
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]

    async def work() -> None:
        one = backend(
            image, key_name="key", subnet_id=subnets, security_group_ids=group, spot=True, aws_tags=["team=blue"]
        )
        await one.prepare()
        assert one.describe(ORDERS[0]) == f"a spot instance of type c5.xlarge from {image}, 4 slots, as ann-1"
        await one.start(ORDERS[:1])

    run(work)
    (instance,) = instances(aws)
    marks = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert marks == {
        "scaler:worker-manager": "ann",
        "scaler:worker": "ann-1",
        "scaler:slots": "4",
        "Name": "ann-1",
        "team": "blue",
    }
    assert (instance["KeyName"], instance["SubnetId"], instance["InstanceLifecycle"]) == ("key", subnets[0], "spot")
    assert [entry["GroupId"] for entry in instance["SecurityGroups"]] == [group]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert {tag["Key"]: tag["Value"] for tag in volume["Tags"]} == marks
    ends = ec2.describe_instance_attribute(
        InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert ends["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_user_data_is_a_script_that_knows_the_order(aws, image, tmp_path):
    (tmp_path / "setup.sh").write_text("echo set up\n")

    async def work() -> None:
        one = backend(
            image,
            spot=True,
            max_instance_hours=1.5,
            instance_setup=str(tmp_path / "setup.sh"),
            instance_python_requirements="numpy; a[b]>=1",
        )
        await one.prepare()
        await one.start([WorkerOrder("ann-1", 4)])

    run(work)
    script = user_data(aws, instances(aws)[0]["InstanceId"])
    head, _, rest = script.partition("echo set up\n#!/bin/sh\n")
    assert head.startswith("#!/bin/sh\n") and rest
    names = [WORKER_ORDER, "SCALER_REQUIREMENTS", "SCALER_SPOT", "SCALER_MOST_MINUTES"]
    shown = "".join(f'; printf "%s\\n" "${name}"' for name in names)
    said = subprocess.run(["sh", "-c", head + shown.removeprefix("; ")], check=True, capture_output=True, text=True)
    order, *told = said.stdout.splitlines()
    options = json.loads(order)["options"]
    assert (options["worker_name"], options["slots"], options["grace_seconds"]) == ("ann-1", 4, 100)
    assert told == ["numpy;a[b]>=1", "yes", "90"]


def test_the_next_subnet_is_tried_where_there_is_no_capacity(aws, image, subnets):
    async def work() -> None:
        one = backend(image, subnet_id=subnets)
        await one.prepare()
        aws.fail("RunInstances", "InsufficientInstanceCapacity", "none of it", 500, times=shared.ATTEMPTS)
        (seen,) = await one.start(ORDERS[:1])
        assert seen.phase == Phase.PENDING
        assert [instance["SubnetId"] for instance in instances(aws)] == subnets[1:]

    run(work)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("InsufficientInstanceCapacity", 500, "AWS has no such capacity at the moment"),
        ("VcpuLimitExceeded", 400, "a quota of the account is reached; lower --max-workers, or have it raised"),
        ("RequestLimitExceeded", 503, "AWS wants fewer requests; it is tried again later"),
        ("RequestExpired", 400, "the credentials have expired"),
    ],
)
def test_what_goes_wrong_with_one_is_told_and_harms_no_other(aws, image, code, status, said):
    async def work() -> None:
        one = backend(image)
        await one.prepare()
        aws.fail("RunInstances", code, "because", status, times=shared.ATTEMPTS if status >= 500 else 1)
        (failed,) = await one.start(ORDERS[:1])
        assert failed.phase == Phase.ENDED
        begin = f"no instance could be started: orb_aws_ec2 in us-east-1: RunInstances: {code}: because; "
        assert failed.story.startswith(begin) and said in failed.story
        (seen,) = await one.start(ORDERS[1:])
        assert seen.phase == Phase.PENDING
        assert phases(await one.list()) == {"ann-2": Phase.RUNNING}

    run(work)


def test_a_full_region_is_offered_no_more_than_there_is_for_a_while(aws, image, monkeypatch):
    """So that the scheduler asks others."""

    async def work() -> None:
        one = backend(image)
        await one.prepare()
        await one.start(ORDERS[:1])
        assert one.most_slots == 32
        aws.fail("RunInstances", "VcpuLimitExceeded")
        await one.start(ORDERS[1:])
        assert one.most_slots == 4
        clock = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: clock() + shared.FULL_SECONDS)
        assert one.most_slots == 32

    run(work)


def test_a_spot_instance_whose_end_is_announced_is_leaving(aws, image):
    async def work() -> None:
        one = backend(image, spot=True)
        await one.prepare()
        await one.start(ORDERS)
        ids = {next(tag["Value"] for tag in i["Tags"] if tag["Key"] == "Name"): i["InstanceId"] for i in instances(aws)}
        aws.answer(
            "DescribeSpotInstanceRequests",
            "<DescribeSpotInstanceRequestsResponse><spotInstanceRequestSet><item>"
            f"<instanceId>{ids['ann-2']}</instanceId><status><code>marked-for-termination</code></status>"
            "</item></spotInstanceRequestSet></DescribeSpotInstanceRequestsResponse>",
            "text/xml",
        )
        assert {seen.name: seen.leaving for seen in await one.list()} == {"ann-1": False, "ann-2": True}
        aws.fail("DescribeSpotInstanceRequests", "UnauthorizedOperation")
        assert {seen.name: seen.leaving for seen in await one.list()} == {"ann-1": False, "ann-2": False}

    run(work)


def test_one_that_powered_itself_off_ended_in_order():
    off = {"Code": "Client.InstanceInitiatedShutdown", "Message": "Instance initiated shutdown"}
    seen = Ec2Instances._resource({"InstanceId": "i-1", "State": {"Name": "terminated"}, "StateReason": off}, ())
    assert (seen.phase, seen.orderly) == (Phase.ENDED, True)
    seen = Ec2Instances._resource({"InstanceId": "i-1", "State": {"Name": "stopped"}}, ())
    assert seen.phase == Phase.ENDED and "it still exists: terminate it" in seen.story and not seen.orderly


def test_one_that_is_gone_for_long_does_not_keep_others_from_being_terminated(aws, image):
    async def work() -> None:
        one = backend(image)
        await one.prepare()
        await one.start(ORDERS)
        one._known["ann-1"].id = "i-0123456789abcdef0"
        await one.stop(["ann-1", "ann-2"])

    run(work)
    assert sorted(instance["State"]["Name"] for instance in instances(aws)) == ["running", "terminated"]


def test_two_instances_of_one_worker_are_one_too_many(aws, image):
    async def work() -> None:
        one = backend(image)
        await one.prepare()
        await one.start(ORDERS[:1])
        kept = one._known["ann-1"].id
        one._place.start(ORDERS[0])  # moto does not know its token again, as AWS would.
        assert phases(await one.list()) == {"ann-1": Phase.RUNNING}
        states = {instance["InstanceId"]: instance["State"]["Name"] for instance in instances(aws)}
        assert states.pop(kept) == "running" and list(states.values()) == ["terminated"]

    run(work)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image_id": "ami-12345678"}, "InvalidAMIID.NotFound"),
        ({"instance_type": "c5.none"}, "InvalidInstanceType"),
        ({"subnet_id": "subnet-12345678"}, "subnet ID 'subnet-12345678' does not exist"),
        ({"key_name": "none"}, "InvalidKeyPair.NotFound"),
        ({"iam_instance_profile": "none"}, "Instance profile none not found"),
        ({"aws_region": "us-nowhere-1", "aws_endpoint_url": "http://127.0.0.1:1"}, "Could not connect .*--aws-region"),
    ],
)
def test_what_is_not_there_is_named_before_anything_starts(aws, image, given, said):
    with pytest.raises(ConfigurationError, match=said):
        run(backend(image, **given).prepare)
    assert instances(aws) == []


def test_the_permission_to_start_is_looked_for(aws, image):
    aws.fail("RunInstances", "UnauthorizedOperation", "You are not authorized")
    with pytest.raises(
        ConfigurationError, match="RunInstances: UnauthorizedOperation: You are not authorized; the cred"
    ):
        run(backend(image).prepare)


def test_user_data_that_is_too_long_is_refused_at_the_start(aws, image, tmp_path):
    (tmp_path / "setup.sh").write_text("#" * 17000)
    with pytest.raises(ConfigurationError, match="EC2 takes 16384; shorten --instance-setup"):
        run(backend(image, instance_setup=str(tmp_path / "setup.sh")).prepare)


def test_a_sweep_needs_nothing_but_the_name(aws, image, capsys):
    async def leave_some() -> None:
        for manager in ("ann", "ben"):
            one = backend(image, manager)
            await one.prepare()
            await one.start([WorkerOrder(f"{manager}-1", 4)])

    run(leave_some)
    for said in ("1 workers of ann ended", "0 workers of ann ended"):
        assert worker_manager.main(["orb_aws_ec2", "tcp://127.0.0.1:1", "-wmi", "ann", "--sweep"]) == 0
        assert said in capsys.readouterr().out
    assert sorted(instance["State"]["Name"] for instance in instances(aws)) == ["running", "terminated"]
