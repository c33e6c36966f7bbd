"""Workers as jobs of AWS Batch: its queue decides when and on which machines they run."""

from __future__ import annotations

import json
import re
import shlex
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from scaler.config import Option, count
from scaler.errors import ConfigurationError
from scaler.manager.aws import (
    ACCESS,
    MANAGER_TAG,
    AwsWorkers,
    Resource,
    Session,
    amount,
    check_limits,
    tags,
)
from scaler.manager.backend import Backend, Phase, WorkerOrder
from scaler.manager.template import WorkerTemplate

GRACE_SECONDS = 25.0
"""Batch kills a job 30 s after SIGTERM."""
OVERRIDES_LIMIT = 8192
AT_ONCE = 100
"""Jobs that one request describes."""
UNFINISHED = "SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"

OPTIONS = (
    Option("job_queue", "the queue of AWS Batch, by name or ARN"),
    Option(
        "job_definition", "the definition, by name, name:revision or ARN: a container that runs python -m scaler.worker"
    ),
    Option("job_command", "run this in the container, instead of what the definition says"),
    Option(
        "job_vcpus", "virtual CPUs of a job, which has as many slots; as the definition says without it", kind=amount
    ),
    Option("job_memory", "memory of a job, in GiB; as the definition says without it", kind=amount),
    Option("job_timeout_minutes", "Batch ends a job after so long, whatever it does; 0: never", 0, count),
    Option("s3_bucket", "accepted for compatibility: tasks do not travel by way of S3 here"),
    Option("s3_prefix", "accepted for compatibility, like --s3-bucket"),
    *ACCESS,
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    check_limits(options)
    if not options.job_queue:
        raise ConfigurationError("--job-queue is missing: say into which queue of AWS Batch workers are put")
    if not options.job_definition and not options.sweep:
        raise ConfigurationError("--job-definition is missing: say which job definition runs a worker")


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    session = Session("aws_hpc", options)
    return AwsWorkers(session, BatchJobs(session, options, template), options)


class BatchJobs:
    """A scaler.manager.aws.Place: one job for each worker."""

    noun = "job"

    def __init__(self, session: Session, options: Namespace, template: WorkerTemplate) -> None:
        self._batch = session.client("batch")
        self._options = options
        self._template = template.with_grace(GRACE_SECONDS)
        self._definition = ""

    # ---- once

    def prepare(self) -> int:
        """See Place."""
        options = self._options
        queues = self._batch.describe_job_queues(jobQueues=[options.job_queue])["jobQueues"]
        if not queues:
            raise ConfigurationError(f"there is no job queue {options.job_queue} in {self._batch.meta.region_name}")
        if (queues[0]["state"], queues[0]["status"]) != ("ENABLED", "VALID"):
            told = f"{queues[0]['state']}, {queues[0]['status']}: {queues[0].get('statusReason', '')}"
            raise ConfigurationError(f"the job queue {options.job_queue} takes no jobs ({told})")
        definition = self._describe(options.job_definition)
        if "containerProperties" not in definition:
            text = f"the job definition {options.job_definition} is none of a single container; workers need one"
            raise ConfigurationError(text)
        self._definition = definition["jobDefinitionArn"]
        size = len(json.dumps(self._overrides(WorkerOrder(f"{self._template.manager}-{'0' * 20}", 1000))))
        if size > OVERRIDES_LIMIT:
            text = f"what a job is to be told has {size} characters, AWS Batch takes {OVERRIDES_LIMIT}"
            raise ConfigurationError(f"{text}; shorten --preload or --per-worker-capabilities")
        return max(1, int(options.job_vcpus or _vcpus(definition["containerProperties"])))

    def _describe(self, name: str) -> dict[str, Any]:
        """The newest of a name, or the one that is meant."""
        exact = name.startswith("arn:") or re.search(r":\d+$", name)
        which: dict[str, Any] = {"jobDefinitions": [name]} if exact else {"jobDefinitionName": name}
        pages = self._batch.get_paginator("describe_job_definitions").paginate(**which)
        every: list[dict[str, Any]] = [definition for page in pages for definition in page["jobDefinitions"]]
        found = [definition for definition in every if definition["status"] == "ACTIVE"]
        if not found:
            raise ConfigurationError(f"there is no active job definition {name} in {self._batch.meta.region_name}")
        return max(found, key=lambda definition: int(definition["revision"]))

    # ---- jobs

    def describe(self, order: WorkerOrder) -> str:
        """See Place."""
        return f"a job of {self._definition.rsplit('/', 1)[-1]} in the queue {self._options.job_queue}"

    def _overrides(self, order: WorkerOrder) -> dict[str, Any]:
        options = self._options
        told = [{"name": name, "value": value} for name, value in self._template.environment(order).items()]
        overrides: dict[str, Any] = {"environment": told}
        if options.job_command:
            overrides["command"] = shlex.split(options.job_command)
        needs = {
            "VCPU": options.job_vcpus and f"{options.job_vcpus:g}",
            "MEMORY": options.job_memory and str(int(options.job_memory * 1024)),
        }
        wanted = [{"type": kind, "value": value} for kind, value in needs.items() if value]
        if wanted:
            overrides["resourceRequirements"] = wanted
        return overrides

    def start(self, order: WorkerOrder) -> str:
        """See Place. Batch does not know a request again: of two jobs for one worker the second is ended when it is seen."""
        request: dict[str, Any] = {
            "jobName": _job_name(order.name),
            "jobQueue": self._options.job_queue,
            "jobDefinition": self._definition,
            "containerOverrides": self._overrides(order),
            "tags": tags(self._template.manager, order, self._options.aws_tags),
            "propagateTags": True,
            "retryStrategy": {"attempts": 1},
        }
        if self._options.job_timeout_minutes:
            request["timeout"] = {"attemptDurationSeconds": self._options.job_timeout_minutes * 60}
        id: str = self._batch.submit_job(**request)["jobId"]
        return id

    def look(self, known: Collection[str]) -> list[Resource]:
        """See Place. How a job ended can be asked for a week."""
        names = _job_name(f"{self._template.manager}-")
        ids = {
            job["jobId"]
            for status in UNFINISHED
            for page in self._batch.get_paginator("list_jobs").paginate(
                jobQueue=self._options.job_queue, jobStatus=status
            )
            for job in page["jobSummaryList"]
            if job["jobName"].startswith(names)
        }
        return [
            self._resource(job)
            for job in self._described(sorted(ids | set(known)))
            if job.get("tags", {}).get(MANAGER_TAG) == self._template.manager
        ]

    def _described(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        for begin in range(0, len(ids), AT_ONCE):
            yield from self._batch.describe_jobs(jobs=ids[begin : begin + AT_ONCE])["jobs"]

    @staticmethod
    def _resource(job: dict[str, Any]) -> Resource:
        id, status, found = job["jobId"], job["status"], job["tags"]
        container = job.get("container", {})
        if status in UNFINISHED:
            phase = Phase.RUNNING if status == "RUNNING" else Phase.PENDING
            blocked = f"waits: {job['statusReason']}" if status == "RUNNABLE" and job.get("statusReason") else ""
            return Resource.tagged(id, found, phase, story=blocked)
        code = container.get("exitCode")
        told = job.get("statusReason"), container.get("reason"), f"exit code {code}" if code is not None else ""
        why = "; ".join(filter(None, told)) or "no reason is told"
        ended = status == "SUCCEEDED"
        return Resource.tagged(
            id, found, Phase.ENDED, story=f"has {status.lower()}: {why}", orderly=ended and code in (0, None)
        )

    def stop(self, ids: Sequence[str]) -> None:
        """See Place. Those that have not begun are cancelled by that."""
        for id in ids:
            self._batch.terminate_job(jobId=id, reason="its worker manager ended it")


def _job_name(name: str) -> str:
    """A name as Batch takes it; the worker's is in the tags."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)[:128]


def _vcpus(container: dict[str, Any]) -> float:
    needs = {need["type"]: need["value"] for need in container.get("resourceRequirements", [])}
    return float(needs.get("VCPU") or container.get("vcpus") or 1)
