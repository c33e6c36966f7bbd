"""A whole cluster whose workers are pods: the API server of the tests runs their commands on this machine."""

import os
import sys
import time

import pytest

from scaler import Client

from ..kubernetes_server import serving
from .conftest import wait_until

pytestmark = pytest.mark.integration


def test_tasks_run_in_pods_that_come_and_go(start, free_addresses, tmp_path):
    address, storage = free_addresses
    file = tmp_path / "cluster.toml"

    def worker(_: int) -> int:  # By value: the workers stand elsewhere.
        time.sleep(0.05)
        return os.getppid()

    with serving(tmp_path, runs=True) as (pods, config):
        file.write_text(
            f"""
            [object_storage_server]
            address = "{storage}"
            [scheduler]
            address = "{address}"
            policy_content = "scaling=vanilla; idle_seconds=0.5"
            [[worker_manager]]
            type = "kubernetes"
            worker_manager_id = "pods"
            image = "scaler:1"
            kubeconfig = "{config}"
            remote_python = "{sys.executable}"
            kubernetes_poll_seconds = 0.2
            slots_per_worker = 1
            max_workers = 3
            """
        )
        stack = start("scaler", str(file))
        with Client(address, timeout_seconds=20) as client:
            assert len(set(client.map(worker, range(60)))) == 3
            wait_until(lambda: not pods.by_name, "the end of all pods")
            assert client.submit(worker, 0).result()
        stack.wait_for_line("started pod pods-")
        stack.interrupt()
        assert stack.wait() == 0
        assert not pods.by_name, "nothing is left"
