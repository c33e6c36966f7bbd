"""Workers as pods of Kubernetes, by its official client.

A worker is a pod that is never restarted. Labels say which manager it belongs to: so a later manager finds it. The client
blocks, so it is called in threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaler.config import Option, interval, seconds
from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.manager.backend import Backend, Phase, Sighting, WorkerOrder
from scaler.manager.template import WorkerTemplate
from scaler.net.daemon import log
from scaler.security import FILES

CONTAINER = "worker"
MANAGER_LABEL, WORKER_LABEL, SLOTS_LABEL = "scaler/manager", "scaler/worker", "scaler/slots"
"""The first is a label, by which pods are listed, the others are annotations."""
SLOTS = 4
"""Of a worker, unless the user says something else."""
GRACE_MARGIN_SECONDS = 2.0
"""A worker is to have ended so long before its pod is killed."""
CALL_SECONDS = 30.0
LOOK_SECONDS = 0.2
END_SECONDS = 10.0
HOPELESS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
}
"""Why containers wait that do not begin by being waited for."""
ALIVE = {"Pending", "Running", "Unknown"}
"""Phases of pods that are not over."""


SECURITY_VOLUME = "scaler-security"
SECURITY_DIRECTORY = "/etc/scaler/security"


def resource(text: str) -> str:
    """An option's type: an amount as Kubernetes writes it."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", text):
        raise ValueError(f"{text!r} is no amount; write 2, 500m or 2Gi")
    return text


def pair(text: str) -> tuple[str, str]:
    """An option's type: ``key=value``."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ValueError(f"{text!r} is not of the form key=value")
    return key, value


OPTIONS = (
    Option("image", "the image of the pods, which has Python and Scaler"),
    Option("namespace", "where the pods are; that of the context, or of the pod the manager runs in, without it"),
    Option("cpu_per_slot", "what a pod asks for, and has at most, for each slot: 1 or 500m", "1", resource),
    Option("memory_per_slot", "likewise: 2Gi", "2Gi", resource),
    Option("service_account", "the account of the pods; without it they get no token of the default one"),
    Option("image_pull_secrets", "the secrets by which the image is fetched", (), many=True),
    Option(
        "security_secret",
        "a Secret of the namespace whose keys are the names of the files that --secret-file and its like name here; it is"
        f" mounted at --worker-security-directory, or {SECURITY_DIRECTORY}",
    ),
    Option("node_selector", "labels that nodes must have, as key=value", (), pair, many=True),
    Option(
        "pod_template",
        "a YAML file with a pod, to which all the above is added: volumes, tolerations, and so on",
        value="FILE",
    ),
    Option("remote_python", "the Python of the image", "python"),
    Option(
        "kubeconfig",
        "the file that says where Kubernetes is; the usual ones, or the pod's own account without it",
        value="FILE",
    ),
    Option("kube_context", "which context of that file; its current one without it"),
    Option("grace_seconds", "how long a pod that is deleted may finish what it has begun", 30.0, seconds),
    Option("kubernetes_poll_seconds", "how often to ask for the pods", 5.0, interval),
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    if not options.image and not options.pod_template:
        raise ConfigurationError("say --image: the image of the pods, which has Python and Scaler")
    mounted = options.security_secret or options.worker_security_directory
    if any(getattr(options, name, None) for name in FILES) and not mounted:
        raise ConfigurationError(
            "pods need these files, too: make a Secret of them (kubectl create secret generic scaler --from-file=...)"
            " and say --security-secret scaler; or mount it by --pod-template and say --worker-security-directory"
        )
    if not options.max_task_concurrency and not options.max_workers:
        raise ConfigurationError("say --max-task-concurrency or --max-workers: how much may be started at most")


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    try:
        import kubernetes  # noqa: F401
    except ImportError:
        raise ExtraMissingError(
            "worker manager kubernetes needs a library: pip install 'opengris-scaler[kubernetes]'"
        ) from None
    return KubernetesWorkers(options, template)


class KubernetesError(OSError):
    """Kubernetes did not do what it was asked for, with its reasons."""


class KubernetesWorkers:
    """A scaler.manager.backend.Backend."""

    def __init__(self, options: Namespace, template: WorkerTemplate) -> None:
        self.poll_seconds: float = options.kubernetes_poll_seconds
        self.changed: Callable[[], None] = lambda: None
        self._options = options
        self._template = template.with_grace(max(0.0, options.grace_seconds - GRACE_MARGIN_SECONDS))
        self._pod_template = _read_template(options.pod_template) if options.pod_template else {}
        self._namespace = options.namespace or "default"
        self._api: Any = None
        self._stopped: set[str] = set()
        self._told_of: set[tuple[str, str]] = set()
        """Worker and reason, of what was warned of."""

    @property
    def worker_slots(self) -> int:
        """See Backend."""
        return self._options.slots_per_worker or SLOTS

    @property
    def most_slots(self) -> int:
        """See Backend: what the limits allow; whether there is room for it Kubernetes knows when it is asked for."""
        most: int = self._options.max_task_concurrency or self._options.max_workers * self.worker_slots
        return most

    def describe(self, order: WorkerOrder) -> str:
        """See Backend."""
        return f"kubectl create -n {self._namespace} -f - <<< {json.dumps(self.manifest(order))!r}"

    async def prepare(self) -> None:
        """See Backend. Kubernetes is asked whether it would take a pod of one worker."""
        order = WorkerOrder(f"{self._template.manager}-test", self.worker_slots)
        try:
            await asyncio.to_thread(self._connect)
            await self._call("list_namespaced_pod", self._namespace, limit=1)
            await self._call("create_namespaced_pod", self._namespace, self.manifest(order), dry_run="All")
        except KubernetesError as error:
            raise ConfigurationError(f"Kubernetes would not run workers: {error}") from None

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """See Backend."""
        return list(await asyncio.gather(*(self._create(order) for order in orders)))

    async def stop(self, names: Sequence[str]) -> None:
        """See Backend."""
        await asyncio.gather(*(self._delete(_pod_name(name)) for name in names))
        self._stopped.update(names)

    async def list(self) -> list[Sighting]:
        """See Backend. Pods that are over are told of, and deleted."""
        seen = [self._sighting(pod) for pod in await self._pods()]
        for place, sighting in enumerate(seen):
            if sighting.phase == Phase.ENDED:
                if not sighting.orderly:
                    seen[place] = await self._with_last_words(sighting)
                await self._delete(_pod_name(sighting.name), 0)
        return seen

    async def close(self) -> None:
        """See Backend."""
        deadline = asyncio.get_running_loop().time() + self._options.grace_seconds + END_SECONDS
        while self._stopped and asyncio.get_running_loop().time() < deadline:
            try:
                self._stopped &= {_worker_of(pod) for pod in await self._pods() if pod["status"]["phase"] in ALIVE}
            except KubernetesError:
                return
            if self._stopped:
                await asyncio.sleep(LOOK_SECONDS)
        if self._api is not None:
            self._api.api_client.close()

    # ---- pods

    def manifest(self, order: WorkerOrder) -> dict[str, Any]:
        """The pod of a worker."""
        options = self._options
        amounts = {
            "cpu": _times(options.cpu_per_slot, order.slots),
            "memory": _times(options.memory_per_slot, order.slots),
        }
        environment = [{"name": name, "value": value} for name, value in self._template.environment(order).items()]
        container: dict[str, Any] = {
            "name": CONTAINER,
            "command": [options.remote_python, "-m", "scaler.worker"],
            "env": environment,
            "resources": {"requests": amounts, "limits": amounts},
        }
        if options.image:
            container["image"] = options.image
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": max(1, round(options.grace_seconds)),
            "containers": [container],
        }
        if options.service_account:
            spec["serviceAccountName"] = options.service_account
        else:
            spec["automountServiceAccountToken"] = False
        if options.image_pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
        if options.node_selector:
            spec["nodeSelector"] = dict(options.node_selector)
        if options.security_secret:
            # Where the container is not root's, its group has to read it, which is what fsGroup is for.
            lent = "fsGroup" in self._pod_template.get("spec", {}).get("securityContext", {})
            volume = {"secretName": options.security_secret, "defaultMode": 0o440 if lent else 0o400}
            where = options.worker_security_directory or SECURITY_DIRECTORY
            spec["volumes"] = [{"name": SECURITY_VOLUME, "secret": volume}]
            container["volumeMounts"] = [{"name": SECURITY_VOLUME, "mountPath": where, "readOnly": True}]
        metadata = {
            "name": _pod_name(order.name),
            "labels": {
                "app.kubernetes.io/name": "scaler-worker",
                "app.kubernetes.io/managed-by": "scaler",
                MANAGER_LABEL: _label(self._template.manager),
            },
            "annotations": {WORKER_LABEL: order.name, SLOTS_LABEL: str(order.slots)},
        }
        ours = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        pod: dict[str, Any] = merged(self._pod_template, ours)
        return pod

    def _sighting(self, pod: Mapping[str, Any]) -> Sighting:
        status, name = pod["status"], _worker_of(pod)
        slots = int(pod["metadata"]["annotations"].get(SLOTS_LABEL, 0))
        label = f"pod {pod['metadata']['name']}"
        phase = status.get("phase", "Unknown")
        if phase == "Succeeded":
            return Sighting(name, Phase.ENDED, slots, label, f"{label} ended in order", orderly=True)
        if phase == "Failed":
            return Sighting(name, Phase.ENDED, slots, label, f"{label} {_how_it_failed(status)}")
        leaving = pod["metadata"].get("deletionTimestamp") is not None
        if phase != "Pending":
            return Sighting(name, Phase.RUNNING, slots, label, leaving=leaving)
        waiting = _why_it_waits(status)
        if waiting.partition(":")[0] in HOPELESS:
            return Sighting(name, Phase.ENDED, slots, label, f"{label} does not start: {waiting}")
        if waiting and (name, waiting) not in self._told_of:
            self._told_of.add((name, waiting))
            log.info("%s waits: %s", label, waiting)
        return Sighting(name, Phase.PENDING, slots, label)

    async def _create(self, order: WorkerOrder) -> Sighting:
        try:
            await self._call("create_namespaced_pod", self._namespace, self.manifest(order))
        except KubernetesError as error:
            return Sighting(order.name, Phase.ENDED, story=f"Kubernetes does not take a pod: {error}")
        return Sighting(order.name, Phase.PENDING, order.slots, f"pod {_pod_name(order.name)}")

    async def _delete(self, pod: str, grace_seconds: int | None = None) -> None:
        try:
            await self._call("delete_namespaced_pod", pod, self._namespace, grace_period_seconds=grace_seconds)
        except KubernetesError as error:
            if not str(error).startswith("NotFound"):
                raise

    async def _with_last_words(self, sighting: Sighting) -> Sighting:
        pod = _pod_name(sighting.name)
        try:
            said = await self._call("read_namespaced_pod_log", pod, self._namespace, container=CONTAINER, tail_lines=1)
        except KubernetesError:
            said = ""
        last = f"; its last words: {said.strip()[-400:]}" if said.strip() else ""
        return Sighting(sighting.name, sighting.phase, sighting.slots, sighting.label, sighting.story + last)

    async def _pods(self) -> Sequence[dict[str, Any]]:
        selector = f"{MANAGER_LABEL}={_label(self._template.manager)}"
        found = await self._call("list_namespaced_pod", self._namespace, label_selector=selector)
        pods: Sequence[dict[str, Any]] = self._api.api_client.sanitize_for_serialization(found)["items"]
        return pods

    # ---- the client

    def _connect(self) -> None:
        from kubernetes import client, config

        options = self._options
        try:
            if options.kubeconfig or options.kube_context or Path(config.KUBE_CONFIG_DEFAULT_LOCATION).exists():
                api = config.new_client_from_config(options.kubeconfig, options.kube_context)
                _, active = config.list_kube_config_contexts(options.kubeconfig)
                self._namespace = options.namespace or active["context"].get("namespace") or "default"
            else:
                config.load_incluster_config()
                api = client.ApiClient()
                where = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
                self._namespace = options.namespace or (where.read_text() if where.exists() else "default")
        except (config.ConfigException, OSError) as error:
            raise KubernetesError(f"{error}; say --kubeconfig, or run the manager in a pod") from None
        self._api = client.CoreV1Api(api)

    async def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """One request, in a thread. Raises KubernetesError."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        call = getattr(self._api, method)
        given = {name: value for name, value in named.items() if value is not None}
        try:
            return await asyncio.to_thread(call, *arguments, _request_timeout=CALL_SECONDS, **given)
        except ApiException as error:
            raise KubernetesError(_said(error)) from None
        except HTTPError as error:
            raise KubernetesError(f"the API server does not answer: {error}") from None


def merged(template: Any, ours: Any) -> Any:
    """What a user wants besides what is needed: of two values ours counts; lists follow each other, containers by name."""
    if isinstance(template, dict) and isinstance(ours, dict):
        return {
            key: merged(template[key], ours[key]) if key in template and key in ours else {**template, **ours}[key]
            for key in {**template, **ours}
        }
    if isinstance(template, list) and isinstance(ours, list):
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in ours]
        theirs = {entry.get("name"): entry for entry in template if isinstance(entry, dict) and entry.get("name")}
        both = [
            merged(theirs[name], entry) if name in theirs else entry for name, entry in zip(names, ours, strict=True)
        ]
        rest = [entry for entry in template if not (isinstance(entry, dict) and entry.get("name") in names)]
        return both + rest
    return ours


def _read_template(path: str) -> dict[str, Any]:
    """Raises ConfigurationError."""
    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"--pod-template {path}: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or found.get("kind", "Pod") != "Pod":
        raise ConfigurationError(f"--pod-template {path}: it is no pod; write kind: Pod, metadata and spec")
    containers = found.get("spec", {}).get("containers", [])
    if containers and not any(isinstance(c, dict) and c.get("name") == CONTAINER for c in containers):
        text = f"--pod-template {path}: call the container of Scaler {CONTAINER!r}; others can stand beside it"
        raise ConfigurationError(text)
    return found


def _pod_name(worker: str) -> str:
    """Of letters that Kubernetes takes, and different for different workers."""
    plain = re.sub(r"[^a-z0-9]+", "-", worker.lower()).strip("-")[-40:].strip("-")
    return f"{plain or 'worker'}-{hashlib.sha256(worker.encode()).hexdigest()[:10]}"


def _label(manager: str) -> str:
    """A label's value for the name of a manager: itself where that can be."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", manager):
        return manager
    return f"sha256-{hashlib.sha256(manager.encode()).hexdigest()[:40]}"


def _worker_of(pod: Mapping[str, Any]) -> str:
    name: str = pod["metadata"].get("annotations", {}).get(WORKER_LABEL, pod["metadata"]["name"])
    return name


def _times(amount: str, slots: int) -> str:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", amount).groups()  # type: ignore[union-attr]
    return f"{float(number) * slots:g}{unit}"


def _how_it_failed(status: Mapping[str, Any]) -> str:
    """In words: why the pod, and how its container ended."""
    said = [f"failed: {status['reason']}" if status.get("reason") else "failed"]
    for container in status.get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated")
        if ended and container["name"] == CONTAINER:
            why = "" if ended.get("reason") in (None, "Error") else f" ({ended['reason']})"
            said.append(f"exit code {ended['exitCode']}{why}")
    if status.get("message"):
        said.append(" ".join(status["message"].split()))
    return ", ".join(said)


def _why_it_waits(status: Mapping[str, Any]) -> str:
    """``reason: message``, if there is one worth telling."""
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return ": ".join(filter(None, (waiting["reason"], waiting.get("message", ""))))
    for condition in status.get("conditions", []):
        if condition.get("reason") == "Unschedulable":
            return f"Unschedulable: {condition.get('message', '')}"
    return ""


def _said(error: Any) -> str:
    """What the API server said, in one line that begins with its reason."""
    try:
        body = json.loads(error.body)
        return f"{body.get('reason') or error.status}: {body.get('message') or error.reason}"
    except (TypeError, ValueError):
        return f"{error.status} {error.reason}"
