"""One trace over client, scheduler and executors: spans of the client by an in-memory exporter, the others' over OTLP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from scaler import Client, SchedulerClusterCombo
from scaler.errors import ClusterError

from .conftest import wait_until

pytestmark = pytest.mark.integration
MEMORY = InMemorySpanExporter()


@dataclass(frozen=True)
class Seen:
    """A span, from whichever process."""

    name: str
    trace: int
    id: int
    parent: int
    service: str
    begin: int
    end: int
    attributes: dict[str, Any]
    error: str
    events: list[str] = field(hash=False)


class Collector:
    """What receives OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in request.resource_spans:
                    service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
                    for scope in resource.scope_spans:
                        collector.spans += [_seen(span, service) for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _seen(span: Any, service: str) -> Seen:
    return Seen(
        span.name,
        int.from_bytes(span.trace_id, "big"),
        int.from_bytes(span.span_id, "big"),
        int.from_bytes(span.parent_span_id, "big"),
        service,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {a.key: a.value.int_value or a.value.string_value for a in span.attributes},
        span.status.message if span.status.code == 2 else "",
        [event.name for event in span.events],
    )


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """For processes that are started from here on; this one keeps its spans in memory."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(MEMORY))
        trace.set_tracer_provider(provider)
    MEMORY.clear()
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{made.server.server_address[1]}")
    yield made
    made.close()


def own() -> dict[str, Any]:
    """This process's spans by name."""
    return {span.name: span for span in MEMORY.get_finished_spans()}


def answer(number: int) -> int:
    with trace.get_tracer("users").start_as_current_span("inside"):
        time.sleep(0.01)
    return number


def bad(number: int) -> int:
    raise ValueError(f"{number} is bad")


def recursive(client: Client, depth: int) -> int:
    return 0 if not depth else 1 + int(client.submit(recursive, client, depth - 1).result())


def test_one_trace_over_all_processes(collector: Collector) -> None:
    with (
        Client(n_workers=2, timeout_seconds=20, tracing=True) as client,
        trace.get_tracer("users").start_as_current_span("job") as job,
    ):
        assert client.submit(answer, 7).result() == 7
        assert client.submit_verbose(bad, (3,), {}, name="worse").exception() is not None
        assert client.map(answer, range(5)) == list(range(5))
        assert client.get({"a": (answer, 1), "b": (answer, "a")}, ["b"]) == {"b": 1}
        assert sum(client.imap(answer, range(3))) == 3
        assert client.submit(recursive, client, 2).result() == 2
    # The cluster has ended: all that was to be told has been told.
    mine, told = own(), collector.spans
    assert {"job", "submit answer", "submit bad", "map answer", "get", "imap answer", "submit recursive"} == set(mine)
    root = job.get_span_context()
    assert {span.trace for span in told} == {root.trace_id}
    assert all(mine[name].parent.span_id == root.span_id for name in mine if name != "job")
    assert {span.service for span in told} == {"scaler-scheduler", "scaler-executor"}
    of: dict[str, list[Seen]] = {}
    for span in told:
        of.setdefault(span.name, []).append(span)

    submitted = mine["submit answer"].context.span_id
    (run,) = (span for span in of["run answer"] if span.parent == submitted)
    (queued,) = (span for span in of["queue answer"] if span.parent == submitted)
    (inside,) = (span for span in of["inside"] if span.parent == run.id)
    assert mine["submit answer"].start_time - 1e6 <= queued.begin <= queued.end <= run.end
    assert run.begin <= inside.begin < inside.end <= run.end and inside.end - inside.begin >= 10e6
    assert queued.service == "scaler-scheduler" and run.service == inside.service == "scaler-executor"
    assert (
        queued.attributes["scaler.attempt"] == 1 and queued.attributes["scaler.task"] == run.attributes["scaler.task"]
    )
    assert run.attributes["scaler.worker"] in str(queued.attributes["scaler.worker"])

    (failed,) = of["run bad"]
    assert failed.error == "ValueError: 3 is bad" and failed.events == ["exception"]

    for name, count in (("map answer", 5), ("imap answer", 3)):
        runs = [span for span in of["run answer"] if span.parent == mine[name].context.span_id]
        assert sum(int(span.attributes.get("scaler.items", 1)) for span in runs) == count
        assert any(span.parent == mine[name].context.span_id for span in of["queue answer"])
    assert sum(span.parent == mine["get"].context.span_id for span in of["run answer"]) == 2

    # Clients inside traced tasks trace, too, without being told: each submission is a child of the task around it.
    runs = {span.id: span for span in of["run recursive"]}
    submissions = {span.id: span for span in of["submit recursive"]}
    assert len(runs) == 3 and len(submissions) == 2 and all(span.parent in runs for span in submissions.values())
    outer = [span for span in runs.values() if span.parent == mine["submit recursive"].context.span_id]
    assert len(outer) == 1 and sum(span.parent in submissions for span in runs.values()) == 2


def test_what_is_not_traced_makes_no_spans(collector: Collector) -> None:
    with (
        SchedulerClusterCombo(1, logging_level="ERROR", tracing=True) as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as plain,
        Client(cluster.get_address(), timeout_seconds=20, tracing=True) as traced,
    ):
        assert plain.submit(abs, -1).result() == 1
        assert plain.map(abs, range(-3, 0)) == [3, 2, 1]
        assert traced.submit(abs, -2).result() == 2
        assert plain.submit(abs, -3).result() == 3
        wait_until(lambda: len(collector.spans) == 2, "the spans of one task, while the cluster runs")
    assert sorted(span.name for span in collector.spans) == ["queue abs", "run abs"]
    assert {span.parent for span in collector.spans} == {own()["submit abs"].context.span_id}


def test_a_client_goes_on_where_nobody_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with Client(n_workers=1, timeout_seconds=20, tracing=True) as client:
        assert client.submit(abs, -1).result() == 1
    assert time.monotonic() - began < 10


def test_workers_that_cannot_trace_run_tasks_all_the_same(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "telepathy")
    with (
        SchedulerClusterCombo(1, logging_level="ERROR") as cluster,
        Client(cluster.get_address(), timeout_seconds=20, tracing=True, stream_output=True) as client,
    ):
        assert [client.submit(abs, -n).result() for n in range(3)] == [0, 1, 2]
    assert collector.spans == []
    with pytest.raises(ClusterError, match="there is no exporter 'telepathy'"):
        Client(n_workers=1, tracing=True)
