"""What clients, futures and clusters show of themselves."""

import re
import time
from pathlib import Path

import pytest

from scaler import Client, SchedulerClusterCombo

pytestmark = pytest.mark.integration


def forever(mark):
    Path(mark).touch()
    time.sleep(3600)


def invert(x):
    return 1 / x


class TestFuture:
    def test_pending_and_cancelled(self, client, tmp_path):
        future = client.submit(forever, str(tmp_path / "mark"))
        assert repr(future) == f"<ScalerFuture {future.task_id} forever pending>"
        future.cancel()
        assert "cancelled" in repr(future)
        assert "cancelled" in future._repr_html_()

    def test_finished(self, client):
        future = client.submit(invert, 2)
        assert "result" not in future._repr_html_()
        future.result(20)
        assert re.fullmatch(r"<ScalerFuture \d+ invert finished after [\d.]+ (us|ms|s)>", repr(future))
        assert "float: 0.5" in future._repr_html_()

    def test_failed(self, client):
        future = client.submit(invert, 0)
        future.exception(20)
        assert re.search(r"invert failed after", repr(future))
        assert "ZeroDivisionError" in future._repr_html_()

    def test_a_large_result_is_shown_in_short(self, client):
        future = client.submit(bytes, 1_000_000)
        future.result(20)
        assert len(future._repr_html_()) < 1000


def test_client(tmp_path):
    with Client(n_workers=2, name="mine") as client:
        assert repr(client).endswith(f"connected to {client.address}, 0 tasks under way, a local cluster of 2 slots>")
        client.submit(forever, str(tmp_path / "mark"))
        assert "1 task under way" in repr(client)
        assert "mine" in client._repr_html_()
        cluster = client.cluster
        assert repr(cluster) == f"<LocalCluster 2 slots, {client.address}, running>"
    assert "disconnected from" in repr(client)
    assert "ended" in cluster._repr_html_()


def test_combo():
    with SchedulerClusterCombo(1, logging_level="WARNING") as cluster:
        assert repr(cluster) == f"<SchedulerClusterCombo 1 slot, {cluster.get_address()}, running>"
        assert cluster.get_monitor_address() in cluster._repr_html_()
    assert "ended" in repr(cluster)
