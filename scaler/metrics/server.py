"""``/metrics`` and ``/healthz`` of a daemon, over HTTP.

The server has threads of its own, so what it writes keeps no task waiting; the daemon's event loop is asked for the numbers
with each request, and one that does not answer is not well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import socketserver
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import Address
from scaler.keyring import is_loopback

if TYPE_CHECKING:
    from prometheus_client.core import Metric

ANSWER_SECONDS = 5.0
"""An event loop that has not answered for so long is stuck."""
IDLE_SECONDS = 10.0
"""A connection on which nothing is asked for so long is closed."""
POLL_SECONDS = 0.1
"""How soon the thread sees that it is to end."""
MOST_CONNECTIONS = 32
"""Each has a thread. For a further one the one that has been there for longest is closed, so that nobody keeps others out."""


def check_extra() -> None:
    """Raises ExtraMissingError where the library is not installed."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise ExtraMissingError(
            "--metrics-address needs prometheus-client: pip install 'opengris-scaler[metrics]'"
        ) from None


class MetricsServer:
    """Serves until close(). Made on the event loop that it asks."""

    def __init__(
        self,
        address: Address,
        health: Callable[[], str],
        families: Callable[[], list[Metric]],
        facts: dict[str, str],
        secret: bytes = b"",
    ) -> None:
        """``health`` returns what is wrong, or nothing; it and ``families`` are called on the event loop. ``facts`` are the
        labels of ``scaler_daemon_info``. Where other machines can reach the address they need the ``secret``, if there is one,
        for all but whether the daemon is well.

        Raises ConfigurationError when the address cannot be listened on, ExtraMissingError without the library.
        """
        check_extra()
        self._loop = asyncio.get_running_loop()
        self._health, self._families, self._facts = health, families, facts
        self._secret = b"" if is_loopback(address) else secret
        handler = type("Handler", (_Handler,), {"server_of_metrics": self})
        try:
            self._server = _Server((address.host.strip("[]"), address.port), handler)
        except OSError as error:
            raise ConfigurationError(
                f"cannot serve metrics at {address.host}:{address.port}: {error.strerror or error}"
            ) from None
        self.address = address.with_port(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no more. Waits POLL_SECONDS at most."""
        self._server.shutdown()
        self._server.server_close()

    # ---- in threads

    def _ask(self, call: Callable[[], Any]) -> Any:
        """What ``call`` returns on the event loop. Raises TimeoutError."""
        answer: Future[Any] = Future()

        def answered() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(call())
                except Exception as error:
                    answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(answered)
            return answer.result(ANSWER_SECONDS)
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"its event loop has not answered for {ANSWER_SECONDS:g} s") from None
        except RuntimeError as error:  # The loop is closed.
            raise TimeoutError(f"it ends: {error}") from None

    def lets_in(self, authorization: str) -> bool:
        """Whether who sends this header may read all there is."""
        kind, _, told = authorization.partition(" ")
        proved = kind.lower() == "bearer" and hmac.compare_digest(told.strip().encode("utf-8", "replace"), self._secret)
        return not self._secret or proved

    def healthz(self) -> tuple[int, str]:
        """HTTP status and text."""
        try:
            reason = self._ask(self._health)
        except TimeoutError as error:
            reason = str(error)
        return (503, f"{reason}\n") if reason else (200, "ok\n")

    def metrics(self, accept: str) -> tuple[int, bytes, str]:
        """HTTP status, content and its type."""
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.core import GaugeMetricFamily

        from scaler.metrics.families import exposition, gauge

        try:
            reason, families = self._ask(lambda: (self._health(), list(self._families())))
        except TimeoutError as error:
            return 503, f"{error}\n".encode(), "text/plain; charset=utf-8"
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = GaugeMetricFamily("scaler_daemon_info", "What this process is; always 1.", labels=list(self._facts))
        info.add_metric(list(self._facts.values()), 1)
        healthy = gauge("scaler_healthy", "Whether /healthz says that all is well.", float(not reason))
        return 200, *exposition([info, healthy, *families], accept, registry)


class _Server(ThreadingHTTPServer):
    """No more threads than MOST_CONNECTIONS."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._open: dict[Any, None] = {}
        """All connections, in the order in which they came."""
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without looking up its own name, as the standard library does: that may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= MOST_CONNECTIONS:
                # Its thread sees the end, and closes it.
                with contextlib.suppress(OSError):
                    oldest = next(iter(self._open))
                    del self._open[oldest]
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke harms nobody."""


class _Handler(BaseHTTPRequestHandler):
    server_of_metrics: ClassVar[MetricsServer]
    timeout = IDLE_SECONDS
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "scaler", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        let_in = self.server_of_metrics.lets_in(self.headers.get("Authorization", ""))
        if path == "/healthz":
            code, text = self.server_of_metrics.healthz()
            told = text if let_in or code == 200 else "not well; why is for who sends the secret\n"
            self._answer(code, told.encode(), "text/plain; charset=utf-8")
        elif path == "/metrics" and not let_in:
            self._answer(401, b"send the cluster's secret as bearer token\n", "text/plain; charset=utf-8")
        elif path == "/metrics":
            self._answer(*self.server_of_metrics.metrics(self.headers.get("Accept", "")))
        else:
            self._answer(404, b"there are /metrics and /healthz\n", "text/plain; charset=utf-8")

    do_HEAD = do_GET

    def _answer(self, code: int, content: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: there is one every few seconds."""
