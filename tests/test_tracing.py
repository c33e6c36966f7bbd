"""Spans: what is passed between processes, and where they go."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from scaler import Client
from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.tracing import MOST_CONTEXT, Tracer, provider_of_environment


@pytest.fixture
def spans(monkeypatch):
    """(tracer, function that returns what has ended)."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield Tracer("test"), exporter.get_finished_spans
    provider.shutdown()


def test_a_context_leads_from_the_submission_to_the_task(spans):
    tracer, ended = spans
    with tracer.submission("submit f", waits=False) as told:
        pass
    with tracer.run(told, "f", {"scaler.task": "1:2"}), trace.get_tracer("users").start_as_current_span("inside"):
        pass
    tracer.waited(told, "f", 10.0, 10.5, {"scaler.attempt": 1})
    submit, inside, run, queue = ended()
    assert told.startswith("traceparent: 00-") and "\n" not in told
    assert (inside.parent.span_id, run.parent.span_id) == (run.context.span_id, submit.context.span_id)
    assert len({span.context.trace_id for span in ended()}) == 1
    assert (queue.name, queue.start_time, queue.end_time) == ("queue f", 10_000_000_000, 10_500_000_000)
    assert queue.parent.span_id == submit.context.span_id and queue.attributes["scaler.attempt"] == 1
    assert (submit.kind.name, run.kind.name, run.attributes["scaler.task"]) == ("PRODUCER", "CONSUMER", "1:2")


def test_baggage_goes_with_it_as_far_as_it_is_short(spans):
    tracer, _ = spans
    for value, there in (("ann", "ann"), ("x" * (MOST_CONTEXT + 1), None)):
        token = context.attach(baggage.set_baggage("user", value))
        try:
            with tracer.submission("submit f", waits=False) as told:
                pass
        finally:
            context.detach(token)
        assert len(told) <= MOST_CONTEXT
        with tracer.run(told, "f", {}) as span:
            assert span.parent is not None and baggage.get_baggage("user") == there


def test_a_failure_is_an_event_of_its_span(spans):
    tracer, ended = spans
    with tracer.run("", "f", {}) as span:
        tracer.failed(span, ValueError("thirteen"))
    (span,) = ended()
    assert span.parent is None and span.status.description == "ValueError: thirteen"
    assert [event.attributes["exception.message"] for event in span.events] == ["thirteen"]


def test_what_is_no_context_begins_a_trace(spans):
    tracer, ended = spans
    for text in ("", "nonsense", "traceparent: 00-zz", "a: b\n\n: \n"):
        with tracer.run(text, "f", {}):
            pass
    assert all(span.parent is None for span in ended()) and len(ended()) == 4


PRINTS = """
import os
from opentelemetry import trace
from scaler.tracing import Tracer
tracer = Tracer("scaler-test")
with tracer.submission("submit f", waits=True):
    pass
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_exporters_are_those_of_the_environment():
    told = run(PRINTS, OTEL_TRACES_EXPORTER="console").stdout
    assert '"name": "submit f"' in told and '"service.name": "scaler-test"' in told
    assert '"service.name": "mine"' in run(PRINTS, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="mine").stdout
    quiet = run(PRINTS, OTEL_TRACES_EXPORTER="none")
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)


def test_an_exporter_that_is_not_there(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "telepathy")
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_EXPORTER: there is no exporter 'telepathy'"):
        provider_of_environment("test")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError, match="otlp_proto_grpc"):
        provider_of_environment("test")


def test_an_exporter_that_cannot_be_loaded(monkeypatch, tmp_path):
    installed = tmp_path / "broken-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[opentelemetry_traces_exporter]\nbroken = nowhere_at_all:Exporter\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "broken")
    with pytest.raises(ConfigurationError, match="'broken' cannot be used: No module named 'nowhere_at_all'"):
        provider_of_environment("test")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ExtraMissingError, match=r"pip install 'opengris-scaler\[otel\]'"):
        Client("tcp://127.0.0.1:1", tracing=True)


def test_nothing_is_imported_before_it_is_wanted():
    program = "import sys, scaler.client.client, scaler.worker.executor, scaler.scheduler.service, scaler.net.daemon\n"
    told = run(program + "print([m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus', 'pyarrow'))])")
    assert told.stdout == "[]\n"
