"""Workers as tasks of Amazon's Elastic Container Service, on Fargate or on instances of one's own cluster."""

from __future__ import annotations

import hashlib
import json
import shlex
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from scaler.config import Option, boolean
from scaler.errors import ConfigurationError
from scaler.manager.aws import (
    ACCESS,
    MANAGER_TAG,
    AwsError,
    AwsWorkers,
    NoCapacityError,
    Resource,
    Session,
    amount,
    check_limits,
    check_network,
    code_of,
    requirements,
    tags,
    words,
)
from scaler.manager.backend import Backend, Phase, WorkerOrder
from scaler.manager.template import WorkerTemplate

STOP_SECONDS = 120
"""Between SIGTERM and SIGKILL, of task definitions that are made here: the most that Fargate allows."""
DEFAULT_STOP_SECONDS = 30
MARGIN_SECONDS = 5
OVERRIDES_LIMIT = 8192
"""Characters of all that a task is told."""
AT_ONCE = 100
"""Tasks that one request describes."""

OPTIONS = (
    Option("ecs_cluster", "the cluster, by name or ARN", "scaler-cluster"),
    Option("ecs_subnets", "the subnets of the tasks", (), many=True),
    Option("ecs_security_groups", "their security groups; those of the VPC without it", (), many=True),
    Option("ecs_assign_public_ip", "give tasks a public address: without one they need a NAT gateway", True, boolean),
    Option(
        "ecs_launch_type",
        "what the tasks run on: Fargate, spare Fargate that may be taken away, or the cluster's instances",
        "FARGATE",
        str.upper,
        choices=("FARGATE", "FARGATE_SPOT", "EC2"),
    ),
    Option("ecs_platform_version", "of Fargate", "LATEST"),
    Option(
        "ecs_task_definition", "a task definition to use, by family or ARN; without it one is made of the following"
    ),
    Option("ecs_task_image", "the image of the container, which has Python and Scaler"),
    Option("ecs_task_cpu", "virtual CPUs of a task; it has as many slots", 4.0, amount),
    Option("ecs_task_memory", "memory of a task, in GiB", 30.0, amount),
    Option("ecs_python_requirements", "what a task installs when it starts, separated by ';': numpy;pandas==2.3.*", ""),
    Option("ecs_python_version", "have uv make an environment with this Python for them, Scaler included", ""),
    Option("ecs_execution_role_arn", "the role that fetches the image and writes logs"),
    Option("ecs_task_role_arn", "the role that tasks have"),
    Option("ecs_log_group", "a log group of CloudWatch for what workers print"),
    *ACCESS,
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    check_limits(options)
    if options.sweep:
        return
    if not words(options.ecs_subnets):
        raise ConfigurationError("--ecs-subnets is missing: say in which subnets tasks run")
    if not options.ecs_task_definition and not options.ecs_task_image:
        raise ConfigurationError("say --ecs-task-definition, or --ecs-task-image to have one made")
    if options.ecs_task_definition and (options.ecs_task_image or options.ecs_python_requirements):
        raise ConfigurationError("--ecs-task-definition says which image and what is in it; leave the others out")
    if options.ecs_python_version and not options.ecs_python_requirements:
        text = "--ecs-python-version needs --ecs-python-requirements: its environment is empty, without Scaler too"
        raise ConfigurationError(text)


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    session = Session("aws_raw_ecs", options)
    return AwsWorkers(session, EcsTasks(session, options, template), options)


def command(packages: str, python: str) -> str:
    """What a container's shell runs: the worker, after what it needs has been installed."""
    names = " ".join(shlex.quote(name) for name in requirements(packages))
    if python:
        here = "/tmp/scaler-environment"
        return (
            f"pip install -q uv && uv venv -q --python {shlex.quote(python)} {here}"
            f" && uv pip install -q --python {here}/bin/python {names} && exec {here}/bin/python -m scaler.worker"
        )
    return (
        f"pip install -q --no-cache-dir {names} && exec python -m scaler.worker"
        if names
        else "exec python -m scaler.worker"
    )


class EcsTasks:
    """A scaler.manager.aws.Place: one task for each worker."""

    noun = "task"

    def __init__(self, session: Session, options: Namespace, template: WorkerTemplate) -> None:
        self._session = session
        self._ecs = session.client("ecs")
        self._options = options
        self._template = template
        self._cluster = options.ecs_cluster
        self._definition: dict[str, Any] = {}
        self._started_by = "scaler-" + hashlib.sha256(template.manager.encode()).hexdigest()[:24]
        """ECS lists by this, which is short; whose a task is its tags tell."""

    # ---- once

    def prepare(self) -> int:
        """See Place."""
        found = self._ecs.describe_clusters(clusters=[self._cluster])["clusters"]
        if not found or found[0].get("status") != "ACTIVE":
            text = f"there is no ECS cluster {self._cluster}; aws ecs create-cluster --cluster-name {self._cluster}"
            raise ConfigurationError(f"{text} makes one")
        options = self._options
        check_network(self._session, words(options.ecs_subnets), words(options.ecs_security_groups))
        given = options.ecs_task_definition
        self._definition = self._describe(given) if given else self._register()
        stop_seconds = self._container.get("stopTimeout", DEFAULT_STOP_SECONDS)
        self._template = self._template.with_grace(max(0, stop_seconds - MARGIN_SECONDS))
        size = len(json.dumps(self._overrides(WorkerOrder(f"{self._template.manager}-{'0' * 20}", 1000))))
        if size > OVERRIDES_LIMIT:
            text = f"what a task is to be told has {size} characters, ECS takes {OVERRIDES_LIMIT}"
            raise ConfigurationError(f"{text}; shorten --preload or --per-worker-capabilities")
        return self._slots()

    def _describe(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
        except self._session.errors as error:
            if code_of(error) != "ClientException":
                raise
            raise ConfigurationError(
                f"there is no ECS task definition {name}: {self._session.explain(error)}"
            ) from None
        return found

    def _register(self) -> dict[str, Any]:
        """Once for each content: its name is made of it."""
        wanted = self._wanted()
        content = json.dumps(wanted, sort_keys=True).encode()
        family = f"scaler-worker-{hashlib.sha256(content).hexdigest()[:16]}"
        try:
            found: dict[str, Any] = self._ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        except self._session.errors as error:
            if code_of(error) != "ClientException":
                raise
            marks = [{"key": MANAGER_TAG, "value": self._template.manager}]
            answer = self._ecs.register_task_definition(family=family, tags=marks, **wanted)
            found = answer["taskDefinition"]
        return found

    def _wanted(self) -> dict[str, Any]:
        options = self._options
        cpu, memory = int(options.ecs_task_cpu * 1024), int(options.ecs_task_memory * 1024)
        container: dict[str, Any] = {
            "name": "worker",
            "image": options.ecs_task_image,
            "essential": True,
            "memory": memory,
            "stopTimeout": STOP_SECONDS,
            "entryPoint": ["sh", "-c"],
            "command": [command(options.ecs_python_requirements, options.ecs_python_version)],
        }
        if options.ecs_log_group:
            container["logConfiguration"] = {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": options.ecs_log_group,
                    "awslogs-region": self._ecs.meta.region_name,
                    "awslogs-stream-prefix": "scaler",
                },
            }
        roles = {"executionRoleArn": options.ecs_execution_role_arn, "taskRoleArn": options.ecs_task_role_arn}
        return {
            "requiresCompatibilities": ["EC2" if options.ecs_launch_type == "EC2" else "FARGATE"],
            "networkMode": "awsvpc",
            "cpu": str(cpu),
            "memory": str(memory),
            "containerDefinitions": [container],
            **{name: role for name, role in roles.items() if role},
        }

    @property
    def _container(self) -> dict[str, Any]:
        """The one that is the worker: the first that the task cannot do without."""
        containers: list[dict[str, Any]] = self._definition["containerDefinitions"]
        return next((c for c in containers if c.get("essential", True)), containers[0])

    def _slots(self) -> int:
        """As many as the task has CPUs."""
        units = int(self._definition.get("cpu") or self._container.get("cpu") or 1024)
        return max(1, units // 1024)

    # ---- tasks

    def describe(self, order: WorkerOrder) -> str:
        """See Place."""
        definition = self._definition["taskDefinitionArn"].rsplit("/", 1)[-1]
        return f"a task on {self._options.ecs_launch_type} in {self._cluster} of {definition}"

    def _overrides(self, order: WorkerOrder) -> dict[str, Any]:
        told = [{"name": name, "value": value} for name, value in self._template.environment(order).items()]
        return {"containerOverrides": [{"name": self._container["name"], "environment": told}]}

    def start(self, order: WorkerOrder) -> str:
        """See Place. Each has a request of its own: tasks of one request are all told the same."""
        options = self._options
        request: dict[str, Any] = {
            "cluster": self._cluster,
            "taskDefinition": self._definition["taskDefinitionArn"],
            "count": 1,
            "startedBy": self._started_by,
            "clientToken": hashlib.sha256(order.name.encode()).hexdigest(),
            "overrides": self._overrides(order),
            "tags": [
                {"key": key, "value": value}
                for key, value in tags(self._template.manager, order, options.aws_tags).items()
            ],
        }
        if self._definition.get("networkMode") == "awsvpc":
            network: dict[str, Any] = {"subnets": words(options.ecs_subnets)}
            network["securityGroups"] = words(options.ecs_security_groups)
            if options.ecs_launch_type != "EC2":
                network["assignPublicIp"] = "ENABLED" if options.ecs_assign_public_ip else "DISABLED"
            request["networkConfiguration"] = {"awsvpcConfiguration": network}
        if options.ecs_launch_type == "FARGATE_SPOT":
            request["capacityProviderStrategy"] = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        else:
            request["launchType"] = options.ecs_launch_type
        if options.ecs_launch_type != "EC2":
            request["platformVersion"] = options.ecs_platform_version
        answer = self._ecs.run_task(**request)
        if not answer["tasks"]:
            text = "RunTask: " + "; ".join(map(_failure, answer["failures"]))
            reasons = [failure.get("reason", "") for failure in answer["failures"]]
            full = any(reason.startswith("RESOURCE") or "apacity" in reason for reason in reasons)
            raise NoCapacityError(text) if full else AwsError(text)
        arn: str = answer["tasks"][0]["taskArn"]
        return arn

    def look(self, known: Collection[str]) -> list[Resource]:
        """See Place. What is to be stopped is not listed; how it ended can be asked for an hour."""
        pages = self._ecs.get_paginator("list_tasks").paginate(cluster=self._cluster, startedBy=self._started_by)
        arns = {arn for page in pages for arn in page["taskArns"]} | set(known)
        mine = {"key": MANAGER_TAG, "value": self._template.manager}
        return [
            self._resource(task)
            for task in self._described(sorted(arns))
            if mine in task.get("tags", []) or task["taskArn"] in known
        ]

    def _described(self, arns: Sequence[str]) -> Iterator[dict[str, Any]]:
        for begin in range(0, len(arns), AT_ONCE):
            answer = self._ecs.describe_tasks(
                cluster=self._cluster, tasks=arns[begin : begin + AT_ONCE], include=["TAGS"]
            )
            yield from answer["tasks"]

    def _resource(self, task: dict[str, Any]) -> Resource:
        status = task["lastStatus"]
        found = {tag["key"]: tag["value"] for tag in task.get("tags", [])}
        if status == "STOPPED":
            codes = [c.get("exitCode") for c in task.get("containers", [])]
            reasons = [c["reason"] for c in task.get("containers", []) if c.get("reason")]
            told = [f"exit code {code}" for code in codes if code is not None]
            why = "; ".join(filter(None, (task.get("stoppedReason"), *reasons, *told))) or "no reason is told"
            orderly = bool(codes) and all(code == 0 for code in codes)
            return Resource.tagged(task["taskArn"], found, Phase.ENDED, story=f"stopped: {why}", orderly=orderly)
        begun = status not in ("PROVISIONING", "PENDING", "ACTIVATING")
        leaving = task.get("desiredStatus") == "STOPPED"
        phase = Phase.RUNNING if begun else Phase.PENDING
        return Resource.tagged(task["taskArn"], found, phase, leaving=leaving)

    def stop(self, ids: Sequence[str]) -> None:
        """See Place."""
        for arn in ids:
            try:
                self._ecs.stop_task(cluster=self._cluster, task=arn, reason="its worker manager ended it")
            except self._session.errors as error:
                if code_of(error) != "InvalidParameterException":  # It has been gone for long.
                    raise


def _failure(failure: dict[str, str]) -> str:
    reason, detail = failure.get("reason", "no reason is told"), failure.get("detail", "")
    hint = ""
    if reason.startswith("RESOURCE"):
        hint = "no instance of the cluster has so much free; add instances, or ask for less"
    elif "apacity" in reason:
        hint = "AWS has no such capacity at the moment; it is tried again later, other subnets may have some"
    elif reason == "AGENT":
        hint = "the agent of the instance is not connected"
    return "; ".join(filter(None, (reason, detail, hint)))
