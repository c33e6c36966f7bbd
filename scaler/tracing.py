"""Spans of OpenTelemetry, as clients, schedulers and executors make them. Needs the extra ``otel``, of which nothing is imported
before a Tracer is made.

Spans go to the tracer provider of the process. Where the program has set none, one is made as the standard's environment
variables say: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT and their like.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from scaler.errors import ConfigurationError, ExtraMissingError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

LIBRARY = "scaler"
DELAY_MILLISECONDS = 200
"""How long an ended span waits for others before it is exported, unless OTEL_BSP_SCHEDULE_DELAY says otherwise: processes of a
cluster may be killed."""
MOST_CONTEXT = 4096
"""Characters of a context; of a longer one only ``traceparent`` is passed on."""
FLUSH_SECONDS = 2.0


def check_extra() -> None:
    """Raises ExtraMissingError where OpenTelemetry is not installed."""
    try:
        import opentelemetry.sdk.trace
        import opentelemetry.trace  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError(f"tracing needs {error.name}: pip install 'opengris-scaler[otel]'") from None


class OpenSpan:
    """A span that is open from here to close()."""

    def __init__(self, making: AbstractContextManager[Span]) -> None:
        self._making = making
        self.span = making.__enter__()

    def close(self) -> None:
        self._making.__exit__(None, None, None)


class Tracer:
    """Makes spans. ``context`` is a text that tells other processes of a span: header fields as ``name: value``, a line each."""

    def __init__(self, service: str) -> None:
        """``service`` is the name of a provider that is made here, unless the environment has one.

        Raises ExtraMissingError, ConfigurationError for exporters that are not there.
        """
        check_extra()
        from opentelemetry import context, propagate, trace

        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(provider_of_environment(service))
            atexit.register(self.flush)
        self._trace, self._propagate, self._context = trace, propagate, context
        self._tracer = trace.get_tracer(LIBRARY)

    # ---- in clients

    @contextmanager
    def submission(self, name: str, waits: bool) -> Iterator[str]:
        """A span in which tasks are submitted; yields its context. ``waits``: it ends when they have."""
        kind = self._trace.SpanKind.CLIENT if waits else self._trace.SpanKind.PRODUCER
        with self._tracer.start_as_current_span(name, kind=kind):
            yield self._text()

    def _text(self) -> str:
        fields: dict[str, str] = {}
        self._propagate.inject(fields)
        text = "\n".join(f"{name}: {value}" for name, value in fields.items() if "\n" not in value)
        return text if len(text) <= MOST_CONTEXT else f"traceparent: {fields.get('traceparent', '')}"

    # ---- in executors

    @contextmanager
    def run(self, context: str, name: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
        """The span of a task, current while it runs."""
        kind = self._trace.SpanKind.CONSUMER
        token = self._context.attach(self._parent(context))  # Baggage, too, is for the task.
        try:
            with self._tracer.start_as_current_span(f"run {name}", kind=kind, attributes=dict(attributes)) as span:
                yield span
        finally:
            self._context.detach(token)

    def _parent(self, context: str) -> Context:
        fields = dict(line.split(": ", 1) for line in context.split("\n") if ": " in line)
        return self._propagate.extract(fields)

    def failed(self, span: Span, error: BaseException) -> None:
        """What runs in a span raised this."""
        span.record_exception(error)
        span.set_status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {error}")

    # ---- in schedulers

    def waited(
        self, context: str, name: str, came: float, assigned: float, attributes: Mapping[str, str | int]
    ) -> None:
        """The span of a task's time before it was given to a worker. Times are Unix seconds."""
        began, ended = (int(seconds * 1e9) for seconds in (came, assigned))
        parent = self._parent(context)
        span = self._tracer.start_span(f"queue {name}", parent, attributes=dict(attributes), start_time=began)
        span.end(ended)

    # ---- in all of them

    def flush(self) -> None:
        """Export what has ended. Waits FLUSH_SECONDS at most: exporters try for longer to reach whom they export to."""
        flush = getattr(self._trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flushing = threading.Thread(target=flush, name="scaler-flush", daemon=True)
            flushing.start()
            flushing.join(FLUSH_SECONDS)


def provider_of_environment(service: str) -> TracerProvider:
    """With the exporters that OTEL_TRACES_EXPORTER names: ``otlp`` (the default), ``console``, ``none``, or any other that is
    installed; several with commas between them.

    Raises ConfigurationError for one that is not installed, or cannot be used.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if given else {"service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    delay = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY") else DELAY_MILLISECONDS
    for exporter in _exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter(), schedule_delay_millis=delay))
    return provider


def check_environment() -> None:
    """Raises ExtraMissingError without OpenTelemetry, ConfigurationError for exporters that are not installed."""
    check_extra()
    list(_exporters())


def _exporters() -> Iterator[Callable[[], Any]]:
    """What makes each exporter that is asked for."""
    for given in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        if given.strip() not in ("", "none"):
            yield _exporter(given.strip())


def _exporter(name: str) -> Callable[[], Any]:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    entry = name if name != "otlp" else f"otlp_proto_{'grpc' if protocol == 'grpc' else 'http'}"
    found = metadata.entry_points(group="opentelemetry_traces_exporter", name=entry)
    if not found:
        text = f"OTEL_TRACES_EXPORTER: there is no exporter {name!r} ({entry}) installed"
        raise ConfigurationError(f"{text}; pip install 'opengris-scaler[otel]' brings otlp over HTTP")

    def make() -> Any:
        try:
            return next(iter(found)).load()()
        except Exception as error:
            raise ConfigurationError(f"OTEL_TRACES_EXPORTER: {name!r} cannot be used: {error}") from error

    return make
