"""The dashboard's server: who may ask for what, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from scaler.ids import Address
from scaler.messages import FunctionFacts, TaskCounts, Update, WorkerFacts
from scaler.monitor.feed import Status
from scaler.security import Security
from scaler.web import server as module
from scaler.web.server import Dashboard, own_names
from tests.monitor.builders import ended

NOWHERE = Address.parse("tcp://127.0.0.1:1")


def update(seconds: float = 100.0, **facts: Any) -> Update:
    worker = WorkerFacts(b"w" * 16, "", "host", 7, "ann", 4, 2, 150.0, 1 << 20, 800, False, ["gpu"])
    told = {"tasks": TaskCounts(ready=3, succeeded=5, failed=1), "functions": [FunctionFacts("price", 5, 1, 2_000_000)]}
    told |= {"full": True, "workers": [worker], **facts}
    return Update(unix_milliseconds=int(seconds * 1000), **told)


def with_dashboard(work: Callable[[Dashboard, TestClient[Any, Any]], Awaitable[None]]) -> None:
    @asynccontextmanager
    async def serving() -> AsyncIterator[tuple[Dashboard, TestClient[Any, Any]]]:
        dashboard = Dashboard(NOWHERE, {"127.0.0.1"})
        async with TestClient(TestServer(dashboard.application())) as browser:
            yield dashboard, browser

    async def run() -> None:
        async with serving() as (dashboard, browser):
            await work(dashboard, browser)

    asyncio.run(run())


def test_the_page_and_all_that_it_needs_come_from_here() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")):
            answer = await browser.get(path)
            assert answer.status == 200 and answer.content_type == kind
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "http://" not in await answer.text() and "https://" not in await answer.text()
        assert len(await (await browser.get("/plotly.js")).read()) > 1_000_000

    with_dashboard(work)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Host": "evil.example"}, 403),
        ("GET", "/api/state", {"Host": "127.0.0.1.evil.example:80"}, 403),
        ("GET", "/api/state", {"Origin": "http://evil.example"}, 403),
        ("GET", "/events", {"Origin": "http://evil.example"}, 403),
        ("GET", "/events", {"Origin": "http://[evil"}, 403),
        ("GET", "/", {"Host": "[evil"}, 403),
        ("GET", "/api/state", {}, 200),
        ("POST", "/api/drain?worker=00", {}, 403),
        ("POST", "/api/drain?worker=00", {"Origin": "http://evil.example", "X-Scaler": "dashboard"}, 403),
        ("GET", "/api/drain?worker=00", {"X-Scaler": "dashboard"}, 405),
        ("POST", "/api/drain?worker=00", {"X-Scaler": "dashboard"}, 503),
        ("POST", "/api/drain?worker=xyz", {"X-Scaler": "dashboard"}, 400),
        ("POST", "/api/cancel?task=many", {"X-Scaler": "dashboard"}, 400),
        ("GET", "/api/explain?task=1:5", {}, 503),
        ("GET", "/healthz", {}, 503),
        ("GET", "/../secrets", {}, 404),
    ],
)
def test_who_may_ask_for_what(method: str, path: str, headers: dict[str, str], status: int) -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        answer = await browser.request(method, path, headers=headers)
        assert answer.status == status, await answer.text()

    with_dashboard(work)


def test_events_tell_everything_first_and_then_what_is_new() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        dashboard._told(update(100))
        stream = await browser.get("/events")
        assert stream.content_type == "text/event-stream"

        async def event() -> dict[str, Any]:
            while not (line := await asyncio.wait_for(stream.content.readline(), 10)).startswith(b"data: "):
                pass
            told: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return told

        first = await event()
        assert first["overview"]["ready"] == 3 and first["workers"][0]["name"] == "host:7"
        assert first["charts"]["times"] == [100.0] and first["connected"] is False
        dashboard._changed(Status(True, "connected"))
        assert (await event())["connected"] is True
        dashboard._told(update(101, full=False))
        assert (await event())["charts"]["times"] == [101.0]
        stream.close()

    with_dashboard(work)


def test_metrics_are_what_prometheus_reads() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        async def metrics() -> dict[str, dict[tuple[str, ...], float]]:
            text = await (await browser.get("/metrics")).text()
            return {
                family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
                for family in text_string_to_metric_families(text)
            }

        assert await metrics() == {"scaler_up": {(): 0.0}}
        dashboard._told(update())
        dashboard._changed(Status(True, ""))
        found = await metrics()
        assert found["scaler_up"] == {(): 1.0} and found["scaler_slots"] == {(): 4.0}
        assert found["scaler_tasks"][("ready",)] == 3.0 and found["scaler_tasks_ended"][("failed",)] == 1.0
        assert found["scaler_function_seconds"] == {("price",): 2.0}
        assert (await browser.get("/healthz")).status == 200

    with_dashboard(work)


def test_the_last_tasks_can_be_downloaded() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        dashboard._told(update(ended=ended((1, "price", 1, 1))))
        table = await browser.get("/api/tasks.csv")
        assert table.content_type == "text/csv" and table.headers["Content-Disposition"] == "attachment"
        assert [line.split(",")[2] for line in (await table.text()).splitlines()] == ["function", "price"]
        trace = await (await browser.get("/api/trace.json")).json()
        assert [event["name"] for event in trace["traceEvents"] if event["ph"] == "X"] == ["price"]

    with_dashboard(work)


def test_by_which_names_a_server_may_be_called() -> None:
    assert own_names(Address.parse("tcp://127.0.0.1:1")) == {"127.0.0.1", "localhost", "::1"}
    assert own_names(Address.parse("tcp://10.0.0.5:1")) == {"10.0.0.5"}
    assert {"localhost", "127.0.0.1"} < own_names(Address.parse("tcp://0.0.0.0:1"))


def with_secret(work: Callable[[Dashboard, TestClient[Any, Any]], Awaitable[None]]) -> None:
    async def run() -> None:
        dashboard = Dashboard(NOWHERE, {"127.0.0.1"}, Security(b"0123456789abcdef"))
        async with TestClient(TestServer(dashboard.application())) as browser:
            await work(dashboard, browser)

    asyncio.run(run())


def test_who_has_not_logged_in_sees_nothing() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        dashboard._told(update())
        for path in ("/app.js", "/events", "/api/state", "/api/explain?task=1", "/metrics", "/plotly.js"):
            answer = await browser.get(path)
            assert answer.status == 401 and "price" not in await answer.text()
        for path in ("/api/cancel", "/api/drain"):
            assert (await browser.post(path, headers={"X-Scaler": "dashboard"})).status == 401
        asked = await browser.get("/")
        assert asked.url.path == "/login" and "secret" in await asked.text()
        assert (await browser.get("/api/state", headers={"Cookie": "scaler_session=guess"})).status == 401
        assert (await browser.get("/api/state", headers={"Authorization": "Bearer guess"})).status == 401
        assert (await browser.get("/api/state", headers={"Authorization": "Bearer \udcff"})).status == 401
        # How it is may be seen, not where the scheduler is.
        health = await browser.get("/healthz")
        assert health.status == 503 and await health.text() == "not connected\n"
        health = await browser.get("/healthz", headers={"Authorization": "Bearer 0123456789abcdef"})
        assert "127.0.0.1:1" in await health.text()

    with_secret(work)


def test_the_printed_link_lets_in_once() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        dashboard.look_for_secret()
        assert dashboard.login is not None
        link = dashboard.login.link("")
        answer = await browser.get(link, allow_redirects=False)
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert (await browser.get("/api/state")).status == 200
        browser.session.cookie_jar.clear()
        assert (await browser.get(link)).status == 401
        assert (await browser.get("/api/state")).status == 401

    with_secret(work)


def test_the_secret_lets_in_always() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        wrong = await browser.post("/login", data={"secret": "0123456789abcdeX"})
        assert wrong.status == 401 and "not the cluster" in await wrong.text()
        for _ in range(2):
            browser.session.cookie_jar.clear()
            right = await browser.post("/login", data={"secret": "0123456789abcdef"})
            assert right.status == 200 and right.url.path == "/"
        browser.session.cookie_jar.clear()
        answer = await browser.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdef"})
        assert answer.status == 200
        foreign = await browser.post(
            "/login", data={"secret": "0123456789abcdef"}, headers={"Origin": "http://evil.example"}
        )
        assert foreign.status == 403

    with_secret(work)


def test_those_who_have_been_there_for_longest_are_closed_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)

    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        dripping = [await asyncio.open_connection("127.0.0.1", browser.port) for _ in range(4)]
        for _, writer in dripping:
            writer.write(b"GET / HT")
        keeping = asyncio.create_task(module.keep_few(browser.server.handler))
        for reader, _ in dripping[:2]:
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        assert (await browser.get("/api/state")).status == 200
        keeping.cancel()
        await asyncio.wait({keeping})
        for _, writer in dripping:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    with_dashboard(work)


def test_a_dashboard_of_a_cluster_without_a_secret_asks_for_none() -> None:
    async def work(dashboard: Dashboard, browser: TestClient[Any, Any]) -> None:
        assert (await browser.get("/login")).url.path == "/"

    with_dashboard(work)
