"""Metrics, health and JSON logs of real daemons."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scaler import Client, SchedulerClusterCombo

from .conftest import wait_until

pytestmark = pytest.mark.integration
ANY = ("--metrics-address", "0", "--logging-format", "json")


def where(command, daemon: str) -> str:
    """The address that a daemon's log tells."""
    line = command.wait_for_line(f"{daemon}: metrics at http://")
    return json.loads(line)["message"].rpartition(" ")[2].removesuffix("/metrics")


def health(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(address: str) -> dict[tuple[str, ...], float]:
    """By the sample's name and the values of its labels."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_every_daemon_tells_what_it_does_and_whether_it_is_well(start, free_addresses):
    address, storage = free_addresses
    scheduler = start("scaler_scheduler", address, "-osa", storage, *ANY)
    manager = start("scaler_cluster", "-n", "2", address, "-wmi", "ann", "-wmea", "0", *ANY)
    of_scheduler, of_manager = where(scheduler, "Scheduler"), where(manager, "Cluster")
    of_worker = where(manager, "Worker")
    assert health(of_scheduler) == (503, f"not connected to the object storage server at {storage}\n")
    server = start("scaler_object_storage_server", storage, *ANY)
    of_storage = where(server, "ObjectStorageServer")
    for one in (of_scheduler, of_manager, of_worker, of_storage):
        wait_until(lambda: health(one) == (200, "ok\n"), f"health of {one}")  # noqa: B023
    with Client(address, timeout_seconds=20) as client:
        assert client.map(pow, range(20), [2] * 20)[3] == 9
        with pytest.raises(ZeroDivisionError):
            client.submit(divmod, 1, 0).result(20)
        reference = client.send_object(bytes(300_000))
        found = metrics(of_scheduler)
        assert found["scaler_tasks_ended_total", "succeeded"] == 20 and found["scaler_tasks_ended_total", "failed"] == 1
        assert found["scaler_function_calls_total", "pow", "succeeded"] == 20
        assert found["scaler_function_calls_total", "divmod", "failed"] == 1
        assert (found["scaler_slots",], found["scaler_workers",], found["scaler_clients",]) == (2, 1, 1)
        assert found["scaler_manager_slots", "ann", "running"] == 2 and found["scaler_healthy",] == 1
        found = metrics(of_manager)
        assert found["scaler_manager_slots", "ann", "running"] == 2 and found["scaler_manager_workers",] == 1
        found = metrics(of_worker)
        assert (found["scaler_worker_slots",], found["scaler_worker_executors",]) == (2, 2)
        wait_until(lambda: metrics(of_storage)["scaler_objects",] >= 1, "the object in the storage's metrics")
        assert metrics(of_storage)["scaler_objects_bytes",] >= 300_000
        del reference
    scheduler.interrupt()
    assert scheduler.wait() == 0
    for one in (of_manager, of_worker):
        wait_until(lambda: health(one) == (503, f"not connected to the scheduler at {address}\n"), "the loss")  # noqa: B023
    for command in (server, manager):
        command.interrupt()
        assert command.wait() == 0
    told = [json.loads(line) for command in (scheduler, manager, server) for line in command.lines]
    assert {line["daemon"] for line in told} == {"Scheduler", "Cluster", "Worker", "ObjectStorageServer"}
    assert all(line["level"] in ("INFO", "WARNING") and line["pid"] for line in told)


def test_a_port_that_is_taken(start, free_addresses):
    address, storage = free_addresses
    server = start("scaler_object_storage_server", storage, *ANY)
    taken = where(server, "ObjectStorageServer").removeprefix("http://")
    scheduler = start("scaler_scheduler", address, "-osa", storage, "--metrics-address", taken)
    assert scheduler.wait() == 1
    scheduler.wait_for_line(f"cannot serve metrics at {taken}: Address already in use")
    scheduler = start("scaler_scheduler", address, "-osa", storage)
    manager = start("scaler_cluster", "-n", "1", address, "-wmea", taken)
    manager.wait_for_line("Worker: cannot serve metrics")
    with Client(address, timeout_seconds=20) as client:
        assert client.submit(abs, -1).result(20) == 1


def test_a_cluster_of_a_program(tmp_path):
    log = tmp_path / "log"
    with SchedulerClusterCombo(1, logging_paths=(str(log),), logging_format="json", metrics_address=":0") as cluster:
        with Client(cluster.get_address()) as client:
            assert client.submit(abs, -1).result(20) == 1
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        address = next(line["message"].split()[-1] for line in lines if "metrics at" in line["message"])
        assert metrics(address.removesuffix("/metrics"))["scaler_tasks_ended_total", "succeeded"] == 1
    assert {line["daemon"] for line in lines} >= {"Scheduler", "ObjectStorageServer"}
