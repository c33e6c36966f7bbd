"""Workers on EC2 instances: each is started for one worker, and terminates when that ends."""

from __future__ import annotations

import hashlib
import shlex
from argparse import Namespace
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from scaler.config import Option, boolean, seconds
from scaler.errors import ConfigurationError
from scaler.manager.aws import (
    ACCESS,
    MANAGER_TAG,
    NO_CAPACITY,
    NOT_ALLOWED,
    AwsWorkers,
    Resource,
    Session,
    check_limits,
    check_network,
    code_of,
    requirements,
    tags,
    words,
)
from scaler.manager.backend import Backend, Phase, WorkerOrder
from scaler.manager.template import WorkerTemplate

USER_DATA_LIMIT = 16 << 10
AT_ONCE = 100
"""Instances that one request ends."""
SPOT_GRACE_SECONDS = 100.0
"""Of the two minutes between notice and end, what remains when the notice has been seen."""
TAKEN = "marked-for-termination", "marked-for-stop", "marked-for-hibernation"
"""What spot requests are called whose instance will be taken away within two minutes."""

OPTIONS = (
    Option("image_id", "the AMI: ami-…, or resolve:ssm:… for what a parameter names"),
    Option("instance_type", "one instance is one worker; it has as many slots as the type has virtual CPUs"),
    Option(
        "subnet_id",
        "the subnets; the first one that has capacity is taken. Those of the default VPC without it",
        (),
        many=True,
    ),
    Option("security_group_ids", "the security groups; the default one without it", (), many=True),
    Option("key_name", "the key pair by which one can log in"),
    Option("iam_instance_profile", "the role of the instances, by the name or ARN of its profile"),
    Option("spot", "take spare capacity, for less, that may be taken away again", False, boolean),
    Option("instance_python", "the Python of the AMI; it has Scaler, unless the next option installs it", "python3"),
    Option("instance_python_requirements", "install these first, separated by ';': opengris-scaler;numpy", ""),
    Option("instance_setup", "a file with shell commands that an instance runs first", value="FILE"),
    Option("max_instance_hours", "an instance powers itself off after so long, whoever lives; 0: never", 0.0, seconds),
    *ACCESS,
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    check_limits(options)
    if options.sweep:
        return
    if not options.image_id:
        raise ConfigurationError("--image-id is missing: say which AMI the instances are to have")
    if not options.instance_type:
        raise ConfigurationError("--instance-type is missing: say what to start, c7i.xlarge for instance")


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    setup = ""
    if options.instance_setup:
        try:
            setup = Path(options.instance_setup).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--instance-setup: cannot read {options.instance_setup}: {error}") from None
    session = Session("orb_aws_ec2", options)
    return AwsWorkers(session, Ec2Instances(session, options, template, setup), options)


def start_script() -> str:
    """What an instance runs, without what it is told."""
    return resources.files("scaler.manager").joinpath("instance_start.sh").read_text()


class Ec2Instances:
    """A scaler.manager.aws.Place: one instance for each worker."""

    noun = "instance"

    def __init__(self, session: Session, options: Namespace, template: WorkerTemplate, setup: str = "") -> None:
        self._session = session
        self._ec2 = session.client("ec2")
        self._options = options
        self._template = template.with_grace(SPOT_GRACE_SECONDS) if options.spot else template
        self._setup = setup
        self._subnets = words(options.subnet_id)
        self._groups = words(options.security_group_ids)

    # ---- once

    def prepare(self) -> int:
        """See Place."""
        options = self._options
        sample = WorkerOrder(f"{self._template.manager}-{'0' * 20}", 1000)
        size = len(self.user_data(sample).encode())
        if size > USER_DATA_LIMIT:
            text = f"what an instance is to be told has {size} bytes, EC2 takes {USER_DATA_LIMIT}"
            raise ConfigurationError(f"{text}; shorten --instance-setup or --preload")
        check_network(self._session, self._subnets, self._groups)
        self._rehearse(sample)
        (found,) = self._ec2.describe_instance_types(InstanceTypes=[options.instance_type])["InstanceTypes"]
        return int(found["VCpuInfo"]["DefaultVCpus"])

    def _rehearse(self, order: WorkerOrder) -> None:
        """Whether AMI and key are there, and what start() will do is allowed."""
        options = self._options
        try:
            if not options.image_id.startswith("resolve:"):
                self._ec2.describe_images(ImageIds=[options.image_id])
            if options.key_name:
                self._ec2.describe_key_pairs(KeyNames=[options.key_name])
        except self._session.errors as error:
            if code_of(error) not in NOT_ALLOWED:
                raise
        try:
            self._ec2.run_instances(DryRun=True, **self._request(order, self._subnets[0] if self._subnets else ""))
        except self._session.errors as error:
            if code_of(error) not in {"DryRunOperation", *NO_CAPACITY}:
                raise

    # ---- instances

    def describe(self, order: WorkerOrder) -> str:
        """See Place."""
        options = self._options
        spot = "a spot instance" if options.spot else "an instance"
        return f"{spot} of type {options.instance_type} from {options.image_id}"

    def user_data(self, order: WorkerOrder) -> str:
        """The script that an instance runs."""
        options = self._options
        told = {
            **self._template.environment(order),
            "SCALER_PYTHON": options.instance_python,
            "SCALER_REQUIREMENTS": ";".join(requirements(options.instance_python_requirements)),
            "SCALER_SPOT": "yes" if options.spot else "no",
            "SCALER_MOST_MINUTES": str(round(options.max_instance_hours * 60)),
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in told.items()]
        return "\n".join(["#!/bin/sh", *lines, *([self._setup.strip()] if self._setup.strip() else []), start_script()])

    def _request(self, order: WorkerOrder, subnet: str) -> dict[str, Any]:
        options = self._options
        marks = [
            {"Key": key, "Value": value}
            for key, value in {**tags(self._template.manager, order, options.aws_tags), "Name": order.name}.items()
        ]
        kinds = ["instance", "volume", *(["spot-instances-request"] if options.spot else [])]
        request: dict[str, Any] = {
            "ImageId": options.image_id,
            "InstanceType": options.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": hashlib.sha256(f"{order.name} {subnet}".encode()).hexdigest(),
            "UserData": self.user_data(order),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required"},
            "TagSpecifications": [{"ResourceType": kind, "Tags": marks} for kind in kinds],
        }
        if subnet:
            request["SubnetId"] = subnet
        if self._groups:
            request["SecurityGroupIds"] = self._groups
        if options.key_name:
            request["KeyName"] = options.key_name
        if options.iam_instance_profile:
            by = "Arn" if options.iam_instance_profile.startswith("arn:") else "Name"
            request["IamInstanceProfile"] = {by: options.iam_instance_profile}
        if options.spot:
            once = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            request["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": once}
        return request

    def start(self, order: WorkerOrder) -> str:
        """See Place."""
        subnets = self._subnets or [""]
        for subnet in subnets:
            try:
                answer = self._ec2.run_instances(**self._request(order, subnet))
                break
            except self._session.errors as error:
                if code_of(error) not in NO_CAPACITY or subnet == subnets[-1]:
                    raise
        id: str = answer["Instances"][0]["InstanceId"]
        return id

    def look(self, known: Collection[str]) -> list[Resource]:
        """See Place. Terminated instances are shown for about an hour."""
        mine = [{"Name": f"tag:{MANAGER_TAG}", "Values": [self._template.manager]}]
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=mine)
        taken = self._taken(mine) if self._options.spot else set()
        instances = (i for page in pages for group in page["Reservations"] for i in group["Instances"])
        return [self._resource(instance, taken) for instance in instances]

    def _taken(self, mine: list[dict[str, Any]]) -> set[str]:
        """Those whose end is announced."""
        filters = [*mine, {"Name": "status-code", "Values": list(TAKEN)}]
        pages = self._ec2.get_paginator("describe_spot_instance_requests").paginate(Filters=filters)
        try:
            return {found.get("InstanceId", "") for page in pages for found in page["SpotInstanceRequests"]}
        except self._session.errors as error:
            if code_of(error) not in NOT_ALLOWED:
                raise
            return set()

    @staticmethod
    def _resource(instance: dict[str, Any], taken: Collection[str]) -> Resource:
        id, state = instance["InstanceId"], instance["State"]["Name"]
        found = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        if state in ("pending", "running"):
            phase = Phase.PENDING if state == "pending" else Phase.RUNNING
            return Resource.tagged(id, found, phase, leaving=id in taken)
        reason = instance.get("StateReason", {})
        left = "; it still exists: terminate it" if state in ("stopping", "stopped") else ""
        story = f"is {state}: {reason.get('Message') or 'no reason is told'}{left}"
        by_itself = reason.get("Code") == "Client.InstanceInitiatedShutdown"
        return Resource.tagged(id, found, Phase.ENDED, story=story, orderly=by_itself)

    def stop(self, ids: Sequence[str]) -> None:
        """See Place. EC2 ends none of them when it does not know one: then each is told by itself."""
        for begin in range(0, len(ids), AT_ONCE):
            some = list(ids[begin : begin + AT_ONCE])
            try:
                self._ec2.terminate_instances(InstanceIds=some)
            except self._session.errors as error:
                if code_of(error) != "InvalidInstanceID.NotFound":
                    raise
                if len(some) > 1:
                    for id in some:
                        self.stop([id])
