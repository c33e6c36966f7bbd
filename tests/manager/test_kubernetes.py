"""The Kubernetes backend over HTTP, against a server that keeps pods as Kubernetes would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from scaler.errors import ConfigurationError
from scaler.manager import kubernetes
from scaler.manager.backend import Phase, WorkerOrder

from ..kubernetes_server import Pods, serving
from .conftest import options_of, phases, run, template

ORDERS = [WorkerOrder("ann-1", 2), WorkerOrder("Ann_1", 2)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Pods, Path]]:
    with serving(tmp_path) as (pods, config):
        yield pods, config


@pytest.fixture
def pods(server: tuple[Pods, Path]) -> Pods:
    return server[0]


@pytest.fixture
def make(server: tuple[Pods, Path]) -> Any:
    def make(manager: str = "ann", **given: Any) -> kubernetes.KubernetesWorkers:
        given = {"image": "scaler:1", "kubeconfig": str(server[1]), "grace_seconds": 1.0, **given}
        return kubernetes.KubernetesWorkers(options_of("kubernetes", **given), template(manager))

    return make


def test_pods_are_made_found_again_and_deleted(make: Any, pods: Pods) -> None:
    async def work() -> None:
        backend = make()
        await backend.prepare()
        assert not pods.by_name and len(pods.created) == 1, "it was only asked whether it would be taken"
        told = await backend.start(ORDERS)
        assert phases(told) == {"ann-1": Phase.PENDING, "Ann_1": Phase.PENDING} and len(pods.by_name) == 2
        for pod in pods.by_name.values():
            pod["status"] = {"phase": "Running"}
        again = make()
        await again.prepare()
        assert {(s.name, s.phase, s.slots) for s in await again.list()} == {
            ("ann-1", Phase.RUNNING, 2),
            ("Ann_1", Phase.RUNNING, 2),
        }
        stranger = make("ben")
        await stranger.prepare()
        assert await stranger.list() == []
        await again.stop(["ann-1", "never-there"])
        await again.close()
        assert phases(await backend.list()) == {"Ann_1": Phase.RUNNING}
        await backend.stop(["Ann_1"])
        await backend.close()
        assert not pods.by_name

    run(work)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {
            "service_account": "runner",
            "image_pull_secrets": ["secret"],
            "node_selector": ["disk=fast"],
            "cpu_per_slot": "500m",
            "memory_per_slot": "1.5Gi",
        },
    ],
)
def test_pods_are_what_the_published_schemas_say(make: Any, given: dict[str, Any]) -> None:
    pod = make("a manager with a name that is no label", **given).manifest(WorkerOrder("x" * 200, 3))
    for version in ("1.27", "1.30", "1.33"):
        kubernetes_validate.validate(pod, version, strict=True)
    assert len(pod["metadata"]["name"]) <= 63
    amounts = pod["spec"]["containers"][0]["resources"]["limits"]
    assert amounts == ({"cpu": "1500m", "memory": "4.5Gi"} if given else {"cpu": "3", "memory": "6Gi"})
    assert ("serviceAccountName" in pod["spec"]) is bool(given)


@pytest.mark.parametrize(("text", "mode"), [("", 0o400), ("securityContext: {fsGroup: 1000}", 0o440)])
def test_a_secret_is_mounted(make: Any, tmp_path: Path, text: str, mode: int) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(f"kind: Pod\nspec:\n  volumes: [{{name: data, emptyDir: {{}}}}]\n  {text}\n")
    pod = make(security_secret="scaler", pod_template=str(file)).manifest(WorkerOrder("a", 1))
    kubernetes_validate.validate(pod, "1.33", strict=True)
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["scaler-security"]["secret"] == {"secretName": "scaler", "defaultMode": mode} and "data" in volumes
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert mount == {"name": "scaler-security", "mountPath": "/etc/scaler/security", "readOnly": True}


def test_a_template_says_what_else_a_pod_has(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(
        """
        kind: Pod
        metadata: {labels: {team: blue}}
        spec:
          restartPolicy: Always
          tolerations: [{key: spot, operator: Exists}]
          containers:
            - name: beside
              image: logs:1
            - name: worker
              env: [{name: MODE, value: fast}]
              volumeMounts: [{name: data, mountPath: /data}]
          volumes: [{name: data, emptyDir: {}}]
        """
    )
    pod = make(pod_template=str(file)).manifest(ORDERS[0])
    kubernetes_validate.validate(pod, "1.33", strict=True)
    worker, beside = pod["spec"]["containers"]
    assert beside["name"] == "beside" and worker["image"] == "scaler:1" and worker["volumeMounts"]
    assert [entry["name"] for entry in worker["env"]] == ["SCALER_WORKER_ORDER", "MODE"]
    assert pod["spec"]["restartPolicy"] == "Never", "what is needed counts"
    assert pod["metadata"]["labels"]["team"] == "blue" and pod["spec"]["tolerations"]


def waits(reason: str) -> dict[str, Any]:
    state = {"name": "worker", "state": {"waiting": {"reason": reason, "message": "because"}}}
    return {"phase": "Pending", "containerStatuses": [{**state, **_REST}]}


_REST = {"image": "i", "imageID": "", "ready": False, "restartCount": 0}
_KILLED = {"name": "worker", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, **_REST}


@pytest.mark.parametrize(
    ("status", "phase", "story"),
    [
        ({"phase": "Pending"}, Phase.PENDING, ""),
        (waits("ContainerCreating"), Phase.PENDING, ""),
        (waits("ErrImagePull"), Phase.PENDING, ""),
        (waits("ImagePullBackOff"), Phase.ENDED, "does not start: ImagePullBackOff: because"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ],
            },
            Phase.PENDING,
            "",
        ),
        ({"phase": "Running"}, Phase.RUNNING, ""),
        ({"phase": "Unknown"}, Phase.RUNNING, ""),
        ({"phase": "Succeeded"}, Phase.ENDED, "ended in order"),
        (
            {"phase": "Failed", "containerStatuses": [_KILLED]},
            Phase.ENDED,
            "failed, exit code 137 (OOMKilled); its last words: last words",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on\nmemory."},
            Phase.ENDED,
            "failed: Evicted, The node was low on memory.; its last words: last words",
        ),
    ],
)
def test_how_far_a_pod_is(make: Any, pods: Pods, status: dict[str, Any], phase: Phase, story: str) -> None:
    async def work() -> None:
        backend = make()
        await backend.prepare()
        await backend.start(ORDERS[:1])
        (pod,) = pods.by_name.values()
        pod["status"] = status
        (seen,) = await backend.list()
        assert seen.phase == phase and seen.story.partition(" ")[2].partition(" ")[2].startswith(story)
        assert seen.orderly == (status["phase"] == "Succeeded")
        assert bool(pods.by_name) == (phase != Phase.ENDED), "what is over is cleared away, and told once"

    run(work)


def test_a_pod_that_others_delete_is_left(make: Any, pods: Pods) -> None:
    async def work() -> None:
        backend = make()
        await backend.prepare()
        await backend.start(ORDERS[:1])
        (pod,) = pods.by_name.values()
        pod["status"] = {"phase": "Running"}
        pod["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        (seen,) = await backend.list()
        assert seen.leaving and seen.phase == Phase.RUNNING

    run(work)


def test_where_a_quota_is_reached_the_others_are_made(make: Any, pods: Pods) -> None:
    async def work() -> None:
        backend = make()
        await backend.prepare()
        pods.most = 1
        told = await backend.start(ORDERS)
        assert sorted(sighting.phase.value for sighting in told) == ["ended", "pending"]
        (story,) = (sighting.story for sighting in told if sighting.story)
        assert "Kubernetes does not take a pod: Forbidden" in story and "exceeded quota" in story
        assert len(pods.by_name) == 1

    run(work)


def test_what_cannot_be_had_is_told_at_the_start(make: Any, pods: Pods, tmp_path: Path) -> None:
    pods.out_of_order = "etcd is away"
    with pytest.raises(ConfigurationError, match="InternalError: etcd is away"):
        run(make().prepare)
    with pytest.raises(ConfigurationError, match="say --kubeconfig"):
        run(make(kubeconfig=str(tmp_path / "nothing")).prepare)
    file = tmp_path / "list.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(ConfigurationError, match="it is no pod"):
        make(pod_template=str(file))
    file.write_text("spec: {containers: [{name: other, image: x}]}")
    with pytest.raises(ConfigurationError, match="'worker'"):
        make(pod_template=str(file))


def test_a_server_that_is_away_later_ends_no_worker(make: Any, pods: Pods) -> None:
    async def work() -> None:
        backend = make()
        await backend.prepare()
        pods.out_of_order = "etcd is away"
        with pytest.raises(OSError, match="etcd is away"):
            await backend.list()
        (told,) = await backend.start(ORDERS[:1])
        assert told.phase == Phase.ENDED and "etcd is away" in told.story

    run(work)


@pytest.mark.parametrize("given", [{"image": None}, {"max_workers": 0}])
def test_what_has_to_be_said(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="say --"):
        kubernetes.check(options_of("kubernetes", **{"image": "i", **given}))
