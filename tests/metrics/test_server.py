"""The HTTP server of a daemon's metrics."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import Address
from scaler.messages import Statistics
from scaler.metrics import server as module
from scaler.metrics.families import counter, gauge, objects
from scaler.metrics.server import MetricsServer, check_extra

ANYWHERE = Address.parse("tcp://127.0.0.1:0")


def fetch(server: MetricsServer, path: str, accept: str = "", token: str = "") -> tuple[int, str]:
    headers = {"Accept": accept, **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{server.address.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def served(
    health: Callable[[], str] = lambda: "",
    families: Callable[[], list[Metric]] = lambda: [gauge("a", "An a.", 3)],
    secret: bytes = b"",
    address: str = "tcp://127.0.0.1:0",
) -> Iterator[tuple[MetricsServer, asyncio.AbstractEventLoop]]:
    """A server whose event loop runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make() -> MetricsServer:
        return MetricsServer(Address.parse(address), health, families, {"daemon": "Test", "version": "7"}, secret)

    server = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
    try:
        yield server, loop
    finally:
        server.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_what_is_asked_for_is_found_out_on_the_event_loop() -> None:
    threads = []

    def families() -> list[Metric]:
        threads.append(threading.current_thread())
        return [gauge("scaler_a", "An a.", 3), counter("scaler_b", "Some b.", 4)]

    with served(families=families) as (server, _):
        code, text = fetch(server, "/metrics")
        found = {family.name: family.samples[0] for family in text_string_to_metric_families(text)}
        open_text = fetch(server, "/metrics", "application/openmetrics-text; version=1.0.0")[1]
    assert code == 200 and len(threads) == 2
    assert not any(thread.name == "metrics" for thread in threads)
    assert (found["scaler_a"].value, found["scaler_b"].value, found["scaler_healthy"].value) == (3, 4, 1)
    assert found["scaler_daemon_info"].labels == {"daemon": "Test", "version": "7"}
    assert found["process_resident_memory_bytes"].value > 1 << 20
    assert {"scaler_a", "scaler_b"} <= {family.name for family in open_metrics(open_text)}


def test_health_has_a_reason() -> None:
    reasons = ["", "not connected to the scheduler", "not connected to the scheduler"]
    with served(lambda: reasons.pop(0)) as (server, _):
        assert fetch(server, "/healthz") == (200, "ok\n")
        assert fetch(server, "/healthz") == (503, "not connected to the scheduler\n")
        assert "scaler_healthy 0.0" in fetch(server, "/metrics")[1]
        assert fetch(server, "/")[0] == 404


def test_an_event_loop_that_is_stuck_is_not_well(monkeypatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    free = threading.Event()
    with served() as (server, loop):
        loop.call_soon_threadsafe(free.wait)
        for path in ("/healthz", "/metrics"):
            assert fetch(server, path) == (503, "its event loop has not answered for 0.05 s\n")
        free.set()
        monkeypatch.setattr(module, "ANSWER_SECONDS", 10)
        assert fetch(server, "/healthz") == (200, "ok\n")


def test_who_has_been_there_for_longest_goes_for_a_new_one(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)
    with served() as (server, _):
        where = ("127.0.0.1", server.address.port)
        with (
            socket.create_connection(where, timeout=10) as first,
            socket.create_connection(where, timeout=10) as second,
        ):
            # Who drips his request keeps nobody out.
            first.sendall(b"GET /healthz HT")
            assert fetch(server, "/healthz") == (200, "ok\n")
            assert first.recv(1) == b""
            with socket.create_connection(where, timeout=10):
                assert fetch(server, "/healthz") == (200, "ok\n")
                assert second.recv(1) == b""


def test_others_need_the_secret_for_all_but_whether_it_is_well() -> None:
    reasons = ["", "not connected to tcp://10.0.0.1:2"]
    with served(lambda: reasons[0], secret=b"0123456789abcdef", address="tcp://0.0.0.0:0") as (server, _):
        assert fetch(server, "/metrics")[0] == 401
        assert fetch(server, "/metrics", token="0123456789abcdeX")[0] == 401
        assert fetch(server, "/metrics", token="\xff")[0] == 401
        assert "a 3.0" in fetch(server, "/metrics", token="0123456789abcdef")[1]
        assert fetch(server, "/healthz") == (200, "ok\n")
        reasons.reverse()
        assert fetch(server, "/healthz") == (503, "not well; why is for who sends the secret\n")
        assert fetch(server, "/healthz", token="0123456789abcdef") == (503, f"{reasons[0]}\n")
    with served(secret=b"0123456789abcdef") as (server, _):
        assert fetch(server, "/metrics")[0] == 200, "only this machine can ask"


def test_an_address_that_is_taken() -> None:
    async def make(port: int) -> MetricsServer:
        return MetricsServer(ANYWHERE.with_port(port), str, list, {})

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"cannot serve metrics at 127.0.0.1:{port}: Address already in use"
        ):
            asyncio.run(make(port))


def test_without_the_library(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'opengris-scaler\[metrics\]'"):
        check_extra()


def test_objects_tell_all_that_the_storage_counts() -> None:
    found = {
        family.name: family.samples[0].value for family in objects(Statistics(objects=3, puts=5, spilled_objects=2))
    }
    assert (found["scaler_objects"], found["scaler_objects_puts"], found["scaler_objects_spilled"]) == (3, 5, 2)
