"""The web dashboard's server: pages, a stream of events, and what can be asked of the scheduler.

Whoever may load the page may see everything, so requests have to name this server as their host (a page of somebody else whose
name was made to lead here does not), and what changes anything has to come from the dashboard's own page.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from importlib import resources
from urllib.parse import urlsplit

from aiohttp import web

from scaler.errors import ConfigurationError, ConnectionLostError, ScalerError
from scaler.ids import Address
from scaler.metrics.families import cluster, exposition, gauge, objects
from scaler.monitor.export import CsvFile, TraceFile, as_text
from scaler.monitor.feed import Feed, Status
from scaler.monitor.model import Model, task_from_label
from scaler.monitor.profile import Profile
from scaler.monitor.profile_text import as_folded, as_speedscope
from scaler.security import Security
from scaler.web.graph_view import graph_view
from scaler.web.login import Login
from scaler.web.profile_view import profile_view
from scaler.web.screen import Screen

log = logging.getLogger("scaler")
ASK_SECONDS = 10.0
MOST_PROFILES = 20
MOST_CONNECTIONS = 256
"""When there are more, those that have been there for longest are closed: browsers come again, who drips a request does not."""
QUIET_SECONDS = 15.0
"""A comment is sent to browsers so often when there is nothing to tell: so both sides see that the other is gone."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """One scheduler's, for any number of browsers."""

    def __init__(self, monitor: Address, hosts: Collection[str], security: Security | None = None) -> None:
        """``hosts``: by which names browsers may call this server, without ports."""
        self._monitor, self._security = monitor, security or Security()
        self.login: Login | None = None
        self.needs_login: Callable[[Login], None] = lambda login: None
        """Called when it is known that the cluster has a secret."""
        self.model = Model()
        self.status = Status(False, f"connecting to {monitor}")
        self.feed = Feed(monitor, self._told, self._changed, name="scaler_gui", security=self._security)
        self._hosts = {host.lower() for host in hosts}
        self._news = asyncio.Event()
        self._profiles: OrderedDict[str, Profile] = OrderedDict()
        """The last ones that browsers asked for."""

    def application(self) -> web.Application:
        """All that is served."""
        application = web.Application(middlewares=[self._guard])
        application.cleanup_ctx.append(self._follow)
        application.add_routes(
            [
                web.get("/", _static),
                web.get("/{name:app.js|style.css}", _static),
                web.get("/plotly.js", _plotly),
                web.get("/events", self._events),
                web.get("/api/state", self._state),
                web.get("/api/explain", self._explain),
                web.post("/api/cancel", self._cancel),
                web.post("/api/drain", self._drain),
                web.get("/api/graph", self._graph),
                web.post("/api/profile", self._begin_profile),
                web.post("/api/profile/stop", self._stop_profile),
                web.get("/api/profile", self._profile),
                web.get("/api/profile.{form:speedscope.json|folded}", self._profile_file),
                web.get("/api/tasks.csv", self._tasks),
                web.get("/api/trace.json", self._trace),
                web.get("/healthz", self._health),
                web.get("/metrics", self._metrics),
            ]
        )
        application.add_routes([web.get("/login", self._ask_for_login), web.post("/login", self._ask_for_login)])
        return application

    # ---- the feed

    async def _follow(self, application: web.Application) -> AsyncIterator[None]:
        following = asyncio.create_task(self._run_feed())
        yield
        following.cancel()
        await asyncio.wait({following})

    async def _run_feed(self) -> None:
        try:
            await self.feed.run()
        except ScalerError as error:  # The scheduler does not want us: browsers are told.
            self._changed(Status(False, str(error)))

    def _told(self, update: object) -> None:
        self.look_for_secret()
        self.model.apply(update)  # type: ignore[arg-type]
        self._tell()

    def _changed(self, status: Status) -> None:
        if status.connected != self.status.connected:
            log.log(20 if status.connected else 30, "WebMonitor: %s", status.text)
        self.status = status
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # ---- who may ask

    def look_for_secret(self) -> None:
        """Nobody sees without the secret what was had by it, also where the cluster came later than this server."""
        secret = b"" if self.login is not None else self._security.secret_for(self._monitor)
        if secret:
            self.login = Login(secret)
            self.needs_login(self.login)

    async def _ask_for_login(self, request: web.Request) -> web.StreamResponse:
        if self.login is None:
            return web.Response(status=303, headers={"Location": "/"})
        return await (self.login.ask(request) if request.method == "GET" else self.login.answer(request))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            host = urlsplit(f"//{request.host}").hostname or ""
            origin = request.headers.get("Origin")
            foreign = origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
        except ValueError:
            raise web.HTTPForbidden(text="Host or Origin is no address\n") from None
        if host.lower() not in self._hosts:
            raise web.HTTPForbidden(text=f"this server is not called {host}; say --allowed-hosts {host} if it is\n")
        if foreign:
            raise web.HTTPForbidden(text="other pages may not ask this server\n")
        if request.method == "POST" and request.path != "/login" and request.headers.get("X-Scaler") != "dashboard":
            raise web.HTTPForbidden(text="only the dashboard may ask for this\n")
        self.look_for_secret()
        if self.login is not None and not self.login.is_let_in(request):
            return self.login.turned_away(request)
        try:
            response = await handler(request)
        except ConnectionLostError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from None
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    # ---- what there is to see

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: a JSON object with every update."""
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        screen = Screen(self.model)
        with contextlib.suppress(ConnectionError):
            await response.write(b"retry: 1000\n\n")
            while True:
                news = self._news
                told = screen.news(self.status.connected, self.status.text)
                await response.write(b"data: " + json.dumps(told).encode() + b"\n\n")
                while not news.is_set():
                    try:
                        await asyncio.wait_for(news.wait(), QUIET_SECONDS)
                    except TimeoutError:
                        await response.write(b": still here\n\n")
        return response

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(Screen(self.model).news(self.status.connected, self.status.text))

    async def _tasks(self, request: web.Request) -> web.Response:
        """The tasks of the stream, as a table."""
        text = as_text(list(self.model.ended), self.model, CsvFile)
        return web.Response(text=text, content_type="text/csv", headers={"Content-Disposition": "attachment"})

    async def _trace(self, request: web.Request) -> web.Response:
        """The same as a trace for Perfetto."""
        text = as_text(list(self.model.ended), self.model, TraceFile)
        return web.Response(text=text, content_type="application/json", headers={"Content-Disposition": "attachment"})

    async def _health(self, request: web.Request) -> web.Response:
        if self.status.connected:
            return web.Response(text="ok\n")
        known = self.login is None or self.login.knows(request)
        return web.Response(status=503, text=f"{self.status.text if known else 'not connected'}\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        connected = float(self.status.connected)
        families = [gauge("scaler_up", "Whether the dashboard is connected to the scheduler.", connected)]
        if self.model.updates:
            families += [*cluster(self.model), *objects(self.model.objects)]
        content, content_type = exposition(families, request.headers.get("Accept", ""))
        return web.Response(body=content, headers={"Content-Type": content_type})

    # ---- what can be asked of the scheduler

    async def _explain(self, request: web.Request) -> web.Response:
        task = task_from_label(request.query.get("task", ""))
        async with asyncio.timeout(ASK_SECONDS):
            told = await self.feed.explain(task)
        return web.json_response({"known": told.known, "state": told.state, "text": told.text})

    async def _cancel(self, request: web.Request) -> web.Response:
        task = task_from_label(request.query.get("task", ""))
        async with asyncio.timeout(ASK_SECONDS):
            answer = await self.feed.cancel(task)
        return web.json_response({"done": answer.done, "text": answer.text})

    async def _drain(self, request: web.Request) -> web.Response:
        worker = bytes.fromhex(request.query.get("worker", ""))
        async with asyncio.timeout(ASK_SECONDS):
            answer = await self.feed.drain(worker)
        return web.json_response({"done": answer.done, "text": answer.text})

    async def _graph(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(ASK_SECONDS):
            told = await self.feed.describe(int(request.query.get("graph", "")))
        return web.json_response(graph_view(told))

    # ---- profiles

    async def _begin_profile(self, request: web.Request) -> web.Response:
        asked = request.query
        profile = Profile(float(asked.get("seconds", "10")), int(asked.get("hertz", "100")))
        profile.worker, profile.function = bytes.fromhex(asked.get("worker", "")), asked.get("function", "")
        if not (0 < profile.seconds <= 600 and 1 <= profile.hertz <= 1000):
            raise ValueError("a profile takes up to 600 seconds, and looks 1 to 1000 times a second")
        async with asyncio.timeout(ASK_SECONDS):
            answer = await self.feed.profile(profile)
        name = secrets.token_hex(8)
        if answer.done:
            self._profiles[name] = profile
            while len(self._profiles) > MOST_PROFILES:
                self.feed.stop_profile(self._profiles.popitem(last=False)[1])
        return web.json_response({"done": answer.done, "text": answer.text, "profile": name})

    def _known_profile(self, request: web.Request) -> Profile:
        profile = self._profiles.get(request.query.get("profile", ""))
        if profile is None:
            raise web.HTTPNotFound(text="there is no such profile, or not any more\n")
        return profile

    async def _stop_profile(self, request: web.Request) -> web.Response:
        self.feed.stop_profile(self._known_profile(request))
        return web.json_response({"done": True, "text": ""})

    async def _profile(self, request: web.Request) -> web.Response:
        return web.json_response(profile_view(self._known_profile(request)))

    async def _profile_file(self, request: web.Request) -> web.Response:
        profile = self._known_profile(request)
        folded = request.match_info["form"] == "folded"
        text = as_folded(profile) if folded else json.dumps(as_speedscope(profile))
        kind = "text/plain" if folded else "application/json"
        return web.Response(text=text, content_type=kind, headers={"Content-Disposition": "attachment"})


async def _static(request: web.Request) -> web.Response:
    name = request.match_info.get("name", "index.html")
    content = resources.files("scaler.web").joinpath("static", name).read_bytes()
    return web.Response(body=content, content_type=TYPES[name[name.rindex(".") :]], charset="utf-8")


async def _plotly(request: web.Request) -> web.Response:
    """The charts' library, from its Python package: nothing is fetched from the internet."""
    content = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return web.Response(body=content, content_type="text/javascript", charset="utf-8")


def own_names(address: Address) -> set[str]:
    """By which names browsers may call a server at this address."""
    names = {address.host.strip("[]")}
    if address.host in ("127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0", "::", "[::]"):
        names |= {"localhost", "127.0.0.1", "::1"}
    if address.host in ("0.0.0.0", "::", "[::]"):
        names |= {socket.gethostname(), socket.getfqdn()}
    return names


async def keep_few(server: web.Server) -> None:
    """Close what is beyond MOST_CONNECTIONS, again and again."""
    while True:
        connections = server.connections
        for connection in connections[: max(0, len(connections) - MOST_CONNECTIONS)]:
            connection.force_close()
        await asyncio.sleep(0.5)


async def serve(
    monitor: Address,
    address: Address,
    hosts: Collection[str],
    stopped: asyncio.Event,
    security: Security | None = None,
) -> None:
    """Until ``stopped``. Where the scheduler has a secret, browsers need it.

    Raises ConfigurationError when the address cannot be listened on.
    """
    dashboard = Dashboard(monitor, {*own_names(address), *hosts}, security)
    runner = web.AppRunner(dashboard.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    assert runner.server is not None
    keeping = asyncio.create_task(keep_few(runner.server))
    try:
        site = web.TCPSite(runner, address.host.strip("[]"), address.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {address.host}:{address.port}: {error.strerror}") from None
        port = runner.addresses[0][1]
        top = f"http://{address.host}:{port}"
        log.info("WebMonitor: open %s", top)

        def tell(login: Login) -> None:  # Not in the log, which others may read later.
            print(f"open {login.link(top)} (good once), or {top} with the cluster's secret", flush=True)

        dashboard.needs_login = tell
        dashboard.look_for_secret()
        await stopped.wait()
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await runner.cleanup()
